//! Puzzles on disk and in batches: everything before the first tensor.
//!
//! [`Writer`] streams a data set to disk in the authors' layout, [`Dataset`] reads one,
//! [`Sampler`] draws training [`Batch`]es from it for ever and can be resumed, [`TestBatches`] goes through
//! it once in order. One file or folder per kind of puzzle builds data sets. Nothing here knows a GPU.
//!
//! A data set holds groups (one task), a group holds puzzles (its augmentations), a puzzle holds examples
//! (input and label, S tokens each).

pub mod arc;
mod batch;
mod dataset;
pub mod dihedral;
pub mod inspect;
pub mod join;
mod json;
pub mod maze;
mod npy;
mod origins;
pub mod own;
pub mod pasted;
mod random_state;
mod sampler;
pub mod sudoku;
#[cfg(not(feature = "testing"))]
pub(crate) mod symmetry;
#[cfg(feature = "testing")]
pub mod symmetry;
mod table;
mod writer;

pub use batch::{Batch, IGNORE_LABEL};
pub use dataset::{Dataset, Metadata, Set, Split};
pub use origins::{Origin, read_origins};
pub use sampler::{Sampler, SamplerState, TestBatches};
pub use table::OnInvalid;
pub use writer::{Vocabulary, Writer, write_identifiers};
