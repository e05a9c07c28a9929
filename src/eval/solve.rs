//! Solving single puzzles, with the answer after every supervision step.

use std::sync::Arc;

use super::Selection;
use super::evaluate::{Evaluator, Look, Pace, Visit, samples_of};
use crate::data::sudoku::{Grid, Shape, is_valid_solution};
use crate::data::{Batch, Dataset, IGNORE_LABEL};
use crate::engine::Device;
use crate::model::ModelConfig;
use crate::model::init::Weights;
use crate::{Error, Result};

/// Solves Sudokus of the size that a model was trained for.
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

impl Evaluator {
    /// Runs all supervision steps of the selected examples of a test split, and shows each to `visit` after every one.
    ///
    /// # Errors
    /// Those of `visit`, a data set that cannot be read, and device failures.
    pub fn show(
        &mut self,
        dataset: &Arc<Dataset>,
        selection: &Selection,
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        let pace = Pace { halt: false, every_step: true, cut_short: false };
        self.roll(pace, &mut samples_of(dataset, selection), visit, &mut |_| {})
    }
}

impl Solver {
    /// A solver with these weights, of one puzzle at a time.
    ///
    /// # Errors
    /// [`Error::Usage`] for weights of a model that is not for Sudoku.
    pub fn new(config: &ModelConfig, weights: &Weights, device: &Device) -> Result<Solver> {
        Solver::of_batch(config, weights, device, 1)
    }

    /// A solver that works on `batch` puzzles at once; fewer take it as long.
    ///
    /// # Errors
    /// As [`Solver::new`], and [`Error::Limit`] for a batch that does not fit the device.
    pub fn of_batch(
        config: &ModelConfig,
        weights: &Weights,
        device: &Device,
        batch: usize,
    ) -> Result<Solver> {
        let shape = Shape::of_cells(config.seq_len).filter(|shape| shape.vocab_size() == config.vocab_size);
        let problem = format!("{} cells and {} tokens are no Sudoku's", config.seq_len, config.vocab_size);
        let shape = shape.ok_or_else(|| Error::usage("model", problem, "give weights trained on Sudokus"))?;
        let mut evaluator = Evaluator::new(config, device, batch)?;
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
        Ok(self.solve_all(std::slice::from_ref(puzzle))?.pop().unwrap_or_default())
    }

    /// The same for each of `puzzles`, as many at once as the solver's batch.
    ///
    /// # Errors
    /// As [`Solver::solve`].
    pub fn solve_all(&mut self, puzzles: &[Grid]) -> Result<Vec<Vec<Thought>>> {
        if let Some(puzzle) = puzzles.iter().find(|puzzle| puzzle.shape() != self.shape) {
            let problem = format!("the puzzle is {}, the model solves {}", puzzle.shape(), self.shape);
            return Err(Error::usage("PUZZLE", problem, "give a puzzle of the model's size"));
        }
        let (mut tokens, mut waiting) = (vec![0; self.shape.cells()], puzzles.iter());
        let mut next = |one: &mut Batch| {
            let Some(puzzle) = waiting.next() else { return Ok(false) };
            puzzle.write_tokens(&mut tokens);
            one.inputs.iter_mut().zip(&tokens).for_each(|(input, token)| *input = i32::from(*token));
            one.labels.fill(IGNORE_LABEL);
            one.puzzle_identifiers.fill(0);
            Ok(true)
        };
        let (mut thoughts, shape) = (vec![Vec::new(); puzzles.len()], self.shape);
        let pace = Pace { halt: false, every_step: true, cut_short: false };
        let mut visit = |look: Look<'_>| {
            let answer = Grid::from_tokens(shape, look.predictions);
            let solved = is_valid_solution(&puzzles[look.index], &answer);
            thoughts[look.index].push(Thought { answer, q_halt: look.q_halt, solved });
            Ok(())
        };
        self.evaluator.roll(pace, &mut next, &mut visit, &mut |_| {})?;
        Ok(thoughts)
    }
}
