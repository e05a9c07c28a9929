//! A puzzle's answer as it changes from step to step, on a terminal.

use crate::data::inspect::{Kind, beside, lines};
use crate::data::sudoku::{Grid, Shape};

const CLUE: &str = "\x1b[1m";
const CHANGED: &str = "\x1b[30;43m";
const RESET: &str = "\x1b[0m";

/// Draws `answer` to `inputs`, (S) tokens. Cells of a Sudoku that differ from `previous` stand out in colours, where
/// clues are bold; without colours a second drawing beside it has a star for each of them, for mazes too.
pub fn draw_answer(kind: Kind, inputs: &[i32], previous: &[i32], answer: &[i32], colour: bool) -> String {
    let changed = |cell: usize| answer.get(cell) != previous.get(cell);
    let shape = match kind {
        Kind::Sudoku { size } => Shape::of_size(size),
        _ => None,
    };
    let drawing = match shape.filter(|_| colour) {
        Some(shape) => sudoku(shape, inputs, answer, changed),
        None => lines(kind, inputs, answer, colour),
    };
    let mark = |cell: usize| if changed(cell) { "*" } else { "." }.to_owned();
    let marks: Vec<String> = match (kind, shape) {
        _ if colour || answer == previous => Vec::new(),
        (_, Some(shape)) => Grid::blank(shape).draw_with(mark).lines().map(str::to_owned).collect(),
        (Kind::Maze { cols, .. }, _) => {
            let cells: Vec<usize> = (0..answer.len()).collect();
            cells.chunks(cols.max(1)).map(|row| row.iter().map(|cell| mark(*cell)).collect()).collect()
        }
        _ => Vec::new(),
    };
    match marks.is_empty() {
        true => drawing.iter().flat_map(|line| [line.as_str(), "\n"]).collect(),
        false => beside(&drawing, &marks),
    }
}

fn sudoku(shape: Shape, inputs: &[i32], answer: &[i32], changed: impl Fn(usize) -> bool) -> Vec<String> {
    let (given, grid) = (Grid::from_tokens(shape, inputs), Grid::from_tokens(shape, answer));
    let character = |cell: usize| match grid.cells()[cell] {
        0 => ".".to_owned(),
        digit => digit.to_string(),
    };
    let render = |cell: usize| match (changed(cell), given.cells()[cell] != 0) {
        (true, _) => format!("{CHANGED}{}{RESET}", character(cell)),
        (_, true) => format!("{CLUE}{}{RESET}", character(cell)),
        _ => character(cell),
    };
    grid.draw_with(render).lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_changes_with_and_without_colours() {
        let tokens = |text: &str| -> Vec<i32> {
            Grid::parse(text).unwrap().cells().iter().map(|digit| i32::from(*digit) + 1).collect()
        };
        let (puzzle, before) = (tokens("1..............."), tokens("12.............."));
        let after = tokens("134.............");
        let draw =
            |before: &[i32], colour| draw_answer(Kind::Sudoku { size: 4 }, &puzzle, before, &after, colour);
        assert_eq!(draw(&before, false).lines().next(), Some("1 3 | 4 .    . * | * ."));
        assert_eq!(draw(&after, false), Grid::parse("134.............").unwrap().draw());
        let coloured = draw(&before, true);
        assert!(coloured.starts_with("\x1b[1m1\x1b[0m \x1b[30;43m3\x1b[0m | "), "{coloured:?}");
    }
}
