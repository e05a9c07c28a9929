//! The time of a step on a device that is only known by its numbers.

use std::fmt;

use serde::Serialize;

use super::Roofline;
use crate::plan::Plan;

/// Time from one dispatch to the next on a GPU: the launch and the barrier.
const LAUNCH_SECONDS: f64 = 2e-6;

/// A predicted step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Prediction {
    /// The whole step.
    pub seconds: f64,
    /// Dispatches that arithmetic bounds.
    pub compute_seconds: f64,
    /// Dispatches that memory bounds.
    pub memory_seconds: f64,
    /// Launches.
    pub launch_seconds: f64,
}

/// Takes every dispatch for as fast as `roofline` allows, plus 2 us to launch it: a lower bound.
pub fn predict(plan: &Plan, roofline: Roofline) -> Prediction {
    let mut prediction = Prediction::default();
    for dispatch in plan.sequence().map(|(index, _)| &plan.dispatches[index]) {
        let [compute, memory] = roofline.parts(dispatch);
        if compute >= memory {
            prediction.compute_seconds += compute;
        } else {
            prediction.memory_seconds += memory;
        }
        prediction.launch_seconds += LAUNCH_SECONDS;
    }
    prediction.seconds = prediction.compute_seconds + prediction.memory_seconds + prediction.launch_seconds;
    prediction
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |seconds: f64| format!("{:.3} ms", 1e3 * seconds);
        writeln!(
            f,
            "predicted: {} ({} bound by arithmetic, {} by memory, {} of launches)",
            ms(self.seconds),
            ms(self.compute_seconds),
            ms(self.memory_seconds),
            ms(self.launch_seconds)
        )
    }
}
