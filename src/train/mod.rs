//! Training: the trainer makes steps, the run drives it to the end, evaluates, and keeps the run folder.

mod checkpoints;
mod diagnosis;
mod folder;
mod layout;
mod run;
mod sessions;
mod trainer;

pub use checkpoints::{Checkpoint, Note};
pub use folder::RECIPE_FILE;
pub use layout::{Layout, Room};
pub use run::{InitFrom, Observer, Outcome, ResumeFrom, RunOptions, Unobserved, run};
pub(crate) use sessions::now;
pub use trainer::{StepMetrics, Trainer};
