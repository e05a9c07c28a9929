//! Builds maze data sets: every maze is a group, every symmetry of it a puzzle of one example.
//!
//! As in Maze-Hard, all puzzles have the blank identifier and only the train split is augmented. A maze that is not
//! square only takes the four symmetries that keep its shape.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::generate::{GenerateOptions, Generator};
use super::{Maze, VOCAB_SIZE, read};
use crate::data::dihedral::Dihedral;
use crate::data::table::{Line, OnInvalid, Repeats, Seen};
use crate::data::{Metadata, Split, Vocabulary, Writer, write_identifiers};
use crate::files::OutputFolder;
use crate::rng::Rng;
use crate::{Error, Result};

const SET: &str = "all";
const BLANK_IDENTIFIER: i32 = 0;
const SUBSAMPLE_STREAM: u64 = 0x6D61_7373 << 32;

/// A data set from two tables of mazes, or lists without answers.
#[derive(Clone, Debug)]
pub struct CsvOptions {
    /// The folder to write; it must not exist or be empty.
    pub out: PathBuf,
    /// The mazes to learn from.
    pub train_csv: PathBuf,
    /// The mazes to measure on.
    pub test_csv: PathBuf,
    /// (rows, columns) of every maze; squares if not given.
    pub size: Option<(usize, usize)>,
    /// At most so many mazes to learn from, drawn at random; all if not given.
    pub subsample: Option<usize>,
    /// Whether the train split gets all symmetries of each maze.
    pub aug: bool,
    /// What becomes of rows that are not sound; without a choice, lists without answers lose them and tables are
    /// refused.
    pub on_invalid: Option<OnInvalid>,
    /// The seed of the subsample.
    pub seed: u64,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Rows of every maze.
    pub rows: usize,
    /// Columns of every maze.
    pub cols: usize,
    /// `dataset.json` of the train split.
    pub train: Metadata,
    /// `dataset.json` of the test split.
    pub test: Metadata,
    /// Mazes that their split has before.
    pub repeated: usize,
    /// Test mazes that the training split has, too.
    pub also_in_train: usize,
    /// What to tell of the files: what was taken for what, which rows were left out, which repeat others.
    pub notes: Vec<String>,
}

/// Writes a data set of the mazes in two CSV files.
///
/// # Errors
/// [`Error::Usage`] for an unusable option, [`Error::Io`] or [`Error::File`] with the line for a CSV file that
/// cannot be used. Nothing is written then.
pub fn build_from_csv(options: &CsvOptions) -> Result<Summary> {
    if options.subsample == Some(0) {
        let fix = "leave it out to take all mazes";
        return Err(Error::usage("subsample", "0, expected at least 1", fix));
    }
    let mut notes = Vec::new();
    let mut train = read(&options.train_csv, options.size, options.on_invalid, &mut notes)?;
    let size = train.first().map(|line| (line.row.rows, line.row.cols));
    let test = read(&options.test_csv, size, options.on_invalid, &mut notes)?;
    if let Some(count) = options.subsample {
        Rng::new(options.seed, SUBSAMPLE_STREAM).shuffle(&mut train);
        train.truncate(count);
    }
    let (mut seen, mut in_train, mut in_test) = (Seen::default(), Repeats::default(), Repeats::default());
    train.iter().for_each(|line| seen.add(Split::Train, &line.row.question, line.number, &mut in_train));
    test.iter().for_each(|line| seen.add(Split::Test, &line.row.question, line.number, &mut in_test));
    let named = |path: &Path, repeats: &Repeats| -> Vec<String> {
        repeats.named.iter().map(|note| format!("{}: {note}", path.display())).collect()
    };
    notes.extend(named(&options.train_csv, &in_train));
    notes.extend(named(&options.test_csv, &in_test));
    let mazes = |lines: Vec<Line<Maze>>| lines.into_iter().map(|line| line.row).collect::<Vec<Maze>>();
    let summary = write(&options.out, &mazes(train), &mazes(test), options.aug)?;
    let repeated = in_train.repeated + in_test.repeated;
    Ok(Summary { repeated, also_in_train: in_test.also_in_train, notes, ..summary })
}

/// All sound mazes of a file.
fn read(
    path: &Path,
    size: Option<(usize, usize)>,
    on_invalid: Option<OnInvalid>,
    notes: &mut Vec<String>,
) -> Result<Vec<Line<Maze>>> {
    let mut rows = read::open(path, size, on_invalid)?;
    let mazes = rows.by_ref().collect::<Result<Vec<_>>>()?;
    notes.extend(rows.notes());
    if mazes.is_empty() { Err(rows.nothing()) } else { Ok(mazes) }
}

/// Writes a data set of generated mazes, no two of which are symmetries of each other.
///
/// # Errors
/// [`Error::Usage`] for an unusable option or more mazes than can be found, [`Error::Io`] if the folder cannot be
/// written. Nothing is written then.
pub fn build_generated(options: &GenerateOptions) -> Result<Summary> {
    for (argument, count) in [("train", options.train), ("test", options.test)] {
        if count == 0 {
            return Err(Error::usage(argument, "0, expected at least 1", "give a number of mazes"));
        }
    }
    let mut generator = Generator::new(options)?;
    let mut mazes = |count| (0..count).map(|_| generator.maze()).collect::<Result<Vec<Maze>>>();
    let (train, test) = (mazes(options.train)?, mazes(options.test)?);
    write(&options.out, &train, &test, options.aug)
}

/// Writes both splits; all mazes have the same size.
fn write(out: &Path, train: &[Maze], test: &[Maze], aug: bool) -> Result<Summary> {
    let folder = OutputFolder::create(out)?;
    // The first symmetry is the identity, the maze as given.
    let augmentations = if aug { Dihedral::ALL.len() } else { 1 };
    let summary = Summary {
        rows: train.first().map_or(0, |maze| maze.rows),
        cols: train.first().map_or(0, |maze| maze.cols),
        train: write_split(folder.path(), Split::Train, train, augmentations)?,
        test: write_split(folder.path(), Split::Test, test, 1)?,
        repeated: 0,
        also_in_train: 0,
        notes: Vec::new(),
    };
    write_identifiers(folder.path(), ["<blank>"])?;
    folder.commit()?;
    Ok(summary)
}

fn write_split(dir: &Path, split: Split, mazes: &[Maze], augmentations: usize) -> Result<Metadata> {
    let cells = mazes.first().map_or(0, |maze| maze.question.len());
    let mut writer = Writer::create(dir, split, SET, cells)?;
    for maze in mazes {
        let Maze { rows, cols, question, answer } = maze;
        for symmetry in maze.symmetries().take(augmentations) {
            let turn = |tokens| symmetry.apply(*rows, *cols, tokens);
            writer.example(&turn(question), &turn(answer))?;
            writer.end_puzzle(BLANK_IDENTIFIER)?;
        }
        writer.end_group()?;
    }
    writer.finish(Vocabulary {
        pad_id: 0,
        ignore_label_id: Some(0),
        blank_identifier_id: BLANK_IDENTIFIER,
        vocab_size: VOCAB_SIZE,
        num_puzzle_identifiers: 1,
    })
}
