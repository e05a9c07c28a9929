//! Axes of charts: where values lie, and the round numbers beside them.

/// Amounts that differ by this factor stand on a logarithmic axis.
const WIDE: f64 = 30.0;

/// An axis from `from` to `to`.
pub(super) struct Axis {
    from: f64,
    to: f64,
    logarithmic: bool,
    pub ticks: Vec<f64>,
}

impl Axis {
    /// From `first`, a whole number, to the last of these steps, so that a curve takes all the room; ticks are whole and round.
    pub fn of_steps(first: f64, steps: impl Iterator<Item = f64>) -> Axis {
        let last = steps.fold(first, f64::max);
        let to = if last > first { last } else { first + 1.0 };
        let tick = round_part(to - first).max(1.0);
        let count = ((to - first) / tick).clamp(1.0, 12.0) as usize + 1;
        let bottom = (first / tick).ceil();
        let ticks =
            (0..count).map(|index| tick * (bottom + index as f64)).filter(|tick| *tick <= to).collect();
        Axis { from: first, to, logarithmic: false, ticks }
    }

    /// For these values, between round numbers: from zero, or logarithmic where that shows more.
    pub fn of(values: impl Iterator<Item = f64> + Clone, may_be_logarithmic: bool) -> Axis {
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
        let tick = round_part(span);
        let bottom = (from / tick).floor();
        let count = (span / tick).ceil().clamp(1.0, 12.0) as usize + usize::from(from < 0.0);
        let ticks: Vec<f64> = (0..=count).map(|index| tick * (bottom + index as f64)).collect();
        Axis { from: ticks[0], to: ticks[count], logarithmic: false, ticks }
    }

    /// Where on the axis, from 0 to 1.
    pub fn place(&self, value: f64) -> f64 {
        match self.logarithmic {
            true => (value / self.from).log10() / (self.to / self.from).log10(),
            false => (value - self.from) / (self.to - self.from),
        }
    }
}

/// 1, 2 or 5 times a power of ten: about a fifth of `span`, at least a sixth.
fn round_part(span: f64) -> f64 {
    let power = 10f64.powf((span / 5.0).log10().floor());
    let part = [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|part| span / part <= 5.5);
    part.unwrap_or(span)
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
    fn steps_end_where_the_run_does() {
        let of = |first: f64, steps: &[f64]| Axis::of_steps(first, steps.iter().copied());
        let run = of(0.0, &[1.0, 203.0, 406.0]);
        assert_eq!((run.place(0.0), run.place(406.0)), (0.0, 1.0));
        assert_eq!(run.ticks, [0.0, 100.0, 200.0, 300.0, 400.0]);
        assert_eq!(of(1.0, &[1.0, 16.0]).ticks, [5.0, 10.0, 15.0]);
        assert_eq!(of(0.0, &[2.0]).ticks, [0.0, 1.0, 2.0]);
        assert_eq!(of(0.0, &[]).ticks, [0.0, 1.0]);
        assert!(of(0.0, &[f64::MAX]).ticks.len() < 10);
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.5, 2.0, 1500.0, 12.3456, 2.5e-5, 3e9].map(short);
        assert_eq!(shown, ["0", "0.5", "2", "1500", "12.346", "2.500e-5", "3.000e9"]);
    }
}
