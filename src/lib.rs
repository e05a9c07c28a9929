//! Tiny Recursion Models on any GPU and on the CPU: training them, and solving puzzles with them.
//!
//! A model looks at a puzzle again and again. Each supervision step takes the puzzle x, its answer so far y and a latent
//! thought z, improves both in a few recursions, and says whether it believes the answer.
//!
//! ```text
//!   files, rows, a Task                                        a question, (S) tokens
//!          |                                                          |
//!          v                                                          v
//!      [Dataset]      [Recipe]                       +----------> [Solver] --> Solution: the answer
//!          |             |                           |                ^        after every step
//!          +------+------+                           |                |
//!                 v                               [Model]             |
//!            [Trainer] --- train::run ---> run folder, weights     [Device]  gpu | cpu
//!                 ^                                                   |
//!                 +---------------------------------------------------+
//! ```
//!
//! | noun | what it is |
//! |---|---|
//! | [`Device`] | a GPU or the CPU engine, and how it stores activations |
//! | [`Dataset`] | puzzles on disk: groups of puzzles of examples, each (S) tokens in and (S) labels out |
//! | [`Recipe`] | the sizes of a model and the settings of its training, from TOML |
//! | [`Trainer`] | a model in training: one call makes one step; [`train::run`] drives it to the end |
//! | [`Model`] | sizes and weights, as they are stored |
//! | [`Solver`] | a model that answers questions, many at once |
//!
//! Everything fallible returns [`Error`], whose message is one line: what is at fault, what was found, what to do.
//!
//! # A model that answers
//!
//! ```
//! use trm::data::inspect::Kind;
//! use trm::eval::Question;
//! use trm::model::ModelConfig;
//! use trm::{Device, Model, Recipe, Solver};
//!
//! # fn main() -> trm::Result<()> {
//! // Sizes as trained, or, as here, of one that has learnt nothing: 4x4 Sudoku has 16 cells and 6 tokens.
//! let recipe = Recipe::load("tiny-sudoku4", &["arch.halt_max_steps=4".into()])?;
//! let sizes = ModelConfig {
//!     arch: recipe.arch,
//!     vocab_size: 6,
//!     seq_len: 16,
//!     num_puzzle_identifiers: 1,
//!     identifiers: None,
//! };
//! let model = Model::fresh(sizes, 0); // or Model::load("runs/first")?
//!
//! let mut solver = Solver::new(&model.config, &model.weights, &Device::cpu(), 2)?;
//! let blank = Question { kind: Kind::Sudoku { size: 4 }, inputs: vec![1; 16], identifier: 0 };
//! let solutions = solver.solve_all(&[blank.clone(), blank])?;
//!
//! assert_eq!(solutions[0].thoughts.len(), 4);
//! assert_eq!(solutions[0].answer(), solutions[1].answer());
//! println!("{:?}, believed by {:.2}", solutions[0].answer(), solutions[0].thoughts[3].confidence());
//! # Ok(())
//! # }
//! ```
//!
//! Programs that do more are in `examples`: `solve_batch` answers a batch from memory, `own_task` trains on a task that is
//! one trait ([`data::own::Task`]), `time_steps` times a device, `time_kernel` runs one kernel ([`single`]),
//! compares it with its native twin and times it.
//!
//! # Features
//!
//! All are on unless they are chosen; the library alone needs none.
//!
//! | feature | what it adds |
//! |---|---|
//! | `cli` | the program `trm`, with `isa` and `torch`: its command line, reports, measuring and tuning |
//! | `serve` | [`serve`]: answers over HTTP |
//! | `torch` | PyTorch's checkpoints in and out, the release's YAML |
//! | `isa` | kernels in other languages, and compiled for AMD GPUs that are not there |
//! | `mpi` | several GPUs (not on by itself; needs an MPI library) |

// Without the program nobody measures, tunes or draws, and some of what these need is left.
#![cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports))]

pub mod checkpoint;
#[cfg(feature = "cli")]
#[doc(hidden)]
#[allow(rustdoc::invalid_html_tags, reason = "these doc comments are the program's help")]
pub mod cli;
pub mod data;
pub mod engine;
mod error;
pub mod eval;
pub mod files;
mod magic;
pub mod model;
pub mod ranks;
pub mod recipe;
#[cfg(feature = "cli")]
pub mod report;
pub mod rng;
#[cfg(feature = "serve")]
pub mod serve;
pub mod single;
mod text;
pub mod train;
mod vectors;
mod version;

// Shaders run unchecked: who could change a plan, or a number in a loaded one, could make them read and write past their
// buffers from safe code. So users get what keeps plans as they were laid down, and only the crate's own tests, which
// turn the feature on, get the rest.
#[cfg(all(feature = "cli", not(feature = "testing")))]
mod bench;
#[cfg(all(feature = "cli", feature = "testing"))]
pub mod bench;
#[cfg(all(feature = "cli", not(feature = "testing")))]
mod kernels;
#[cfg(all(feature = "cli", feature = "testing"))]
pub mod kernels;
#[cfg(not(feature = "testing"))]
mod ops;
#[cfg(feature = "testing")]
pub mod ops;
#[cfg(not(feature = "testing"))]
mod plan;
#[cfg(feature = "testing")]
pub mod plan;
#[cfg(all(feature = "cli", not(feature = "testing")))]
mod tune;
#[cfg(all(feature = "cli", feature = "testing"))]
pub mod tune;

pub use checkpoint::Model;
pub use data::Dataset;
pub use engine::Device;
pub use error::{Error, Result};
pub use eval::Solver;
pub use recipe::Recipe;
pub use train::Trainer;

/// The nouns go from thread to thread, and can be shared where only looked at.
const _: fn() = || {
    fn threads<T: Send + Sync>() {}
    threads::<Device>();
    threads::<Dataset>();
    threads::<Recipe>();
    threads::<Trainer>();
    threads::<Model>();
    threads::<Solver>();
    threads::<Error>();
};
