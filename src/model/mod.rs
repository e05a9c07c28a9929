//! The model: its sizes, its tensors, its blocks, and the recursion as data.
//!
//! [`step`] lays one supervision step down on a tape: this is where the network of the paper can be read.

pub mod block;
pub mod clock;
pub mod config;
pub mod draw;
pub mod init;
pub mod params;
pub(crate) mod recursion;
mod runner;
mod schedule;
pub mod step;

pub use clock::Clock;
pub use config::{Arch, ArchName, ModelConfig, PosEncodings};
pub use draw::Draw;
pub use params::{Param, Params};
#[cfg(feature = "testing")]
pub use runner::Runner;
#[cfg(not(feature = "testing"))]
pub(crate) use runner::Runner;
pub use runner::Which;
pub use schedule::{Curriculum, Schedule};

pub use crate::ops::metrics::Metrics;
