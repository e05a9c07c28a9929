//! Builds an ARC data set: every task is a group, every augmentation of it a puzzle with its own identifier.
//!
//! The demonstrations of all tasks are trained on, and the test pairs of every subset but one. That one is the
//! test set: its test inputs go to the test split, under the identifiers that their demonstrations have in
//! training. Tasks are augmented, encoded and written one after the other, so memory does not grow with
//! `num_aug` but for the names of the identifiers.
//! Source: the release's ARC builder, whose option names these are. Two differences: groups keep the order of
//! the files (training shuffles them anyway) unless [`Identifiers::Release`] is asked for, and a missing solution is left
//! out or ignored instead of being trained on as black.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::augment::{self, Augmentation, Identifiers};
use super::catalogue::{Catalogue, Entry, OnDuplicate};
use super::grid::{CANVAS, Grid, PAD, SEQ_LEN, VOCAB_SIZE};
use super::task::{self, Pair, Task};
use crate::data::random_state::RandomState;
use crate::data::writer::write_identifiers_as_release;
use crate::data::{Metadata, OnInvalid, Split, Vocabulary, Writer, write_identifiers};
use crate::files::OutputFolder;
use crate::rng::Rng;
use crate::{Error, Result};

/// The only set in each split.
const SET: &str = "all";
const STREAM: u64 = 0x6172_6361 << 32;
/// The tasks of the test set with their solutions, for scoring and submissions.
pub const TEST_PUZZLES_FILE: &str = "test_puzzles.json";

/// What to build, named as in the release.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder to write; it must not exist or be empty.
    pub out: PathBuf,
    /// What the names of the task files start with, or the folder that holds one folder per subset; see
    /// [`super::read_subset`].
    pub input_file_prefix: String,
    /// The subsets to use.
    pub subsets: Vec<String>,
    /// Which of them are tested on.
    pub test_set_names: Vec<String>,
    /// Augmentations of each task besides the task as given; 0 for none.
    pub num_aug: usize,
    /// What becomes of a task whose name another one has.
    pub on_duplicate: OnDuplicate,
    /// What becomes of a task that cannot be used.
    pub on_invalid: OnInvalid,
    /// Who draws the augmentations.
    pub identifiers: Identifiers,
    /// Seed of augmentations and offsets; below 2^32 for the release's.
    pub seed: u64,
}

/// What was built.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Tasks of all subsets, the groups of the train split.
    pub tasks: usize,
    /// Tasks of the test set, the groups of the test split.
    pub test_tasks: usize,
    /// Tasks with fewer than `num_aug` augmentations, because no more different ones were found.
    pub tasks_not_full: usize,
    /// Test pairs without a solution, in all subsets.
    pub solutions_missing: usize,
    /// What to tell of the files: what was taken for what, which tasks were left out or renamed.
    pub notes: Vec<String>,
    /// `dataset.json` of the train split.
    pub train: Metadata,
    /// `dataset.json` of the test split.
    pub test: Metadata,
}

/// Writes the data set, whole or not at all; calls `progress` after each task with how many of how many are done.
///
/// # Errors
/// Those of [`super::read_subset`]; [`Error::Usage`] for options that do not fit together or an output folder in use;
/// [`Error::File`] for a task that is in two subsets; [`Error::Io`] if the disk refuses.
pub fn build(options: &Options, progress: &mut dyn FnMut(usize, usize)) -> Result<Summary> {
    let mut numpy = as_release(options)?;
    let Catalogue { mut tasks, notes } = Catalogue::read(options)?;
    let count = tasks.len();
    let folder = OutputFolder::create(&options.out)?;
    let mut writer = TaskWriter::create(folder.path())?;
    let (mut done, mut tasks_not_full) = (0, 0);
    for subset in tasks.chunk_by_mut(|one, next| one.subset == next.subset) {
        if let Some(random) = &mut numpy {
            random.shuffle(subset);
        }
        for Entry { task, tested, .. } in subset {
            let mut rng = Rng::new(options.seed, STREAM ^ done as u64);
            let augmentations = match &mut numpy {
                Some(random) => {
                    augment::distinct(task, options.num_aug, || Augmentation::draw_as_release(random))
                }
                None => augment::distinct(task, options.num_aug, || Augmentation::draw(&mut rng)),
            };
            tasks_not_full += usize::from(augmentations.len() <= options.num_aug);
            writer.group(task, *tested, &augmentations, &mut rng)?;
            done += 1;
            progress(done, count);
        }
    }
    let (train, test) = writer.finish(numpy.is_some())?;
    let test_tasks: Vec<&Task> = tasks.iter().filter(|entry| entry.tested).map(|entry| &entry.task).collect();
    task::write_tasks(&folder.path().join(TEST_PUZZLES_FILE), &test_tasks)?;
    folder.commit()?;
    let test_pairs = tasks.iter().flat_map(|entry| &entry.task.test);
    Ok(Summary {
        tasks: count,
        test_tasks: test_tasks.len(),
        tasks_not_full,
        solutions_missing: test_pairs.filter(|pair| pair.output.is_none()).count(),
        notes,
        train,
        test,
    })
}

/// The random numbers of the release's builder, where its identifiers are asked for.
fn as_release(options: &Options) -> Result<Option<RandomState>> {
    if options.identifiers == Identifiers::Own {
        return Ok(None);
    }
    if options.on_duplicate != OnDuplicate::Error {
        let problem = "the release's builder neither skips nor renames tasks";
        return Err(Error::usage("identifiers", problem, "leave one of the two options out"));
    }
    let seed = |_| Error::usage("seed", "numpy has seeds below 2^32", "the release's is 42");
    Ok(Some(RandomState::new(u32::try_from(options.seed).map_err(seed)?)))
}

/// Both splits being written, and the names of the identifiers given out so far; 0 is the blank one.
struct TaskWriter<'a> {
    folder: &'a Path,
    train: Writer,
    test: Writer,
    names: Vec<String>,
}

impl TaskWriter<'_> {
    fn create(folder: &Path) -> Result<TaskWriter<'_>> {
        Ok(TaskWriter {
            folder,
            train: Writer::create(folder, Split::Train, SET, SEQ_LEN)?,
            test: Writer::create(folder, Split::Test, SET, SEQ_LEN)?,
            names: vec!["<blank>".to_owned()],
        })
    }

    /// Writes a task and its augmentations as one group.
    fn group(
        &mut self,
        task: &Task,
        tested: bool,
        augmentations: &[Augmentation],
        rng: &mut Rng,
    ) -> Result<()> {
        let solved = task.test.iter().filter(|pair| !tested && pair.output.is_some());
        let train: Vec<&Pair> = task.train.iter().chain(solved).collect();
        let test: &[Pair] = if tested { &task.test } else { &[] };
        for augmentation in augmentations {
            let identifier = self.identifier(augmentation.name(&task.id))?;
            // One example of every puzzle stays in the corner, where all the test inputs lie.
            let in_corner = rng.below(train.len());
            for (index, pair) in train.iter().enumerate() {
                let pair = augmented(pair, augmentation);
                let offset = if index == in_corner { (0, 0) } else { random_offset(&pair, rng) };
                write_example(&mut self.train, &pair, offset)?;
            }
            self.train.end_puzzle(identifier)?;
            for pair in test {
                write_example(&mut self.test, &augmented(pair, augmentation), (0, 0))?;
            }
            if tested {
                self.test.end_puzzle(identifier)?;
            }
        }
        self.train.end_group()?;
        self.test.end_group()
    }

    fn identifier(&mut self, name: String) -> Result<i32> {
        let limit =
            |_| Error::usage("num_aug", "more than 2^31 - 1 identifiers", "ask for fewer augmentations");
        let identifier = i32::try_from(self.names.len()).map_err(limit)?;
        self.names.push(name);
        Ok(identifier)
    }

    /// Completes both splits and writes the names; returns the metadata of (train, test).
    fn finish(self, as_release: bool) -> Result<(Metadata, Metadata)> {
        let vocabulary = Vocabulary {
            pad_id: i32::from(PAD),
            ignore_label_id: Some(i32::from(PAD)),
            blank_identifier_id: 0,
            vocab_size: VOCAB_SIZE,
            num_puzzle_identifiers: self.names.len(),
        };
        match as_release {
            true => write_identifiers_as_release(self.folder, &self.names)?,
            false => write_identifiers(self.folder, &self.names)?,
        }
        Ok((self.train.finish(vocabulary.clone())?, self.test.finish(vocabulary)?))
    }
}

fn augmented(pair: &Pair, augmentation: &Augmentation) -> Pair {
    Pair {
        input: augmentation.apply(&pair.input),
        output: pair.output.as_ref().map(|output| augmentation.apply(output)),
    }
}

/// Uniform among the (row, column) offsets at which both grids fit on the canvas.
fn random_offset(pair: &Pair, rng: &mut Rng) -> (usize, usize) {
    let grids = || [Some(&pair.input), pair.output.as_ref()].into_iter().flatten();
    let rows = grids().map(Grid::rows).max().unwrap_or(CANVAS);
    let cols = grids().map(Grid::cols).max().unwrap_or(CANVAS);
    (rng.below(CANVAS - rows + 1), rng.below(CANVAS - cols + 1))
}

/// Input and label at the same offset; without an output every label is ignored.
fn write_example(writer: &mut Writer, pair: &Pair, offset: (usize, usize)) -> Result<()> {
    let labels = pair.output.as_ref().map_or_else(|| vec![PAD; SEQ_LEN], |output| output.encode(offset));
    writer.example(&pair.input.encode(offset), &labels)
}
