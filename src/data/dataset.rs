//! One split of a data set on disk, checked.
//!
//! Opening checks everything that costs time in proportion to puzzles: numbers in `dataset.json` against the
//! arrays, index arrays, identifiers. Tokens and labels, which may be gigabytes, are checked as they are read, or all at
//! once by [`Dataset::check_tokens`].

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::IGNORE_LABEL;
use super::npy::{Array, REBUILD};
use crate::{Error, Result, files};

pub(super) const METADATA_FILE: &str = "dataset.json";
/// The names of all puzzle identifiers, beside the splits.
pub(super) const IDENTIFIERS_FILE: &str = "identifiers.json";

/// What to do where there is no data set.
const NAME_ONE: &str = "name the folder of a data set, or build one with \"trm data\"";

/// Examples of a set that [`Dataset::identity`] looks at: tokens may be gigabytes.
const IDENTIFYING_EXAMPLES: usize = 1024;

/// Where a field of a set lies.
pub(super) fn array_path(folder: &Path, set: &str, field: &str) -> PathBuf {
    folder.join(format!("{set}__{field}.npy"))
}

/// What a part of a data set is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// To learn from.
    Train,
    /// To measure on.
    Test,
}

impl Split {
    /// The split's folder inside a data set.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Test => "test",
        }
    }
}

/// `dataset.json`, with the release's names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Token of positions outside of the puzzle and of padding examples.
    pub pad_id: i32,
    /// Label in the files that becomes [`IGNORE_LABEL`]; 0 in the release's Sudoku and maze sets.
    pub ignore_label_id: Option<i32>,
    /// Identifier of padding examples.
    pub blank_identifier_id: i32,
    /// Tokens are `0..vocab_size`.
    pub vocab_size: usize,
    /// S, tokens of an example.
    pub seq_len: usize,
    /// Identifiers are `0..num_puzzle_identifiers`.
    pub num_puzzle_identifiers: usize,
    /// Groups of all sets together.
    pub total_groups: usize,
    /// Examples of all sets together, divided by their puzzles.
    pub mean_puzzle_examples: f64,
    /// Puzzles of all sets together; the release's Sudoku and maze builders put the groups here.
    pub total_puzzles: usize,
    /// Names of the sets, the first part of the names of their arrays.
    pub sets: Vec<String>,
}

impl Metadata {
    /// Reads `dataset.json` and checks what it says about itself.
    fn read(path: &Path) -> Result<Metadata> {
        let broken = |problem: String| Error::file(path, problem, REBUILD);
        let metadata: Metadata =
            files::read_json(path, REBUILD).map_err(|error| error.or_missing(NAME_ONE))?;
        let Metadata { pad_id, blank_identifier_id, vocab_size, num_puzzle_identifiers, .. } = metadata;
        if metadata.seq_len == 0 || metadata.sets.is_empty() {
            return Err(broken("seq_len 0 or no sets, expected some of both".into()));
        }
        if !in_range(pad_id, vocab_size) {
            return Err(broken(format!("pad_id {pad_id}, expected less than vocab_size {vocab_size}")));
        }
        if !in_range(blank_identifier_id, num_puzzle_identifiers) {
            return Err(broken(format!(
                "blank_identifier_id {blank_identifier_id}, expected less than num_puzzle_identifiers {num_puzzle_identifiers}"
            )));
        }
        Ok(metadata)
    }
}

/// One named set of a split: groups of puzzles of examples.
#[derive(Debug)]
pub struct Set {
    inputs: Array,
    labels: Array,
    puzzle_identifiers: Vec<i32>,
    puzzle_indices: Vec<i32>,
    group_indices: Vec<i32>,
}

impl Set {
    fn open(folder: &Path, set: &str, metadata: &Metadata) -> Result<Set> {
        let open = |field, dimensions| Array::open(&array_path(folder, set, field), dimensions);
        let (inputs, labels) = (open("inputs", 2)?, open("labels", 2)?);
        for array in [&inputs, &labels] {
            check_seq_len(array, metadata.seq_len)?;
        }
        if labels.rows() != inputs.rows() {
            let problem = format!("{} examples, the inputs have {}", labels.rows(), inputs.rows());
            return Err(Error::file(labels.path(), problem, REBUILD));
        }
        let identifiers = open("puzzle_identifiers", 1)?;
        let puzzle_identifiers = read_identifiers(&identifiers, metadata.num_puzzle_identifiers)?;
        let puzzle_indices = read_indices(&open("puzzle_indices", 1)?, 0, inputs.rows(), "examples")?;
        let group_indices = read_indices(&open("group_indices", 1)?, 1, puzzle_indices.len() - 1, "puzzles")?;
        if puzzle_identifiers.len() + 1 != puzzle_indices.len() {
            let problem = format!(
                "{} identifiers, puzzle_indices has {} puzzles",
                puzzle_identifiers.len(),
                puzzle_indices.len() - 1
            );
            return Err(Error::file(identifiers.path(), problem, REBUILD));
        }
        Ok(Set { inputs, labels, puzzle_identifiers, puzzle_indices, group_indices })
    }

    /// How many groups there are.
    pub fn groups(&self) -> usize {
        self.group_indices.len() - 1
    }

    /// How many puzzles there are.
    pub fn puzzles(&self) -> usize {
        self.puzzle_identifiers.len()
    }

    /// How many examples there are.
    pub fn examples(&self) -> usize {
        self.inputs.rows()
    }

    /// The puzzles of group `group`, at least one.
    pub fn puzzles_of(&self, group: usize) -> Range<usize> {
        self.group_indices[group] as usize..self.group_indices[group + 1] as usize
    }

    /// The examples of puzzle `puzzle`, perhaps none.
    pub fn examples_of(&self, puzzle: usize) -> Range<usize> {
        self.puzzle_indices[puzzle] as usize..self.puzzle_indices[puzzle + 1] as usize
    }

    /// The most examples any puzzle has.
    pub fn largest_puzzle(&self) -> usize {
        (0..self.puzzles()).map(|puzzle| self.examples_of(puzzle).len()).max().unwrap_or(0)
    }

    /// The identifier of puzzle `puzzle`.
    pub fn identifier_of(&self, puzzle: usize) -> i32 {
        self.puzzle_identifiers[puzzle]
    }

    /// Adds the index arrays and examples spread evenly over the set, as numbers, whatever types the files have.
    fn add_to(&self, checksum: &mut crc32fast::Hasher) -> Result<()> {
        let mut add = |values: &[i32]| checksum.update(bytemuck::cast_slice(values));
        for values in [&self.puzzle_identifiers, &self.puzzle_indices, &self.group_indices] {
            add(values);
        }
        let mut row = vec![0; self.inputs.columns()];
        let step = self.examples().div_ceil(IDENTIFYING_EXAMPLES).max(1);
        for example in (0..self.examples()).step_by(step) {
            for array in [&self.inputs, &self.labels] {
                array.read_row(example, &mut row)?;
                add(&row);
            }
        }
        Ok(())
    }
}

/// One split of a data set; the examples stay on disk until they are read.
#[derive(Debug)]
pub struct Dataset {
    folder: PathBuf,
    metadata: Metadata,
    sets: Vec<Set>,
    identifiers: Option<String>,
}

impl Dataset {
    /// Opens `<dir>/<split>` and checks it, all but tokens and labels.
    ///
    /// # Errors
    /// [`Error::Io`] for a missing file, [`Error::File`] for one that is broken or contradicts another.
    pub fn open(dir: &Path, split: Split) -> Result<Dataset> {
        let folder = dir.join(split.name());
        let metadata = Metadata::read(&folder.join(METADATA_FILE))?;
        let open = |set: &String| Set::open(&folder, set, &metadata);
        let sets = metadata.sets.iter().map(open).collect::<Result<Vec<_>>>()?;
        let identifiers = checksum_of_names(dir, &metadata)?;
        let dataset = Dataset { folder, metadata, sets, identifiers };
        dataset.check_totals()?;
        Ok(dataset)
    }

    /// The split's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What `dataset.json` says.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The sets, in the order of [`Metadata::sets`].
    pub fn sets(&self) -> &[Set] {
        &self.sets
    }

    /// Groups of all sets.
    pub fn groups(&self) -> usize {
        self.sets.iter().map(Set::groups).sum()
    }

    /// Puzzles of all sets.
    pub fn puzzles(&self) -> usize {
        self.sets.iter().map(Set::puzzles).sum()
    }

    /// Examples of all sets.
    pub fn examples(&self) -> usize {
        self.sets.iter().map(Set::examples).sum()
    }

    /// What tells this data set from another, in words: counts, and a checksum over the index arrays and up to 1,024
    /// examples of each set. Cheap, and the same for the same data in another folder.
    ///
    /// # Errors
    /// [`Error::Failed`] where a file was cut short since it was opened.
    pub fn identity(&self) -> Result<String> {
        let mut checksum = crc32fast::Hasher::new();
        self.sets.iter().try_for_each(|set| set.add_to(&mut checksum))?;
        let (groups, examples) = (self.groups(), self.examples());
        Ok(format!("{groups} groups, {examples} examples, checksum {:08x}", checksum.finalize()))
    }

    /// A checksum of `identifiers.json`, where puzzles have identifiers of their own and the file names them.
    pub fn identifiers(&self) -> Option<&str> {
        self.identifiers.as_deref()
    }

    /// Looks at every token and label, before a run of days meets a bad one.
    ///
    /// # Errors
    /// [`Error::File`] for the first token or label that is not in the vocabulary.
    pub fn check_tokens(&self) -> Result<()> {
        let Metadata { vocab_size, ignore_label_id, .. } = self.metadata;
        let known = |token: i32| in_range(token, vocab_size);
        let ignored = |label: i32| label == IGNORE_LABEL || Some(label) == ignore_label_id;
        for set in &self.sets {
            if let Some((example, position, token)) = set.inputs.first_not(known)? {
                return Err(outside(&set.inputs, example, position, "token", token, vocab_size));
            }
            if let Some((example, position, label)) =
                set.labels.first_not(|label| known(label) || ignored(label))?
            {
                return Err(outside(&set.labels, example, position, "label", label, vocab_size));
            }
        }
        Ok(())
    }

    /// Reads example `example` of `set` into `inputs` and `labels`, (S) each; ignored labels become
    /// [`IGNORE_LABEL`].
    ///
    /// # Errors
    /// [`Error::File`] for a token or label that is not in the vocabulary, [`Error::Failed`] where a file was cut short.
    pub fn read_example(
        &self,
        set: &Set,
        example: usize,
        inputs: &mut [i32],
        labels: &mut [i32],
    ) -> Result<()> {
        let vocab_size = self.metadata.vocab_size;
        set.inputs.read_row(example, inputs)?;
        if let Some(position) = inputs.iter().position(|&token| !in_range(token, vocab_size)) {
            return Err(outside(&set.inputs, example, position, "token", inputs[position], vocab_size));
        }
        set.labels.read_row(example, labels)?;
        for (position, label) in labels.iter_mut().enumerate() {
            if Some(*label) == self.metadata.ignore_label_id {
                *label = IGNORE_LABEL;
            } else if *label != IGNORE_LABEL && !in_range(*label, vocab_size) {
                return Err(outside(&set.labels, example, position, "label", *label, vocab_size));
            }
        }
        Ok(())
    }

    fn check_totals(&self) -> Result<()> {
        let Metadata { total_groups, total_puzzles, mean_puzzle_examples, .. } = self.metadata;
        let (groups, puzzles) = (self.groups(), self.puzzles());
        let mean = self.examples() as f64 / puzzles.max(1) as f64;
        let problem = if total_groups != groups {
            format!("total_groups {total_groups}, the arrays have {groups}")
        } else if total_puzzles != puzzles && total_puzzles != groups {
            format!("total_puzzles {total_puzzles}, the arrays have {puzzles}")
        } else if (mean_puzzle_examples - mean).abs() > 1e-3 * mean {
            format!("mean_puzzle_examples {mean_puzzle_examples}, the arrays have {mean}")
        } else {
            return Ok(());
        };
        Err(Error::file(self.folder.join(METADATA_FILE), problem, REBUILD))
    }
}

/// Nothing where all puzzles share one identifier.
fn checksum_of_names(dir: &Path, metadata: &Metadata) -> Result<Option<String>> {
    let path = dir.join(IDENTIFIERS_FILE);
    if metadata.num_puzzle_identifiers < 2 || !path.is_file() {
        return Ok(None);
    }
    Ok(Some(format!("{:08x}", crc32fast::hash(&files::read(&path)?))))
}

fn in_range(value: i32, count: usize) -> bool {
    usize::try_from(value).is_ok_and(|value| value < count)
}

fn outside(
    array: &Array,
    example: usize,
    position: usize,
    what: &str,
    value: i32,
    vocab_size: usize,
) -> Error {
    let problem = format!(
        "example {example}, position {position}: {what} {value}, dataset.json says vocab_size {vocab_size}"
    );
    Error::file(array.path(), problem, REBUILD)
}

fn check_seq_len(array: &Array, seq_len: usize) -> Result<()> {
    if array.columns() == seq_len {
        return Ok(());
    }
    let problem = format!("{} tokens per example, dataset.json says {seq_len}", array.columns());
    Err(Error::file(array.path(), problem, REBUILD))
}

fn read_identifiers(array: &Array, count: usize) -> Result<Vec<i32>> {
    let identifiers = array.to_vec()?;
    match identifiers.iter().position(|&identifier| !in_range(identifier, count)) {
        None => Ok(identifiers),
        Some(puzzle) => {
            let problem = format!(
                "puzzle {puzzle} has identifier {}, dataset.json says num_puzzle_identifiers {count}",
                identifiers[puzzle]
            );
            Err(Error::file(array.path(), problem, REBUILD))
        }
    }
}

/// Offsets of consecutive ranges: they start at 0, each range has at least `least` elements, and they end at `count`.
fn read_indices(array: &Array, least: i64, count: usize, of: &str) -> Result<Vec<i32>> {
    let indices = array.to_vec()?;
    let too_short = |pair: &[i32]| i64::from(pair[1]) - i64::from(pair[0]) < least;
    let problem = if indices.is_empty() {
        "is empty, expected at least a 0".to_owned()
    } else if indices[0] != 0 {
        format!("starts with {}, expected 0", indices[0])
    } else if let Some(at) = indices.windows(2).position(too_short) {
        format!(
            "element {} is {} after {}, expected at least {least} more",
            at + 1,
            indices[at + 1],
            indices[at]
        )
    } else if indices[indices.len() - 1] as usize != count {
        format!("ends with {}, expected the number of {of}, {count}", indices[indices.len() - 1])
    } else {
        return Ok(indices);
    };
    Err(Error::file(array.path(), problem, REBUILD))
}
