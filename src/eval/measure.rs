//! Measuring a model on a test split: the release's metrics, and how answers and halting go from step to step.

use std::sync::Arc;

use serde::Serialize;

use super::Selection;
use super::evaluate::{Evaluator, check_fit, no_labels, samples_of};
use super::rollouts::is_valid;
use super::stream::{Look, Pace};
use crate::Result;
use crate::data::inspect::Kind;
use crate::data::{Dataset, IGNORE_LABEL};
use crate::model::Metrics;
use crate::ops::metrics::NAMES;
use crate::ranks::{self, Ranks};

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Samples seen.
    pub samples: usize,
    /// Averages over the last answer of every labelled sample; losses over all samples.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// The same samples after 1..=N_sup supervision steps; empty unless every step was looked at.
    pub by_step: Vec<AtStep>,
    /// What came of each sample that was selected; None where it was not done, or has no labels.
    #[serde(skip)]
    pub outcomes: Vec<Option<Outcome>>,
}

/// How right a model's last answer to a sample is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Share of labelled cells that are right.
    pub accuracy: f64,
    /// All are right.
    pub exact: bool,
    /// It keeps the rules of its puzzle at no higher a cost than its label, whichever cells differ: of a maze by a way that is
    /// as short. None where no rules are known.
    pub valid: Option<bool>,
}

/// How many answers keep the rules of their puzzles as well as the labels do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Valid {
    /// Answers.
    pub valid: usize,
    /// Their share of the samples with labels.
    pub valid_accuracy: f64,
}

impl Valid {
    /// Of the outcomes of samples; None where no rules are known, or no sample has labels.
    pub fn of(outcomes: &[Option<Outcome>]) -> Option<Valid> {
        let known = || outcomes.iter().flatten().filter_map(|outcome| outcome.valid);
        let (valid, of) = (known().filter(|valid| *valid).count(), known().count());
        (of > 0).then(|| Valid { valid, valid_accuracy: valid as f64 / of as f64 })
    }
}

/// All labelled samples after so many supervision steps; those that stopped before count with their last answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AtStep {
    /// Supervision steps.
    pub step: usize,
    /// Share of labelled cells that are right, averaged over samples.
    pub accuracy: f64,
    /// Share of samples that are right in every cell.
    pub exact_accuracy: f64,
    /// Share of samples whose halt head says so (q_halt > 0) for the first time at this step.
    pub halted: f64,
}

/// How right an answer is.
#[derive(Clone, Copy)]
pub(super) struct Marks {
    /// Cells with a label.
    pub(super) labels: usize,
    /// Share of them that are right; 0 without any.
    pub(super) accuracy: f64,
    /// All are right.
    pub(super) exact: bool,
}

impl Marks {
    /// With whether it is valid; None without labels.
    pub(super) fn outcome(&self, valid: Option<bool>) -> Option<Outcome> {
        (self.labels > 0).then_some(Outcome { accuracy: self.accuracy, exact: self.exact, valid })
    }
}

/// Compares an answer with the labels, (S) each; one that was lost is empty, and wrong everywhere.
pub(super) fn mark(labels: &[i32], predictions: &[i32]) -> Marks {
    let is_label = |label: &i32| *label != IGNORE_LABEL;
    let right =
        labels.iter().zip(predictions).filter(|(label, found)| is_label(label) && label == found).count();
    let labels = labels.iter().filter(|label| is_label(label)).count();
    Marks { labels, accuracy: right as f64 / labels.max(1) as f64, exact: right == labels }
}

impl Evaluator {
    /// Metrics of a whole test split after all N_sup steps; `progress` as in [`Evaluator::roll`].
    ///
    /// # Errors
    /// [`crate::Error::File`] for a data set that does not fit the model or has no labelled sample.
    pub fn evaluate(&mut self, dataset: Arc<Dataset>, progress: impl FnMut(f64)) -> Result<Metrics> {
        let all = Selection::all(&dataset);
        Ok(self.evaluate_at(Pace::default(), dataset, &all, progress)?.metrics)
    }

    /// The same of the examples that are selected, with a choice of pace, and with the way there where every step is looked
    /// at.
    ///
    /// # Errors
    /// Those of [`Evaluator::evaluate`].
    pub fn evaluate_at(
        &mut self,
        pace: Pace,
        dataset: Arc<Dataset>,
        selection: &Selection,
        progress: impl FnMut(f64),
    ) -> Result<Evaluation> {
        self.evaluate_shown(pace, dataset, selection, &mut |_| Ok(()), progress)
    }

    /// The same, where `finished` is shown each final answer.
    ///
    /// # Errors
    /// Those of [`Evaluator::evaluate`] and of `finished`.
    pub fn evaluate_shown(
        &mut self,
        pace: Pace,
        dataset: Arc<Dataset>,
        selection: &Selection,
        finished: &mut dyn FnMut(Look<'_>) -> Result<()>,
        mut progress: impl FnMut(f64),
    ) -> Result<Evaluation> {
        let measured = measure(self, pace, (&dataset, selection), finished, &mut progress)?;
        measured.ok_or_else(|| no_labels(&dataset))
    }

    /// What several ranks that evaluate their shares of a selection find together, each of which shows `finished` its own
    /// final answers; None if one of them has no more than the stop of its evaluator. Without labels, as in a competition,
    /// the count is 0.
    ///
    /// # Errors
    /// [`crate::Error::File`] for a data set that does not fit the model; those of `finished`.
    pub fn evaluate_among(
        &mut self,
        ranks: &dyn Ranks,
        pace: Pace,
        dataset: &Arc<Dataset>,
        selection: &Selection,
        finished: &mut dyn FnMut(Look<'_>) -> Result<()>,
        mut progress: impl FnMut(f64),
    ) -> Result<Option<Metrics>> {
        let share = selection.share(ranks.rank(), ranks.size());
        let found = measure(self, pace, (dataset, &share), finished, &mut progress)?;
        if ranks::any(ranks, self.stops())? {
            return Ok(None);
        }
        let own = found.map_or([0.0; NAMES.len() + 1], |found| {
            let sums = found.metrics.summed(found.samples as f64).row();
            std::array::from_fn(|at| sums.get(at).copied().unwrap_or(found.samples as f64))
        });
        let words: Vec<u32> =
            own.iter().flat_map(|sum: &f64| [sum.to_bits() as u32, (sum.to_bits() >> 32) as u32]).collect();
        let mut total = [0.0; NAMES.len() + 1];
        for (at, word) in ranks.gather(&words)?.chunks_exact(2).enumerate() {
            total[at % total.len()] += f64::from_bits(u64::from(word[0]) | u64::from(word[1]) << 32);
        }
        let sums = Metrics::of(std::array::from_fn(|at| total[at]));
        Ok(Some(sums.averaged(total[NAMES.len()])))
    }
}

/// Runs what is selected of a test split; `finished` is shown each answer that is final, `progress` as in [`Evaluator::roll`]. None if no
/// sample has labels.
///
/// # Errors
/// [`crate::Error::File`] for a data set that does not fit the model; those of `finished`.
pub(super) fn measure(
    evaluator: &mut Evaluator,
    pace: Pace,
    (dataset, selection): (&Arc<Dataset>, &Selection),
    finished: &mut dyn FnMut(Look<'_>) -> Result<()>,
    progress: &mut dyn FnMut(f64),
) -> Result<Option<Evaluation>> {
    check_fit(evaluator.config(), dataset)?;
    let kind = Kind::of_first_example(dataset)?;
    let mut totals = Totals::new(kind, selection.len(), evaluator.max_steps());
    let mut visit = |look: Look<'_>| {
        totals.look(pace, look);
        if look.last { finished(look) } else { Ok(()) }
    };
    evaluator.roll(pace, &mut samples_of(dataset, selection), &mut visit, progress)?;
    Ok((totals.sums.count > 0.0).then(|| totals.finish(pace)))
}

/// Sums over samples.
struct Totals {
    kind: Kind,
    samples: usize,
    sums: Metrics,
    steps: Vec<AtStep>,
    /// Samples whose halt head has said so.
    halted: Vec<bool>,
    outcomes: Vec<Option<Outcome>>,
}

impl Totals {
    fn new(kind: Kind, samples: usize, max_steps: usize) -> Totals {
        let at = |step| AtStep { step, accuracy: 0.0, exact_accuracy: 0.0, halted: 0.0 };
        let steps = (1..=max_steps).map(at).collect();
        Totals {
            kind,
            samples: 0,
            sums: Metrics::default(),
            steps,
            halted: vec![false; samples],
            outcomes: vec![None; samples],
        }
    }

    fn look(&mut self, pace: Pace, look: Look<'_>) {
        let marks = mark(look.labels, look.predictions);
        let counted = f64::from(marks.labels > 0);
        let exact = counted * f64::from(marks.exact);
        // A sample that stops here keeps its answer to the end.
        let until = if look.last { self.steps.len() } else { look.step };
        for at in &mut self.steps[look.step - 1..until] {
            at.accuracy += counted * marks.accuracy;
            at.exact_accuracy += exact;
        }
        if pace.every_step && look.q_halt > 0.0 && !std::mem::replace(&mut self.halted[look.index], true) {
            self.steps[look.step - 1].halted += counted;
        }
        if look.last {
            self.samples += 1;
            self.outcomes[look.index] =
                marks.outcome(is_valid(self.kind, look.inputs, look.labels, look.predictions));
            let believed = f64::from((look.q_halt >= 0.0) == marks.exact);
            self.sums = self.sums.plus(&Metrics {
                count: counted,
                accuracy: counted * marks.accuracy,
                exact_accuracy: exact,
                q_halt_accuracy: counted * believed,
                steps: counted * look.step as f64,
                ..look.stats
            });
        }
    }

    fn finish(mut self, pace: Pace) -> Evaluation {
        let count = self.sums.count;
        for at in &mut self.steps {
            at.accuracy /= count;
            at.exact_accuracy /= count;
            at.halted /= count;
        }
        let by_step = if pace.every_step { self.steps } else { Vec::new() };
        let metrics = self.sums.averaged(self.samples as f64);
        Evaluation { samples: self.samples, metrics, by_step, outcomes: self.outcomes }
    }
}
