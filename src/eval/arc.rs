//! ARC end to end: every augmented test input is answered, the augmentations are undone, the answers vote.
//!
//! Answers are counted as they come, so memory holds one tally for each different grid and no predictions.

use std::path::Path;
use std::sync::Arc;

use super::evaluate::{Evaluator, check_fit};
use super::measure::{Evaluation, measure};
use super::rolling::{Stream, roll_out};
use super::rollouts::{Answered, all_lost, questions_of};
use super::solve::Question;
use super::stream::{Look, Pace};
use super::{Breadth, Selection};
use crate::Result;
use crate::data::arc::{Score, Votes};
use crate::data::{Dataset, Split};
use crate::model::init::Weights;

/// What an evaluation on ARC found.
#[derive(Clone, Debug, PartialEq)]
pub struct ArcEvaluation {
    /// Votes, ranks and pass@K.
    pub score: Score,
    /// Metrics of the first model over the augmented test inputs; none where no solution is known, as in a competition, or
    /// where each is thought about more than once.
    pub evaluation: Option<Evaluation>,
    /// Augmented test inputs that the first model is done with.
    pub samples: usize,
    /// Rollouts, of all models, that have no vote, because the model made NaN of them.
    pub lost: usize,
}

/// Evaluates the model that `evaluator` has loaded on the test split of the ARC data set in `dir`, and then `others`, whose
/// answers vote with it, as those of all evaluations of a run do in the release; `finished` is shown each final answer of the
/// first model, `progress` as in [`Evaluator::roll`], of all of them together.
///
/// # Errors
/// [`crate::Error::File`] for a data set that is not ARC's or does not fit the model, [`crate::Error::Numeric`] for NaN
/// answers, among several rollouts where a model makes it of all of them.
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
    let (mut samples, mut lost) = (0, 0);
    let mut ask = |evaluator: &mut Evaluator, before: usize| {
        if evaluator.breadth().rollouts > 1 {
            let (done, none) = widely(evaluator, (&dataset, &all), &mut votes, before, &mut progress)?;
            samples += if before == 0 { done } else { 0 };
            lost += none;
            return Ok(None);
        }
        let mut vote = |look: Look<'_>| {
            if before == 0 {
                samples += 1;
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
    Ok(ArcEvaluation { score: votes.finish(), evaluation, samples, lost })
}

/// Lets the answer vote that is chosen among the rollouts of each augmented test input. How many these are, and how many
/// rollouts were lost.
fn widely(
    evaluator: &mut Evaluator,
    (dataset, all): (&Arc<Dataset>, &Selection),
    votes: &mut Votes,
    before: usize,
    progress: &mut dyn FnMut(f64),
) -> Result<(usize, usize)> {
    check_fit(evaluator.config(), dataset)?;
    let (breadth, steps) = (*evaluator.breadth(), evaluator.max_steps());
    let Breadth { rollouts, select, .. } = breadth;
    let mut ask = questions_of(dataset, all, breadth)?;
    let (mut samples, mut lost) = (0, 0);
    let mut done = |answered: Answered| {
        samples += 1;
        lost += answered.answers(rollouts, 0).filter(Option::is_none).count();
        let Question { identifier, inputs, .. } = &answered.asked.question;
        let Some(elected) = answered.elected(select, rollouts, 0) else { return Ok(()) };
        votes.add(before + answered.index, *identifier, inputs, &elected.answer, elected.q_halt)
    };
    let mut progress = |done: f64| progress(before as f64 + done);
    let stream = Stream::of(&mut ask, &mut done, &mut progress);
    roll_out(evaluator, &[steps], stream)?;
    match samples > 0 && lost == samples * rollouts {
        true => Err(all_lost("q_halt of all rollouts".into())),
        false => Ok((samples, lost)),
    }
}
