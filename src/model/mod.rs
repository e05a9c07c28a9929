//! The model: its sizes, its tensors, its blocks, and the recursion as data.
//!
//! [`step`] lays one supervision step down on a tape: this is where the network of the paper can be read.

pub mod block;
pub mod clock;
pub mod config;
pub mod init;
pub mod params;
pub mod recursion;
pub mod step;

pub use clock::Clock;
pub use config::{Arch, ArchName, ModelConfig, PosEncodings};
pub use params::{Param, Params};
