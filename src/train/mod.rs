//! Training: the trainer makes steps, the run drives it to the end, evaluates, and keeps the run folder.

mod run;
mod trainer;

pub use run::{InitFrom, Observer, Outcome, RECIPE_FILE, RunOptions, run};
pub use trainer::{StepMetrics, Trainer};
