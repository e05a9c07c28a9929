//! Measuring: how fast a device runs the plans, and how close that is to what the device can do.
//!
//! [`roofline`] measures the device's own limits, [`kernels`] every distinct dispatch of a plan against them,
//! [`step`] whole supervision steps and where their time goes, [`scaling`] time against B, L, T and n; [`mod@predict`]
//! needs no device. Every time is the best of several repetitions, the things compared taking turns within each, so
//! that a busy moment hits all of them, after the device has been kept busy for 0.3 s. [`compare`] pairs the measurements of two runs.

pub mod compare;
pub mod kernels;
mod measurement;
pub mod predict;
pub mod roofline;
pub mod scaling;
pub mod step;
mod subject;

pub use measurement::{Measurement, Origin};
pub use predict::{Prediction, predict};
pub use roofline::Roofline;
pub use subject::{Mode, Subject};

use std::time::{Duration, Instant};

use crate::Result;

/// How long a device is kept busy before anything is timed. At rest a GPU runs at a fifth of its clock and needs 0.2 s of
/// work to reach all of it: the same kernel was seen at 41 and at 162 TFLOP/s for this alone.
const WARM: Duration = Duration::from_millis(300);

/// Repeats the very work that is to be timed, once at the least, until the device has been busy for [`WARM`]. Everything
/// is compiled by then; what is timed follows without a gap.
fn keep_busy(mut work: impl FnMut() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    while {
        work()?;
        start.elapsed() < WARM
    } {}
    Ok(())
}
