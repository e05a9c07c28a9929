//! Own tasks: rows of words, in CSV or JSONL, become a data set (`trm data table`), and so do samples that a [`Task`]
//! makes.
//!
//! Every row has inputs and labels of the same length, or shorter ones that are padded. Token 0 is padding and the label
//! that is ignored; the words of the vocabulary are 1, 2, ... in their order, kept in `vocabulary.json` beside the data.

mod asking;
mod build;
mod dialogue;
mod read;
mod task;
mod vocabulary;

pub use asking::{Asked, Asking};
pub use build::{Options, SplitSummary, Summary, build};
pub use dialogue::Dialogue;
pub use task::{Task, build_task};
pub(super) use vocabulary::is_own;
pub use vocabulary::{VOCABULARY_FILE, Words};
