//! The GPU engine: adapters, pipelines, and the plan as one submission per supervision step.

mod adapter;
mod executor;
mod profiler;
pub mod table;

pub use adapter::{Gpu, adapters};
pub use executor::GpuEngine;
pub(super) use executor::check_limits;
