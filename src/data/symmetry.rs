//! The variants of a Sudoku or a maze that are the same puzzle in other clothes, as tokens.

use super::Dataset;
use super::dihedral::Dihedral;
use super::inspect::Kind;
use super::sudoku::{Augmentation, Shape};
use crate::rng::Rng;
use crate::{Error, Result};

const STREAM: u64 = 0x766F_7465 << 32;

/// Which variants the puzzles of a data set have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symmetries {
    /// Of a Sudoku, so many that they are drawn.
    Sudoku(Shape),
    /// Those of the square or rectangle.
    Maze {
        /// How many rows.
        rows: usize,
        /// How many columns.
        cols: usize,
    },
}

/// One variant of a puzzle.
pub enum Symmetry {
    /// Of a Sudoku.
    Sudoku {
        /// The way from the puzzle to the variant.
        there: Augmentation,
    },
    /// Of a maze.
    Maze {
        /// How many rows.
        rows: usize,
        /// How many columns.
        cols: usize,
        /// The way from the puzzle to the variant.
        turn: Dihedral,
    },
}

/// What a variant is drawn by: where its random numbers begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VariantDraw {
    /// Of all draws.
    pub seed: u64,
    /// What the numbers are for.
    pub stream: u64,
    /// Four numbers of the stream are a block; this is the first.
    pub block: u64,
}

impl VariantDraw {
    /// Words of a draw on the device.
    pub const WORDS: usize = 6;

    /// The device's form.
    pub fn words(&self) -> [u32; VariantDraw::WORDS] {
        let VariantDraw { seed, stream, block } = *self;
        let [seed, block, stream] =
            [seed, block, stream].map(|number| [number as u32, (number >> 32) as u32]);
        [seed[0], seed[1], block[0], block[1], stream[0], stream[1]]
    }

    /// Of [`VariantDraw::words`].
    pub fn of_words(words: &[i32]) -> VariantDraw {
        let number = |at: usize| u64::from(words[at] as u32) | u64::from(words[at + 1] as u32) << 32;
        VariantDraw { seed: number(0), block: number(2), stream: number(4) }
    }

    /// The random numbers.
    pub fn rng(&self) -> Rng {
        Rng::new(self.seed, self.stream).at(self.block.wrapping_mul(4))
    }
}

impl Symmetries {
    /// Those of puzzles of this kind, at least `augment` beside the identity.
    ///
    /// # Errors
    /// [`Error::Usage`] where there are fewer or none are known.
    pub(crate) fn of_kind(kind: Kind, augment: usize) -> Result<Symmetries> {
        let symmetries = Symmetries::known(kind).ok_or_else(|| {
            let fix = "leave it out; ARC data sets hold their augmentations already";
            Error::usage("augment", "these are neither Sudokus nor mazes", fix)
        })?;
        match symmetries {
            Symmetries::Maze { .. } if augment >= symmetries.count() => {
                let problem =
                    format!("{augment}, these mazes have {} further symmetries", symmetries.count() - 1);
                Err(Error::usage("augment", problem, "give at most as many"))
            }
            _ => Ok(symmetries),
        }
    }

    /// Those of puzzles of this kind, if it has any.
    pub(crate) fn known(kind: Kind) -> Option<Symmetries> {
        match kind {
            Kind::Sudoku { size } => Some(Symmetries::Sudoku(Shape::of_size(size)?)),
            Kind::Maze { rows, cols } => Some(Symmetries::Maze { rows, cols }),
            Kind::Arc | Kind::Other => None,
        }
    }

    /// Those of puzzles of which only these sizes are known, if they have any.
    pub(crate) fn of_sizes(seq_len: usize, vocab_size: usize) -> Option<Symmetries> {
        Kind::of_sizes(seq_len, vocab_size).into_iter().find_map(Symmetries::known)
    }

    /// Those in which `train.augment` draws the examples of `dataset`.
    ///
    /// # Errors
    /// [`Error::Recipe`] for a data set that has none; [`Error::File`] if its first example cannot be read.
    pub(crate) fn of_dataset(dataset: &Dataset) -> Result<Symmetries> {
        Symmetries::known(Kind::of_first_example(dataset)?).ok_or_else(|| {
            let problem =
                format!("is true, and {} holds neither Sudokus nor mazes", dataset.folder().display());
            let fix = "set it to false; other data sets hold their augmentations, if any";
            Error::recipe("train.augment", problem, fix)
        })
    }

    /// How many variants a puzzle has, the identity among them; as good as any number of a Sudoku.
    pub(crate) fn count(self) -> usize {
        match self {
            Symmetries::Sudoku(_) => usize::MAX,
            Symmetries::Maze { rows, cols } => turns(rows, cols).len(),
        }
    }

    /// Variant `variant` of the puzzle with this checksum, the same for the same numbers; 0 is the identity.
    pub(crate) fn get(self, seed: u64, puzzle: u32, variant: usize) -> Symmetry {
        match self {
            Symmetries::Maze { rows, cols } => {
                Symmetry::Maze { rows, cols, turn: turns(rows, cols)[variant] }
            }
            Symmetries::Sudoku(shape) if variant == 0 => {
                Symmetry::Sudoku { there: Augmentation::identity(shape) }
            }
            Symmetries::Sudoku(_) => {
                self.draw(&mut Rng::new(seed, STREAM ^ (u64::from(puzzle) << 20) ^ variant as u64))
            }
        }
    }

    /// One of all variants, each equally likely, the identity among them.
    pub(crate) fn draw(self, rng: &mut Rng) -> Symmetry {
        match self {
            Symmetries::Sudoku(shape) => Symmetry::Sudoku { there: Augmentation::random(shape, rng) },
            Symmetries::Maze { rows, cols } => {
                let turns = turns(rows, cols);
                Symmetry::Maze { rows, cols, turn: turns[rng.below(turns.len())] }
            }
        }
    }
}

/// The turns and reflections that keep the shape of a maze.
fn turns(rows: usize, cols: usize) -> Vec<Dihedral> {
    Dihedral::ALL.into_iter().filter(|turn| rows == cols || turn.keeps_shape()).collect()
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
