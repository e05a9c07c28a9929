//! Training: the trainer makes steps, the run drives it to the end, evaluates, and keeps the run folder.

mod layout;
mod run;
mod trainer;

pub use layout::{Layout, Room};
pub use run::{InitFrom, Observer, Outcome, RECIPE_FILE, RunOptions, run};
pub use trainer::{StepMetrics, Trainer};
