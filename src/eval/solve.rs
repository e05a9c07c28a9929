//! Solving single puzzles, with the answer after every supervision step, and as widely as is wanted.

use super::Breadth;
use super::ballot::Elected;
use super::evaluate::Evaluator;
use super::rolling::{Stream, roll_out};
use super::rollouts::{Answered, Asked, all_lost};
use super::stream::Look;
use crate::data::inspect::Kind;
use crate::data::pasted::Puzzle;
use crate::engine::Device;
use crate::model::ModelConfig;
use crate::model::init::Weights;
use crate::{Error, Result};

/// Solves puzzles of the size that a model was trained for, many at once.
pub struct Solver {
    evaluator: Evaluator,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Which puzzle it is, of whose variants some may vote.
    pub kind: Kind,
    /// (S) tokens.
    pub inputs: Vec<i32>,
    /// Its puzzle identifier, 0 for the blank one.
    pub identifier: i32,
}

impl From<&Puzzle> for Question {
    fn from(puzzle: &Puzzle) -> Question {
        Question { kind: puzzle.kind(), inputs: puzzle.tokens(), identifier: 0 }
    }
}

/// The answer after one supervision step.
#[derive(Clone, Debug, PartialEq)]
pub struct Thought {
    /// (S) tokens.
    pub answer: Vec<i32>,
    /// Above 0 the model believes its answer.
    pub q_halt: f32,
}

impl Thought {
    /// sigmoid(q_halt).
    pub fn confidence(&self) -> f32 {
        1.0 / (1.0 + (-self.q_halt).exp())
    }
}

/// A puzzle thought through.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// After every supervision step of the first rollout, on the puzzle as given; at least one.
    pub thoughts: Vec<Thought>,
    /// The choice, where there are several rollouts.
    pub elected: Option<Elected>,
}

impl Solution {
    /// (S) tokens: those elected, or those of the last step.
    pub fn answer(&self) -> &[i32] {
        let last = self.thoughts.last().map_or(&[][..], |thought| &thought.answer);
        self.elected.as_ref().map_or(last, |elected| &elected.answer)
    }

    /// All answers, (S) tokens each: those of the steps, and the choice.
    pub fn answers_mut(&mut self) -> impl Iterator<Item = &mut Vec<i32>> {
        let steps = self.thoughts.iter_mut().map(|thought| &mut thought.answer);
        steps.chain(self.elected.as_mut().map(|elected| &mut elected.answer))
    }

    /// The halt logit of that answer.
    pub fn q_halt(&self) -> f32 {
        let last = self.thoughts.last().map_or(f32::NEG_INFINITY, |thought| thought.q_halt);
        self.elected.as_ref().map_or(last, |elected| elected.q_halt)
    }
}

impl Solver {
    /// A solver with these weights that thinks about each puzzle once, on `batch` puzzles at once; fewer take it as long. A
    /// puzzle runs `halt_max_steps` of `config`, which may differ from training.
    ///
    /// # Errors
    /// [`Error::Limit`] for a batch that does not fit the device.
    pub fn new(config: &ModelConfig, weights: &Weights, device: &Device, batch: usize) -> Result<Solver> {
        Solver::with(config, weights, device, batch, Breadth::default())
    }

    /// The same that thinks as widely as `breadth` says, on `batch` rollouts at once.
    ///
    /// # Errors
    /// Those of [`Solver::new`] and [`Breadth::check`].
    pub fn with(
        config: &ModelConfig,
        weights: &Weights,
        device: &Device,
        batch: usize,
        breadth: Breadth,
    ) -> Result<Solver> {
        let mut evaluator = Evaluator::with(config, device, batch, breadth)?;
        evaluator.load(weights)?;
        Ok(Solver { evaluator })
    }

    /// The model.
    pub fn config(&self) -> &ModelConfig {
        self.evaluator.config()
    }

    /// Solves all of them; each is answered as if it were alone.
    ///
    /// # Errors
    /// [`Error::Usage`] for a puzzle of another size, or one without as many variants, or without the rules by which to
    /// choose; [`Error::Numeric`] for a puzzle of which the model makes NaN in all rollouts.
    pub fn solve_all(&mut self, questions: &[Question]) -> Result<Vec<Solution>> {
        let seq_len = self.config().seq_len;
        if let Some(other) = questions.iter().find(|question| question.inputs.len() != seq_len) {
            let problem = format!("{} cells, the model solves puzzles of {seq_len}", other.inputs.len());
            return Err(Error::usage("puzzle", problem, "give a puzzle of the model's size"));
        }
        let (breadth, steps) = (*self.evaluator.breadth(), self.evaluator.max_steps());
        let Breadth { rollouts, select, .. } = breadth;
        let mut waiting = questions.iter();
        let mut ask = || Ok(waiting.next().map(|question| Asked::unlabelled(question.clone(), breadth)));
        let mut thoughts = vec![Vec::new(); questions.len()];
        let mut look = |index: usize, look: &Look<'_>| {
            thoughts[index].push(Thought { answer: look.predictions.to_vec(), q_halt: look.q_halt });
        };
        let mut elected = vec![None; questions.len()];
        let mut done = |answered: Answered| {
            let index = answered.index;
            let choice = answered.elected(select, rollouts, 0);
            let choice = choice.ok_or_else(|| all_lost(format!("q_halt of sample {index}")))?;
            elected[index] = Some(choice).filter(|_| rollouts > 1);
            Ok(())
        };
        let mut progress = |_| {};
        let stream = Stream { look: Some(&mut look), ..Stream::of(&mut ask, &mut done, &mut progress) };
        roll_out(&mut self.evaluator, &[steps], stream)?;
        let solution = |(thoughts, elected)| Solution { thoughts, elected };
        Ok(thoughts.into_iter().zip(elected).map(solution).collect())
    }
}
