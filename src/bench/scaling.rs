//! Time of an evaluation step against B, L, T and n, and the line through it.

use serde::Serialize;

use super::{Measurement, Mode, Origin, Subject, best};
use crate::engine::Device;
use crate::{Error, Result};

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Quantity {
    /// Samples.
    B,
    /// Positions, the puzzle embedding's included.
    L,
    /// Full recursions.
    T,
    /// Latent updates of a full recursion.
    #[serde(rename = "n")]
    N,
}

impl Quantity {
    /// All of them.
    pub const ALL: [Quantity; 4] = [Quantity::B, Quantity::L, Quantity::T, Quantity::N];

    /// As the paper writes it.
    pub fn name(self) -> &'static str {
        match self {
            Quantity::B => "B",
            Quantity::L => "L",
            Quantity::T => "T",
            Quantity::N => "n",
        }
    }

    /// The subject at a quarter, a half, three quarters and all of its own value; B at powers of two up to its own.
    fn varied(self, subject: &Subject) -> Vec<(usize, Subject)> {
        let (arch, length) = (&subject.config.arch, subject.config.length());
        let own = match self {
            Quantity::B => {
                return powers(subject.batch).map(|batch| (batch, with_batch(subject, batch))).collect();
            }
            Quantity::L => length,
            Quantity::T => arch.H_cycles,
            Quantity::N => arch.L_cycles,
        };
        let mut values: Vec<usize> = (1..=4).map(|quarter| (own * quarter).div_ceil(4)).collect();
        if self == Quantity::L {
            // The puzzle embedding's positions stay.
            values.iter_mut().for_each(|value| *value = (*value).max(arch.prefix() + 1));
        }
        values.dedup();
        values.into_iter().map(|value| (value, self.at(subject, value))).collect()
    }

    fn at(self, subject: &Subject, value: usize) -> Subject {
        let mut subject = subject.clone();
        match self {
            Quantity::B => subject.batch = value,
            Quantity::L => subject.config.seq_len = value - subject.config.arch.prefix(),
            Quantity::T => subject.config.arch.H_cycles = value,
            Quantity::N => subject.config.arch.L_cycles = value,
        }
        subject
    }
}

fn with_batch(subject: &Subject, batch: usize) -> Subject {
    Quantity::B.at(subject, batch)
}

fn powers(most: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1), |power| Some(power * 2)).take_while(move |power| *power <= most)
}

/// The line through the times of one quantity.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scaling {
    /// What was varied.
    pub quantity: Quantity,
    /// Its values and the seconds of a step.
    pub points: Vec<(f64, f64)>,
    /// Seconds for one more.
    pub slope: f64,
    /// Seconds at none, by the line.
    pub intercept: f64,
}

/// Measures evaluation steps over one quantity, all values taking turns.
///
/// # Errors
/// [`Error::Usage`] where there is only one value, and as [`Subject::load`].
pub fn measure(
    device: &Device,
    subject: &Subject,
    quantity: Quantity,
    repetitions: usize,
) -> Result<(Scaling, Vec<Measurement>)> {
    let origin = Origin::of(device);
    let (values, subjects): (Vec<usize>, Vec<Subject>) = quantity.varied(subject).into_iter().unzip();
    if values.len() < 2 {
        let problem = format!("leaves a single value of {} to measure", quantity.name());
        return Err(Error::usage("bench scaling", problem, "vary something else, or give a larger batch"));
    }
    let loaded = subjects.iter().map(|subject| subject.load(Mode::Eval, device));
    let mut runs = loaded.collect::<Result<Vec<_>>>()?;
    let best = best::steps(&mut runs, repetitions)?;
    let name = quantity.name();
    let measured = values.iter().zip(&runs).zip(best).map(|((value, run), times)| {
        let key = format!("{}/{name}={value}", subject.key("scaling", Mode::Eval));
        Measurement { count: *value as u64, ..Measurement::submission(&origin, key, times, run.plan.cost()) }
    });
    let mut measured: Vec<Measurement> = measured.collect();
    let points: Vec<(f64, f64)> = measured.iter().map(|one| (one.count as f64, one.seconds)).collect();
    let (slope, intercept) = line(&points);
    for one in &mut measured {
        (one.slope_seconds, one.intercept_seconds) = (Some(slope), Some(intercept));
    }
    Ok((Scaling { quantity, points, slope, intercept }, measured))
}

/// Slope and intercept by least squares; a single point gives a flat line.
pub fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let common: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let slope = if spread > 0.0 { common / spread } else { 0.0 };
    (slope, y - slope * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_again() {
        let (slope, intercept) = line(&[(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)]);
        assert!((slope - 2.0).abs() < 1e-12 && (intercept - 3.0).abs() < 1e-12);
        assert_eq!(line(&[(1.0, 5.0)]), (0.0, 5.0));
    }
}
