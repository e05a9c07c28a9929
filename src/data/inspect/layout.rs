//! The files of one split, and whether they fit each other.

use std::path::{Path, PathBuf};

use super::{Findings, Rule};
use crate::data::dataset::{METADATA_FILE, array_path};
use crate::data::npy::Array;
use crate::data::{Metadata, Split};
use crate::{Result, files};

/// Tokens that are counted one by one; no puzzle comes near, a broken `dataset.json` may.
pub(super) const MOST_TOKENS: usize = 1 << 16;

/// A split whose `dataset.json` can be read.
pub(super) struct SplitFiles {
    pub split: Split,
    pub metadata: Metadata,
    /// The sets whose arrays can be read and have S columns.
    pub sets: Vec<SetFiles>,
}

/// The arrays of a set; only if `sound` do the indices lead to puzzles and examples that are there.
pub(super) struct SetFiles {
    pub inputs: Array,
    pub labels: Array,
    pub identifiers: Vec<i32>,
    pub puzzle_indices: Vec<i32>,
    pub group_indices: Vec<i32>,
    pub sound: bool,
}

impl SetFiles {
    /// Examples that have both inputs and labels.
    pub fn examples(&self) -> usize {
        self.inputs.rows().min(self.labels.rows())
    }

    /// (example, identifier) of every example, in order; nothing if the indices are broken.
    pub fn with_identifiers(&self) -> impl Iterator<Item = (usize, i32)> {
        let puzzles = self.puzzle_indices.windows(2).zip(&self.identifiers).filter(|_| self.sound);
        puzzles.flat_map(|(range, &identifier)| {
            (range[0] as usize..range[1] as usize).map(move |example| (example, identifier))
        })
    }
}

/// Reads a split as far as it goes and notes what is wrong with it.
pub(super) fn read(dir: &Path, split: Split, findings: &mut Findings) -> Option<SplitFiles> {
    let folder = dir.join(split.name());
    let path = folder.join(METADATA_FILE);
    let metadata = match read_metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) => {
            findings.add_error(Rule::Metadata, error);
            return None;
        }
    };
    if let Some(problem) = metadata_fault(&metadata) {
        findings.add(Rule::Metadata, &path, problem, 1);
    }
    let sets: Vec<SetFiles> =
        metadata.sets.iter().filter_map(|set| read_set(&folder, set, &metadata, findings)).collect();
    if sets.len() == metadata.sets.len() && sets.iter().all(|set| set.sound) {
        check_totals(&path, &metadata, &sets, findings);
    }
    Some(SplitFiles { split, metadata, sets })
}

fn read_metadata(path: &Path) -> Result<Metadata> {
    files::read_json(path, "")
}

fn metadata_fault(metadata: &Metadata) -> Option<String> {
    let Metadata { pad_id, blank_identifier_id, vocab_size, num_puzzle_identifiers, .. } = *metadata;
    let below = |value: i32, count: usize| usize::try_from(value).is_ok_and(|value| value < count);
    if metadata.seq_len == 0 || metadata.sets.is_empty() {
        Some("seq_len is 0 or there are no sets".into())
    } else if vocab_size > MOST_TOKENS {
        Some(format!("vocab_size is {vocab_size}, expected at most {MOST_TOKENS}"))
    } else if !below(pad_id, vocab_size) {
        Some(format!("pad_id is {pad_id}, expected less than vocab_size, {vocab_size}"))
    } else if !below(blank_identifier_id, num_puzzle_identifiers) {
        Some(format!(
            "blank_identifier_id is {blank_identifier_id}, expected less than num_puzzle_identifiers, {num_puzzle_identifiers}"
        ))
    } else {
        None
    }
}

fn read_set(folder: &Path, set: &str, metadata: &Metadata, findings: &mut Findings) -> Option<SetFiles> {
    let path = |field: &str| array_path(folder, set, field);
    let mut open = |field: &str| {
        Array::open(&path(field), 2).map_err(|error| findings.add_error(Rule::Arrays, error)).ok()
    };
    let (inputs, labels) = (open("inputs"), open("labels"));
    let mut vector = |field: &str| {
        let values = Array::open(&path(field), 1).and_then(|array| array.to_vec());
        values.map_err(|error| findings.add_error(Rule::Arrays, error)).ok()
    };
    let (identifiers, puzzle_indices, group_indices) =
        (vector("puzzle_identifiers"), vector("puzzle_indices"), vector("group_indices"));
    let mut set = SetFiles {
        inputs: inputs?,
        labels: labels?,
        identifiers: identifiers?,
        puzzle_indices: puzzle_indices?,
        group_indices: group_indices?,
        sound: false,
    };
    check_identifiers(&path("puzzle_identifiers"), &set.identifiers, metadata, findings);
    let lengths = length_fault(&set, path("puzzle_identifiers"), metadata.seq_len);
    let puzzles = index_fault(&set.puzzle_indices, 0, set.inputs.rows());
    let groups = index_fault(&set.group_indices, 1, set.identifiers.len());
    set.sound = lengths.is_none() && puzzles.is_none() && groups.is_none();
    if let Some((path, problem)) = lengths {
        findings.add(Rule::Lengths, &path, problem, 1);
    }
    for (field, fault) in [("puzzle_indices", puzzles), ("group_indices", groups)] {
        if let Some(problem) = fault {
            findings.add(Rule::Indices, &path(field), problem, 1);
        }
    }
    [&set.inputs, &set.labels].iter().all(|array| array.columns() == metadata.seq_len).then_some(set)
}

fn length_fault(set: &SetFiles, identifiers: PathBuf, seq_len: usize) -> Option<(PathBuf, String)> {
    if let Some(array) = [&set.inputs, &set.labels].into_iter().find(|array| array.columns() != seq_len) {
        let problem = format!("{} tokens per example, dataset.json says {seq_len}", array.columns());
        Some((array.path().to_path_buf(), problem))
    } else if set.labels.rows() != set.inputs.rows() {
        let problem = format!("{} examples, the inputs have {}", set.labels.rows(), set.inputs.rows());
        Some((set.labels.path().to_path_buf(), problem))
    } else if set.identifiers.len() + 1 != set.puzzle_indices.len() {
        let puzzles = set.puzzle_indices.len().saturating_sub(1);
        Some((
            identifiers,
            format!("{} identifiers, puzzle_indices has {puzzles} puzzles", set.identifiers.len()),
        ))
    } else {
        None
    }
}

/// Consecutive ranges of at least `least` elements, from 0 to `count`.
fn index_fault(indices: &[i32], least: i64, count: usize) -> Option<String> {
    let step = |pair: &[i32]| i64::from(pair[1]) - i64::from(pair[0]);
    match (indices.first(), indices.windows(2).position(|pair| step(pair) < least), indices.last()) {
        (Some(0), None, Some(&last)) if usize::try_from(last) == Ok(count) => None,
        (Some(0), None, last) => Some(format!("ends with {}, expected {count}", last.unwrap_or(&0))),
        (Some(0), Some(at), _) => {
            let (from, to) = (indices[at], indices[at + 1]);
            Some(format!("element {} is {to} after {from}, expected a rise of at least {least}", at + 1))
        }
        (first, ..) => Some(format!("starts with {first:?}, expected 0")),
    }
}

fn check_identifiers(path: &Path, identifiers: &[i32], metadata: &Metadata, findings: &mut Findings) {
    let count = metadata.num_puzzle_identifiers;
    let outside =
        |&&identifier: &&i32| !usize::try_from(identifier).is_ok_and(|identifier| identifier < count);
    if let Some(puzzle) = identifiers.iter().position(|identifier| outside(&identifier)) {
        let problem =
            format!("puzzle {puzzle} has identifier {}, expected less than {count}", identifiers[puzzle]);
        findings.add(Rule::Identifiers, path, problem, identifiers.iter().filter(outside).count());
    }
}

fn check_totals(path: &Path, metadata: &Metadata, sets: &[SetFiles], findings: &mut Findings) {
    let sum = |count: fn(&SetFiles) -> usize| sets.iter().map(count).sum::<usize>();
    let (groups, puzzles) = (sum(|set| set.group_indices.len() - 1), sum(|set| set.identifiers.len()));
    let mean = sum(SetFiles::examples) as f64 / puzzles.max(1) as f64;
    let found = metadata.mean_puzzle_examples;
    let problem = if metadata.total_groups != groups {
        format!("total_groups is {}, the arrays have {groups}", metadata.total_groups)
    } else if metadata.total_puzzles != puzzles && metadata.total_puzzles != groups {
        format!("total_puzzles is {}, the arrays have {puzzles}", metadata.total_puzzles)
    } else if (found - mean).abs() > 1e-3 * mean {
        format!("mean_puzzle_examples is {found}, the arrays have {mean}")
    } else {
        return;
    };
    findings.add(Rule::Totals, path, problem, 1);
}
