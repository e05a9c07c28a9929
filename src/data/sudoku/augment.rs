//! Transforms of a grid that keep it a Sudoku.
//!
//! Digits are permuted; bands (rows of boxes) change places, and so do the rows inside of a band, stacks
//! (columns of boxes) and the columns inside of a stack; grids with square boxes may also be transposed.
//! The digit, band, row and transpose moves are those of the authors' Sudoku builder, in every size.

use super::grid::{BLANK_TOKEN, Grid, MAX_CELLS, MAX_SIZE, Shape};
use crate::rng::Rng;

/// One transform, the same for a puzzle and its solution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Augmentation {
    shape: Shape,
    /// The new digit for each old one; a blank stays blank.
    digits: [u8; MAX_SIZE + 1],
    /// The old cell that moves into each new one.
    sources: [u8; MAX_CELLS],
}

impl Augmentation {
    /// The transform that changes nothing.
    pub fn identity(shape: Shape) -> Augmentation {
        let (digits, sources) =
            (std::array::from_fn(|digit| digit as u8), std::array::from_fn(|cell| cell as u8));
        Augmentation { shape, digits, sources }
    }

    /// A transform drawn uniformly.
    pub fn random(shape: Shape, rng: &mut Rng) -> Augmentation {
        let mut drawn = Augmentation::identity(shape);
        let size = shape.size();
        rng.shuffle(&mut drawn.digits[1..=size]);
        let transpose = shape.box_rows() == shape.box_columns() && rng.below(2) == 1;
        let rows = random_lines(size, shape.box_rows(), rng);
        let columns = random_lines(size, shape.box_columns(), rng);
        for (cell, source) in drawn.sources[..shape.cells()].iter_mut().enumerate() {
            let (row, column) = (rows[cell / size], columns[cell % size]);
            *source = if transpose { column * size as u8 + row } else { row * size as u8 + column };
        }
        drawn
    }

    /// How many there are, the one that changes nothing included.
    pub fn count(shape: Shape) -> u64 {
        let factorial = |n: usize| (1..=n as u64).product::<u64>();
        let lines = |block: usize| {
            let blocks = shape.size() / block;
            factorial(blocks) * factorial(block).pow(blocks as u32)
        };
        let transposed = if shape.box_rows() == shape.box_columns() { 2 } else { 1 };
        factorial(shape.size()) * lines(shape.box_rows()) * lines(shape.box_columns()) * transposed
    }

    /// The transform that undoes this one.
    pub fn inverse(&self) -> Augmentation {
        let mut inverse = Augmentation::identity(self.shape);
        for (old, &new) in self.digits.iter().enumerate() {
            inverse.digits[usize::from(new)] = old as u8;
        }
        for (new, &old) in self.sources.iter().enumerate() {
            inverse.sources[usize::from(old)] = new as u8;
        }
        inverse
    }

    /// The transformed grid, which must have the shape of the transform.
    pub fn apply(&self, grid: &Grid) -> Grid {
        let mut moved = Grid::blank(self.shape);
        for (cell, &source) in moved.cells_mut().iter_mut().zip(&self.sources) {
            *cell = self.digits[usize::from(grid.cells()[usize::from(source)])];
        }
        moved
    }

    /// The same of tokens, (S); those that stand for no digit stay what they are.
    pub fn apply_tokens(&self, tokens: &[i32]) -> Vec<i32> {
        let digits = BLANK_TOKEN + 1..=BLANK_TOKEN + self.shape.size() as u8;
        let relabelled = |token: i32| match u8::try_from(token) {
            Ok(token) if digits.contains(&token) => {
                i32::from(self.digits[usize::from(token - BLANK_TOKEN)] + BLANK_TOKEN)
            }
            _ => token,
        };
        let sources = &self.sources[..self.shape.cells()];
        sources.iter().map(|&source| relabelled(tokens[usize::from(source)])).collect()
    }
}

/// An order of `size` lines that keeps blocks of `block` lines together.
fn random_lines(size: usize, block: usize, rng: &mut Rng) -> [u8; MAX_SIZE] {
    let mut blocks: [usize; MAX_SIZE] = std::array::from_fn(|index| index);
    rng.shuffle(&mut blocks[..size / block]);
    let mut lines = [0; MAX_SIZE];
    for (block_of_lines, first) in lines[..size].chunks_mut(block).zip(blocks) {
        for (offset, line) in block_of_lines.iter_mut().enumerate() {
            *line = (first * block + offset) as u8;
        }
        rng.shuffle(block_of_lines);
    }
    lines
}
