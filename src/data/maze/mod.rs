//! Mazes: find the shortest path from S to G and mark it.
//!
//! Characters and tokens: padding 0, '#' 1 wall, ' ' 2 open, 'S' 3 start, 'G' 4 goal, 'o' 5 marked path; moves go
//! up, down, left and right. [`build_from_csv`] reads the Maze-Hard layout, [`build_generated`] makes new mazes whose
//! shortest path is unique; both write a data set.
//! Source: the release's maze builder.

mod build;
mod generate;
mod layout;
mod read;
mod solve;
mod verdict;

pub use build::{CsvOptions, Summary, build_from_csv, build_generated};
pub use generate::{GenerateOptions, Generator};
pub use layout::{Layouts, Pasted};
pub(super) use layout::{is_sign, width_of};
pub use solve::{Distances, distances, solution_fault};
pub use verdict::Verdict;

use super::dihedral::Dihedral;

/// The character of each token from 1 on; token 0 is padding.
pub const CHARACTERS: [u8; 5] = *b"# SGo";
/// Tokens are `0..VOCAB_SIZE`.
pub const VOCAB_SIZE: usize = 1 + CHARACTERS.len();

/// Token of a wall.
pub const WALL: u8 = 1;
/// Token of an open cell that is not on the path.
pub const OPEN: u8 = 2;
/// Token of the start.
pub const START: u8 = 3;
/// Token of the goal.
pub const GOAL: u8 = 4;
/// Token of an open cell on the path.
pub const PATH: u8 = 5;

/// A maze and its solution, (rows * cols) tokens each, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maze {
    /// How many rows.
    pub rows: usize,
    /// How many columns.
    pub cols: usize,
    /// Walls, open cells, one start and one goal.
    pub question: Vec<u8>,
    /// The question with the path marked.
    pub answer: Vec<u8>,
}

impl Maze {
    /// The symmetries that keep the shape: all eight for a square, else four.
    pub fn symmetries(&self) -> impl Iterator<Item = Dihedral> {
        let square = self.rows == self.cols;
        Dihedral::ALL.into_iter().filter(move |symmetry| square || symmetry.keeps_shape())
    }
}
