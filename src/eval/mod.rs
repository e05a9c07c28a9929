//! What a model is worth: agreement with the published one, accuracy on a test split, ARC's score, puzzles solved.

pub mod arc;
mod ballot;
mod breadth;
mod breakdown;
mod evaluate;
pub mod golden;
mod measure;
pub mod probe;
mod rollouts;
#[cfg(feature = "torch")]
mod saved;
mod selection;
mod solve;
pub mod verify;
pub mod vote;

pub use ballot::{Elected, Select};
pub use breadth::Breadth;
pub use breakdown::{Breakdown, OfClues, OfList, Share};
pub use evaluate::{Evaluator, Look, Next, Pace, Visit, check_fit};
pub use measure::{AtStep, Evaluation, Outcome, Valid};
#[cfg(feature = "torch")]
pub use saved::SavedAnswers;
pub use selection::Selection;
pub use solve::{Question, Solution, Solver, Thought};
