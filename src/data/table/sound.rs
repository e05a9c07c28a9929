//! The rows of a table that are sound, and what becomes of the others.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;

use rayon::prelude::*;

use super::{Record, Table};
use crate::data::Split;
use crate::{Error, Result};

/// Rows that are judged at once, on all threads.
const AT_ONCE: usize = 1024;
/// Refused rows that are named one by one.
const NAMED: usize = 5;

/// What becomes of puzzles that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInvalid {
    /// All are looked for, and nothing is built.
    Error,
    /// They are left out, counted and named.
    Skip,
}

impl FromStr for OnInvalid {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<OnInvalid, String> {
        match text {
            "error" => Ok(OnInvalid::Error),
            "skip" => Ok(OnInvalid::Skip),
            _ => Err("expected error or skip".to_owned()),
        }
    }
}

/// What a row holds, or what is wrong with it.
pub(in crate::data) type Judged<T> = std::result::Result<T, String>;

/// Judges a row.
pub(in crate::data) type Judge<T> = Box<dyn Fn(&Record) -> Judged<T> + Send + Sync>;
/// What keeps a row from standing beside the first one.
pub(in crate::data) type Agree<T> = fn(&T, &T) -> Option<String>;

/// A row's place and content.
pub(in crate::data) struct Line<T> {
    /// From 1 on.
    pub number: u64,
    pub row: T,
}

/// Sound rows, in order.
pub(in crate::data) struct Sound<T> {
    table: Table,
    judge: Judge<T>,
    agree: Agree<T>,
    on_invalid: OnInvalid,
    first: Option<T>,
    ready: VecDeque<Result<Line<Judged<T>>>>,
    rows: u64,
    refused: u64,
    named: Vec<String>,
}

impl<T: Clone + Send> Sound<T> {
    /// Without a choice, lists of puzzles lose those that have no single answer, and tables must be in order.
    pub fn new(table: Table, on_invalid: Option<OnInvalid>, judge: Judge<T>, agree: Agree<T>) -> Sound<T> {
        let fallback = if table.has_answers() { OnInvalid::Error } else { OnInvalid::Skip };
        let on_invalid = on_invalid.unwrap_or(fallback);
        let (first, ready, named) = (None, VecDeque::new(), Vec::new());
        Sound { table, judge, agree, on_invalid, first, ready, rows: 0, refused: 0, named }
    }

    /// What a reader should know: what was taken for what, and which rows were refused so far.
    pub fn notes(&self) -> Vec<String> {
        let refused = (self.refused > 0).then(|| format!("{} left out: {}", self.counted(), self.list()));
        let notes = self.table.taken().map(str::to_owned).into_iter().chain(refused);
        notes.map(|note| format!("{}: {note}", self.table.path().display())).collect()
    }

    /// What to say of a table that has no sound row.
    pub fn nothing(&self) -> Error {
        let problem = match self.refused {
            0 => "no puzzles".to_owned(),
            _ => format!("no sound puzzle, {} refused: {}", self.counted(), self.list()),
        };
        Error::file(self.table.path(), problem, "give a file with puzzles")
    }

    fn counted(&self) -> String {
        format!("{} of {} rows", self.refused, self.rows)
    }

    fn list(&self) -> String {
        let more = if self.refused > self.named.len() as u64 { "; ..." } else { "" };
        self.named.join("; ") + more
    }

    fn judged(&mut self) -> Option<Result<Line<Judged<T>>>> {
        if self.ready.is_empty() {
            let records: Vec<Result<Record>> = self.table.by_ref().take(AT_ONCE).collect();
            let judge = |record: Result<Record>| {
                record.map(|record| Line { number: record.line, row: (self.judge)(&record) })
            };
            self.ready = records.into_par_iter().map(judge).collect::<Vec<_>>().into();
        }
        let mut judged = self.ready.pop_front()?;
        if let Ok(line) = &mut judged {
            self.rows += 1;
            self.stand_beside_first(line);
        }
        Some(judged)
    }

    fn stand_beside_first(&mut self, line: &mut Line<Judged<T>>) {
        if let Ok(row) = &line.row {
            let first = self.first.get_or_insert_with(|| row.clone());
            if let Some(problem) = (self.agree)(first, row) {
                line.row = Err(problem);
            }
        }
        if let Err(problem) = &line.row {
            self.refused += 1;
            if self.named.len() < NAMED {
                self.named.push(format!("line {}: {problem}", line.number));
            }
        }
    }

    /// Goes on to the end, so that all that is wrong is said at once.
    fn refuse(&mut self) -> Error {
        while let Some(judged) = self.judged() {
            if let Err(error) = judged {
                return error;
            }
        }
        let problem = match self.refused {
            1 => self.list(),
            _ => format!("{} are invalid: {}", self.counted(), self.list()),
        };
        Error::file(
            self.table.path(),
            problem,
            "correct or remove them, or leave them out with `on_invalid` skip",
        )
    }
}

impl<T: Clone + Send> Iterator for Sound<T> {
    type Item = Result<Line<T>>;

    fn next(&mut self) -> Option<Result<Line<T>>> {
        loop {
            match self.judged()? {
                Ok(Line { number, row: Ok(row) }) => return Some(Ok(Line { number, row })),
                Ok(_) if self.on_invalid == OnInvalid::Skip => {}
                Ok(_) => return Some(Err(self.refuse())),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Puzzles by where they were first seen, in either split.
#[derive(Default)]
pub(in crate::data) struct Seen {
    train: HashMap<u64, u64>,
    test: HashMap<u64, u64>,
}

/// How often a split repeats itself, or the training split.
#[derive(Default)]
pub(in crate::data) struct Repeats {
    pub repeated: usize,
    pub also_in_train: usize,
    /// The first of each, in words.
    pub named: Vec<String>,
}

impl Seen {
    /// Takes in a puzzle of a line (0 where it comes from no file) and adds to what is counted of its split.
    pub fn add(&mut self, split: Split, question: &impl Hash, line: u64, repeats: &mut Repeats) {
        let test = split == Split::Test;
        let mut hasher = DefaultHasher::new();
        question.hash(&mut hasher);
        let hash = hasher.finish();
        let own = if test { &mut self.test } else { &mut self.train };
        let before = own.insert(hash, line);
        let trained = self.train.get(&hash).filter(|_| test);
        let mut name = |counted: &mut usize, other: Option<u64>, what: &str| {
            let Some(other) = other else { return };
            *counted += 1;
            if *counted == 1 && line > 0 {
                repeats.named.push(format!("line {line} has the puzzle of line {other}{what}"));
            }
        };
        name(&mut repeats.repeated, before, "");
        name(&mut repeats.also_in_train, trained.copied(), " of the training split");
    }
}
