//! Writes one split of a data set in the authors' layout, example by example in bounded memory.
//!
//! `<dir>/<split>/dataset.json` and `<set>__{inputs,labels,puzzle_identifiers,puzzle_indices,group_indices}.npy`;
//! [`write_identifiers`] adds `<dir>/identifiers.json`. Write into a [`crate::files::OutputFolder`], so that
//! a failed build leaves nothing behind.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use serde_json::ser::{CompactFormatter, Formatter};

use super::dataset::{self, Metadata, Split};
use super::npy::Stream;
use crate::{Error, Result, files};

/// What the tokens and identifiers of a data set mean; the part of [`Metadata`] that a builder knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// Token of positions outside of the puzzle and of padding examples.
    pub pad_id: i32,
    /// Label that counts neither in the loss nor in the metrics, if there is one.
    pub ignore_label_id: Option<i32>,
    /// Identifier of padding examples, and of puzzles that have no embedding of their own.
    pub blank_identifier_id: i32,
    /// Tokens are `0..vocab_size`.
    pub vocab_size: usize,
    /// Identifiers are `0..num_puzzle_identifiers`.
    pub num_puzzle_identifiers: usize,
}

/// One split being written: examples, then [`Writer::end_puzzle`], then [`Writer::end_group`], at last
/// [`Writer::finish`].
pub struct Writer {
    folder: PathBuf,
    set: String,
    seq_len: usize,
    inputs: Stream,
    labels: Stream,
    puzzle_identifiers: Stream,
    puzzle_indices: Stream,
    group_indices: Stream,
    puzzles_in_groups: usize,
}

impl Writer {
    /// Starts `<dir>/<split>/<set>__*.npy`; an example has `seq_len` tokens.
    ///
    /// # Errors
    /// [`Error::Io`] if the files cannot be made or are there already.
    pub fn create(dir: &Path, split: Split, set: &str, seq_len: usize) -> Result<Writer> {
        let folder = dir.join(split.name());
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let path = |field: &str| dataset::array_path(&folder, set, field);
        let (mut puzzle_indices, mut group_indices) =
            (Stream::vector(path("puzzle_indices"))?, Stream::vector(path("group_indices"))?);
        puzzle_indices.count(0)?;
        group_indices.count(0)?;
        Ok(Writer {
            inputs: Stream::matrix(path("inputs"), seq_len)?,
            labels: Stream::matrix(path("labels"), seq_len)?,
            puzzle_identifiers: Stream::vector(path("puzzle_identifiers"))?,
            puzzle_indices,
            group_indices,
            folder,
            set: set.to_owned(),
            seq_len,
            puzzles_in_groups: 0,
        })
    }

    /// Adds an example, (S) tokens each, to the current puzzle.
    ///
    /// # Errors
    /// [`Error::File`] if it has not S tokens, [`Error::Io`] if it cannot be written.
    pub fn example(&mut self, inputs: &[u8], labels: &[u8]) -> Result<()> {
        self.inputs.row(inputs)?;
        self.labels.row(labels)
    }

    /// Makes a puzzle of the examples since the last one.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::File`] past 2^31 - 1 examples.
    pub fn end_puzzle(&mut self, identifier: i32) -> Result<()> {
        self.puzzle_identifiers.value(identifier)?;
        self.puzzle_indices.count(self.inputs.rows())
    }

    /// Makes a group of the puzzles since the last one; without any there is no group to make.
    ///
    /// # Errors
    /// As [`Writer::end_puzzle`].
    pub fn end_group(&mut self) -> Result<()> {
        let puzzles = self.puzzle_identifiers.rows();
        if puzzles > self.puzzles_in_groups {
            self.group_indices.count(puzzles)?;
            self.puzzles_in_groups = puzzles;
        }
        Ok(())
    }

    /// Closes the arrays, writes `dataset.json` and returns what it says. An open group is closed first.
    ///
    /// # Errors
    /// [`Error::File`] if no puzzle was written, [`Error::Io`] if the files cannot be completed.
    pub fn finish(mut self, vocabulary: Vocabulary) -> Result<Metadata> {
        self.end_group()?;
        let (groups, puzzles) = (self.group_indices.rows() - 1, self.puzzle_identifiers.rows());
        if puzzles == 0 {
            return Err(Error::file(&self.folder, "no puzzles to write", "check the source of the puzzles"));
        }
        let metadata = Metadata {
            pad_id: vocabulary.pad_id,
            ignore_label_id: vocabulary.ignore_label_id,
            blank_identifier_id: vocabulary.blank_identifier_id,
            vocab_size: vocabulary.vocab_size,
            seq_len: self.seq_len,
            num_puzzle_identifiers: vocabulary.num_puzzle_identifiers,
            total_groups: groups,
            mean_puzzle_examples: self.inputs.rows() as f64 / puzzles as f64,
            total_puzzles: puzzles,
            sets: vec![self.set],
        };
        for stream in
            [self.inputs, self.labels, self.puzzle_identifiers, self.puzzle_indices, self.group_indices]
        {
            stream.finish()?;
        }
        let path = self.folder.join(dataset::METADATA_FILE);
        let json = serde_json::to_vec(&metadata).map_err(|error| Error::io(&path)(error.into()))?;
        files::write_atomic(&path, &json)?;
        Ok(metadata)
    }
}

/// Writes `<dir>/identifiers.json`, the list of puzzle names by identifier (`<blank>` first).
///
/// # Errors
/// [`Error::Io`] if it cannot be written.
pub fn write_identifiers<Name: Serialize>(dir: &Path, names: impl IntoIterator<Item = Name>) -> Result<()> {
    write_names(dir, names, CompactFormatter)
}

/// The same with spaces as Python writes them: weights know their puzzles by the bytes of this file.
pub(super) fn write_identifiers_as_release(dir: &Path, names: &[String]) -> Result<()> {
    write_names(dir, names, Spaced)
}

fn write_names<Name: Serialize>(
    dir: &Path,
    names: impl IntoIterator<Item = Name>,
    formatter: impl Formatter,
) -> Result<()> {
    let path = dir.join(dataset::IDENTIFIERS_FILE);
    let mut file = BufWriter::new(File::create(&path).map_err(Error::io(&path))?);
    serde_json::Serializer::with_formatter(&mut file, formatter)
        .collect_seq(names)
        .map_err(|error| Error::io(&path)(error.into()))?;
    file.flush().map_err(Error::io(&path))
}

/// A space behind every comma.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }
}
