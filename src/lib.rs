//! A hand-written GPU compute engine for Tiny Recursion Models.

pub mod checkpoint;
#[doc(hidden)]
#[allow(rustdoc::invalid_html_tags, reason = "these doc comments are the program's help")]
pub mod cli;
pub mod data;
pub mod engine;
mod error;
pub mod eval;
pub mod files;
pub mod model;
pub mod ranks;
pub mod recipe;
pub mod report;
pub mod rng;
#[cfg(feature = "serve")]
pub mod serve;
mod text;
pub mod train;
mod vectors;
mod version;

// Shaders run unchecked: who could change a plan, or a number in a loaded one, could make them read and write past their
// buffers from safe code. So users get what keeps plans as they were laid down, and only the crate's own tests, which
// turn the feature on, get the rest.
#[cfg(not(feature = "testing"))]
mod bench;
#[cfg(feature = "testing")]
pub mod bench;
#[cfg(not(feature = "testing"))]
mod kernels;
#[cfg(feature = "testing")]
pub mod kernels;
#[cfg(not(feature = "testing"))]
mod ops;
#[cfg(feature = "testing")]
pub mod ops;
#[cfg(not(feature = "testing"))]
mod plan;
#[cfg(feature = "testing")]
pub mod plan;
#[cfg(not(feature = "testing"))]
mod tune;
#[cfg(feature = "testing")]
pub mod tune;

pub use error::{Error, Result};
