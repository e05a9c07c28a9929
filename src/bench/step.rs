//! The time of whole supervision steps, and where it goes.

use super::{Measurement, Mode, Origin, Subject, keep_busy};
use crate::Result;
use crate::engine::{Device, Times};

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
    let loaded = modes.iter().map(|&mode| Ok((mode, subject.load(mode, device)?, None::<Times>)));
    let mut loaded = loaded.collect::<Result<Vec<_>>>()?;
    // The first turn meets memory that was never touched and caches that are empty.
    keep_busy(|| loaded.iter_mut().try_for_each(|(_, run, _)| run.timed_submit().map(drop)))?;
    for _ in 0..repetitions {
        for (_, run, best) in &mut loaded {
            let times = run.timed_submit()?;
            *best = Some(best.map_or(times, |best| best.best(times)));
        }
    }
    let measured = loaded.iter().map(|(mode, run, best)| Measurement {
        count: run.plan.dispatches.len() as u64,
        ..Measurement::submission(
            &origin,
            subject.key("step", *mode),
            best.unwrap_or_default(),
            run.plan.cost(),
        )
    });
    Ok(measured.collect())
}
