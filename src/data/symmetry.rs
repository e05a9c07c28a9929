//! The variants of a Sudoku or a maze that are the same puzzle in other clothes, as tokens.

use super::dihedral::Dihedral;
use super::inspect::Kind;
use super::sudoku::{Augmentation, Shape};
use crate::rng::Rng;
use crate::{Error, Result};

const STREAM: u64 = 0x766F_7465 << 32;

/// Which variants the puzzles of a data set have.
pub(crate) enum Symmetries {
    /// Drawn anew for every puzzle.
    Sudoku { shape: Shape, seed: u64 },
    /// The symmetries of the square or rectangle, the same for all.
    Maze { rows: usize, cols: usize, turns: Vec<Dihedral> },
}

/// One variant of a puzzle.
pub(crate) enum Symmetry {
    Sudoku { there: Augmentation },
    Maze { rows: usize, cols: usize, turn: Dihedral },
}

impl Symmetries {
    /// Those of puzzles of this kind, at least `augment` beside the identity.
    ///
    /// # Errors
    /// [`Error::Usage`] where there are fewer or none are known.
    pub(crate) fn of_kind(kind: Kind, augment: usize, seed: u64) -> Result<Symmetries> {
        let symmetries = Symmetries::known(kind, seed).ok_or_else(|| {
            let fix = "leave it out; ARC data sets hold their augmentations already";
            Error::usage("augment", "these are neither Sudokus nor mazes", fix)
        })?;
        match &symmetries {
            Symmetries::Maze { turns, .. } if augment >= turns.len() => {
                let problem = format!("{augment}, these mazes have {} further symmetries", turns.len() - 1);
                Err(Error::usage("augment", problem, "give at most as many"))
            }
            _ => Ok(symmetries),
        }
    }

    /// Those of puzzles of this kind, if it has any.
    pub(crate) fn known(kind: Kind, seed: u64) -> Option<Symmetries> {
        match kind {
            Kind::Sudoku { size } => Some(Symmetries::Sudoku { shape: Shape::of_size(size)?, seed }),
            Kind::Maze { rows, cols } => {
                let keeps = |turn: &Dihedral| rows == cols || turn.keeps_shape();
                let turns = Dihedral::ALL.into_iter().filter(keeps).collect();
                Some(Symmetries::Maze { rows, cols, turns })
            }
            Kind::Arc | Kind::Other => None,
        }
    }

    /// How many variants a puzzle has, the identity among them; as good as any number of a Sudoku.
    pub(crate) fn count(&self) -> usize {
        match self {
            Symmetries::Sudoku { .. } => usize::MAX,
            Symmetries::Maze { turns, .. } => turns.len(),
        }
    }

    /// Variant `variant` of the puzzle with this checksum, the same for the same numbers; 0 is the identity.
    pub(crate) fn get(&self, puzzle: u32, variant: usize) -> Symmetry {
        match self {
            Symmetries::Maze { rows, cols, turns } => {
                Symmetry::Maze { rows: *rows, cols: *cols, turn: turns[variant] }
            }
            Symmetries::Sudoku { shape, .. } if variant == 0 => {
                Symmetry::Sudoku { there: Augmentation::identity(*shape) }
            }
            Symmetries::Sudoku { seed, .. } => {
                self.draw(&mut Rng::new(*seed, STREAM ^ (u64::from(puzzle) << 20) ^ variant as u64))
            }
        }
    }

    /// One of all variants, each equally likely, the identity among them.
    pub(crate) fn draw(&self, rng: &mut Rng) -> Symmetry {
        match self {
            Symmetries::Sudoku { shape, .. } => Symmetry::Sudoku { there: Augmentation::random(*shape, rng) },
            Symmetries::Maze { rows, cols, turns } => {
                Symmetry::Maze { rows: *rows, cols: *cols, turn: turns[rng.below(turns.len())] }
            }
        }
    }
}

impl Symmetry {
    /// The tokens (S) of the variant; those that stand for no digit of a Sudoku keep what they are.
    pub(crate) fn apply(&self, tokens: &[i32]) -> Vec<i32> {
        match self {
            Symmetry::Sudoku { there } => there.apply_tokens(tokens),
            Symmetry::Maze { rows, cols, turn } => turn.apply(*rows, *cols, tokens),
        }
    }

    /// The tokens (S) that [`Symmetry::apply`] made `tokens` of.
    pub(crate) fn undo(&self, tokens: &[i32]) -> Vec<i32> {
        match self {
            Symmetry::Sudoku { there } => there.inverse().apply_tokens(tokens),
            Symmetry::Maze { rows, cols, turn } => {
                let (rows, cols) = turn.shape(*rows, *cols);
                turn.inverse().apply(rows, cols, tokens)
            }
        }
    }
}
