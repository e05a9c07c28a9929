//! Training: the trainer makes steps, the run drives it to the end, evaluates, and keeps the run folder.

pub mod metrics;
mod run;
pub mod schedule;
mod trainer;

pub use metrics::Metrics;
pub use run::{InitFrom, Observer, Outcome, RECIPE_FILE, RunOptions, run};
pub use schedule::Schedule;
pub use trainer::{StepMetrics, Trainer, Which, load_weights, model_config, steps_of};
