//! Puzzles in text as people paste it, found line by line.

use super::inspect::Kind;
use super::maze::{self, Pasted};
use super::sudoku::{self, Grid, Shape};

/// What a text holds at some place: a puzzle, or what is wrong with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<T> {
    /// Its first line, from 1 on.
    pub line: usize,
    /// The puzzle.
    pub puzzle: Result<T, String>,
}

impl<T> Found<T> {
    /// The same with another puzzle.
    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> Found<U> {
        Found { line: self.line, puzzle: self.puzzle.map(with) }
    }
}

/// A Sudoku or a maze as it was given.
#[derive(Clone, Debug, PartialEq)]
pub enum Puzzle {
    /// The clues.
    Sudoku(Grid),
    /// Walls, start and goal.
    Maze(Pasted),
}

/// Reads puzzles of one size out of text, whichever way they are laid out.
pub struct Reader {
    sudokus: Option<sudoku::Layouts>,
    mazes: Option<maze::Layouts>,
    /// Lines of a block that may be a Sudoku or a maze, while nothing tells which.
    open: Vec<(usize, String)>,
}

impl Reader {
    /// A reader of the puzzles of (cells, tokens); none where these are neither Sudokus nor mazes.
    pub fn of_sizes(seq_len: usize, vocab_size: usize) -> Option<Reader> {
        let shape = Shape::of_cells(seq_len).filter(|shape| shape.vocab_size() == vocab_size);
        let sudokus = shape.map(sudoku::Layouts::new);
        let mazes = (vocab_size == maze::VOCAB_SIZE).then(|| maze::Layouts::new(seq_len));
        (sudokus.is_some() || mazes.is_some()).then(|| Reader { sudokus, mazes, open: Vec::new() })
    }

    /// Takes in a line, numbered from 1 on, and returns what ends with it.
    pub fn line(&mut self, number: usize, text: &str) -> Vec<Found<Puzzle>> {
        let text = text.trim_end_matches(['\r', '\n']);
        let text = if number == 1 { text.trim_start_matches('\u{feff}') } else { text };
        self.open.push((number, text.to_owned()));
        match (&self.sudokus, &self.mazes) {
            // Mazes of 4 x 4 cells have as many tokens as Sudokus of that size. These have digits, or no letters.
            (Some(_), Some(_)) if !self.tells() => Vec::new(),
            (Some(_), None) => self.sudokus(),
            (Some(_), Some(_)) if !self.is_maze() => self.sudokus(),
            _ => self.mazes(),
        }
    }

    /// What is left at the end of the text.
    pub fn end(&mut self) -> Vec<Found<Puzzle>> {
        let mut found = match self.sudokus.is_some() {
            true => self.sudokus(),
            false => self.mazes(),
        };
        found.extend(self.sudokus.as_mut().and_then(|sudokus| sudokus.end()).map(sudoku));
        found.extend(self.mazes.as_mut().and_then(|mazes| mazes.end()).map(maze));
        found
    }

    /// Whether the open lines say what they are.
    fn tells(&self) -> bool {
        let begun = self.sudokus.as_ref().is_some_and(sudoku::Layouts::is_open);
        begun || self.is_maze() || self.open.iter().any(|(_, line)| !is_row(line))
    }

    fn is_maze(&self) -> bool {
        let begun = self.mazes.as_ref().is_some_and(maze::Layouts::is_open);
        begun || self.open.iter().any(|(_, line)| is_row(line) && line.contains(['S', 'G']))
    }

    fn sudokus(&mut self) -> Vec<Found<Puzzle>> {
        let Some(sudokus) = &mut self.sudokus else { return Vec::new() };
        self.open.drain(..).flat_map(|(number, line)| sudokus.line(number, &line)).map(sudoku).collect()
    }

    fn mazes(&mut self) -> Vec<Found<Puzzle>> {
        let Some(mazes) = &mut self.mazes else { return Vec::new() };
        self.open.drain(..).flat_map(|(number, line)| mazes.line(number, &line)).map(maze).collect()
    }
}

/// Whether a line can be a row of a maze.
fn is_row(line: &str) -> bool {
    !line.is_empty() && line.chars().all(|sign| "# SGo.".contains(sign))
}

fn sudoku(found: Found<Grid>) -> Found<Puzzle> {
    found.map(Puzzle::Sudoku)
}

fn maze(found: Found<Pasted>) -> Found<Puzzle> {
    found.map(Puzzle::Maze)
}

impl Puzzle {
    /// Which puzzle it is.
    pub fn kind(&self) -> Kind {
        match self {
            Puzzle::Sudoku(grid) => Kind::Sudoku { size: grid.shape().size() },
            Puzzle::Maze(maze) => Kind::Maze { rows: maze.rows, cols: maze.cols },
        }
    }

    /// (S) tokens.
    pub fn tokens(&self) -> Vec<i32> {
        let mut bytes = match self {
            Puzzle::Sudoku(grid) => vec![0; grid.cells().len()],
            Puzzle::Maze(maze) => maze.tokens.clone(),
        };
        if let Puzzle::Sudoku(grid) = self {
            grid.write_tokens(&mut bytes);
        }
        bytes.into_iter().map(i32::from).collect()
    }

    /// Tokens (S) of it, or of an answer to it, as text that is read again.
    pub fn text(&self, tokens: &[i32]) -> String {
        match self {
            Puzzle::Sudoku(grid) => Grid::from_tokens(grid.shape(), tokens).to_string(),
            Puzzle::Maze(maze) => maze.text(tokens),
        }
    }
}
