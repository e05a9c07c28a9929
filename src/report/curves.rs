//! Curves of several runs over each other: which there are, as SVG for a page whose style has the colours, and as CSV.

use std::fmt::{self, Display};

use super::History;
use super::chart::escaped;
use crate::{Error, Result};

/// Pairs of a step and what was measured there, in the order of the log.
pub(super) type Points = Vec<(f64, f64)>;

/// Points drawn of a curve at the most; more are averaged.
const DRAWN: usize = 400;
/// Curves of up to so many points show each.
const DOTTED: usize = 60;
/// Amounts that differ by this factor stand on a logarithmic axis.
const WIDE: f64 = 30.0;
/// The plotting area in pixels: left, right, top, bottom.
const AREA: [f64; 4] = [60.0, 690.0, 12.0, 262.0];

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

/// An axis from `from` to `to`.
struct Axis {
    from: f64,
    to: f64,
    logarithmic: bool,
    ticks: Vec<f64>,
}

impl Axis {
    /// For these values: from zero, or logarithmic where that shows more.
    fn of(values: impl Iterator<Item = f64> + Clone, may_be_logarithmic: bool) -> Axis {
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let most = values.fold(f64::NEG_INFINITY, f64::max);
        if may_be_logarithmic && least > 0.0 && most / least > WIDE {
            let (from, to) = (10f64.powf(least.log10().floor()), 10f64.powf(most.log10().ceil()));
            let decades = (to / from).log10().round().clamp(1.0, 400.0) as i32;
            let apart = (decades / 6 + 1) as usize;
            let ticks = (0..=decades).step_by(apart).map(|decade| from * 10f64.powi(decade)).collect();
            return Axis { from, to, logarithmic: true, ticks };
        }
        let from = least.min(0.0);
        let span = if most > from { most - from } else { 1.0 };
        // 1, 2 or 5 times a power of ten.
        let power = 10f64.powf((span / 5.0).log10().floor());
        let tick =
            [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|tick| span / tick <= 5.5);
        let tick = tick.unwrap_or(span);
        let bottom = (from / tick).floor();
        let count = (span / tick).ceil().clamp(1.0, 12.0) as usize + usize::from(from < 0.0);
        let ticks: Vec<f64> = (0..=count).map(|index| tick * (bottom + index as f64)).collect();
        Axis { from: ticks[0], to: ticks[count], logarithmic: false, ticks }
    }

    /// Where on the axis, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        match self.logarithmic {
            true => (value / self.from).log10() / (self.to / self.from).log10(),
            false => (value - self.from) / (self.to - self.from),
        }
    }
}

/// A number as short as it is told apart on an axis.
pub(super) fn short(number: f64) -> String {
    let size = number.abs();
    if number != 0.0 && !(1e-3..1e7).contains(&size) {
        return format!("{number:.3e}");
    }
    let digits = if size >= 100.0 { 0 } else { 3 };
    let text = format!("{number:.digits$}");
    if digits == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

impl Display for Chart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points = || self.curves.iter().flat_map(|(_, _, points)| points.iter().copied());
        let (x_axis, y_axis) = (
            Axis::of(points().map(|point| point.0), false),
            Axis::of(points().map(|point| point.1), self.kind.unit() == 1.0),
        );
        let [left, right, top, bottom] = AREA;
        let x = |value: f64| left + (right - left) * x_axis.place(value);
        let y = |value: f64| bottom - (bottom - top) * y_axis.place(value);
        writeln!(f, "<svg viewBox='0 0 720 302' role=img><title>{}</title>", escaped(&self.kind.title()))?;
        for &tick in &y_axis.ticks {
            let (at, text) = (y(tick), short(tick));
            writeln!(f, "<path class=grid d='M{left} {at:.1}H{right}'/>")?;
            writeln!(f, "<text x={:.1} y={:.1} text-anchor=end>{text}</text>", left - 6.0, at + 4.0)?;
        }
        for &tick in &x_axis.ticks {
            let (at, text) = (x(tick), short(tick));
            writeln!(f, "<text x={at:.1} y={:.1} text-anchor=middle>{text}</text>", bottom + 16.0)?;
        }
        let middle = (left + right) / 2.0;
        writeln!(f, "<text x={middle} y={} text-anchor=middle>{}</text>", bottom + 34.0, self.kind.x())?;
        for (place, name, points) in &self.curves {
            let path: Vec<String> =
                points.iter().map(|&(step, value)| format!("{:.1},{:.1}", x(step), y(value))).collect();
            let last = points.last().map(|point| short(point.1)).unwrap_or_default();
            writeln!(f, "<g class=c{place}><title>{}: {last} at the end</title>", escaped(name))?;
            writeln!(f, "<polyline points='{}'/>", path.join(" "))?;
            if points.len() <= DOTTED {
                for &(step, value) in points {
                    write!(f, "<circle cx={:.1} cy={:.1} r=2.5 />", x(step), y(value))?;
                }
            }
            writeln!(f, "</g>")?;
        }
        writeln!(f, "</svg>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_few_round_ticks() {
        let ticks = |values: &[f64], logarithmic| Axis::of(values.iter().copied(), logarithmic).ticks;
        assert_eq!(ticks(&[3.0, 98.0], false), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(&[0.5, 40.0], true), [0.1, 1.0, 10.0, 100.0]);
        assert_eq!(ticks(&[0.0, 0.0], false).last(), Some(&1.0));
        assert_eq!(ticks(&[-1.0, 3.0], true), [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0]);
        for odd in [&[0.0][..], &[f64::MAX, 1e-300], &[f64::MAX, -f64::MAX], &[1e-320]] {
            assert!(ticks(odd, true).len() < 80, "{odd:?}");
        }
    }

    #[test]
    fn long_curves_are_averaged() {
        let points: Points = (0..1000).map(|step| (f64::from(step), f64::from(step % 2))).collect();
        let drawn = averaged(&points, 100.0);
        assert!(drawn.len() <= DRAWN && drawn.len() > DRAWN / 2);
        assert_eq!(averaged(&points[..4], 100.0), [(0.0, 0.0), (1.0, 100.0), (2.0, 0.0), (3.0, 100.0)]);
        let (points, drawn) = (&points[..3], averaged(&[(1.0, f64::MAX), (2.0, 1.0)], 100.0));
        assert_eq!((points.len(), drawn), (3, vec![(2.0, 100.0)]));
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.5, 2.0, 1500.0, 12.3456, 2.5e-5, 3e9].map(short);
        assert_eq!(shown, ["0", "0.5", "2", "1500", "12.346", "2.500e-5", "3.000e9"]);
    }
}
