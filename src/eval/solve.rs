//! Solving single puzzles, with the answer after every supervision step, and with the votes of their variants.

use super::ballot::Ballot;
use super::evaluate::{Evaluator, Look, Pace};
use crate::data::inspect::Kind;
use crate::data::pasted::Puzzle;
use crate::data::symmetry::{Symmetries, Symmetry};
use crate::data::{Batch, IGNORE_LABEL};
use crate::engine::Device;
use crate::model::ModelConfig;
use crate::model::init::Weights;
use crate::{Error, Result};

/// Solves puzzles of the size that a model was trained for, many at once.
pub struct Solver {
    evaluator: Evaluator,
    halt: bool,
    augment: usize,
    seed: u64,
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

/// What a vote of a puzzle's variants came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elected {
    /// (S) tokens that most variants answer with; of equally many those with the higher sum of sigmoid(q_halt), then
    /// the smaller ones.
    pub answer: Vec<i32>,
    /// Variants that do, the puzzle as given included.
    pub votes: usize,
    /// Variants that there were.
    pub of: usize,
}

/// A puzzle thought through.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// After every supervision step on the puzzle as given; at least one.
    pub thoughts: Vec<Thought>,
    /// The vote, where there was one.
    pub elected: Option<Elected>,
}

impl Solution {
    /// (S) tokens: those elected, or those of the last step.
    pub fn answer(&self) -> &[i32] {
        let last = self.thoughts.last().map_or(&[][..], |thought| &thought.answer);
        self.elected.as_ref().map_or(last, |elected| &elected.answer)
    }
}

impl Solver {
    /// A solver with these weights, on `batch` variants of puzzles at once; fewer take it as long. A puzzle runs
    /// `halt_max_steps` of `config`, which may differ from training.
    ///
    /// # Errors
    /// [`Error::Limit`] for a batch that does not fit the device.
    pub fn new(config: &ModelConfig, weights: &Weights, device: &Device, batch: usize) -> Result<Solver> {
        let mut evaluator = Evaluator::new(config, device, batch)?;
        evaluator.load(weights)?;
        Ok(Solver { evaluator, halt: false, augment: 0, seed: 0 })
    }

    /// Has a puzzle end as soon as its halt head says so.
    pub fn halting(self, halt: bool) -> Solver {
        Solver { halt, ..self }
    }

    /// Lets `augment` further variants of each puzzle vote, drawn by `seed`; all of a puzzle's are the same in any list.
    pub fn voting(self, augment: usize, seed: u64) -> Solver {
        Solver { augment, seed, ..self }
    }

    /// The model.
    pub fn config(&self) -> &ModelConfig {
        self.evaluator.config()
    }

    /// Solves all of them.
    ///
    /// # Errors
    /// [`Error::Usage`] for a puzzle of another size, or one without so many variants; [`Error::Numeric`] for weights
    /// that make NaN.
    pub fn solve_all(&mut self, questions: &[Question]) -> Result<Vec<Solution>> {
        let seq_len = self.config().seq_len;
        if let Some(other) = questions.iter().find(|question| question.inputs.len() != seq_len) {
            let problem = format!("{} cells, the model solves puzzles of {seq_len}", other.inputs.len());
            return Err(Error::usage("puzzle", problem, "give a puzzle of the model's size"));
        }
        let variants = questions.iter().map(|question| self.variants(question));
        let variants = variants.collect::<Result<Vec<_>>>()?;
        let each = self.augment + 1;
        let mut taken = 0;
        let mut next = |one: &mut Batch| {
            let (puzzle, variant) = (taken / each, taken % each);
            let Some(question) = questions.get(puzzle) else { return Ok(false) };
            match &variants[puzzle][variant] {
                Some(symmetry) => one.inputs.copy_from_slice(&symmetry.apply(&question.inputs)),
                None => one.inputs.copy_from_slice(&question.inputs),
            }
            one.labels.fill(IGNORE_LABEL);
            one.puzzle_identifiers.fill(question.identifier);
            taken += 1;
            Ok(true)
        };
        let mut thoughts = vec![Vec::new(); questions.len()];
        let mut ballots = vec![Ballot::default(); questions.len()];
        let mut visit = |look: Look<'_>| {
            let (puzzle, variant) = (look.index / each, look.index % each);
            let thought = Thought { answer: look.predictions.to_vec(), q_halt: look.q_halt };
            if look.last {
                let undone =
                    variants[puzzle][variant].as_ref().map(|symmetry| symmetry.undo(look.predictions));
                let answer = undone.unwrap_or_else(|| thought.answer.clone());
                ballots[puzzle].cast(puzzle, answer, look.q_halt)?;
            }
            if variant == 0 {
                thoughts[puzzle].push(thought);
            }
            Ok(())
        };
        let pace = Pace { halt: self.halt, every_step: true, cut_short: false };
        self.evaluator.roll(pace, &mut next, &mut visit, &mut |_| {})?;
        let elected = |ballot: Ballot| {
            let (answer, votes) = ballot.elected().filter(|_| each > 1)?;
            Some(Elected { answer: answer.to_vec(), votes, of: ballot.votes() })
        };
        let solution =
            |(thoughts, ballot): (Vec<Thought>, Ballot)| Solution { thoughts, elected: elected(ballot) };
        Ok(thoughts.into_iter().zip(ballots).map(solution).collect())
    }

    /// All variants of a puzzle that vote; the first is the puzzle as given.
    fn variants(&self, question: &Question) -> Result<Vec<Option<Symmetry>>> {
        if self.augment == 0 {
            return Ok(vec![None]);
        }
        let symmetries = Symmetries::of_kind(question.kind, self.augment, self.seed)?;
        Ok((0..=self.augment).map(|variant| (variant > 0).then(|| symmetries.get(0, variant))).collect())
    }
}
