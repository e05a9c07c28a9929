//! Measuring the candidates of one trial against each other, and all of them against the plain kernels.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::trial::{Loaded, Trial};
use crate::engine::Device;
use crate::eval::verify::{BF16_BOUND, F16_BOUND, nmse};
use crate::plan::{Element, Target, Tiles};
use crate::{Error, Result};

/// Largest NMSE between a candidate's results and those of the plain kernels in f32: sums of the same products in
/// another order, ten thousand of them.
pub const BOUND: f64 = 1e-10;

/// A candidate that takes longer than this, and more than [`HOPELESS`] times as long as the default, is not repeated.
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
    /// The best time, of all but the default as `ratio` times that of the default; None where the candidate was
    /// dropped.
    pub seconds: Option<f64>,
    /// The best time over that of the default, the two taking turns.
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
    loaded: Loaded,
    best: Duration,
}

impl Running {
    fn once(&mut self) -> Result<Duration> {
        let time = self.loaded.run.timed_submit()?.work();
        self.best = self.best.min(time);
        Ok(time)
    }

    /// The best time over that of `default`, the two taking turns.
    fn ratio_to(&mut self, default: &mut Running, repetitions: usize) -> Result<f64> {
        let hopeless = self.best >= LONG && self.best > default.best.saturating_mul(HOPELESS);
        let mut against = default.best;
        if !hopeless {
            against = default.once()?;
            for _ in 0..repetitions {
                self.once()?;
                against = against.min(default.once()?);
            }
        }
        Ok(self.best.as_secs_f64() / against.as_secs_f64().max(1e-12))
    }
}

/// Measures `candidates`, the first of which is the default: it stays on the device, each of the others takes turns
/// with it and goes, as long as there is `time`. None of the outcomes is chosen yet.
///
/// # Errors
/// Where the plain kernels themselves cannot run: [`Error::Limit`], device failures.
pub fn measure(
    device: &Device,
    trial: &Trial<'_>,
    candidates: &[Candidate],
    repetitions: usize,
    time: Duration,
) -> Result<Vec<Outcome>> {
    let start = Instant::now();
    let plain = plain_results(device, trial)?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut default: Option<Running> = None;
    for candidate in candidates {
        let mut outcome = Outcome {
            trial: trial.name,
            variant: candidate.name.clone(),
            seconds: None,
            ratio: None,
            nmse: None,
            chosen: false,
            dropped: None,
        };
        if default.is_some() && start.elapsed() > time {
            outcome.dropped = Some("no time was left: allow more seconds".into());
            outcomes.push(outcome);
            continue;
        }
        match attempt(device, trial, candidate.target, &plain) {
            Ok((mut own, error)) => {
                outcome.nmse = Some(error);
                match &mut default {
                    Some(default) => outcome.ratio = Some(own.ratio_to(default, repetitions)?),
                    None => (0..repetitions).try_for_each(|_| own.once().map(drop))?,
                }
                outcome.seconds = Some(own.best.as_secs_f64());
                if outcomes.is_empty() {
                    outcome.ratio = Some(1.0);
                    default = Some(own);
                }
            }
            Err(reason) => outcome.dropped = Some(reason),
        }
        outcomes.push(outcome);
    }
    // What else the machine did while a candidate ran, it did to the default beside it, too.
    if let Some(default) = outcomes.first().and_then(|default| default.seconds) {
        outcomes.iter_mut().for_each(|one| one.seconds = one.ratio.map(|ratio| ratio * default));
    }
    Ok(outcomes)
}

/// The plain kernels, which run everywhere: small tiles, without matrix units. Gradients that only those want in halves
/// are f32.
pub fn plain(target: Target) -> Target {
    Target { tiles: Tiles::default(), matrices: None, ..target }
}

/// What the plain kernels compute.
fn plain_results(device: &Device, trial: &Trial<'_>) -> Result<Vec<Vec<f32>>> {
    let mut loaded = trial.load(device, plain(device.target()))?;
    loaded.run.submit()?;
    loaded.results()
}

/// Runs a candidate twice; gives its NMSE, or why it is out.
fn attempt(
    device: &Device,
    trial: &Trial<'_>,
    target: Target,
    plain: &[Vec<f32>],
) -> std::result::Result<(Running, f64), String> {
    let said = |error: Error| error.to_string();
    let needed = target.tiles.shared_bytes();
    if needed > target.shared_bytes {
        return Err(format!("needs {needed} bytes of shared memory, the limit is {}", target.shared_bytes));
    }
    let mut loaded = trial.load(device, target).map_err(said)?;
    // Some drivers compile at the first run: its time says nothing.
    loaded.run.submit().map_err(said)?;
    let results = loaded.results().map_err(said)?;
    let error = judge(&results, plain, bound(device.target().precision))?;
    let best = loaded.run.timed_submit().map_err(said)?.work();
    Ok((Running { loaded, best }, error))
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
