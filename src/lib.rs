//! A hand-written GPU compute engine for Tiny Recursion Models.

pub mod bench;
pub mod checkpoint;
pub mod data;
pub mod engine;
mod error;
pub mod eval;
pub mod files;
pub mod kernels;
pub mod model;
pub mod ops;
pub mod plan;
pub mod recipe;
pub mod report;
pub mod rng;
pub mod train;
pub mod tune;
mod vectors;

pub use error::{Error, Result};
