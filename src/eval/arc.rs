//! ARC end to end: every augmented test input is answered, the augmentations are undone, the answers vote.
//!
//! Answers are counted as they come, so memory holds one tally for each different grid and no predictions.

use std::path::Path;
use std::sync::Arc;

use super::Selection;
use super::evaluate::{Evaluator, Look, Pace};
use super::measure::{Evaluation, measure};
use crate::Result;
use crate::data::arc::{Score, Votes};
use crate::data::{Dataset, Split};
use crate::model::init::Weights;

/// What an evaluation on ARC found.
#[derive(Clone, Debug, PartialEq)]
pub struct ArcEvaluation {
    /// Votes, ranks and pass@K.
    pub score: Score,
    /// Metrics of the first model over the augmented test inputs; none where no solution is known, as in a competition.
    pub evaluation: Option<Evaluation>,
}

/// Evaluates the model that `evaluator` has loaded on the test split of the ARC data set in `dir`, and then `others`, whose
/// answers vote with it, as those of all evaluations of a run do in the release; `finished` is shown each final answer of the
/// first model, `progress` as in [`Evaluator::roll`], of all of them together.
///
/// # Errors
/// [`crate::Error::File`] for a data set that is not ARC's or does not fit the model, [`crate::Error::Numeric`] for NaN
/// answers.
pub fn evaluate(
    evaluator: &mut Evaluator,
    others: &[Weights],
    pace: Pace,
    dir: &Path,
    finished: &mut dyn FnMut(Look<'_>) -> Result<()>,
    mut progress: impl FnMut(f64),
) -> Result<ArcEvaluation> {
    let dataset = Arc::new(Dataset::open(dir, Split::Test)?);
    let mut votes = Votes::open(dir)?;
    let all = Selection::all(&dataset);
    let mut ask = |evaluator: &mut Evaluator, before: usize| {
        let mut vote = |look: Look<'_>| {
            if before == 0 {
                finished(look)?;
            }
            votes.add(before + look.index, look.identifier, look.inputs, look.predictions, look.q_halt)
        };
        let mut progress = |done: f64| progress(before as f64 + done);
        measure(evaluator, pace, (&dataset, &all), &mut vote, &mut progress)
    };
    let evaluation = ask(evaluator, 0)?;
    for (index, weights) in others.iter().enumerate() {
        evaluator.load(weights)?;
        ask(evaluator, (1 + index) * all.len())?;
    }
    Ok(ArcEvaluation { score: votes.finish(), evaluation })
}
