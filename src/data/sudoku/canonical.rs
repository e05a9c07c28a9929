//! One form for all puzzles that are symmetries of each other.
//!
//! Of all that relabelling, rearranging and transposing make of a puzzle, it is the one whose answer comes first in the
//! order of cells, and of several with this answer the one whose question does. So two puzzles are symmetries of each
//! other if and only if their forms are equal, and two answers are if and only if the answers of their forms are.

use std::cmp::Ordering;

use super::grid::{Grid, MAX_SIZE, Puzzle, Shape};

/// Finds the forms of puzzles of one shape.
pub struct Canonical {
    shape: Shape,
    /// All orders of the columns that keep stacks together.
    orders: Vec<[u8; MAX_SIZE]>,
}

impl Canonical {
    /// For puzzles of this shape.
    pub fn new(shape: Shape) -> Canonical {
        let mut orders = Vec::new();
        extend(shape, &mut [0; MAX_SIZE], 0, &mut orders);
        Canonical { shape, orders }
    }

    /// That shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The form of a puzzle, whose answer must be a full grid of this shape.
    pub fn of(&self, puzzle: &Puzzle) -> Puzzle {
        let turned = Puzzle { question: transposed(&puzzle.question), answer: transposed(&puzzle.answer) };
        let square = self.shape.box_rows() == self.shape.box_columns();
        let mut best = None;
        for puzzle in [puzzle].into_iter().chain(square.then_some(&turned)) {
            for first in 0..self.shape.size() {
                for columns in &self.orders {
                    self.challenge(puzzle, first, columns, &mut best);
                }
            }
        }
        best.unwrap_or(*puzzle)
    }

    /// Replaces `best` by the puzzle with row `first` on top and `columns` in this order, if that comes before it. The top
    /// row says what the digits are called, and rows and bands are in the order of their first cells: no other form of it
    /// comes earlier.
    fn challenge(&self, puzzle: &Puzzle, first: usize, columns: &[u8; MAX_SIZE], best: &mut Option<Puzzle>) {
        let (size, height) = (self.shape.size(), self.shape.box_rows());
        let cell = |row: usize, column: usize| row * size + usize::from(columns[column]);
        let answer = puzzle.answer.cells();
        let mut names = [0; MAX_SIZE + 1];
        (0..size).for_each(|column| names[usize::from(answer[cell(first, column)])] = column as u8 + 1);
        let name = |row: usize, column: usize| names[usize::from(answer[cell(row, column)])];
        if let Some(best) = best {
            let band = first / height * height;
            let partners = (band..band + height).filter(|&row| row != first);
            let second = partners.min_by_key(|&row| name(row, 0)).unwrap_or(first);
            // Nearly all fall behind here, most of them in the first cells.
            let row = (0..size).map(|column| name(second, column));
            if row.cmp(best.answer.cells()[size..2 * size].iter().copied()) == Ordering::Greater {
                return;
            }
        }
        let mut rows: [usize; MAX_SIZE] = std::array::from_fn(|row| row);
        let rows = &mut rows[..size];
        rows.chunks_mut(height).for_each(|band| band.sort_unstable_by_key(|&row| name(row, 0)));
        let leading: [u8; MAX_SIZE] =
            std::array::from_fn(|band| rows.get(band * height).map_or(0, |&row| name(row, 0)));
        let of = rows.to_vec();
        let mut bands: Vec<usize> = (0..size / height).collect();
        bands.sort_unstable_by_key(|&band| leading[band]);
        for (place, band) in rows.chunks_mut(height).zip(bands) {
            place.copy_from_slice(&of[band * height..][..height]);
        }
        let renamed = |grid: &Grid| {
            let mut new = Grid::blank(self.shape);
            for (place, digit) in new.cells_mut().iter_mut().enumerate() {
                *digit = names[usize::from(grid.cells()[cell(rows[place / size], place % size)])];
            }
            new
        };
        let found = Puzzle { question: renamed(&puzzle.question), answer: renamed(&puzzle.answer) };
        let cells = |puzzle: &Puzzle| (puzzle.answer, puzzle.question);
        if best.is_none_or(|best| {
            let ((answer, question), (best_answer, best_question)) = (cells(&found), cells(&best));
            (answer.cells(), question.cells()) < (best_answer.cells(), best_question.cells())
        }) {
            *best = Some(found);
        }
    }
}

/// Adds all orders of columns that begin with the first `count` of `order`.
fn extend(shape: Shape, order: &mut [u8; MAX_SIZE], count: usize, orders: &mut Vec<[u8; MAX_SIZE]>) {
    let (size, width) = (shape.size(), shape.box_columns());
    if count == size {
        orders.push(*order);
        return;
    }
    for column in 0..size {
        let taken = &order[..count];
        let begun = !count.is_multiple_of(width);
        let stack = |column: usize| column / width;
        // Inside a stack goes on what began there.
        let fits = !begun || stack(usize::from(taken[count - 1])) == stack(column);
        let free = !taken.iter().any(|&other| {
            let other = usize::from(other);
            other == column || (!begun && stack(other) == stack(column))
        });
        if fits && free {
            order[count] = column as u8;
            extend(shape, order, count + 1, orders);
        }
    }
}

fn transposed(grid: &Grid) -> Grid {
    let size = grid.shape().size();
    let mut new = Grid::blank(grid.shape());
    for (place, digit) in new.cells_mut().iter_mut().enumerate() {
        *digit = grid.cells()[place % size * size + place / size];
    }
    new
}
