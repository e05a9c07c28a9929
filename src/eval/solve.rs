//! Solving single puzzles, with the answer after every supervision step.

use super::evaluate::{Evaluator, Look, Pace};
use crate::data::sudoku::{Grid, Shape, is_valid_solution};
use crate::data::{Batch, IGNORE_LABEL};
use crate::engine::Device;
use crate::model::ModelConfig;
use crate::model::init::Weights;
use crate::{Error, Result};

/// Solves Sudokus of the size that a model was trained for, one at a time.
pub struct Solver {
    evaluator: Evaluator,
    shape: Shape,
}

/// The answer after one supervision step.
#[derive(Clone, Debug, PartialEq)]
pub struct Thought {
    /// The grid; cells that the model left blank or padded are blank.
    pub answer: Grid,
    /// Above 0 the model believes its answer.
    pub q_halt: f32,
    /// Whether the answer is a valid solution that keeps the clues.
    pub solved: bool,
}

impl Solver {
    /// A solver with these weights.
    ///
    /// # Errors
    /// [`Error::Usage`] for weights of a model that is not for Sudoku.
    pub fn new(config: &ModelConfig, weights: &Weights, device: &Device) -> Result<Solver> {
        let shape = Shape::of_cells(config.seq_len).filter(|shape| shape.vocab_size() == config.vocab_size);
        let problem = format!("{} cells and {} tokens are no Sudoku's", config.seq_len, config.vocab_size);
        let shape = shape.ok_or_else(|| Error::usage("model", problem, "give weights trained on Sudokus"))?;
        let mut evaluator = Evaluator::new(config, device, 1)?;
        evaluator.load(weights)?;
        Ok(Solver { evaluator, shape })
    }

    /// The size of the puzzles.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Runs all supervision steps; one [`Thought`] for each, the last one is the answer.
    ///
    /// # Errors
    /// [`Error::Usage`] for a puzzle of another size.
    pub fn solve(&mut self, puzzle: &Grid) -> Result<Vec<Thought>> {
        if puzzle.shape() != self.shape {
            let problem = format!("the puzzle is {}, the model solves {}", puzzle.shape(), self.shape);
            return Err(Error::usage("PUZZLE", problem, "give a puzzle of the model's size"));
        }
        let mut tokens = vec![0; self.shape.cells()];
        puzzle.write_tokens(&mut tokens);
        let mut waiting = true;
        let mut next = |one: &mut Batch| {
            one.inputs.iter_mut().zip(&tokens).for_each(|(input, token)| *input = i32::from(*token));
            one.labels.fill(IGNORE_LABEL);
            one.puzzle_identifiers.fill(0);
            Ok(std::mem::take(&mut waiting))
        };
        let (mut thoughts, shape) = (Vec::new(), self.shape);
        let pace = Pace { halt: false, every_step: true };
        let mut visit = |look: Look<'_>| {
            let answer = Grid::from_tokens(shape, look.predictions);
            let solved = is_valid_solution(puzzle, &answer);
            thoughts.push(Thought { answer, q_halt: look.q_halt, solved });
            Ok(())
        };
        self.evaluator.roll(pace, &mut next, &mut visit, &mut |_| {})?;
        Ok(thoughts)
    }
}
