//! Mazes in text: a row of `# S G o` a line, as they are drawn, or all rows in one line.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{CHARACTERS, GOAL, OPEN, PATH, START, distances};
use crate::data::pasted::Found;

/// A maze as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pasted {
    /// How many rows.
    pub rows: usize,
    /// How many columns.
    pub cols: usize,
    /// (rows * cols) tokens without a path.
    pub tokens: Vec<u8>,
    /// Moves of a shortest path.
    pub shortest: usize,
}

impl Pasted {
    /// Tokens (S) as rows of characters.
    pub fn text(&self, tokens: &[i32]) -> String {
        let character = |token: &i32| {
            let known = usize::try_from(*token).ok().and_then(|token| CHARACTERS.get(token.wrapping_sub(1)));
            known.map_or('?', |&byte| char::from(byte))
        };
        let rows = tokens.chunks(self.cols).map(|row| row.iter().map(character).collect::<String>());
        rows.collect::<Vec<_>>().join("\n")
    }
}

/// Finds mazes of one size in the lines of a text.
pub struct Layouts {
    cells: usize,
    /// Rows of the open maze; empty lines may be rows of open cells whose ends somebody has trimmed.
    rows: Vec<(usize, String)>,
}

impl Layouts {
    /// Nothing found yet; mazes have so many cells.
    pub fn new(cells: usize) -> Layouts {
        Layouts { cells, rows: Vec::new() }
    }

    /// Whether a maze has begun.
    pub fn is_open(&self) -> bool {
        !self.rows.is_empty()
    }

    /// Takes in a line and returns what ends with it.
    pub fn line(&mut self, number: usize, text: &str) -> Vec<Found<Pasted>> {
        let mut found = Vec::new();
        let strange = text.chars().filter(|sign| !is_sign(*sign)).count();
        let words = 2 * strange > text.chars().count();
        let heading =
            words || text.trim_start().starts_with(|sign: char| sign.is_ascii_lowercase() && sign != 'o');
        // A maze may begin with a row of open cells.
        let empty = text.trim().is_empty() && (text.len() < 2 || !self.cells.is_multiple_of(text.len()));
        if heading || (!self.is_open() && empty) {
            return self.end().into_iter().collect();
        }
        // All rows in one line belong to nothing before it.
        if text.chars().count() >= self.cells {
            found.extend(self.end());
        }
        self.rows.push((number, text.to_owned()));
        found.extend(self.torn());
        if self.width() * self.rows.len() >= self.cells || self.is_filled() {
            found.extend(self.end());
        }
        found
    }

    /// The maze that is open.
    pub fn end(&mut self) -> Option<Found<Pasted>> {
        let rows = std::mem::take(&mut self.rows);
        let line = rows.first()?.0;
        Some(Found { line, puzzle: self.maze(&rows), note: None })
    }

    fn width(&self) -> usize {
        width_of(self.rows.iter().map(|(_, row)| row.as_str()))
    }

    /// Whether rows as long as the longest are a maze.
    fn is_filled(&self) -> bool {
        longest(&self.rows) * self.rows.len() == self.cells
    }

    /// Where another start comes before the maze is whole, another maze has begun behind the last empty line.
    fn torn(&mut self) -> Option<Found<Pasted>> {
        let ((_, last), before) = self.rows.split_last()?;
        let again = last.contains('S') && before.iter().any(|(_, row)| row.contains('S'));
        let empty = before.iter().rposition(|(_, row)| row.trim().is_empty()).filter(|_| again)?;
        let rest = self.rows.split_off(empty + 1);
        let ended = self.end();
        self.rows = rest;
        ended
    }

    fn maze(&self, rows: &[(usize, String)]) -> Result<Pasted, String> {
        let side = self.cells.isqrt();
        let lines: Vec<Vec<char>> = rows.iter().map(|(_, row)| row.chars().collect()).collect();
        let (width, longest) = (width_of(rows.iter().map(|(_, row)| row.as_str())), longest(rows));
        // Rows that an editor has trimmed may be the most.
        let trimmed = longest * rows.len() == self.cells && !rows.iter().any(|(_, row)| row.contains('.'));
        let width = if trimmed { longest } else { width };
        let (cols, lines) = match lines.as_slice() {
            [line] if line.len() == self.cells && side * side == self.cells => {
                (side, line.chunks(side).map(<[char]>::to_vec).collect())
            }
            _ => (width, lines),
        };
        if cols < 2 || cols * lines.len() != self.cells {
            let square =
                if side * side == self.cells { format!(", as {side} x {side}") } else { String::new() };
            let (rows, cells) = (lines.len(), self.cells);
            return Err(format!("{rows} x {cols} cells, the model solves mazes of {cells}{square}"));
        }
        // Short rows of dots are not rows whose open cells somebody has trimmed.
        let dotted = rows.iter().any(|(_, row)| row.contains('.'));
        let ragged = |line: &Vec<char>| line.len() > cols || (dotted && line.len() < cols);
        if let Some(at) = lines.iter().position(ragged) {
            return Err(format!("row {} has {} cells, others have {cols}", at + 1, lines[at].len()));
        }
        let mut tokens = vec![OPEN; self.cells];
        for (row, line) in lines.iter().enumerate() {
            for (col, sign) in line.iter().enumerate() {
                tokens[row * cols + col] = token(*sign).ok_or_else(|| {
                    let (row, col) = (row + 1, col + 1);
                    format!("{sign:?} in row {row}, column {col}, expected one of \"# SGo\"")
                })?;
            }
        }
        let places = |token: u8| tokens.iter().enumerate().filter(move |(_, found)| **found == token);
        let (starts, goals) = (places(START).count(), places(GOAL).count());
        let (Some((start, _)), Some((goal, _)), 1, 1) =
            (places(START).next(), places(GOAL).next(), starts, goals)
        else {
            return Err(format!("{starts} S and {goals} G, expected one of each"));
        };
        let shortest = distances(lines.len(), cols, &tokens, start).moves[goal];
        let shortest = shortest.ok_or("no way leads from S to G")?;
        Ok(Pasted { rows: lines.len(), cols, tokens, shortest })
    }
}

/// Cells of the longest row.
fn longest(rows: &[(usize, String)]) -> usize {
    rows.iter().map(|(_, row)| row.chars().count()).max().unwrap_or_default()
}

/// Cells of the rows of a maze: most rows have as many; of rows with spaces the longest, as others may have lost some at the
/// end, unless it is the only one so long, most others have one length, and the maze is not square with it.
pub fn width_of<'a>(rows: impl Iterator<Item = &'a str>) -> usize {
    let (mut dotted, mut lengths, mut count) = (false, BTreeMap::new(), 0);
    for row in rows {
        count += 1;
        if row.is_empty() {
            continue;
        }
        dotted |= row.contains('.');
        *lengths.entry(row.chars().count()).or_insert(0) += 1;
    }
    let Some((&longest, &as_long)) = lengths.last_key_value() else { return 0 };
    let usual = lengths.into_iter().max_by_key(|(length, rows)| (*rows, Reverse(*length)));
    let (usual, as_usual) = usual.unwrap_or_default();
    let odd = as_long == 1 && 2 * as_usual > count && longest != count;
    if dotted || odd { usual } else { longest }
}

/// Whether a sign stands for a cell.
pub fn is_sign(sign: char) -> bool {
    token(sign).is_some()
}

/// A path that is marked already is nobody's question.
fn token(sign: char) -> Option<u8> {
    if sign == '.' {
        return Some(OPEN);
    }
    let token = CHARACTERS.iter().position(|&known| char::from(known) == sign)? as u8 + 1;
    Some(if token == PATH { OPEN } else { token })
}
