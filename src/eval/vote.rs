//! Test-time augmentation for Sudoku and mazes: a puzzle is turned and relabelled, answered, turned back, voted on.
//!
//! Whole answers are candidates, as for ARC: the most votes win, then the higher sum of sigmoid(q_halt), then the
//! smaller tokens. The first variant of every puzzle is the puzzle as given.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::Selection;
use super::ballot::Ballot;
use super::evaluate::{Evaluator, Look, Pace, check_fit, no_labels, samples_of};
use super::measure::mark;
use crate::Result;
use crate::data::symmetry::Symmetries;
use crate::data::{Batch, Dataset};

/// What voting found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Voted {
    /// Puzzles all of whose variants were answered.
    #[serde(skip)]
    pub samples: usize,
    /// Answers to each, the one to the puzzle as given included.
    pub votes: usize,
    /// Share of cells that are right in the elected answer, averaged over puzzles.
    pub accuracy: f64,
    /// Share of puzzles whose elected answer is right in every cell.
    pub exact_accuracy: f64,
    /// The same for the puzzles as given, without a vote.
    pub exact_accuracy_alone: f64,
}

/// Evaluates on a test split with `augment` further variants of each puzzle; `progress` as in [`Evaluator::roll`], a
/// puzzle with all of its variants being one.
///
/// # Errors
/// [`crate::Error::Usage`] for puzzles without known symmetries, or more variants than there are; [`crate::Error::File`] for a data
/// set that does not fit the model or has no labels.
pub fn evaluate(
    evaluator: &mut Evaluator,
    halt: bool,
    dataset: &Arc<Dataset>,
    (augment, seed): (usize, u64),
    mut progress: impl FnMut(f64),
) -> Result<Voted> {
    check_fit(evaluator.config(), dataset)?;
    let symmetries = Symmetries::of(dataset, augment, seed)?;
    let variants = augment + 1;
    let all = Selection::all(dataset);
    let (mut samples, mut given, mut taken) =
        (samples_of(dataset, &all), Batch::new(1, dataset.metadata().seq_len), 0);
    let mut next = |one: &mut Batch| {
        if taken % variants == 0 && !samples(&mut given)? {
            return Ok(false);
        }
        let symmetry = symmetries.get(taken / variants, taken % variants);
        one.inputs.copy_from_slice(&symmetry.apply(&given.inputs));
        // The labels stay as given: answers are compared after they were turned back.
        one.labels.copy_from_slice(&given.labels);
        one.puzzle_identifiers.copy_from_slice(&given.puzzle_identifiers);
        taken += 1;
        Ok(true)
    };
    let mut polls: BTreeMap<usize, Poll> = BTreeMap::new();
    let mut tally = Tally::default();
    let mut visit = |look: Look<'_>| {
        let (sample, variant) = (look.index / variants, look.index % variants);
        let poll = polls.entry(sample).or_default();
        let answer = symmetries.get(sample, variant).undo(look.predictions);
        if variant == 0 {
            poll.alone.clone_from(&answer);
        }
        poll.ballot.cast(look.index, answer, look.q_halt)?;
        if poll.ballot.votes() == variants {
            tally.close(poll, look.labels);
            polls.remove(&sample);
        }
        Ok(())
    };
    let pace = Pace { halt, every_step: false, cut_short: false };
    evaluator.roll(pace, &mut next, &mut visit, &mut |answers| progress(answers / variants as f64))?;
    tally.finish(variants).ok_or_else(|| no_labels(dataset))
}

/// The votes on one puzzle.
#[derive(Default)]
struct Poll {
    ballot: Ballot,
    /// The answer to the puzzle as given.
    alone: Vec<i32>,
}

#[derive(Default)]
struct Tally {
    samples: usize,
    labelled: usize,
    accuracy: f64,
    exact: usize,
    alone: usize,
}

impl Tally {
    fn close(&mut self, poll: &Poll, labels: &[i32]) {
        let (elected, alone) = (
            mark(labels, poll.ballot.elected().map_or(&[], |(answer, _)| answer)),
            mark(labels, &poll.alone),
        );
        self.samples += 1;
        if elected.labels > 0 {
            self.labelled += 1;
            self.accuracy += elected.accuracy;
            self.exact += usize::from(elected.exact);
            self.alone += usize::from(alone.exact);
        }
    }

    fn finish(&self, votes: usize) -> Option<Voted> {
        let share = |count: usize| count as f64 / self.labelled as f64;
        (self.labelled > 0).then(|| Voted {
            samples: self.samples,
            votes,
            accuracy: self.accuracy / self.labelled as f64,
            exact_accuracy: share(self.exact),
            exact_accuracy_alone: share(self.alone),
        })
    }
}
