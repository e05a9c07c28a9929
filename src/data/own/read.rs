//! Rows of words from CSV and JSONL files.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use serde::Deserialize;

use crate::data::table::{Text, separator, text, unreadable};
use crate::{Error, Result};

pub(super) const INPUTS: [&str; 4] = ["inputs", "input", "question", "x"];
pub(super) const LABELS: [&str; 6] = ["labels", "label", "answer", "outputs", "output", "y"];
const PUZZLE: [&str; 5] = ["puzzle", "puzzle_id", "task", "identifier", "id"];

const FIX: &str =
    "give a CSV file with the columns inputs, labels and, if you like, puzzle, or JSONL with these keys";

/// A label that is not to be learnt.
pub(super) const IGNORED: &str = "_";

/// One row.
pub(super) struct Row {
    /// Its line in the file, from 1 on.
    pub line: u64,
    pub inputs: Cell,
    pub labels: Cell,
    /// Whose embedding it has.
    pub puzzle: Option<String>,
}

impl Row {
    pub fn has_spaces(&self) -> bool {
        let spaced =
            |cell: &Cell| matches!(cell, Cell::Text(text) if text.trim().contains(char::is_whitespace));
        spaced(&self.inputs) || spaced(&self.labels)
    }
}

/// What a row says: words, or text that the vocabulary divides into words.
pub(super) enum Cell {
    Words(Vec<String>),
    Text(String),
}

impl Cell {
    /// Words stand between spaces; without any, what is no word itself is a word for each character.
    pub fn words(self, is_word: impl Fn(&str) -> bool) -> Vec<String> {
        match self {
            Cell::Words(words) => words,
            Cell::Text(text) => {
                let text = text.trim();
                match text.contains(char::is_whitespace) || is_word(text) {
                    true => text.split_whitespace().map(str::to_owned).collect(),
                    false => text.chars().map(String::from).collect(),
                }
            }
        }
    }
}

/// All rows of a file.
pub(super) fn read(path: &Path) -> Result<Vec<Row>> {
    if !path.exists() {
        return Err(Error::missing(path, FIX));
    }
    let Text { head, all } = text(path)?;
    let rows = match head.trim_ascii_start().first() {
        Some(b'{') => read_jsonl(path, all)?,
        _ => read_csv(path, separator(&head, true), all)?,
    };
    if rows.is_empty() { Err(Error::file(path, "no rows", FIX)) } else { Ok(rows) }
}

fn read_csv(path: &Path, separator: u8, text: Box<dyn Read + Send>) -> Result<Vec<Row>> {
    let broken = |problem: String| Error::file(path, problem, FIX);
    let mut reader = csv::ReaderBuilder::new();
    reader.delimiter(separator).has_headers(false).comment(Some(b'#'));
    let (mut reader, mut row) = (reader.from_reader(text), csv::StringRecord::new());
    let (mut columns, mut rows) = (None, Vec::new());
    let line_of = |reader: &csv::Reader<_>| reader.position().line().saturating_sub(1).max(1);
    loop {
        match reader.read_record(&mut row) {
            Ok(true) => {}
            Ok(false) => return Ok(rows),
            Err(error) => return Err(unreadable(path, line_of(&reader), &error)),
        }
        // The line on which it ends; where it begins is known before the lines that are skipped.
        let line = line_of(&reader);
        let column =
            |names: &[&str]| row.iter().position(|name| names.contains(&name.trim().to_lowercase().as_str()));
        let first = columns.is_none();
        let named = (column(&INPUTS), column(&LABELS), column(&PUZZLE));
        let (inputs, labels, puzzle) = *columns.get_or_insert(match named {
            (Some(inputs), Some(labels), puzzle) => (inputs, labels, puzzle),
            _ => (0, 1, (row.len() > 2).then_some(2)),
        });
        if first && named.0.is_some() && named.1.is_some() {
            continue;
        }
        let cell = |column: usize| row.get(column).map(str::trim).filter(|cell| !cell.is_empty());
        let text = |column: usize, name: &str| {
            let missing = || broken(format!("line {line}: has no {name}"));
            cell(column).map(|cell| Cell::Text(cell.to_owned())).ok_or_else(missing)
        };
        let puzzle = puzzle.and_then(cell).map(str::to_owned);
        rows.push(Row { line, inputs: text(inputs, "inputs")?, labels: text(labels, "labels")?, puzzle });
    }
}

/// A line of JSON.
#[derive(Deserialize)]
struct RawRow {
    #[serde(alias = "input", alias = "question", alias = "x")]
    inputs: RawCell,
    #[serde(default, alias = "label", alias = "answer", alias = "outputs", alias = "output", alias = "y")]
    labels: Option<RawCell>,
    #[serde(default, alias = "puzzle_id", alias = "task", alias = "identifier", alias = "id")]
    puzzle: Option<RawCell>,
}

/// A value of JSON that stands for words; lists in lists are rows of a grid.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawCell {
    Ignored(()),
    Text(String),
    Number(serde_json::Number),
    List(Vec<RawCell>),
}

impl RawCell {
    fn cell(self) -> Cell {
        match self {
            RawCell::Text(text) => Cell::Text(text),
            other => {
                let mut words = Vec::new();
                other.add_words(&mut words);
                Cell::Words(words)
            }
        }
    }

    fn add_words(self, words: &mut Vec<String>) {
        match self {
            RawCell::Ignored(()) => words.push(IGNORED.to_owned()),
            RawCell::Text(text) => words.push(text),
            RawCell::Number(number) => words.push(number.to_string()),
            RawCell::List(list) => list.into_iter().for_each(|cell| cell.add_words(words)),
        }
    }
}

/// Inputs and, where it has some, labels of a line of JSON.
pub(super) fn json_row(text: &str) -> serde_json::Result<(Cell, Option<Cell>)> {
    let RawRow { inputs, labels, .. } = serde_json::from_str(text)?;
    Ok((inputs.cell(), labels.map(RawCell::cell)))
}

fn read_jsonl(path: &Path, text: Box<dyn Read + Send>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (line, text) in (1..).zip(BufReader::new(text).lines()) {
        let broken = |problem: String| Error::file(path, format!("line {line}: {problem}"), FIX);
        let text = text.map_err(|error| match error.kind() {
            ErrorKind::InvalidData => broken("is no UTF-8 text".to_owned()),
            _ => Error::io(path)(error),
        })?;
        if text.trim().is_empty() {
            continue;
        }
        let RawRow { inputs, labels, puzzle } =
            serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
        let labels = labels.ok_or_else(|| broken("missing field `labels`".to_owned()))?;
        let puzzle = puzzle.map(|puzzle| puzzle.cell().words(|_| true).join(" "));
        rows.push(Row { line, inputs: inputs.cell(), labels: labels.cell(), puzzle });
    }
    Ok(rows)
}
