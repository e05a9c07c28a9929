//! Tables of puzzles, whoever wrote them: CSV files and plain lists.
//!
//! `open` takes off what a file is wrapped in (gzip, a byte order mark) and finds its separator, `columns` finds out
//! what its columns mean, [`Sound`] judges its rows, many at once, and keeps count of those that are refused.

mod columns;
mod open;
mod sound;

pub(super) use columns::{ANSWER, QUESTION};
pub(super) use open::{Text, is_packed, separator, text};
pub use sound::OnInvalid;
pub(super) use sound::{Judged, Line, Repeats, Seen, Sound};

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use self::columns::Columns;
use crate::{Error, Result};

const FIX: &str = "give a table with a column of puzzles and one of answers (puzzle,solution; quizzes,solutions; \
                   question,answer; ...), or a list of puzzles, one a line";

/// What a kind of puzzle looks like in a table.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// Whether a text can be a puzzle or an answer.
    pub fits: fn(&str) -> bool,
    /// Whether such a text is an answer.
    pub solved: fn(&str) -> bool,
    /// Whether lines that begin with `#` are comments; a maze has walls of it.
    pub comments: bool,
}

/// One row, its cells as they are written.
pub(super) struct Record {
    /// Its line in the file, from 1 on.
    pub line: u64,
    pub question: String,
    /// None in a list of puzzles.
    pub answer: Option<String>,
    /// The rating, where it is a number.
    pub rating: Option<f64>,
}

/// A table read row by row.
pub(super) struct Table {
    path: PathBuf,
    reader: csv::Reader<Box<dyn Read + Send>>,
    row: csv::StringRecord,
    columns: Columns,
}

impl Table {
    /// Opens a file and finds out what its columns mean.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::File`] for another kind of file or one without puzzles.
    pub fn open(path: &Path, kind: Kind) -> Result<Table> {
        let open::Text { head, all } = open::text(path)?;
        let separator = open::separator(&head, kind.comments);
        let reader = |text| {
            let mut builder = csv::ReaderBuilder::new();
            builder.delimiter(separator).has_headers(false).comment(kind.comments.then_some(b'#'));
            builder.from_reader::<Box<dyn Read + Send>>(text)
        };
        let first: Vec<Vec<String>> = reader(Box::new(Cursor::new(head)))
            .into_byte_records()
            .take(2)
            .flatten()
            .map(|row| row.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect())
            .collect();
        let columns = Columns::of(&first, kind).map_err(|problem| Error::file(path, problem, FIX))?;
        let (reader, header) = (reader(all), columns.header);
        let mut table = Table { path: path.to_path_buf(), reader, row: csv::StringRecord::new(), columns };
        if header {
            table.read()?;
        }
        Ok(table)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a column of answers.
    pub fn has_answers(&self) -> bool {
        self.columns.answer.is_some()
    }

    /// What was taken for what, where that could have been meant otherwise.
    pub fn taken(&self) -> Option<&str> {
        self.columns.taken.as_deref()
    }

    /// Reads the next row; false at the end.
    fn read(&mut self) -> Result<bool> {
        let read = self.reader.read_record(&mut self.row);
        read.map_err(|error| unreadable(&self.path, self.line(), &error))
    }

    /// The line on which the row ends: where a row begins, the reader has not seen yet which lines it will skip.
    fn line(&self) -> u64 {
        self.reader.position().line().saturating_sub(1).max(1)
    }

    fn record(&self) -> Record {
        let cell = |column: usize| self.row.get(column).unwrap_or_default();
        Record {
            line: self.line(),
            question: cell(self.columns.question).to_owned(),
            answer: self.columns.answer.map(|column| cell(column).to_owned()),
            rating: self.columns.rating.and_then(|column| columns::number(cell(column))),
        }
    }
}

impl Iterator for Table {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        self.read().map(|read| read.then(|| self.record())).transpose()
    }
}

/// What is wrong with a line that the reader of CSV refuses.
pub(in crate::data) fn unreadable(path: &Path, line: u64, error: &csv::Error) -> Error {
    let problem = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("line {line}: {len} fields, the first line has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => format!("line {line}: is no UTF-8 text"),
        csv::ErrorKind::Io(error) => error.to_string(),
        _ => format!("line {line}: {error}"),
    };
    Error::file(path, problem, "correct the line, or save the file anew as UTF-8 text")
}
