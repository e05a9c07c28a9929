//! `trm eval --sweep`: accuracy against compute.

use std::str::FromStr;

use serde::Serialize;

use crate::eval::vote::{Cell, Sweep};
use crate::eval::{Evaluator, Select};
use crate::report::Table;
use crate::{Error, Result};

use super::eval::lost_text;

/// `rollouts=1,4,16` or `steps=16,32`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Of each puzzle.
    Rollouts(Vec<usize>),
    /// Of each rollout, at the most.
    Steps(Vec<usize>),
}

impl FromStr for Axis {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Axis, String> {
        const FORM: &str = "give rollouts=1,4,16 or steps=16,32 or both";
        let (name, list) = text.split_once('=').ok_or(FORM)?;
        let numbers = list.split(',').map(|number| number.trim().parse::<u16>());
        let mut numbers: Vec<usize> = numbers
            .map(|number| number.map(usize::from))
            .collect::<std::result::Result<_, _>>()
            .map_err(|_| FORM)?;
        if numbers.contains(&0) {
            return Err("give numbers from 1 on".into());
        }
        numbers.sort_unstable();
        numbers.dedup();
        match name.trim() {
            "rollouts" => Ok(Axis::Rollouts(numbers)),
            "steps" => Ok(Axis::Steps(numbers)),
            _ => Err(FORM.into()),
        }
    }
}

/// What the axes come to, with one value for that which is not among them, of which it was told which are given elsewhere:
/// rollouts, steps.
///
/// # Errors
/// [`Error::Usage`] for an axis that is given twice.
pub fn sweep_of(axes: &[Axis], one: [usize; 2], elsewhere: [bool; 2]) -> Result<Sweep> {
    let mut lists = [Vec::new(), Vec::new()];
    for axis in axes {
        let (at, name, given) = match axis {
            Axis::Rollouts(given) => (0, "rollouts", given),
            Axis::Steps(given) => (1, "steps", given),
        };
        if elsewhere[at] || !lists[at].is_empty() {
            return Err(Error::usage("--sweep", format!("{name} are given twice"), "give one list of each"));
        }
        lists[at].clone_from(given);
    }
    lists.iter_mut().zip(one).filter(|(list, _)| list.is_empty()).for_each(|(list, one)| list.push(one));
    let [rollouts, steps] = lists;
    Ok(Sweep { rollouts, steps })
}

/// A table of what rollouts and steps are worth.
#[derive(Serialize)]
pub struct Swept {
    /// Puzzles with labels.
    labelled: usize,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    cell: Cell,
    /// Of a puzzle.
    net_applications: f64,
    /// Of a puzzle.
    gflop: f64,
    /// Of a puzzle: its share of the time of the whole sweep, by supervision steps.
    seconds: f64,
}

impl Swept {
    /// Cells that were measured in so many seconds altogether, a pass over the puzzles that is as wide and as deep as the
    /// last of them.
    pub fn of(evaluator: &Evaluator, cells: Vec<Cell>, seconds: f64) -> Swept {
        let any = cells.last().and_then(|cell| cell.by.values().next());
        let (samples, labelled) = any.map_or((0, 0), |voted| (voted.samples, voted.labelled));
        let most = cells.iter().map(|cell| cell.steps_taken).fold(0.0, f64::max);
        let row = |cell: Cell| Row {
            net_applications: cell.steps_taken * evaluator.net_applications() as f64,
            gflop: cell.steps_taken * evaluator.flops() * 1e-9,
            seconds: seconds / samples.max(1) as f64 * cell.steps_taken / most,
            cell,
        };
        Swept { labelled, rows: cells.into_iter().map(row).collect() }
    }

    /// Puzzles.
    pub fn samples(&self) -> usize {
        let first = self.rows.first().and_then(|row| row.cell.by.values().next());
        first.map_or(0, |voted| voted.samples)
    }

    /// As people see it.
    pub fn text(&self) -> String {
        let Some(first) = self.rows.first() else { return String::new() };
        let rules: Vec<Select> = first.cell.by.keys().copied().collect();
        let names = ["rollouts", "steps", "net applications", "GFLOP", "ms"].map(str::to_owned);
        let shares = rules.iter().map(ToString::to_string).chain(["any".to_owned()]);
        let mut table = Table::new(names.into_iter().chain(shares));
        for Row { cell, net_applications, gflop, seconds } in &self.rows {
            let share = |count: f64| format!("{:.2} % ({:.0})", 100.0 * count / self.labelled as f64, count);
            let exact = cell.by.values().map(|voted| share(voted.exact as f64));
            let any = cell.by.values().next().map_or(0.0, |voted| voted.exact_accuracy_any);
            let numbers = [
                cell.rollouts.to_string(),
                cell.steps.to_string(),
                format!("{net_applications:.0}"),
                format!("{gflop:.3}"),
                format!("{:.2}", 1e3 * seconds),
            ];
            let any = share(any * self.labelled as f64);
            table.row(numbers.into_iter().chain(exact).chain([any]));
        }
        let last = self.rows.last().and_then(|row| row.cell.by.values().next());
        let lost = last.map_or(String::new(), |voted| lost_text(voted.lost));
        format!(
            "exact accuracy of {} puzzles by the rule that chooses, and where any rollout is right; compute is a puzzle's\n\n{table}{lost}",
            self.labelled
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_read_as_typed() {
        let axis = |text: &str| text.parse::<Axis>();
        assert_eq!(axis("rollouts=4,1,4"), Ok(Axis::Rollouts(vec![1, 4])));
        assert_eq!(axis("steps=16"), Ok(Axis::Steps(vec![16])));
        for wrong in ["", "rollouts", "rollouts=", "rollouts=0", "noise=1", "steps=a", "steps=1,,2"] {
            assert!(axis(wrong).is_err(), "{wrong}");
        }
        let (wide, deep) = (axis("rollouts=1,2").unwrap(), axis("steps=3").unwrap());
        let both = Sweep { rollouts: vec![1, 2], steps: vec![3] };
        let sweep = |axes: &[&Axis], elsewhere| {
            let axes: Vec<Axis> = axes.iter().map(|axis| (*axis).clone()).collect();
            sweep_of(&axes, [9, 7], elsewhere)
        };
        assert_eq!(sweep(&[&wide, &deep], [false; 2]).unwrap(), both);
        assert_eq!(sweep(&[&deep], [true, false]).unwrap(), Sweep { rollouts: vec![9], steps: vec![3] });
        assert!(sweep(&[&deep, &deep], [false; 2]).is_err() && sweep(&[&deep], [false, true]).is_err());
    }
}
