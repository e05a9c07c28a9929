//! The time of whole supervision steps, and where it goes.

use super::{Measurement, Mode, Origin, Subject, best};
use crate::Result;
use crate::engine::Device;

/// Measures one step of each mode, the modes taking turns; `count` is the number of dispatches.
///
/// # Errors
/// As [`Subject::load`].
pub fn measure(
    device: &Device,
    subject: &Subject,
    modes: &[Mode],
    repetitions: usize,
) -> Result<Vec<Measurement>> {
    let origin = Origin::of(device);
    let mut runs = modes.iter().map(|&mode| subject.load(mode, device)).collect::<Result<Vec<_>>>()?;
    let best = best::steps(&mut runs, repetitions)?;
    let measured = modes.iter().zip(&runs).zip(best).map(|((mode, run), best)| Measurement {
        count: run.plan.dispatches.len() as u64,
        ..Measurement::submission(&origin, subject.key("step", *mode), best, run.plan.cost())
    });
    Ok(measured.collect())
}
