//! Training: the trainer makes steps, the run drives it to the end, evaluates, and keeps the run folder.

mod batches;
mod checkpoints;
mod diagnosis;
mod evaluation;
mod folder;
mod layout;
mod notes;
mod observer;
mod run;
mod samples;
mod sessions;
mod trainer;
mod training;

pub use batches::write_batches;
pub use checkpoints::{At, Checkpoint, Found};
pub use folder::{METRICS_FILE, RECIPE_FILE};
pub use layout::{Layout, Room};
pub use notes::Note;
pub use observer::{Observer, Unobserved};
pub use run::{InitFrom, Outcome, RunOptions, run};
pub(crate) use samples::{SAMPLES_FILE, Sample, Samples};
pub(crate) use sessions::{SESSIONS_FILE, now};
pub use trainer::{StepMetrics, Trainer};
