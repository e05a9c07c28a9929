//! Measuring: how fast a device runs the plans, and how close that is to what the device can do.
//!
//! [`roofline`] measures the device's own limits, [`kernels`] every distinct dispatch of a plan against them,
//! [`step`] whole supervision steps and where their time goes, [`scaling`] time against B, L, T and n; [`mod@predict`]
//! needs no device, [`card`] says all that is worth knowing of one. Every time is the best of several repetitions, the things compared taking turns within each, so
//! that a busy moment hits all of them, after the device has been kept busy for 0.3 s. [`compare`] pairs the measurements of two runs.

pub mod card;
pub mod compare;
pub mod kernels;
mod measurement;
pub mod predict;
pub mod roofline;
pub mod scaling;
pub mod step;
mod subject;

use crate::engine::best;

pub use measurement::{Measurement, Origin};
pub use predict::{Prediction, predict};
pub use roofline::Roofline;
pub use subject::{Mode, Subject};
