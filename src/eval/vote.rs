//! What breadth is worth on a test split: how many puzzles are right by the choice among so many rollouts of so many steps.
//!
//! Rollouts do not know how many there are, nor how many steps they may take, so the widest and deepest choice is run once,
//! and every narrower and shallower one is a part of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::ballot::Select;
use super::breadth::has_rules;
use super::evaluate::{Evaluator, check_fit, no_labels};
use super::measure::{Outcome, mark};
use super::rolling::{Stream, roll_out};
use super::rollouts::{Answered, all_lost, is_valid, questions_of};
use super::solve::Question;
use super::{Breadth, Selection};
use crate::Result;
use crate::data::Dataset;
use crate::data::inspect::Kind;

/// What one choice found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Voted {
    /// Puzzles all of whose rollouts were done.
    #[serde(skip)]
    pub samples: usize,
    /// Of those, puzzles with labels.
    pub labelled: usize,
    /// Rollouts of each, the one of the puzzle as given included.
    pub votes: usize,
    /// How an answer was chosen.
    pub select: Select,
    /// Rollouts of all puzzles that have no vote, because the model made NaN of them; a puzzle without any is not solved.
    pub lost: usize,
    /// Supervision steps of all rollouts of a puzzle, on average.
    pub steps: f64,
    /// Share of cells that are right in the elected answer, averaged over puzzles.
    pub accuracy: f64,
    /// Puzzles whose elected answer is right in every cell.
    pub exact: usize,
    /// Their share.
    pub exact_accuracy: f64,
    /// The same share for the puzzles as given, without a choice.
    pub exact_accuracy_alone: f64,
    /// The share of puzzles that any rollout is right about: what a better choice could still gain.
    pub exact_accuracy_any: f64,
    /// Puzzles whose elected answer keeps the rules, where those chose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_rules: Option<usize>,
    /// What came of the elected answer to each puzzle that was selected; None where it was not done, or has no labels.
    #[serde(skip)]
    pub outcomes: Vec<Option<Outcome>>,
}

/// How many rollouts and steps are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Rollouts, ascending; the last is as many as the evaluator's.
    pub rollouts: Vec<usize>,
    /// Supervision steps, ascending; the last is as many as the evaluator's.
    pub steps: Vec<usize>,
}

/// What so many rollouts of so many steps are worth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// Rollouts of each puzzle.
    pub rollouts: usize,
    /// Supervision steps of a rollout, at the most.
    pub steps: usize,
    /// Supervision steps of all rollouts of a puzzle, on average.
    pub steps_taken: f64,
    /// By rule.
    pub by: BTreeMap<Select, Voted>,
}

/// Measures the choice that the evaluator's [`Breadth`] says on what is selected of a test split; `progress` as in
/// [`Evaluator::roll`], a puzzle with all of its rollouts being one.
///
/// # Errors
/// [`crate::Error::Usage`] for puzzles without as many variants or without rules to choose by; [`crate::Error::File`] for a
/// data set that does not fit the model or has no labels; [`crate::Error::Numeric`] where the model makes NaN of all rollouts.
pub fn evaluate(
    evaluator: &mut Evaluator,
    dataset: &Arc<Dataset>,
    selection: &Selection,
    progress: impl FnMut(f64),
) -> Result<Voted> {
    let Breadth { rollouts, select, .. } = *evaluator.breadth();
    let whole = Sweep { rollouts: vec![rollouts], steps: vec![evaluator.max_steps()] };
    let cells = tally(evaluator, &whole, &|_| vec![select], (dataset, selection), progress)?;
    let voted = cells.into_iter().find_map(|cell| cell.by.into_values().next());
    voted.ok_or_else(|| no_labels(dataset))
}

/// Measures all choices of a sweep, rollouts by steps, by each rule that the puzzles have and the evaluator measures for.
///
/// # Errors
/// As [`evaluate`].
pub fn sweep(
    evaluator: &mut Evaluator,
    sweep: &Sweep,
    dataset: &Arc<Dataset>,
    selection: &Selection,
    progress: impl FnMut(f64),
) -> Result<Vec<Cell>> {
    let residual = evaluator.breadth().needs().changes;
    let rules = |kind: Kind| {
        let known = |select: &Select| match select {
            Select::Vote | Select::Halt => true,
            Select::Residual => residual,
            Select::Valid => has_rules(kind),
        };
        Select::ALL.into_iter().filter(known).collect()
    };
    tally(evaluator, sweep, &rules, (dataset, selection), progress)
}

fn tally(
    evaluator: &mut Evaluator,
    sweep: &Sweep,
    rules: &dyn Fn(Kind) -> Vec<Select>,
    (dataset, selection): (&Arc<Dataset>, &Selection),
    mut progress: impl FnMut(f64),
) -> Result<Vec<Cell>> {
    check_fit(evaluator.config(), dataset)?;
    let mut ask = questions_of(dataset, selection, *evaluator.breadth())?;
    let mut tallies: BTreeMap<(usize, usize, Select), Tally> = BTreeMap::new();
    let mut done = |answered: Answered| {
        for select in rules(answered.asked.question.kind) {
            for &rollouts in &sweep.rollouts {
                for (at, &steps) in sweep.steps.iter().enumerate() {
                    let tally = tallies.entry((rollouts, steps, select)).or_default();
                    tally.add(&answered, select, rollouts, (at, steps));
                }
            }
        }
        Ok(())
    };
    let stream = Stream::of(&mut ask, &mut done, &mut progress);
    roll_out(evaluator, &sweep.steps, stream)?;
    let lost =
        |((rollouts, ..), tally): (&(usize, usize, Select), &Tally)| tally.lost == rollouts * tally.samples;
    if tallies.values().any(|tally| tally.samples > 0) && tallies.iter().all(lost) {
        return Err(all_lost("q_halt of all rollouts".into()));
    }
    let mut cells: Vec<Cell> = Vec::new();
    for ((rollouts, steps, select), tally) in tallies {
        let Some(voted) = tally.finish(select, rollouts) else { return Err(no_labels(dataset)) };
        match cells.last_mut().filter(|cell| (cell.rollouts, cell.steps) == (rollouts, steps)) {
            Some(cell) => drop(cell.by.insert(select, voted)),
            None => {
                let steps_taken = voted.steps;
                cells.push(Cell { rollouts, steps, steps_taken, by: BTreeMap::from([(select, voted)]) });
            }
        }
    }
    if cells.is_empty() { Err(no_labels(dataset)) } else { Ok(cells) }
}

/// Sums over puzzles.
#[derive(Default)]
struct Tally {
    samples: usize,
    labelled: usize,
    lost: usize,
    steps: usize,
    accuracy: f64,
    exact: usize,
    alone: usize,
    any: usize,
    keep_rules: Option<usize>,
    outcomes: Vec<Option<Outcome>>,
}

impl Tally {
    fn add(&mut self, answered: &Answered, select: Select, rollouts: usize, (at, steps): (usize, usize)) {
        let (labels, elected) = (&answered.asked.labels, answered.elected(select, rollouts, at));
        let answer = elected.as_ref().map_or(&[][..], |elected| &elected.answer);
        let (marks, Question { kind, inputs, .. }) = (mark(labels, answer), &answered.asked.question);
        let valid = match elected {
            Some(_) => is_valid(*kind, inputs, labels, answer),
            None => has_rules(*kind).then_some(false),
        };
        self.samples += 1;
        self.lost += answered.answers(rollouts, at).filter(Option::is_none).count();
        self.outcomes.resize(self.outcomes.len().max(answered.index + 1), None);
        self.outcomes[answered.index] = marks.outcome(valid);
        self.steps += answered.steps(rollouts, steps);
        if let Some(valid) = elected.and_then(|elected| elected.valid) {
            *self.keep_rules.get_or_insert(0) += usize::from(valid);
        }
        if marks.labels > 0 {
            let exact = || {
                answered.answers(rollouts, at).map(|answer| mark(labels, answer.unwrap_or_default()).exact)
            };
            self.labelled += 1;
            self.accuracy += marks.accuracy;
            self.exact += usize::from(marks.exact);
            self.alone += usize::from(exact().next() == Some(true));
            self.any += usize::from(exact().any(|exact| exact));
        }
    }

    fn finish(self, select: Select, votes: usize) -> Option<Voted> {
        let share = |count: usize| count as f64 / self.labelled as f64;
        (self.labelled > 0).then(|| Voted {
            samples: self.samples,
            labelled: self.labelled,
            votes,
            select,
            lost: self.lost,
            steps: self.steps as f64 / self.samples as f64,
            accuracy: self.accuracy / self.labelled as f64,
            exact: self.exact,
            exact_accuracy: share(self.exact),
            exact_accuracy_alone: share(self.alone),
            exact_accuracy_any: share(self.any),
            keep_rules: self.keep_rules,
            outcomes: self.outcomes,
        })
    }
}
