//! Training: the trainer makes steps, the run drives it to the end, evaluates, and keeps the run folder.

mod layout;
#[cfg(feature = "mpi")]
mod mpi;
pub mod ranks;
mod run;
mod trainer;

#[cfg(feature = "mpi")]
pub use self::mpi::Mpi;
pub use layout::{Layout, Room};
pub use run::{InitFrom, Observer, Outcome, RECIPE_FILE, RunOptions, run};
pub use trainer::{StepMetrics, Trainer};
