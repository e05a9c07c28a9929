//! Puzzles from CSV files with the columns source, question, answer and rating, as Sudoku-Extreme has them.
//!
//! Every row is checked: both grids have the size of the rows before, and the answer solves the question.

use std::fs::File;
use std::path::{Path, PathBuf};

use csv::StringRecord;

use super::grid::{Grid, Puzzle, Shape, solution_fault};
use crate::{Error, Result};

const COLUMNS: [&str; 4] = ["source", "question", "answer", "rating"];

/// One row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The puzzle and its solution.
    pub puzzle: Puzzle,
    /// Its difficulty; more is harder.
    pub rating: i64,
}

/// A CSV file read row by row.
pub struct Table {
    path: PathBuf,
    rows: csv::StringRecordsIntoIter<File>,
    columns: [usize; 4],
    shape: Option<Shape>,
}

impl Table {
    /// Opens the file and finds the columns by the names in its first line.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::File`] if a column is missing.
    pub fn open(path: &Path) -> Result<Table> {
        let fix = format!("give a CSV file with the columns {}", COLUMNS.join(","));
        let file = File::open(path).map_err(Error::io(path)).map_err(|error| error.or_missing(&fix))?;
        let mut reader = csv::Reader::from_reader(file);
        let header = reader.headers().map_err(|error| unreadable(path, &error))?.clone();
        let mut columns = [0; 4];
        for (column, name) in columns.iter_mut().zip(COLUMNS) {
            *column =
                header.iter().position(|found| found.trim().eq_ignore_ascii_case(name)).ok_or_else(|| {
                    let found = header.iter().collect::<Vec<_>>().join(",");
                    let problem = format!("line 1: no column {name:?} in \"{found}\"");
                    Error::file(path, problem, "the first line must be source,question,answer,rating")
                })?;
        }
        Ok(Table { path: path.to_path_buf(), rows: reader.into_records(), columns, shape: None })
    }

    fn row(&mut self, record: &StringRecord) -> Result<Row> {
        let line = record.position().map_or(0, csv::Position::line);
        let broken = |problem: String| {
            Error::file(&self.path, format!("line {line}: {problem}"), "correct or remove the line")
        };
        let field = |column: usize| record.get(self.columns[column]).unwrap_or_default().trim();
        let grid = |column: usize| {
            Grid::from_text(field(column))
                .map_err(|problem| broken(format!("{}: {problem}", COLUMNS[column])))
        };
        let (question, answer) = (grid(1)?, grid(2)?);
        let expected = *self.shape.get_or_insert(question.shape());
        if question.shape() != expected {
            return Err(broken(format!("question is {}, the lines before are {expected}", question.shape())));
        }
        if let Some(fault) = solution_fault(&question, &answer) {
            return Err(broken(format!("answer {fault}")));
        }
        let rating = field(3);
        let rating = rating.parse().map_err(|_| broken(format!("rating {rating:?}, expected an integer")))?;
        Ok(Row { puzzle: Puzzle { question, answer }, rating })
    }
}

impl Iterator for Table {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        let record = self.rows.next()?;
        Some(record.map_err(|error| unreadable(&self.path, &error)).and_then(|record| self.row(&record)))
    }
}

fn unreadable(path: &Path, error: &csv::Error) -> Error {
    let line = error.position().map_or(1, csv::Position::line);
    let problem = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("line {line}: {len} fields, the first line has {expected_len}")
        }
        _ => format!("line {line}: {error}"),
    };
    Error::file(path, problem, "give a UTF-8 CSV file with the columns source,question,answer,rating")
}
