//! Puzzles in text as people paste it, found line by line.

use std::io::Read;
use std::path::Path;

use super::inspect::Kind;
use super::json;
use super::maze::{self, Pasted};
use super::sudoku::{self, Grid, Shape};
use super::table;
use crate::{Error, Result, files};

/// What a text holds at some place: a puzzle, or what is wrong with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<T> {
    /// Its first line, from 1 on.
    pub line: usize,
    /// The puzzle.
    pub puzzle: std::result::Result<T, String>,
    /// What is odd beside it.
    pub note: Option<String>,
}

impl<T> Found<T> {
    /// The same with another puzzle.
    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> Found<U> {
        Found { line: self.line, puzzle: self.puzzle.map(with), note: self.note }
    }

    /// The same with what `note` finds odd about the puzzle.
    pub(super) fn noted(self, note: impl FnOnce(&T) -> Option<String>) -> Found<T> {
        let note = self.puzzle.as_ref().ok().and_then(note);
        Found { note, ..self }
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
    /// Lines of a block that may be a Sudoku or a maze, while nothing tells which, ...
    open: Vec<(usize, String)>,
    /// ... whether one of them is of a maze, ...
    seen_maze: bool,
    /// ... and whether one of them can be of none.
    seen_other: bool,
}

impl Reader {
    /// A reader of the puzzles of (cells, tokens); none where these are neither Sudokus nor mazes.
    pub fn of_sizes(seq_len: usize, vocab_size: usize) -> Option<Reader> {
        let shape = Shape::of_cells(seq_len).filter(|shape| shape.vocab_size() == vocab_size);
        let sudokus = shape.map(sudoku::Layouts::new);
        let mazes = (vocab_size == maze::VOCAB_SIZE).then(|| maze::Layouts::new(seq_len));
        (sudokus.is_some() || mazes.is_some()).then(|| {
            let open = Vec::new();
            Reader { sudokus, mazes, open, seen_maze: false, seen_other: false }
        })
    }

    /// All puzzles of a text.
    pub fn all(mut self, text: &str) -> Vec<Found<Puzzle>> {
        let lines = json::lines(text).into_iter();
        let mut found: Vec<_> = lines.flat_map(|(number, line)| self.plain(number, &line)).collect();
        found.extend(self.end());
        found
    }

    /// Takes in a line, numbered from 1 on, and returns what ends with it.
    pub fn line(&mut self, number: usize, text: &str) -> Vec<Found<Puzzle>> {
        match json::texts(text) {
            Some(texts) => {
                let lines = texts.iter().flat_map(|text| text.lines());
                lines.flat_map(|line| self.plain(number, line)).collect()
            }
            None => self.plain(number, text),
        }
    }

    fn plain(&mut self, number: usize, text: &str) -> Vec<Found<Puzzle>> {
        let text = text.trim_end_matches(['\r', '\n']);
        let text = if number == 1 { text.trim_start_matches('\u{feff}') } else { text };
        self.seen_maze |= is_row(text) && text.contains(['S', 'G']);
        self.seen_other |= !is_row(text);
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
        found.extend(self.sudokus.iter_mut().flat_map(sudoku::Layouts::end).map(sudoku));
        found.extend(self.mazes.as_mut().and_then(|mazes| mazes.end()).map(maze));
        found
    }

    /// Whether the open lines say what they are.
    fn tells(&self) -> bool {
        let begun = self.sudokus.as_ref().is_some_and(sudoku::Layouts::is_open);
        begun || self.is_maze() || self.seen_other
    }

    fn is_maze(&self) -> bool {
        let begun = self.mazes.as_ref().is_some_and(maze::Layouts::is_open);
        begun || self.seen_maze
    }

    fn sudokus(&mut self) -> Vec<Found<Puzzle>> {
        let Some(sudokus) = &mut self.sudokus else { return Vec::new() };
        (self.seen_maze, self.seen_other) = (false, false);
        self.open.drain(..).flat_map(|(number, line)| sudokus.line(number, &line)).map(sudoku).collect()
    }

    fn mazes(&mut self) -> Vec<Found<Puzzle>> {
        let Some(mazes) = &mut self.mazes else { return Vec::new() };
        (self.seen_maze, self.seen_other) = (false, false);
        self.open.drain(..).flat_map(|(number, line)| mazes.line(number, &line)).map(maze).collect()
    }
}

/// The text of a file, unpacked where it is packed with gzip.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::File`] if it is no text.
pub fn text_of(path: &Path) -> Result<String> {
    if !table::is_packed(path)? {
        return files::read_to_string(path);
    }
    let mut text = Vec::new();
    table::text(path)?.all.read_to_end(&mut text).map_err(Error::io(path))?;
    String::from_utf8(text).map_err(|_| Error::file(path, "holds no UTF-8 text", "pack a text file"))
}

/// The one puzzle that a text holds, as text whose lines tell what it is; none where there are several, or something else.
pub fn only(text: &str) -> Option<String> {
    let known = kind_of(text).into_iter().filter_map(|kind| match kind {
        Kind::Maze { rows, cols } => Some((rows * cols, maze::VOCAB_SIZE)),
        _ => None,
    });
    let sudokus = Shape::ALL.iter().map(|shape| (shape.cells(), shape.vocab_size()));
    known.chain(sudokus).find_map(|(cells, tokens)| match &Reader::of_sizes(cells, tokens)?.all(text)[..] {
        [Found { puzzle: Ok(puzzle), .. }] => Some(puzzle.text(&puzzle.tokens())),
        _ => None,
    })
}

/// What the puzzles of a text are, by the lengths of its lines; none where they tell nothing.
pub fn kind_of(text: &str) -> Option<Kind> {
    let lines = json::lines(text);
    let lines: Vec<&str> = lines.iter().map(|(_, line)| line.trim_end_matches('\r')).collect();
    maze_of(&lines).or_else(|| {
        let held = Shape::ALL.map(|shape| (sudoku::lines_of(shape, &lines), shape.size()));
        let (_, size) = held.into_iter().filter(|((_, lines), _)| *lines > 0).max()?;
        Some(Kind::Sudoku { size })
    })
}

/// The maze around the first line with a start or a goal in it.
fn maze_of(lines: &[&str]) -> Option<Kind> {
    let ends = |line: &str, ends: &[char]| is_row(line) && line.contains(ends);
    let start = lines.iter().position(|line| ends(line, &['S', 'G'])).or_else(|| {
        let walled = lines.len() > 1 && lines.iter().all(|line| line.is_empty() || is_row(line));
        lines.iter().position(|line| walled && line.contains('#'))
    })?;
    let first = start - lines[..start].iter().rev().take_while(|line| is_nearly_row(line)).count();
    // Until it has both, an empty line may be a row of open cells whose end somebody has trimmed.
    let (mut missing, mut last) = (vec!['S', 'G'], first);
    for (at, line) in lines.iter().enumerate().skip(first) {
        if is_nearly_row(line) {
            last = at;
            missing.retain(|end| !line.contains(*end));
        } else if !line.is_empty() || missing.is_empty() {
            break;
        }
    }
    let block = &lines[first..=last];
    let cols = maze::width_of(block.iter().copied());
    // Mazes may follow each other without a gap.
    let mazes = block.iter().filter(|line| line.contains('S')).count().max(1);
    match block.len() / mazes {
        1 => Some(cols.isqrt())
            .filter(|side| side * side == cols)
            .map(|side| Kind::Maze { rows: side, cols: side }),
        rows => Some(Kind::Maze { rows, cols }),
    }
}

/// Whether a line can be a row of a maze.
fn is_row(line: &str) -> bool {
    !line.is_empty() && line.chars().all(maze::is_sign)
}

/// The same, were it not for a few signs that are none of a maze's; digits are a Sudoku's.
fn is_nearly_row(line: &str) -> bool {
    let strange = line.chars().filter(|sign| !maze::is_sign(*sign)).count();
    !line.is_empty()
        && 3 * strange <= line.chars().count()
        && !line.contains(|sign: char| sign.is_ascii_digit())
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

    /// What keeps (S) tokens from being a solution of it; beside that, of a maze, whether they mark a path at all, be it a
    /// longer one.
    pub fn judge(&self, answer: &[i32]) -> (Option<bool>, Option<String>) {
        match self {
            Puzzle::Sudoku(grid) => {
                (None, sudoku::solution_fault(grid, &Grid::from_tokens(grid.shape(), answer)))
            }
            Puzzle::Maze(maze) => match maze::Verdict::of(maze.cols, &self.tokens(), answer) {
                maze::Verdict::Shortest(_) => (Some(true), None),
                maze::Verdict::Valid(moves, shortest) => (
                    Some(true),
                    Some(format!("a valid path of {moves} moves, a shortest one has {shortest}")),
                ),
                maze::Verdict::Broken(fault) => (Some(false), Some(fault)),
            },
        }
    }

    /// How many solutions a Sudoku has, counted up to 2, where a search tells in good time. Mazes without a way are not read.
    pub fn solutions(&self) -> Option<usize> {
        match self {
            Puzzle::Sudoku(grid) => sudoku::count_solutions(grid),
            Puzzle::Maze(_) => None,
        }
    }

    /// Tokens (S) of it, or of an answer to it, as text that is read again.
    pub fn text(&self, tokens: &[i32]) -> String {
        match self {
            Puzzle::Sudoku(grid) => Grid::from_tokens(grid.shape(), tokens).to_string(),
            Puzzle::Maze(maze) => maze.text(tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_tell_their_puzzles() {
        let sudoku = |size| Some(Kind::Sudoku { size });
        let maze = |rows, cols| Some(Kind::Maze { rows, cols });
        let nine = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79";
        let rows = "12. ... ...\n... ... ...\n... ... 12.\n. . . 3 . . . . .\n";
        let cases = [
            ("1..............4", sudoku(4)),
            ("11..............\n", sudoku(4)),
            ("1 . | . .\n. . | . .\n----+----\n. . | . .\n. . | . 4\n", sudoku(4)),
            ("1....5...162.13...56..2.3.........13", sudoku(6)),
            ("Sudoku Grid 1\n1-----\n------\n", sudoku(6)),
            (nine, sudoku(9)),
            (rows, sudoku(9)),
            ("puzzle,rating\n1..............4,1234\n", sudoku(4)),
            ("1,.,.,.\n.,.,.,2\n", sudoku(4)),
            ("S # G\n  #  \n     \n ### \n     ", maze(5, 5)),
            ("#####\n#S G#\n#####\n", maze(3, 5)),
            ("S..\n...\n..G\nS..\n...\n..G\n", maze(3, 3)),
            ("S.......G", maze(3, 3)),
            // With faults, which the reader of that size then names.
            ("S.#.\n..#\n....\n...G\n", maze(4, 4)),
            ("S.#.\n..#..\n....\n...G\n", maze(4, 4)),
            ("S.#.\n.a#.\n....\n...G\n", maze(4, 4)),
            ("..#.\n..#.\n....\n...G\n", maze(4, 4)),
            ("..#.\n..#.\n....\n....\n", maze(4, 4)),
            ("S #\n  #\n\n   G\n", maze(4, 4)),
            ("1..............a", sudoku(4)),
            ("|1| | | |\n| | | | |\n| |3| | |\n| | | |2|\n", sudoku(4)),
            ("1,,,\n,,,2\n", sudoku(4)),
            ("12345", None),
            ("", None),
        ];
        for (text, kind) in cases {
            assert_eq!(kind_of(text), kind, "{text}");
        }
    }
}
