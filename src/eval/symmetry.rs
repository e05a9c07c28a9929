//! The variants of a Sudoku or a maze that are the same puzzle in other clothes, as tokens.

use std::sync::Arc;

use super::Selection;
use super::evaluate::samples_of;
use crate::data::dihedral::Dihedral;
use crate::data::inspect::Kind;
use crate::data::sudoku::{Augmentation, Grid, Shape};
use crate::data::{Batch, Dataset};
use crate::rng::Rng;
use crate::{Error, Result};

const STREAM: u64 = 0x766F_7465 << 32;

/// Which variants the puzzles of a data set have.
pub(super) enum Symmetries {
    /// Drawn anew for every puzzle.
    Sudoku { shape: Shape, seed: u64 },
    /// The symmetries of the square or rectangle, the same for all.
    Maze { rows: usize, cols: usize, turns: Vec<Dihedral> },
}

/// One variant of a puzzle.
pub(super) enum Symmetry {
    Sudoku { shape: Shape, there: Augmentation },
    Maze { rows: usize, cols: usize, turn: Dihedral },
}

impl Symmetries {
    /// Those of the puzzles in `dataset`, at least `augment` beside the identity.
    ///
    /// # Errors
    /// [`Error::Usage`] where there are fewer or none are known.
    pub(super) fn of(dataset: &Arc<Dataset>, augment: usize, seed: u64) -> Result<Symmetries> {
        let mut first = Batch::new(1, dataset.metadata().seq_len);
        samples_of(dataset, &Selection::all(dataset))(&mut first)?;
        let kind = Kind::of_dataset(dataset, &first.inputs, &first.labels);
        Symmetries::of_kind(kind, augment, seed)
    }

    /// The same of puzzles of this kind.
    ///
    /// # Errors
    /// As [`Symmetries::of`].
    pub(super) fn of_kind(kind: Kind, augment: usize, seed: u64) -> Result<Symmetries> {
        match kind {
            Kind::Sudoku { size } => {
                let shape = Shape::of_size(size).ok_or_else(unknown)?;
                Ok(Symmetries::Sudoku { shape, seed })
            }
            Kind::Maze { rows, cols } => {
                let keeps = |turn: &Dihedral| rows == cols || turn.keeps_shape();
                let turns: Vec<Dihedral> = Dihedral::ALL.into_iter().filter(keeps).collect();
                if augment < turns.len() {
                    return Ok(Symmetries::Maze { rows, cols, turns });
                }
                let problem = format!("{augment}, these mazes have {} further symmetries", turns.len() - 1);
                Err(Error::usage("augment", problem, "give at most as many"))
            }
            Kind::Arc | Kind::Other => Err(unknown()),
        }
    }

    /// Variant `variant` of puzzle `sample`, the same for the same numbers; 0 is the identity.
    pub(super) fn get(&self, sample: usize, variant: usize) -> Symmetry {
        match self {
            Symmetries::Maze { rows, cols, turns } => {
                Symmetry::Maze { rows: *rows, cols: *cols, turn: turns[variant] }
            }
            Symmetries::Sudoku { shape, .. } if variant == 0 => {
                Symmetry::Sudoku { shape: *shape, there: Augmentation::identity(*shape) }
            }
            Symmetries::Sudoku { shape, seed } => {
                let mut rng = Rng::new(*seed, STREAM ^ ((sample as u64) << 20) ^ variant as u64);
                Symmetry::Sudoku { shape: *shape, there: Augmentation::random(*shape, &mut rng) }
            }
        }
    }
}

fn unknown() -> Error {
    let fix = "leave it out; ARC data sets hold their augmentations already";
    Error::usage("augment", "these are neither Sudokus nor mazes", fix)
}

impl Symmetry {
    /// The tokens (S) of the variant.
    pub(super) fn apply(&self, tokens: &[i32]) -> Vec<i32> {
        match self {
            Symmetry::Sudoku { shape, there } => relabelled(*shape, there, tokens),
            Symmetry::Maze { rows, cols, turn } => turned(*turn, (*rows, *cols), tokens),
        }
    }

    /// The tokens (S) that [`Symmetry::apply`] made `tokens` of.
    pub(super) fn undo(&self, tokens: &[i32]) -> Vec<i32> {
        match self {
            Symmetry::Sudoku { shape, there } => relabelled(*shape, &there.inverse(), tokens),
            Symmetry::Maze { rows, cols, turn } => turned(turn.inverse(), turn.shape(*rows, *cols), tokens),
        }
    }
}

/// Tokens that are no digits come out as blanks.
fn relabelled(shape: Shape, augmentation: &Augmentation, tokens: &[i32]) -> Vec<i32> {
    let mut bytes = vec![0; shape.cells()];
    augmentation.apply(&Grid::from_tokens(shape, tokens)).write_tokens(&mut bytes);
    bytes.into_iter().map(i32::from).collect()
}

fn turned(turn: Dihedral, (rows, cols): (usize, usize), tokens: &[i32]) -> Vec<i32> {
    // Maze tokens are all below 256: the vocabulary has six.
    let bytes: Vec<u8> = tokens.iter().map(|&token| token as u8).collect();
    turn.apply(rows, cols, &bytes).into_iter().map(i32::from).collect()
}
