//! Looks through a whole data set: what is in it, what it looks like, and where it breaks the layout.
//!
//! [`inspect`] goes on where [`crate::data::Dataset`] stops at the first error: it names the first violation of
//! each [`Rule`] and says whether the release refuses a folder for it, too. [`draw()`] shows examples as text.

mod draw;
mod examples;
mod kind;
mod layout;
mod names;
mod repeats;

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::{Metadata, Split, own};
use crate::{Error, Result};

pub use draw::draw;
pub(crate) use draw::{beside, lines};
pub use kind::Kind;
use layout::SplitFiles;
use repeats::Repeats;

/// How many examples of each split a report shows.
const SHOWN: usize = 3;

const NAME_ONE: &str = "name a folder that \"trm data\" or the release made";

/// What a data set has to obey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// `dataset.json` is there, has all keys and does not contradict itself.
    Metadata,
    /// Every array is there, whole, of integers and of the right number of dimensions.
    Arrays,
    /// The arrays fit each other and `seq_len`.
    Lengths,
    /// Index arrays start at 0, rise, and end at the number of what they divide.
    Indices,
    /// The totals and means of `dataset.json` are those of the arrays.
    Totals,
    /// Puzzle identifiers are below `num_puzzle_identifiers`.
    Identifiers,
    /// `identifiers.json` has one name for each identifier, the blank one first, none twice.
    Names,
    /// Input tokens are below `vocab_size`.
    Tokens,
    /// Labels are below `vocab_size`, or ignored.
    Labels,
    /// Each example obeys its puzzle: Sudoku's rules, a marked shortest path, ARC's canvas.
    Puzzles,
    /// ARC: every test input belongs to a task of `test_puzzles.json`, under an identifier that is trained.
    TestPuzzles,
}

/// The first violation of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// File and place, and what was found against what was expected.
    pub first: String,
    /// How many files, puzzles or examples break the rule.
    pub count: usize,
    /// Whether the release refuses the data set for it, or cannot evaluate it.
    pub rejected_by_release: bool,
}

/// The least, mean and greatest of some numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: usize,
    /// The mean.
    pub mean: f64,
    /// The greatest.
    pub max: usize,
}

/// What is in a split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SplitReport {
    /// `train` or `test`.
    pub split: &'static str,
    /// `dataset.json`.
    pub metadata: Metadata,
    /// Groups in the arrays.
    pub groups: usize,
    /// Puzzles in the arrays.
    pub puzzles: usize,
    /// Examples in the arrays.
    pub examples: usize,
    /// Puzzles of a group; none if there is no group.
    pub puzzles_per_group: Option<Spread>,
    /// Examples of a puzzle; none if there is no puzzle.
    pub examples_per_puzzle: Option<Spread>,
    /// How often each token occurs in the inputs, by token.
    pub input_tokens: Vec<u64>,
    /// How often each token occurs in the labels, by token, as they are in the file.
    pub label_tokens: Vec<u64>,
    /// Examples without a single label, as those of ARC tasks whose solution is not known.
    pub examples_without_labels: usize,
    /// Examples whose input, under the same identifier, another of the split has as well; one of them each not counted.
    pub repeated: usize,
    /// Of the test split: examples that occur so in the training split.
    pub also_in_train: usize,
}

/// An example to look at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    /// `train` or `test`.
    pub split: &'static str,
    /// Its number in its set.
    pub index: usize,
    /// The name of its puzzle, where it has one.
    pub name: Option<String>,
    /// Tokens given, (S).
    pub inputs: Vec<i32>,
    /// Tokens wanted, (S), as they are in the file.
    pub labels: Vec<i32>,
}

/// What [`inspect`] finds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Which puzzles these are.
    pub kind: Kind,
    /// Names in `identifiers.json`.
    pub names: usize,
    /// The splits that can be read.
    pub splits: Vec<SplitReport>,
    /// The first, the middle and the last example of each split.
    pub examples: Vec<Example>,
    /// The first violation of each rule, in the order of [`Rule`]; none in a sound data set.
    pub violations: Vec<Violation>,
}

/// Reads all files of the data set in `dir`, every token included.
///
/// # Errors
/// [`Error::Io`] if `dir` is no readable folder, [`Error::File`] if it is missing or holds no data set at all.
/// Everything else is in the report.
pub fn inspect(dir: &Path) -> Result<Report> {
    if dir.is_file() {
        return Err(Error::file(dir, "is no folder", NAME_ONE));
    }
    fs::read_dir(dir).map_err(Error::io(dir)).map_err(|error| error.or_missing(NAME_ONE))?;
    let mut findings = Findings::default();
    let read = |split| layout::read(dir, split, &mut findings);
    let splits: Vec<SplitFiles> = [Split::Train, Split::Test].into_iter().filter_map(read).collect();
    if splits.is_empty() {
        let problem = "no train/dataset.json and no test/dataset.json that can be read";
        return Err(Error::file(dir, problem, NAME_ONE));
    }
    let kind = if own::is_own(dir) { Kind::Other } else { Kind::of(&splits) };
    let names = names::read(dir, kind, &splits, &mut findings);
    let mut report =
        Report { kind, names: names.len(), splits: vec![], examples: vec![], violations: vec![] };
    let mut repeats = Repeats::default();
    for split in &splits {
        let (repeated, also_in_train) = repeats.count(split);
        let scanned = examples::scan(split, kind, &mut findings);
        report.splits.push(SplitReport { repeated, also_in_train, ..scanned });
        report.examples.extend(examples::choose(split, &names, SHOWN));
    }
    if kind == Kind::Arc {
        names::check_test_puzzles(dir, &splits, &names, &mut findings);
    }
    report.violations = findings.finish(kind);
    Ok(report)
}

/// Violations as they are found; of each rule the first is kept and the rest counted.
#[derive(Default)]
struct Findings(Vec<(Rule, String, usize)>);

impl Findings {
    /// Notes that the file at `path` breaks `rule`, in `count` places.
    fn add(&mut self, rule: Rule, path: &Path, problem: impl AsRef<str>, count: usize) {
        self.add_text(rule, format!("{}: {}", path.display(), problem.as_ref()), count);
    }

    /// Notes what kept a file from being read.
    fn add_error(&mut self, rule: Rule, error: Error) {
        match error {
            Error::File { path, problem, .. } | Error::Failed { path, problem, .. } => {
                self.add(rule, &path, problem, 1)
            }
            other => self.add_text(rule, other.to_string(), 1),
        }
    }

    fn add_text(&mut self, rule: Rule, first: String, count: usize) {
        match self.0.iter_mut().find(|(known, ..)| *known == rule) {
            Some((.., known)) => *known += count,
            None => self.0.push((rule, first, count)),
        }
    }

    fn finish(mut self, kind: Kind) -> Vec<Violation> {
        self.0.sort_by_key(|(rule, ..)| *rule);
        let violation = |(rule, first, count)| {
            let rejected_by_release = match rule {
                Rule::Totals | Rule::Puzzles => false,
                Rule::Names => kind == Kind::Arc,
                _ => true,
            };
            Violation { rule, first, count, rejected_by_release }
        };
        self.0.into_iter().map(violation).collect()
    }
}
