//! A data set out of several lists of puzzles that were made for no split: part of them to measure on, part of the others
//! to learn from.
//!
//! The test puzzles are drawn first and depend on nothing but the lists and what counts of them, their number and the seed,
//! so that models that learnt from a few puzzles and from all are measured on the same ones. Of each list, both splits take the same share.
//! A puzzle that is a symmetry of one before it is left out; so is a training puzzle whose answer is a symmetry of the
//! answer to a test puzzle: no augmentation can make one of the other.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use super::build::{Augment, Summary, finish, write_split};
use super::canonical::Canonical;
use super::grid::{Grid, Shape};
use super::table::{Row, Table};
use crate::data::Split;
use crate::data::origins::{Origin, write_origins};
use crate::data::table::{OnInvalid, Seen};
use crate::files::OutputFolder;
use crate::rng::Rng;
use crate::{Error, Result};

const TEST_STREAM: u64 = 0x6C74_6573 << 32;
const TRAIN_STREAM: u64 = 0x6C74_7261 << 32;
/// Puzzles whose forms are found at once, on all threads.
const AT_ONCE: usize = 1024;

/// A data set from lists of puzzles, with or without answers; see [`Table`].
#[derive(Clone, Debug)]
pub struct ListOptions {
    /// The folder to write; it must not exist or be empty.
    pub out: PathBuf,
    /// The files.
    pub lists: Vec<PathBuf>,
    /// At most so many training puzzles, drawn at random; all that are left if not given.
    pub subsample: Option<usize>,
    /// Test puzzles, drawn at random.
    pub test: usize,
    /// Augmentations of each training puzzle, beside the original.
    pub num_aug: usize,
    /// Only puzzles with at least this rating.
    pub min_difficulty: Option<f64>,
    /// What becomes of rows that are not sound; without a choice, lists without answers lose them and tables are
    /// refused.
    pub on_invalid: Option<OnInvalid>,
    /// The seed of all random choices.
    pub seed: u64,
}

/// What became of a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListSummary {
    /// Its file's name.
    pub list: String,
    /// Sound puzzles in it, hard enough if that was asked for.
    pub puzzles: usize,
    /// Those that are symmetries of others before them, in this list or another.
    pub repeated: usize,
    /// Those that are not to learn from, because a test puzzle has a symmetry of their answer.
    pub too_near: usize,
    /// Puzzles to learn from.
    pub train: usize,
    /// Puzzles to measure on.
    pub test: usize,
}

/// A puzzle that may be taken.
struct Candidate {
    row: Row,
    /// The form of its answer.
    answer: Grid,
}

/// Writes a data set of puzzles drawn from several lists; `read` is told the puzzles read so far, `written` those written.
///
/// # Errors
/// [`Error::Usage`] for an unusable option, [`Error::Io`] or [`Error::File`] with the line for a list that cannot be used.
/// Nothing is written then.
pub fn build_from_lists(
    options: &ListOptions,
    read: &mut dyn FnMut(usize),
    written: &mut dyn FnMut(usize),
) -> Result<Summary> {
    for (argument, count) in [("test", Some(options.test)), ("subsample", options.subsample)] {
        if count == Some(0) {
            return Err(Error::usage(argument, "0, expected at least 1", "give a number of puzzles"));
        }
    }
    let out = OutputFolder::create(&options.out)?;
    let Pool { shape, mut lists, mut candidates, notes } = Pool::read(options, read)?;
    let different: usize = candidates.iter().map(Vec::len).sum();
    if options.test >= different {
        let problem = format!("{}, the lists have {different} different puzzles", options.test);
        return Err(Error::usage("test", problem, "leave some to learn from"));
    }
    let test = draw(&mut candidates, options.test, options.seed, TEST_STREAM);
    let held_out: HashSet<Grid> = test.iter().flatten().map(|candidate| candidate.answer).collect();
    for (list, rest) in lists.iter_mut().zip(&mut candidates) {
        let before = rest.len();
        rest.retain(|candidate| !held_out.contains(&candidate.answer));
        list.too_near = before - rest.len();
    }
    let train = draw(&mut candidates, options.subsample.unwrap_or(different), options.seed, TRAIN_STREAM);
    if train.iter().all(Vec::is_empty) {
        let fix = "ask for fewer, give lists with more different answers (4x4 has 2 up to symmetry), or give the splits \
                   yourself (`train_csv`, `test_csv`)";
        let problem = format!(
            "{}, the answers of every other puzzle are symmetries of theirs ({} different ones), so that none is left to \
             learn from",
            options.test,
            held_out.len()
        );
        return Err(Error::usage("test", problem, fix));
    }
    for ((list, train), test) in lists.iter_mut().zip(&train).zip(&test) {
        (list.train, list.test) = (train.len(), test.len());
    }
    let mut known = Seen::default();
    let mut write = |split, drawn: Vec<Vec<Candidate>>, augment: &Augment| {
        let count = drawn.iter().map(Vec::len).sum();
        let origin = |(list, drawn): (&ListSummary, &Vec<Candidate>)| Origin {
            name: list.list.clone(),
            examples: drawn.len() * (1 + augment.count),
        };
        let origins = lists.iter().zip(&drawn).map(origin).collect();
        let rows = Box::new(drawn.into_iter().flatten().map(|candidate| Ok(candidate.row)));
        let summary = write_split(out.path(), split, rows, count, augment, &mut known, written)?;
        write_origins(out.path(), split, origins)?;
        summary.ok_or_else(|| Error::usage("test", "no puzzles", "give a number of puzzles"))
    };
    let augment = Augment { count: options.num_aug, seed: options.seed, avoid: HashSet::new() };
    let (_, mut train) = write(Split::Train, train, &augment)?;
    let (_, test) = write(Split::Test, test, &Augment::none())?;
    train.notes.extend(notes);
    finish(out, Summary { size: shape.size(), train, test, lists })
}

/// What the lists hold, list by list.
struct Pool {
    shape: Shape,
    lists: Vec<ListSummary>,
    candidates: Vec<Vec<Candidate>>,
    notes: Vec<String>,
}

impl Pool {
    fn read(options: &ListOptions, read: &mut dyn FnMut(usize)) -> Result<Pool> {
        let mut canonical: Option<Canonical> = None;
        let (mut lists, mut candidates, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        let (mut forms, mut count) = (HashSet::new(), 0);
        for path in &options.lists {
            let mut table = Table::open(path, options.on_invalid, options.min_difficulty.is_some())?;
            let (mut own, mut puzzles) = (Vec::new(), 0);
            loop {
                let rows = table.by_ref().take(AT_ONCE).collect::<Result<Vec<Row>>>()?;
                let Some(first) = rows.first() else { break };
                let found = first.puzzle.question.shape();
                let canonical = canonical.get_or_insert_with(|| Canonical::new(found));
                if canonical.shape() != found {
                    let problem = format!("puzzles of {found}, the list before has {}", canonical.shape());
                    return Err(Error::file(path, problem, "give lists of one size"));
                }
                count += rows.len();
                let hard_enough = |row: &Row| options.min_difficulty <= row.rating;
                let rows: Vec<Row> = rows.into_iter().filter(hard_enough).collect();
                puzzles += rows.len();
                let of = |row: Row| (row, canonical.of(&row.puzzle));
                let with_forms: Vec<_> = rows.into_par_iter().map(of).collect();
                for (row, form) in with_forms {
                    if forms.insert(form) {
                        own.push(Candidate { row, answer: form.answer });
                    }
                }
                read(count);
            }
            notes.extend(table.notes());
            let repeated = puzzles - own.len();
            let twins = options.lists.iter().filter(|other| other.file_name() == path.file_name()).count();
            let list = if twins == 1 { name_of(path) } else { path.display().to_string() };
            lists.push(ListSummary { list, puzzles, repeated, too_near: 0, train: 0, test: 0 });
            candidates.push(own);
        }
        let shape = canonical.map(|canonical| canonical.shape()).ok_or_else(|| {
            let problem = format!("no sound puzzle in {}", notes.join("; "));
            Error::usage("lists", problem, "give files with puzzles")
        })?;
        Ok(Pool { shape, lists, candidates, notes })
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Takes `count` candidates at random, as many of each list as its share of all is; all where there are no more. They keep
/// their order.
fn draw(candidates: &mut [Vec<Candidate>], count: usize, seed: u64, stream: u64) -> Vec<Vec<Candidate>> {
    let sizes: Vec<usize> = candidates.iter().map(Vec::len).collect();
    let mut drawn = Vec::new();
    for (list, (own, share)) in candidates.iter_mut().zip(shares(&sizes, count)).enumerate() {
        let mut taken = vec![false; own.len()];
        let order = Rng::new(seed, stream ^ list as u64).permutation(own.len());
        order.into_iter().take(share).for_each(|place| taken[place] = true);
        let mut taken = taken.into_iter();
        let (own_drawn, rest) =
            std::mem::take(own).into_iter().partition(|_| taken.next().is_some_and(|taken| taken));
        drawn.push(own_drawn);
        *own = rest;
    }
    drawn
}

/// Divides `count` in proportion to `sizes`, to no part more than its size: rounded down, and what is then missing to the
/// largest remainders.
fn shares(sizes: &[usize], count: usize) -> Vec<usize> {
    let all: usize = sizes.iter().sum();
    let count = count.min(all);
    let scaled = |size: usize| size as u128 * count as u128;
    let whole = all.max(1) as u128;
    let mut shares: Vec<usize> = sizes.iter().map(|&size| (scaled(size) / whole) as usize).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&part| std::cmp::Reverse(scaled(sizes[part]) % whole));
    let missing = count - shares.iter().sum::<usize>();
    order.into_iter().take(missing).for_each(|part| shares[part] += 1);
    shares
}
