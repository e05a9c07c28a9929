//! Measuring the candidates of one trial against each other, and all of them against the plain kernels.

use std::time::Duration;

use serde::Serialize;

use super::trial::{Loaded, Trial};
use crate::engine::Device;
use crate::eval::verify::{BF16_BOUND, F16_BOUND, nmse};
use crate::plan::{Element, Target, Variants};
use crate::{Error, Result};

/// Largest NMSE between a candidate's results and those of the plain kernels in f32: sums of the same products in
/// another order, ten thousand of them.
pub const BOUND: f64 = 1e-10;

/// A candidate that takes longer than this, and more than [`HOPELESS`] times as long as the best, is not repeated.
const LONG: Duration = Duration::from_millis(100);
const HOPELESS: u32 = 2;

/// The bound where activations are stored in `precision`; in halves that of the golden vectors.
pub fn bound(precision: Element) -> f64 {
    match precision {
        Element::F32 => BOUND,
        Element::Bf16 => BF16_BOUND,
        Element::F16 => F16_BOUND,
    }
}

/// One way to do a trial.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What people call it: `tiled 64x128`.
    pub name: String,
    /// What plans are laid out for to take it.
    pub target: Target,
}

/// What became of a candidate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The trial.
    pub trial: &'static str,
    /// The candidate.
    pub variant: String,
    /// The best time; None where the candidate was dropped.
    pub seconds: Option<f64>,
    /// That over the time of the default.
    pub ratio: Option<f64>,
    /// NMSE against the plain kernels.
    pub nmse: Option<f64>,
    /// It is taken from now on.
    pub chosen: bool,
    /// Why the candidate was dropped.
    pub dropped: Option<String>,
}

/// A candidate that computes what it should.
struct Running {
    index: usize,
    loaded: Loaded,
    best: Duration,
    /// It is worth repeating.
    again: bool,
}

/// Measures `candidates`, the first of which is the default. None of the outcomes is chosen yet.
///
/// # Errors
/// Where the plain kernels themselves cannot run: [`Error::Limit`], device failures.
pub fn measure(
    device: &Device,
    trial: &Trial<'_>,
    candidates: &[Candidate],
    repetitions: usize,
) -> Result<Vec<Outcome>> {
    let plain = plain_results(device, trial)?;
    let mut outcomes = Vec::new();
    let mut running: Vec<Running> = Vec::new();
    let mut best = Duration::MAX;
    for (index, candidate) in candidates.iter().enumerate() {
        let mut outcome = Outcome {
            trial: trial.name,
            variant: candidate.name.clone(),
            seconds: None,
            ratio: None,
            nmse: None,
            chosen: false,
            dropped: None,
        };
        match attempt(device, trial, candidate.target, &plain) {
            Ok((loaded, time, error)) => {
                outcome.nmse = Some(error);
                best = best.min(time);
                running.push(Running { index, loaded, best: time, again: true });
            }
            Err(reason) => outcome.dropped = Some(reason),
        }
        outcomes.push(outcome);
    }
    let hopeless = best.saturating_mul(HOPELESS);
    running.iter_mut().for_each(|one| one.again = one.best < LONG || one.best <= hopeless);
    for _ in 0..repetitions {
        for one in running.iter_mut().filter(|one| one.again) {
            one.best = one.best.min(one.loaded.run.timed_submit()?.work());
        }
    }
    for one in &running {
        outcomes[one.index].seconds = Some(one.best.as_secs_f64());
    }
    let default = outcomes.first().and_then(|default| default.seconds);
    for outcome in &mut outcomes {
        outcome.ratio = outcome.seconds.zip(default).map(|(own, default)| own / default);
    }
    Ok(outcomes)
}

/// What the plain kernels compute: no fusion, small tiles, no subgroups.
fn plain_results(device: &Device, trial: &Trial<'_>) -> Result<Vec<Vec<f32>>> {
    let plain = Variants { fused: false, ..Variants::default() };
    let mut loaded = trial.load(device, device.target().with(plain))?;
    loaded.run.submit()?;
    loaded.results()
}

/// Runs a candidate twice; gives its time and NMSE, or why it is out.
fn attempt(
    device: &Device,
    trial: &Trial<'_>,
    target: Target,
    plain: &[Vec<f32>],
) -> std::result::Result<(Loaded, Duration, f64), String> {
    let said = |error: Error| error.to_string();
    let needed = target.tiles.shared_bytes();
    if needed > target.shared_bytes {
        return Err(format!("needs {needed} bytes of shared memory, the limit is {}", target.shared_bytes));
    }
    let mut loaded = trial.load(device, target).map_err(said)?;
    // Some drivers compile at the first run: its time says nothing.
    loaded.run.submit().map_err(said)?;
    let results = loaded.results().map_err(said)?;
    let error = judge(&results, plain, bound(target.precision))?;
    let time = loaded.run.timed_submit().map_err(said)?.work();
    Ok((loaded, time, error))
}

/// The largest NMSE, if it is within `bound`.
fn judge(found: &[Vec<f32>], plain: &[Vec<f32>], bound: f64) -> std::result::Result<f64, String> {
    let mut worst = 0.0;
    for (found, plain) in found.iter().zip(plain) {
        let error = nmse(found, plain);
        // A NaN is within no bound.
        if error.is_nan() || error > bound {
            return Err(format!(
                "disagrees with the plain kernel: NMSE {error:.1e}, the bound is {bound:.0e}"
            ));
        }
        worst = error.max(worst);
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn what_disagrees_is_out() {
        let plain = [vec![1.0, 2.0], vec![3.0]];
        assert_eq!(judge(&plain, &plain, 0.0), Ok(0.0));
        assert!(judge(&[vec![1.0, 2.0], vec![3.1]], &plain, 1e-10).unwrap_err().contains("disagrees"));
        assert!(judge(&[vec![1.0, f32::NAN], vec![3.0]], &plain, 1e9).is_err());
        assert!(judge(&[vec![1.0], vec![3.0]], &plain, 1e9).is_err());
    }
}
