//! Builds Sudoku data sets: `trm data sudoku`.
//!
//! Each puzzle is a group of its own, its original and its augmentations are the group's puzzles, with one
//! example each and the blank identifier, as in the authors' Sudoku-Extreme set. Only the training split is
//! augmented.

use std::collections::HashSet;
use std::iter;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::augment::Augmentation;
use super::generate::{Puzzles, default_clues, fewest_clues};
use super::grid::{Grid, MAX_CELLS, Puzzle, Shape};
use super::lists::ListSummary;
use super::solve::solve;
use super::table::{Row, Table};
use crate::data::table::{OnInvalid, Repeats, Seen};
use crate::data::{Split, Vocabulary, Writer, write_identifiers};
use crate::files::{self, OutputFolder};
use crate::rng::Rng;
use crate::{Error, Result};

const SET: &str = "all";
const BLANK_IDENTIFIER: i32 = 0;
const SUBSAMPLE_STREAM: u64 = 0x7375_6273 << 32;
const AUGMENT_STREAM: u64 = 0x6175_676D << 32;
/// Draws after which an augmentation that is not in the test split is given up: of the 288 grids of size 4,
/// even one that is left is missed with a probability below 1e-15.
const MAX_DRAWS: usize = 10_000;

/// A data set from two tables of puzzles, or lists without answers; see [`Table`].
#[derive(Clone, Debug)]
pub struct CsvOptions {
    /// The folder to write; it must not exist or be empty.
    pub out: PathBuf,
    /// The puzzles to learn from.
    pub train_csv: PathBuf,
    /// The puzzles to measure on.
    pub test_csv: PathBuf,
    /// At most so many training puzzles, drawn at random; all if not given.
    pub subsample: Option<usize>,
    /// Augmentations of each training puzzle, beside the original.
    pub num_aug: usize,
    /// Only puzzles with at least this rating, in both splits.
    pub min_difficulty: Option<f64>,
    /// What becomes of rows that are not sound; without a choice, lists without answers lose them and tables are
    /// refused.
    pub on_invalid: Option<OnInvalid>,
    /// The seed of all random choices.
    pub seed: u64,
}

/// A data set of generated puzzles.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// The folder to write; it must not exist or be empty.
    pub out: PathBuf,
    /// Side length of the grid: 4, 6 or 9.
    pub size: usize,
    /// Puzzles to learn from, before augmentation.
    pub train: usize,
    /// Puzzles to measure on.
    pub test: usize,
    /// The fewest clues; see [`default_clues`] if not given.
    pub min_clues: Option<usize>,
    /// The most clues; see [`default_clues`] if not given.
    pub max_clues: Option<usize>,
    /// Augmentations of each training puzzle, beside the original.
    pub num_aug: usize,
    /// The seed of all random choices.
    pub seed: u64,
}

impl GenerateOptions {
    /// What a tiny model learns from in minutes: 1000 puzzles with 200 augmentations each, and 200 to measure on.
    pub fn small(out: PathBuf, size: usize, seed: u64) -> GenerateOptions {
        let (min_clues, max_clues) = (None, None);
        GenerateOptions { out, size, train: 1000, test: 200, min_clues, max_clues, num_aug: 200, seed }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Side length of the grids.
    pub size: usize,
    /// The training split.
    pub train: SplitSummary,
    /// The test split.
    pub test: SplitSummary,
    /// What became of each list, where there were lists to draw from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<ListSummary>,
}

/// What was written of one split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SplitSummary {
    /// Puzzles before augmentation.
    pub puzzles: usize,
    /// Examples, augmentations included.
    pub examples: usize,
    /// Mean number of clues.
    pub mean_clues: f64,
    /// Puzzles that the split has before, augmentations aside.
    pub repeated: usize,
    /// Of the test split: puzzles that the training split has, too.
    pub also_in_train: usize,
    /// What to tell of its file: what was taken for what, which rows were left out, which repeat others.
    pub notes: Vec<String>,
}

/// Writes a data set of the puzzles in two CSV files; `progress` is told the puzzles written after each.
///
/// # Errors
/// [`Error::Usage`] for an unusable option, [`Error::Io`] or [`Error::File`] with the line for a CSV file that
/// cannot be used. Nothing is written then.
pub fn build_from_csv(options: &CsvOptions, progress: &mut dyn FnMut(usize)) -> Result<Summary> {
    if options.subsample == Some(0) {
        return Err(Error::usage("subsample", "0, expected at least 1", "leave it out to take all puzzles"));
    }
    let out = OutputFolder::create(&options.out)?;
    let mut known = Seen::default();
    let mut write = |split, augment: &Augment| {
        let (path, count) = match split {
            Split::Train => (&options.train_csv, options.subsample),
            Split::Test => (&options.test_csv, None),
        };
        let mut table = Table::open(path, options.on_invalid, options.min_difficulty.is_some())?;
        let hard_enough = |row: &Row| options.min_difficulty <= row.rating;
        let rows = table.by_ref().filter(|row| row.as_ref().map_or(true, hard_enough));
        let rows: Rows<'_> = match count {
            Some(count) => Box::new(subsample(rows, count, options.seed)?.into_iter().map(Ok)),
            None => Box::new(rows),
        };
        let written =
            write_split(out.path(), split, rows, count.unwrap_or(1), augment, &mut known, progress)?;
        let (shape, mut summary) = written.ok_or_else(|| no_puzzles(path, options.min_difficulty, &table))?;
        let notes = std::mem::take(&mut summary.notes).into_iter();
        let notes = notes.map(|note| format!("{}: {note}", path.display()));
        summary.notes = table.notes().into_iter().chain(notes).collect();
        Ok((shape, summary))
    };
    let augment = Augment { count: options.num_aug, seed: options.seed, avoid: HashSet::new() };
    let (shape, train) = write(Split::Train, &augment)?;
    let (test_shape, test) = write(Split::Test, &Augment::none())?;
    if test_shape != shape {
        let problem = format!("puzzles of {test_shape}, the training file has {shape}");
        return Err(Error::file(&options.test_csv, problem, "give two files of the same size"));
    }
    finish(out, Summary { size: shape.size(), train, test, lists: Vec::new() })
}

fn shape_of(options: &GenerateOptions) -> Result<Shape> {
    let fix = "choose 4, 6 or 9";
    Shape::of_size(options.size).ok_or_else(|| Error::usage("size", options.size.to_string(), fix))
}

/// Writes a data set of generated puzzles; no solution in the test split occurs in the training split, not
/// even augmented. `progress` is told the puzzles written after each.
///
/// # Errors
/// [`Error::Usage`] for an unusable option or more puzzles than can be found, [`Error::Io`] if the folder
/// cannot be written. Nothing is written then.
pub fn build_generated(options: &GenerateOptions, progress: &mut dyn FnMut(usize)) -> Result<Summary> {
    let shape = shape_of(options)?;
    for (argument, count) in [("train", options.train), ("test", options.test)] {
        if count == 0 {
            return Err(Error::usage(argument, "0, expected at least 1", "give a number of puzzles"));
        }
    }
    let clues = clue_range(shape, options)?;
    check_room(&options.out, shape, options.train, options.num_aug)?;
    let out = OutputFolder::create(&options.out)?;
    let puzzles = Puzzles::generate(shape, &clues, (options.train, options.test), options.seed)?;
    let avoid = puzzles.test.iter().map(|puzzle| puzzle.answer).collect();
    let augment = Augment { count: options.num_aug, seed: options.seed, avoid };
    let mut known = Seen::default();
    let mut write = |split, puzzles: Vec<Puzzle>, augment: &Augment| {
        let count = puzzles.len();
        let rows = puzzles.into_iter().map(|puzzle| Ok(Row { line: 0, puzzle, rating: None }));
        let written = write_split(out.path(), split, Box::new(rows), count, augment, &mut known, progress)?;
        written.ok_or_else(|| Error::usage("train", "no puzzles", "give a number of puzzles"))
    };
    let (_, train) = write(Split::Train, puzzles.train, &augment)?;
    let (_, test) = write(Split::Test, puzzles.test, &Augment::none())?;
    finish(out, Summary { size: shape.size(), train, test, lists: Vec::new() })
}

/// Writes generated puzzles as a table with the columns puzzle, solution and rating, the guesses that it takes, for `lists` to be drawn from beside others: those of
/// `train` as [`build_generated`] takes them where there is no test split.
///
/// # Errors
/// As [`build_generated`]; nothing is half-written.
pub fn write_generated(options: &GenerateOptions) -> Result<()> {
    let shape = shape_of(options)?;
    let clues = clue_range(shape, options)?;
    let puzzles = Puzzles::generate(shape, &clues, (options.train, 0), options.seed)?;
    let mut text = "puzzle,solution,rating\n".to_owned();
    for Puzzle { question, answer } in &puzzles.train {
        let (_, guesses) = solve(question)
            .map_err(|problem| Error::usage("generate", problem, "generate with another seed"))?;
        text += &format!("{question},{answer},{guesses}\n");
    }
    files::write_atomic(&options.out, text.as_bytes())
}

/// How a split is augmented.
pub(super) struct Augment {
    /// Augmentations of each puzzle.
    pub count: usize,
    pub seed: u64,
    /// Solutions that must not come out.
    pub avoid: HashSet<Grid>,
}

impl Augment {
    pub fn none() -> Augment {
        Augment { count: 0, seed: 0, avoid: HashSet::new() }
    }

    fn draw(&self, puzzle: &Puzzle, rng: &mut Rng) -> Result<Puzzle> {
        for _ in 0..MAX_DRAWS {
            let augmentation = Augmentation::random(puzzle.question.shape(), rng);
            let answer = augmentation.apply(&puzzle.answer);
            if !self.avoid.contains(&answer) {
                return Ok(Puzzle { question: augmentation.apply(&puzzle.question), answer });
            }
        }
        let problem = format!("{}, the test split leaves no grid to augment into", self.count);
        Err(Error::usage("num_aug", problem, "ask for 0, or for fewer test puzzles"))
    }
}

/// Refuses more augmentations than there are different ones, or than the layout or the disk can hold.
fn check_room(dir: &Path, shape: Shape, puzzles: usize, num_aug: usize) -> Result<()> {
    let refuse =
        |problem: String, fix: &str| Err(Error::usage("num_aug", format!("{num_aug}, {problem}"), fix));
    let different = Augmentation::count(shape) - 1;
    if num_aug as u64 > different {
        return refuse(format!("a puzzle of {shape} has {different} at the most"), "ask for fewer");
    }
    let examples = (puzzles as u64).saturating_mul(num_aug as u64 + 1);
    if examples > i32::MAX as u64 {
        return refuse(format!("{examples} examples with it, the layout holds 2^31 - 1"), "ask for fewer");
    }
    // Tokens and labels, and two entries of the index arrays.
    let needed = examples.saturating_mul(2 * shape.cells() as u64 + 8);
    match files::free_bytes(dir) {
        Some(free) if needed > free => {
            let problem = format!("{needed} bytes with it, the disk of {} has {free} left", dir.display());
            refuse(problem, "ask for fewer, or name a folder on another disk")
        }
        _ => Ok(()),
    }
}

pub(super) type Rows<'a> = Box<dyn Iterator<Item = Result<Row>> + 'a>;

/// Streams a split of at least `at_least` puzzles to disk; nothing comes back for no puzzles.
pub(super) fn write_split(
    dir: &Path,
    split: Split,
    mut rows: Rows<'_>,
    at_least: usize,
    augment: &Augment,
    known: &mut Seen,
    progress: &mut dyn FnMut(usize),
) -> Result<Option<(Shape, SplitSummary)>> {
    let Some(first) = rows.next().transpose()? else { return Ok(None) };
    let shape = first.puzzle.question.shape();
    check_room(dir, shape, at_least, augment.count)?;
    let mut repeats = Repeats::default();
    let mut writer = Writer::create(dir, split, SET, shape.cells())?;
    let (mut count, mut clues) = (0, 0);
    for row in iter::once(Ok(first)).chain(rows) {
        let Row { line, puzzle, .. } = row?;
        let mut rng = Rng::new(augment.seed, AUGMENT_STREAM ^ count as u64);
        write_puzzle(&mut writer, &puzzle)?;
        for _ in 0..augment.count {
            write_puzzle(&mut writer, &augment.draw(&puzzle, &mut rng)?)?;
        }
        writer.end_group()?;
        known.add(split, &puzzle.question, line, &mut repeats);
        count += 1;
        progress(count);
        clues += puzzle.question.clues();
    }
    let metadata = writer.finish(vocabulary(shape))?;
    let mean_clues = clues as f64 / count as f64;
    let examples = metadata.total_puzzles;
    let Repeats { repeated, also_in_train, named: notes } = repeats;
    Ok(Some((shape, SplitSummary { puzzles: count, examples, mean_clues, repeated, also_in_train, notes })))
}

fn write_puzzle(writer: &mut Writer, puzzle: &Puzzle) -> Result<()> {
    let (mut inputs, mut labels) = ([0; MAX_CELLS], [0; MAX_CELLS]);
    writer.example(puzzle.question.write_tokens(&mut inputs), puzzle.answer.write_tokens(&mut labels))?;
    writer.end_puzzle(BLANK_IDENTIFIER)
}

fn vocabulary(shape: Shape) -> Vocabulary {
    Vocabulary {
        pad_id: 0,
        ignore_label_id: Some(0),
        blank_identifier_id: BLANK_IDENTIFIER,
        vocab_size: shape.vocab_size(),
        num_puzzle_identifiers: 1,
    }
}

pub(super) fn finish(out: OutputFolder, summary: Summary) -> Result<Summary> {
    write_identifiers(out.path(), ["<blank>"])?;
    out.commit()?;
    Ok(summary)
}

fn clue_range(shape: Shape, options: &GenerateOptions) -> Result<RangeInclusive<usize>> {
    let default = default_clues(shape);
    let most = options.max_clues.unwrap_or((*default.end()).max(options.min_clues.unwrap_or(0)));
    let least = options.min_clues.unwrap_or((*default.start()).min(most));
    let (fewest, cells) = (fewest_clues(shape), shape.cells());
    if most < fewest || most > cells {
        let fix = format!("{shape} puzzles with a single solution have {fewest} to {cells}");
        return Err(Error::usage("max_clues", most.to_string(), fix));
    }
    if least > most {
        let problem = format!("{least}, more than max_clues {most}");
        return Err(Error::usage("min_clues", problem, "lower it or raise max_clues"));
    }
    Ok(least..=most)
}

fn no_puzzles(path: &Path, min_difficulty: Option<f64>, table: &Table) -> Error {
    match min_difficulty {
        None => table.nothing(),
        Some(least) => {
            let problem = format!("no puzzle with a rating of at least {least}");
            Error::file(path, problem, "ask for an easier one")
        }
    }
}

/// `count` of the puzzles, each set of them equally likely, in one pass (reservoir sampling).
fn subsample(rows: impl Iterator<Item = Result<Row>>, count: usize, seed: u64) -> Result<Vec<Row>> {
    let mut rng = Rng::new(seed, SUBSAMPLE_STREAM);
    let mut chosen = Vec::new();
    for (index, row) in rows.enumerate() {
        let row = row?;
        if index < count {
            chosen.push(row);
        } else if let Some(replaced) = chosen.get_mut(rng.below(index + 1)) {
            *replaced = row;
        }
    }
    Ok(chosen)
}
