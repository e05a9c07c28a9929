//! Puzzles from tables of any layout, and from lists without answers, which are solved here.
//!
//! Every row is judged: both grids have the size of those before, and the answer solves the question; a puzzle
//! without an answer has exactly one.

use std::path::Path;

use super::grid::{Grid, Puzzle, solution_fault};
use super::solve::solve;
use crate::Result;
use crate::data::table::{self, Judged, Kind, Line, OnInvalid, Record, Sound};

const KIND: Kind = Kind {
    fits: |text| Grid::from_text(cell(text)).is_ok(),
    solved: |text| Grid::from_text(cell(text)).is_ok_and(|grid| grid.clues() == grid.cells().len()),
    comments: true,
};

/// One row of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Its line in the file, from 1 on.
    pub line: u64,
    /// The puzzle and its solution.
    pub puzzle: Puzzle,
    /// Its difficulty, more is harder, where the table has one; of a list without answers, the guesses that the exact
    /// solver needed.
    pub rating: Option<f64>,
}

/// A file of puzzles read row by row: what is sound of it.
pub struct Table {
    rows: Sound<Row>,
    /// Whether its puzzles are solved here.
    solved: Option<String>,
}

impl Table {
    /// Opens the file and finds out what its columns mean. Rows need a rating where one is asked for.
    ///
    /// # Errors
    /// [`crate::Error::Io`] if it cannot be read, [`crate::Error::File`] if there is no column of puzzles.
    pub fn open(path: &Path, on_invalid: Option<OnInvalid>, needs_rating: bool) -> Result<Table> {
        let table = table::Table::open(path, KIND)?;
        let told = || {
            let told = "has no answers: each puzzle is solved exactly, its rating is the guesses that takes";
            format!("{}: {told}", path.display())
        };
        let solved = (!table.has_answers()).then(told);
        let judge = move |record: &Record| row(record, needs_rating);
        let agree = |first: &Row, row: &Row| {
            let (first, found) = (first.puzzle.question.shape(), row.puzzle.question.shape());
            (found != first).then(|| format!("question is {found}, the lines before are {first}"))
        };
        Ok(Table { rows: Sound::new(table, on_invalid, Box::new(judge), agree), solved })
    }

    /// What a reader should know: what was taken for what, and which rows were left out so far.
    pub fn notes(&self) -> Vec<String> {
        self.solved.iter().cloned().chain(self.rows.notes()).collect()
    }

    /// What to say of a file without any sound row.
    pub(super) fn nothing(&self) -> crate::Error {
        self.rows.nothing()
    }
}

impl Iterator for Table {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        self.rows.next().map(|line| line.map(|Line { row, .. }| row))
    }
}

/// Without what surrounds a puzzle: spaces, and a comment behind it.
fn cell(text: &str) -> &str {
    text.split('#').next().unwrap_or_default().trim()
}

fn row(record: &Record, needs_rating: bool) -> Judged<Row> {
    let grid =
        |name: &str, text: &str| Grid::from_text(cell(text)).map_err(|problem| format!("{name}: {problem}"));
    let question = grid("question", &record.question)?;
    let (answer, rating) = match &record.answer {
        Some(answer) => (grid("answer", answer)?, record.rating),
        None => {
            let (answer, guesses) = solve(&question)?;
            (answer, record.rating.or(Some(guesses as f64)))
        }
    };
    if let Some(fault) = solution_fault(&question, &answer) {
        return Err(format!("answer {fault}"));
    }
    if needs_rating && rating.is_none() {
        return Err("has no rating that is a number".to_owned());
    }
    Ok(Row { line: record.line, puzzle: Puzzle { question, answer }, rating })
}
