//! Draws examples as text, plain or with ANSI colours: input and label side by side.

use super::Kind;
use crate::data::arc::{CANVAS, PALETTE, bounds, colour_of};
use crate::data::maze;
use crate::data::sudoku::{Grid, Shape};

const RESET: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";
const CYAN: &str = "\x1b[36m";
const BETWEEN: &str = "    ";

/// Draws `inputs` and `labels` (S), or a prediction in place of the labels, side by side.
pub fn draw(kind: Kind, inputs: &[i32], labels: &[i32], colour: bool) -> String {
    let draw = |tokens| lines(kind, inputs, tokens, colour);
    beside(&draw(inputs), &draw(labels))
}

/// Draws `tokens` (S), which may be an answer to `inputs` (S), line by line.
pub(crate) fn lines(kind: Kind, inputs: &[i32], tokens: &[i32], colour: bool) -> Vec<String> {
    match kind {
        Kind::Sudoku { size } => draw_sudoku(size, tokens, inputs, colour),
        Kind::Maze { cols, .. } => draw_maze(cols, tokens, colour),
        Kind::Arc => draw_canvas(tokens, colour),
        Kind::Other => draw_numbers(tokens),
    }
}

/// Joins two drawings line by line, the second one in a column of its own.
pub(crate) fn beside(left: &[String], right: &[String]) -> String {
    let width = left.iter().map(|line| visible(line)).max().unwrap_or(0);
    let line = |row: usize| {
        let (left, right) =
            (left.get(row).map_or("", String::as_str), right.get(row).map_or("", String::as_str));
        let gap = " ".repeat(width - visible(left));
        format!("{left}{gap}{BETWEEN}{right}").trim_end().to_owned() + "\n"
    };
    (0..left.len().max(right.len())).map(line).collect()
}

/// Characters that take up room: all but the colour codes.
fn visible(line: &str) -> usize {
    let mut inside = false;
    let shown = |character: &char| {
        let outside = !inside && *character != '\x1b';
        inside = !outside && *character != 'm';
        outside
    };
    line.chars().filter(shown).count()
}

fn paint(code: &str, text: &str, colour: bool) -> String {
    if colour { format!("{code}{text}{RESET}") } else { text.to_owned() }
}

/// Clues, which are the cells that `given` holds, are bold; filled in cells have a colour.
fn draw_sudoku(size: usize, tokens: &[i32], given: &[i32], colour: bool) -> Vec<String> {
    let Some(shape) = Shape::of_size(size) else { return vec![] };
    let (grid, clues) = (Grid::from_tokens(shape, tokens), Grid::from_tokens(shape, given));
    let render = |cell: usize| match (grid.cells()[cell], clues.cells()[cell]) {
        (0, _) => ".".to_owned(),
        (digit, clue) if digit == clue => paint(BOLD, &digit.to_string(), colour),
        (digit, _) => paint(CYAN, &digit.to_string(), colour),
    };
    grid.draw_with(render).lines().map(str::to_owned).collect()
}

/// One character per cell; with colours two, so that cells are about square.
fn draw_maze(cols: usize, tokens: &[i32], colour: bool) -> Vec<String> {
    let cell = |&token: &i32| {
        let index = usize::try_from(token).ok().and_then(|token| token.checked_sub(1));
        let character =
            index.and_then(|index| maze::CHARACTERS.get(index)).map_or('?', |&byte| char::from(byte));
        if !colour {
            return character.to_string();
        }
        match character {
            '#' => paint("\x1b[100m", "  ", true),
            'S' => paint("\x1b[30;42m", "S ", true),
            'G' => paint("\x1b[30;41m", "G ", true),
            'o' => paint("\x1b[30;43m", "  ", true),
            other => format!("{other} "),
        }
    };
    tokens.chunks(cols.max(1)).map(|line| line.iter().map(cell).collect()).collect()
}

/// The smallest rectangle of the canvas with all colours in it; what is no colour is a dot.
fn draw_canvas(tokens: &[i32], colour: bool) -> Vec<String> {
    let Some([top, left, bottom, right]) = bounds(tokens) else { return vec!["(no grid)".to_owned()] };
    let cell = |&token: &i32| match colour_of(token) {
        None => ". ".to_owned(),
        Some(index) if colour => {
            let [red, green, blue] = PALETTE[usize::from(index)];
            paint(&format!("\x1b[48;2;{red};{green};{blue}m"), "  ", true)
        }
        Some(index) => format!("{index} "),
    };
    let lines = tokens.chunks(CANVAS).take(bottom + 1).skip(top);
    lines.map(|line| line.iter().take(right + 1).skip(left).map(cell).collect()).collect()
}

/// The tokens as numbers, in lines of ten.
fn draw_numbers(tokens: &[i32]) -> Vec<String> {
    let line = |tokens: &[i32]| tokens.iter().map(|token| format!("{token:>4}")).collect();
    tokens.chunks(10).map(line).collect()
}
