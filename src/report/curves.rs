//! Curves of several runs over each other: which there are, as SVG for a page whose style has the colours, and as CSV.

use std::fmt::{self, Display};

use super::History;
use super::axis::{Axis, short};
use super::html::escaped;
use crate::{Error, Result};

/// Pairs of a step and what was measured there, in the order of the log.
pub(super) type Points = Vec<(f64, f64)>;

/// Points drawn of a curve at the most; more are averaged.
const DRAWN: usize = 400;
/// Curves of up to so many points show each.
const DOTTED: usize = 60;

/// What a curve shows, in the order of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    ExactAccuracy,
    /// Share of ARC tasks solved within so many attempts.
    PassAt(u32),
    TrainLoss,
    TestLoss,
    TrainSteps,
    TestSteps,
    SamplesPerSecond,
    ProcessMemory,
    ExactAtStep,
    HaltedAtStep,
}

impl Kind {
    /// Its name in a table.
    fn key(self) -> String {
        match self {
            Kind::ExactAccuracy => "test exact_accuracy".into(),
            Kind::PassAt(k) => format!("test pass@{k}"),
            Kind::TrainLoss => "train loss".into(),
            Kind::TestLoss => "test loss".into(),
            Kind::TrainSteps => "train steps".into(),
            Kind::TestSteps => "test steps".into(),
            Kind::SamplesPerSecond => "train samples_per_s".into(),
            Kind::ProcessMemory => "process_bytes".into(),
            Kind::ExactAtStep => "exact_accuracy by supervision step".into(),
            Kind::HaltedAtStep => "halted by supervision step".into(),
        }
    }

    /// Its heading.
    pub fn title(self) -> String {
        match self {
            Kind::ExactAccuracy => "Test samples right in every cell, %".into(),
            Kind::PassAt(k) => format!("ARC tasks solved within {k} attempts (pass@{k}), %"),
            Kind::TrainLoss => "Training loss".into(),
            Kind::TestLoss => "Test loss".into(),
            Kind::TrainSteps => "Supervision steps of training samples that halted".into(),
            Kind::TestSteps => "Supervision steps of test samples".into(),
            Kind::SamplesPerSecond => "Training samples per second, without evaluations and pauses".into(),
            Kind::ProcessMemory => "Memory of the process, GiB".into(),
            Kind::ExactAtStep => {
                "The last evaluation: samples right in every cell after each supervision step, %".into()
            }
            Kind::HaltedAtStep => "The last evaluation: samples that halt at each supervision step, %".into(),
        }
    }

    fn x(self) -> &'static str {
        match self {
            Kind::ExactAtStep | Kind::HaltedAtStep => "supervision step",
            _ => "training step",
        }
    }

    /// Where its x axis begins: no sample is answered before its first supervision step.
    fn first_x(self) -> f64 {
        if matches!(self, Kind::ExactAtStep | Kind::HaltedAtStep) { 1.0 } else { 0.0 }
    }

    /// What values are multiplied by to be shown.
    fn unit(self) -> f64 {
        match self {
            Kind::ExactAccuracy | Kind::PassAt(_) | Kind::ExactAtStep | Kind::HaltedAtStep => 100.0,
            Kind::ProcessMemory => 1.0 / (1u64 << 30) as f64,
            _ => 1.0,
        }
    }
}

/// Every point of all curves of `runs`, a row each: run, curve, step, value; shares are from 0 to 1.
///
/// # Errors
/// [`Error::Io`] if there is no memory for it.
pub fn curves_csv(runs: &[History]) -> Result<Vec<u8>> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let refused = |error: csv::Error| Error::io("CSV")(error.into());
    table.write_record(["run", "curve", "step", "value"]).map_err(refused)?;
    for run in runs {
        for (kind, points) in &run.curves {
            for (step, value) in points {
                let row = [&run.name, &kind.key(), &step.to_string(), &value.to_string()];
                table.write_record(row).map_err(refused)?;
            }
        }
    }
    table.into_inner().map_err(|error| Error::io("CSV")(error.into_error()))
}

/// One chart: a curve of each run that has it. The colour of run i is the style's `c<i>`.
pub(super) struct Chart<'a> {
    kind: Kind,
    curves: Vec<(usize, &'a str, Points)>,
}

impl<'a> Chart<'a> {
    /// Of this kind; none where no run has such a curve.
    pub fn of(runs: &'a [History], kind: Kind) -> Option<Chart<'a>> {
        let curves: Vec<_> = runs
            .iter()
            .enumerate()
            .filter_map(|(place, run)| {
                let points = averaged(run.curves.get(&kind)?, kind.unit());
                (!points.is_empty()).then_some((place, run.name.as_str(), points))
            })
            .collect();
        (!curves.is_empty()).then_some(Chart { kind, curves })
    }

    /// The runs that have a curve in it, by their places.
    pub fn runs(&self) -> impl Iterator<Item = (usize, &'a str)> {
        self.curves.iter().map(|(place, name, _)| (*place, *name))
    }
}

/// Means of as many neighbours as it takes for [`DRAWN`] points, times `unit`.
fn averaged(points: &[(f64, f64)], unit: f64) -> Points {
    let mean = |part: &[(f64, f64)]| {
        let sum = part.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / part.len() as f64, unit * sum.1 / part.len() as f64)
    };
    let points = points.chunks(points.len().div_ceil(DRAWN).max(1)).map(mean);
    points.filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
}

impl Display for Chart<'_> {
    /// Places are in hundredths of the plot's width and height, so that it takes any size while lines and letters keep theirs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points = || self.curves.iter().flat_map(|(_, _, points)| points.iter().copied());
        let x_axis = Axis::of_steps(self.kind.first_x(), points().map(|point| point.0));
        let y_axis = Axis::of(points().map(|point| point.1), self.kind.unit() == 1.0);
        let x = |value: f64| 100.0 * x_axis.place(value);
        let y = |value: f64| 100.0 - 100.0 * y_axis.place(value);
        writeln!(f, "<div class=chart><svg role=img><title>{}</title>", escaped(&self.kind.title()))?;
        for &tick in &y_axis.ticks {
            let (at, text) = (y(tick), short(tick));
            writeln!(f, "<line x2='100%' y1='{at:.2}%' y2='{at:.2}%'/>")?;
            writeln!(f, "<text y='{at:.2}%' dx=-6 dy=4 text-anchor=end>{text}</text>")?;
        }
        for &tick in &x_axis.ticks {
            let (at, text) = (x(tick), short(tick));
            writeln!(f, "<text x='{at:.2}%' y='100%' dy=18 text-anchor=middle>{text}</text>")?;
        }
        writeln!(f, "<text x='50%' y='100%' dy=36 text-anchor=middle>{}</text>", self.kind.x())?;
        for (place, name, points) in &self.curves {
            let path: Vec<String> =
                points.iter().map(|&(step, value)| format!("{:.2},{:.2}", x(step), y(value))).collect();
            let last = points.last().map(|point| short(point.1)).unwrap_or_default();
            writeln!(f, "<g class=c{place}><title>{}: {last} at the end</title>", escaped(name))?;
            writeln!(f, "<svg viewBox='0 0 100 100' preserveAspectRatio=none>")?;
            writeln!(f, "<polyline points='{}'/></svg>", path.join(" "))?;
            if points.len() <= DOTTED {
                for &(step, value) in points {
                    write!(f, "<circle cx='{:.2}%' cy='{:.2}%' r=2.5 />", x(step), y(value))?;
                }
            }
            writeln!(f, "</g>")?;
        }
        writeln!(f, "</svg></div>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_curves_are_averaged() {
        let points: Points = (0..1000).map(|step| (f64::from(step), f64::from(step % 2))).collect();
        let drawn = averaged(&points, 100.0);
        assert!(drawn.len() <= DRAWN && drawn.len() > DRAWN / 2);
        assert_eq!(averaged(&points[..4], 100.0), [(0.0, 0.0), (1.0, 100.0), (2.0, 0.0), (3.0, 100.0)]);
        let (points, drawn) = (&points[..3], averaged(&[(1.0, f64::MAX), (2.0, 1.0)], 100.0));
        assert_eq!((points.len(), drawn), (3, vec![(2.0, 100.0)]));
    }
}
