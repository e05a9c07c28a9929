//! The best times of a device at its full clock.
//!
//! At rest a GPU runs at a fifth of its clock, needs 0.2 s of unbroken work to reach all of it and falls back in a pause:
//! the same kernel was seen at 41 and at 162 TFLOP/s for this alone. So everything that is compared is loaded and
//! compiled first, then the very work that is to be timed keeps the device busy, and the timed turns follow without a gap.

use std::time::{Duration, Instant};

use super::{Run, Times};
use crate::Result;

/// How long a device is kept busy before anything is timed.
const WARM: Duration = Duration::from_millis(300);

/// A submission of repetitions takes about this long: the waits between submissions are short beside it.
const SUBMISSION: Duration = Duration::from_millis(5);

/// Repeats `work`, once at the least, until the device is at its full clock. The first turn meets memory that was never
/// touched and caches that are empty.
fn keep_busy(mut work: impl FnMut() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    loop {
        work()?;
        if start.elapsed() >= WARM {
            return Ok(());
        }
    }
}

/// Times of a step of each run, the runs taking turns.
pub(crate) fn steps(runs: &mut [Run], repetitions: usize) -> Result<Vec<Times>> {
    keep_busy(|| runs.iter_mut().try_for_each(|run| run.timed_submit().map(drop)))?;
    let mut best = vec![None::<Times>; runs.len()];
    for _ in 0..repetitions {
        for (run, best) in runs.iter_mut().zip(&mut best) {
            let times = run.timed_submit()?;
            *best = Some(best.map_or(times, |best| best.best(times)));
        }
    }
    Ok(best.into_iter().map(Option::unwrap_or_default).collect())
}

/// Times of these dispatches of a run, which take turns, each repeated until it fills a submission.
pub(crate) fn dispatches(run: &mut Run, indices: &[usize], repetitions: usize) -> Result<Vec<Duration>> {
    let mut repeats = vec![2; indices.len()];
    // What fills a submission at a low clock does not at a high one: each turn corrects the one before.
    keep_busy(|| {
        for (&index, repeats) in indices.iter().zip(&mut repeats) {
            let once = run.repeat(index, *repeats)?.work() / *repeats;
            let wanted = SUBMISSION.as_secs_f64() / once.as_secs_f64().max(1e-6);
            *repeats = wanted.ceil().clamp(1.0, 1000.0) as u32;
        }
        Ok(())
    })?;
    let mut best = vec![Duration::MAX; indices.len()];
    for _ in 0..repetitions.max(1) {
        for ((&index, &repeats), best) in indices.iter().zip(&repeats).zip(&mut best) {
            *best = (*best).min(run.repeat(index, repeats)?.work() / repeats);
        }
    }
    Ok(best)
}
