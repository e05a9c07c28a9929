//! Random puzzles with exactly one solution, in two splits that share no grid.
//!
//! A random full grid loses clues in random order, as long as its solution stays unique, until a number of
//! clues drawn from the wanted range is left. Every solution grid belongs to one split for good, and no
//! puzzle occurs twice. Candidate i is a function of (seed, i), so the outcome does not depend on threads.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use rayon::prelude::*;

use super::grid::{Grid, Puzzle, Shape};
use super::solve::{count_solutions, random_solution};
use crate::data::Split;
use crate::rng::Rng;
use crate::{Error, Result};

const STREAM: u64 = 0x7375_646F << 32;
const CANDIDATES_AT_ONCE: u64 = 256;
/// Useless candidates in a row after which there is no hope left: one of the 288 grids of size 4 is missed as
/// often with a probability of about 1e-15.
const MAX_FAILURES: usize = 10_000;

/// The clue counts drawn from if none are asked for: few for the small sizes, of middling difficulty for 9x9.
pub fn default_clues(shape: Shape) -> RangeInclusive<usize> {
    match shape.size() {
        4 => 4..=6,
        6 => 10..=14,
        _ => 28..=36,
    }
}

/// The fewest clues with which any puzzle of this shape has a single solution
/// (9x9: McGuire, Tugemann, Civario, "There is no 16-clue Sudoku", 2014).
pub fn fewest_clues(shape: Shape) -> usize {
    match shape.size() {
        4 => 4,
        6 => 8,
        _ => 17,
    }
}

/// A puzzle with a single solution, or nothing where this attempt leaves more clues than wanted.
pub fn random_puzzle(shape: Shape, clues: &RangeInclusive<usize>, rng: &mut Rng) -> Option<Puzzle> {
    let answer = random_solution(&Grid::blank(shape), rng)?;
    let target = clues.start() + rng.below(clues.end() - clues.start() + 1);
    let (mut question, mut left) = (answer, shape.cells());
    for cell in rng.permutation(shape.cells()) {
        if left == target {
            break;
        }
        question.cells_mut()[cell] = 0;
        if count_solutions(&question) == Some(1) {
            left -= 1;
        } else {
            question.cells_mut()[cell] = answer.cells()[cell];
        }
    }
    clues.contains(&left).then_some(Puzzle { question, answer })
}

/// Different puzzles for both splits.
#[derive(Debug, Default)]
pub struct Puzzles {
    /// To learn from.
    pub train: Vec<Puzzle>,
    /// To measure on; none of their solutions occurs in `train`.
    pub test: Vec<Puzzle>,
}

impl Puzzles {
    /// Draws `train` + `test` puzzles with `clues` clues.
    ///
    /// # Errors
    /// [`Error::Usage`] if there are not as many, or they are too rare to be found.
    pub fn generate(
        shape: Shape,
        clues: &RangeInclusive<usize>,
        (train, test): (usize, usize),
        seed: u64,
    ) -> Result<Puzzles> {
        let mut collection = Collection { wanted: (train, test), ..Collection::default() };
        let mut failures = 0;
        for first in (0..).step_by(CANDIDATES_AT_ONCE as usize) {
            let candidates: Vec<_> = (first..first + CANDIDATES_AT_ONCE)
                .into_par_iter()
                .map(|index| random_puzzle(shape, clues, &mut Rng::new(seed, STREAM ^ index)))
                .collect();
            for candidate in candidates {
                let admitted = candidate.is_some_and(|puzzle| collection.admit(puzzle));
                failures = if admitted { 0 } else { failures + 1 };
            }
            if collection.is_complete() || failures >= MAX_FAILURES {
                break;
            }
        }
        collection.finish(shape, clues)
    }
}

#[derive(Default)]
struct Collection {
    puzzles: Puzzles,
    wanted: (usize, usize),
    questions: HashSet<Grid>,
    /// The split each solution belongs to.
    homes: HashMap<Grid, Split>,
}

impl Collection {
    fn is_complete(&self) -> bool {
        (self.puzzles.train.len(), self.puzzles.test.len()) == self.wanted
    }

    /// Takes a puzzle that is new and whose solution's split still needs one.
    fn admit(&mut self, puzzle: Puzzle) -> bool {
        if self.is_complete() {
            return true;
        }
        let home = self.homes.get(&puzzle.answer).copied().unwrap_or(self.needier());
        let (split, wanted) = match home {
            Split::Train => (&mut self.puzzles.train, self.wanted.0),
            Split::Test => (&mut self.puzzles.test, self.wanted.1),
        };
        if split.len() == wanted || !self.questions.insert(puzzle.question) {
            return false;
        }
        self.homes.insert(puzzle.answer, home);
        split.push(puzzle);
        true
    }

    /// The split that is further behind; new grids are thus dealt out in proportion, which matters where
    /// there are few of them.
    fn needier(&self) -> Split {
        let (train, test) = (self.puzzles.train.len() as u128, self.puzzles.test.len() as u128);
        let behind = test * self.wanted.0 as u128 <= train * self.wanted.1 as u128;
        if behind && self.puzzles.test.len() < self.wanted.1 { Split::Test } else { Split::Train }
    }

    fn finish(self, shape: Shape, clues: &RangeInclusive<usize>) -> Result<Puzzles> {
        if self.is_complete() {
            return Ok(self.puzzles);
        }
        let problem = format!(
            "found {} of {} training and {} of {} test puzzles of {shape} with {} to {} clues",
            self.puzzles.train.len(),
            self.wanted.0,
            self.puzzles.test.len(),
            self.wanted.1,
            clues.start(),
            clues.end(),
        );
        Err(Error::usage("train", problem, "ask for fewer puzzles or raise max_clues"))
    }
}
