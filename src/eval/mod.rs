//! What a model is worth: agreement with the published one, accuracy on a test split, ARC's score, puzzles solved.

pub mod arc;
mod ballot;
mod breadth;
mod breakdown;
mod choice;
mod evaluate;
pub mod golden;
mod measure;
pub mod probe;
pub(crate) mod rolling;
pub(crate) mod rollouts;
#[cfg(feature = "torch")]
mod saved;
mod selection;
mod slots;
mod solve;
mod stream;
pub mod verify;
pub mod vote;
pub(crate) mod width;

pub use ballot::{Elected, Select};
pub use breadth::{Breadth, Wishes};
pub use breakdown::{Breakdown, OfClues, OfList, Share};
pub use choice::Choice;
pub use evaluate::{Evaluator, check_fit};
pub use measure::{AtStep, Evaluation, Outcome, Valid};
#[cfg(feature = "torch")]
pub use saved::SavedAnswers;
pub use selection::Selection;
pub use solve::{Question, Solution, Solver, Thought};
pub use stream::{Look, Next, Pace, Visit};
