//! What is in the cells of a puzzle, and in which colours.

use super::Rgb;
use crate::data::arc::{self, PALETTE};
use crate::data::inspect::Kind;
use crate::data::maze;
use crate::data::own::Words;
use crate::data::sudoku::{Grid, Shape};

pub(super) const WHITE: Rgb = [255, 255, 255];
pub(super) const BLACK: Rgb = [0, 0, 0];
const BLUE: Rgb = [24, 84, 190];
const RED: Rgb = [207, 34, 46];
const CHANGED: Rgb = [255, 228, 120];
const WALL: Rgb = [60, 64, 72];
const WAY: Rgb = [255, 193, 7];
const START: Rgb = [46, 160, 67];
const GOAL: Rgb = RED;
const NOTHING: Rgb = [228, 228, 228];

/// Pixels of a cell with a digit, and of the longer side of a board whose cells are smaller.
const CELL: usize = 32;
const SIDE: usize = 320;
/// Cells of a line of words, and pixels of a letter.
const WORDS: usize = 10;
const LETTER: usize = 9;

/// A cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cell {
    pub fill: Rgb,
    pub ink: Rgb,
    pub text: String,
    pub bold: bool,
}

/// A grid of cells.
#[derive(Clone, Debug)]
pub struct Board {
    pub(super) cols: usize,
    /// Row by row.
    pub(super) cells: Vec<Cell>,
    /// Width and height of a cell in pixels.
    pub(super) cell: (usize, usize),
    /// Rows and columns between heavier lines.
    pub(super) blocks: Option<(usize, usize)>,
}

impl Board {
    /// An answer to `inputs`, (S) tokens each; cells that differ from `previous` stand out.
    pub fn of(kind: Kind, words: Option<&Words>, inputs: &[i32], previous: &[i32], answer: &[i32]) -> Board {
        let changed = |cell: usize| answer.get(cell) != previous.get(cell);
        match (kind, words) {
            (Kind::Sudoku { size }, _) => match Shape::of_size(size) {
                Some(shape) => sudoku(shape, inputs, answer, changed),
                None => numbers(answer, changed),
            },
            (Kind::Maze { cols, .. }, _) => labyrinth(cols, answer),
            (Kind::Arc, _) => Board::arc(&arc::Grid::crop(answer)),
            (Kind::Other, Some(words)) => {
                texts(answer.iter().map(|token| words.text(&[*token])).collect(), changed)
            }
            (Kind::Other, None) => numbers(answer, changed),
        }
    }

    /// A grid of ARC.
    pub fn arc(grid: &arc::Grid) -> Board {
        let cell = |&colour: &u8| painted(PALETTE[usize::from(colour)]);
        let side = (SIDE / grid.rows().max(grid.cols()).max(1)).clamp(8, CELL);
        let (cols, cells) = match grid.is_empty() {
            true => (1, vec![painted(NOTHING)]),
            false => (grid.cols(), grid.cells().iter().map(cell).collect()),
        };
        Board { cols, cells, cell: (side, side), blocks: None }
    }

    pub(super) fn rows(&self) -> usize {
        self.cells.len().div_ceil(self.cols)
    }
}

fn painted(fill: Rgb) -> Cell {
    Cell { fill, ink: BLACK, text: String::new(), bold: false }
}

fn sudoku(shape: Shape, inputs: &[i32], answer: &[i32], changed: impl Fn(usize) -> bool) -> Board {
    let (given, grid) = (Grid::from_tokens(shape, inputs), Grid::from_tokens(shape, answer));
    let cell = |(at, digit): (usize, &u8)| {
        let clue = given.cells()[at] != 0;
        let text = if *digit == 0 { String::new() } else { digit.to_string() };
        let fill = if changed(at) { CHANGED } else { WHITE };
        let ink = match clue {
            true if given.cells()[at] == *digit => BLACK,
            true => RED,
            false => BLUE,
        };
        Cell { fill, ink, text, bold: clue }
    };
    let cells = grid.cells().iter().enumerate().map(cell).collect();
    Board {
        cols: shape.size(),
        cells,
        cell: (CELL, CELL),
        blocks: Some((shape.box_rows(), shape.box_columns())),
    }
}

fn labyrinth(cols: usize, answer: &[i32]) -> Board {
    let cols = cols.max(1);
    let side = (SIDE / answer.len().div_ceil(cols).max(cols)).clamp(10, CELL);
    let cell = |token: &i32| {
        let letter = |fill: Rgb, letter: &str| {
            let text = if side >= 16 { letter.to_owned() } else { String::new() };
            Cell { fill, ink: WHITE, text, bold: true }
        };
        match u8::try_from(*token) {
            Ok(maze::WALL) => painted(WALL),
            Ok(maze::OPEN) => painted(WHITE),
            Ok(maze::PATH) => painted(WAY),
            Ok(maze::START) => letter(START, "S"),
            Ok(maze::GOAL) => letter(GOAL, "G"),
            _ => painted(NOTHING),
        }
    };
    Board { cols, cells: answer.iter().map(cell).collect(), cell: (side, side), blocks: None }
}

fn numbers(answer: &[i32], changed: impl Fn(usize) -> bool) -> Board {
    texts(answer.iter().map(i32::to_string).collect(), changed)
}

fn texts(texts: Vec<String>, changed: impl Fn(usize) -> bool) -> Board {
    let width = LETTER * texts.iter().map(|text| text.chars().count()).max().unwrap_or(1) + LETTER;
    let cell = |(at, text): (usize, String)| Cell {
        fill: if changed(at) { CHANGED } else { WHITE },
        ink: BLACK,
        text,
        bold: false,
    };
    let cols = texts.len().clamp(1, WORDS);
    let cells = texts.into_iter().enumerate().map(cell).collect();
    Board { cols, cells, cell: (width.max(24), 24), blocks: None }
}
