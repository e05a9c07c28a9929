//! ARC: tasks of coloured grids, each a rule to be guessed from a few pairs and applied to a test input.
//!
//! [`build()`] turns task files into a data set of up to a thousand augmentations per task; [`Votes`] undoes the
//! augmentations of the model's predictions, lets them vote, and writes the competition's submission.
//! Sources: ARC-AGI-1 and 2 (Chollet 2019, 2025), the release's ARC builder and evaluator.

mod augment;
mod build;
mod catalogue;
mod grid;
mod score;
mod sources;
mod task;

pub use augment::{Augmentation, Identifiers, distinct};
pub use build::{Options, Summary, TEST_PUZZLES_FILE, build};
pub use catalogue::OnDuplicate;
pub(crate) use grid::bounds;
pub use grid::{CANVAS, COLOURS, Grid, PALETTE, SEQ_LEN, VOCAB_SIZE, colour_of};
pub use score::{Attempts, Candidate, InputScore, SUBMISSION_FILE, Score, TaskScore, Votes};
pub use sources::read_subset;
pub use task::{Pair, SEPARATOR, Task, read_tasks, write_tasks};
