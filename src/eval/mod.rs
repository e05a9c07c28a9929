//! What a model is worth: agreement with the published one, accuracy on a test split, puzzles solved.

mod evaluate;
pub mod golden;
mod solve;
pub mod verify;

pub use evaluate::{Answers, Evaluator, check_fit};
pub use solve::{Solver, Thought};
