//! Sudoku grids of 4x4, 6x6 and 9x9 cells: text, tokens, rules and drawing.
//!
//! Boxes are 2x2, 2 rows x 3 columns and 3x3. As tokens, 0 is padding, 1 a blank cell and d + 1 the digit d,
//! so that 9x9 puzzles have the 11 tokens of the authors' release.

use std::fmt;

use crate::{Error, Result};

/// Cells of the largest grid.
pub(super) const MAX_CELLS: usize = 81;
/// Rows, columns or boxes of the largest grid.
pub(super) const MAX_SIZE: usize = 9;

/// Token of a blank cell; those of the digits follow.
pub(super) const BLANK_TOKEN: u8 = 1;
/// What people write for a blank cell; beside it dashes, which may be rules, too.
pub(super) const BLANKS: [char; 13] =
    ['.', '0', '_', '*', 'x', 'X', '?', '\u{b7}', '\u{2022}', '\u{2219}', '\u{22c5}', '\u{25a1}', '\u{25a2}'];

/// Side length and boxes of a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    size: usize,
    box_rows: usize,
    box_columns: usize,
}

impl Shape {
    /// All shapes there are.
    pub const ALL: [Shape; 3] = [
        Shape { size: 4, box_rows: 2, box_columns: 2 },
        Shape { size: 6, box_rows: 2, box_columns: 3 },
        Shape { size: 9, box_rows: 3, box_columns: 3 },
    ];

    /// The shape of a grid of `size` x `size` cells.
    pub fn of_size(size: usize) -> Option<Shape> {
        Shape::ALL.into_iter().find(|shape| shape.size == size)
    }

    /// The shape of a grid of `cells` cells.
    pub fn of_cells(cells: usize) -> Option<Shape> {
        Shape::ALL.into_iter().find(|shape| shape.cells() == cells)
    }

    /// Cells of a row, of a column and of a box; the largest digit.
    pub fn size(self) -> usize {
        self.size
    }

    /// S, all cells.
    pub fn cells(self) -> usize {
        self.size * self.size
    }

    /// Rows of a box.
    pub fn box_rows(self) -> usize {
        self.box_rows
    }

    /// Columns of a box.
    pub fn box_columns(self) -> usize {
        self.box_columns
    }

    /// Tokens: padding, blank and the digits.
    pub fn vocab_size(self) -> usize {
        self.size + 2
    }

    /// Row, column and box of a cell, each in `0..size`.
    pub fn units_of(self, cell: usize) -> [usize; 3] {
        let (row, column) = (cell / self.size, cell % self.size);
        [row, column, row / self.box_rows * self.box_rows + column / self.box_columns]
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{0}x{0}", self.size)
    }
}

/// A grid: 0 for a blank cell, else a digit `1..=size`, row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    shape: Shape,
    // Of a smaller grid only the front is used; the rest stays 0, so that equality needs no care.
    cells: [u8; MAX_CELLS],
}

impl Grid {
    /// A grid of blanks.
    pub fn blank(shape: Shape) -> Grid {
        Grid { shape, cells: [0; MAX_CELLS] }
    }

    /// A puzzle as one line of 16, 36 or 81 characters: digits, and `.` or `0` for blanks.
    ///
    /// # Errors
    /// [`Error::Usage`] for another length or character.
    pub fn parse(text: &str) -> Result<Grid> {
        let fix = "give one line of digits, with . or 0 for blanks";
        Grid::from_text(text).map_err(|problem| Error::usage("PUZZLE", problem, fix))
    }

    /// As [`Grid::parse`], with only the problem as error.
    pub(super) fn from_text(text: &str) -> std::result::Result<Grid, String> {
        let count = text.chars().count();
        let Some(shape) = Shape::of_cells(count) else {
            return Err(format!("{count} characters, expected 16 (4x4), 36 (6x6) or 81 (9x9)"));
        };
        let mut grid = Grid::blank(shape);
        for (index, (cell, character)) in grid.cells.iter_mut().zip(text.chars()).enumerate() {
            let blank = character == '-' || BLANKS.contains(&character);
            let digit = if blank { Some(0) } else { character.to_digit(10) };
            *cell = match digit {
                Some(digit) if digit as usize <= shape.size => digit as u8,
                _ => {
                    let column = index + 1;
                    return Err(format!(
                        "column {column}: {character:?}, expected 1 to {}, . or 0",
                        shape.size
                    ));
                }
            };
        }
        Ok(grid)
    }

    /// The grid that `tokens` (S) stand for; what is no digit's token is a blank.
    pub fn from_tokens(shape: Shape, tokens: &[i32]) -> Grid {
        let mut grid = Grid::blank(shape);
        for (cell, &token) in grid.cells.iter_mut().zip(tokens).take(shape.cells()) {
            let digit = token - i32::from(BLANK_TOKEN);
            *cell = if (1..=shape.size as i32).contains(&digit) { digit as u8 } else { 0 };
        }
        grid
    }

    /// Writes the tokens of all cells to the front of `buffer` (at least S) and returns them, (S).
    pub fn write_tokens<'a>(&self, buffer: &'a mut [u8]) -> &'a [u8] {
        let tokens = &mut buffer[..self.shape.cells()];
        tokens.iter_mut().zip(self.cells()).for_each(|(token, digit)| *token = digit + BLANK_TOKEN);
        tokens
    }

    /// Side length and boxes.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The digits of all cells, row by row, 0 for blanks.
    pub fn cells(&self) -> &[u8] {
        &self.cells[..self.shape.cells()]
    }

    /// The digits of all cells, to be changed.
    pub(super) fn cells_mut(&mut self) -> &mut [u8] {
        &mut self.cells[..self.shape.cells()]
    }

    /// How many cells are not blank.
    pub fn clues(&self) -> usize {
        self.cells().iter().filter(|&&digit| digit != 0).count()
    }

    /// A drawing with a line per row and lines between the boxes.
    pub fn draw(&self) -> String {
        self.draw_with(|cell| character(self.cells[cell]).to_string())
    }

    /// As [`Grid::draw`], each cell rendered by `render`: one column wide, colour codes aside.
    pub fn draw_with(&self, render: impl Fn(usize) -> String) -> String {
        let Shape { size, box_rows, box_columns } = self.shape;
        let stacks = size / box_columns;
        let separator = vec!["-".repeat(2 * box_columns - 1); stacks].join("-+-");
        let mut lines = Vec::with_capacity(2 * size);
        for row in 0..size {
            if row > 0 && row % box_rows == 0 {
                lines.push(separator.clone());
            }
            let stack = |stack: usize| {
                let columns = stack * box_columns..(stack + 1) * box_columns;
                columns.map(|column| render(row * size + column)).collect::<Vec<_>>().join(" ")
            };
            lines.push((0..stacks).map(stack).collect::<Vec<_>>().join(" | "));
        }
        lines.join("\n") + "\n"
    }
}

/// One line, `.` for blanks: what [`Grid::parse`] reads.
impl fmt::Display for Grid {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        self.cells().iter().try_for_each(|&digit| fmt::Write::write_char(formatter, character(digit)))
    }
}

/// A puzzle and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Puzzle {
    /// The clues.
    pub question: Grid,
    /// The solution.
    pub answer: Grid,
}

/// Whether `answer` fills the grid by the rules and keeps the clues of `puzzle`.
pub fn is_valid_solution(puzzle: &Grid, answer: &Grid) -> bool {
    solution_fault(puzzle, answer).is_none()
}

/// The first thing that keeps `answer` from being a solution of `puzzle`.
pub fn solution_fault(puzzle: &Grid, answer: &Grid) -> Option<String> {
    let shape = puzzle.shape;
    if answer.shape != shape {
        return Some(format!("is {}, the puzzle is {shape}", answer.shape));
    }
    let mut seen = [[0u16; MAX_SIZE]; 3];
    for (cell, (&clue, &digit)) in puzzle.cells().iter().zip(answer.cells()).enumerate() {
        let (row, column) = (cell / shape.size + 1, cell % shape.size + 1);
        if digit == 0 {
            return Some(format!("leaves row {row}, column {column} blank"));
        }
        if clue != 0 && clue != digit {
            return Some(format!("has {digit} at row {row}, column {column}, the puzzle gives {clue}"));
        }
        for (kind, unit) in shape.units_of(cell).into_iter().enumerate() {
            if seen[kind][unit] & 1 << digit != 0 {
                let kind = ["row", "column", "box"][kind];
                return Some(format!("has two {digit} in {kind} {}", unit + 1));
            }
            seen[kind][unit] |= 1 << digit;
        }
    }
    None
}

fn character(digit: u8) -> char {
    if digit == 0 { '.' } else { char::from(b'0' + digit) }
}
