//! The GPU engine: adapters, pipelines, and each supervision step as one submission, or several where it takes long.

mod adapter;
mod executor;
mod memory;
mod profiler;
mod submissions;
pub mod table;

pub use adapter::{Gpu, adapters};
pub(super) use executor::{GpuEngine, check_limits};
pub(super) use submissions::Pace;
