//! The GPU engine: adapters, pipelines, and the plan as one submission per supervision step.

mod adapter;
mod executor;
mod memory;
mod profiler;
pub mod table;

pub use adapter::{Gpu, adapters};
pub(super) use executor::{GpuEngine, check_limits};
