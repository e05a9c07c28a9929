//! Every example of a split: how often each token occurs, and whether tokens and puzzles obey the rules.

use rayon::prelude::*;

use super::layout::{MOST_TOKENS, SetFiles, SplitFiles};
use super::{Example, Findings, Kind, Rule, SplitReport, Spread};
use crate::Result;
use crate::data::arc::Grid;
use crate::data::npy::Array;
use crate::data::sudoku::{self, Shape};
use crate::data::{IGNORE_LABEL, Metadata, Split, maze};

/// Counts and checks everything in a split.
pub(super) fn scan(files: &SplitFiles, kind: Kind, findings: &mut Findings) -> SplitReport {
    let total = Tally::new(files.metadata.vocab_size);
    let tally = files.sets.iter().fold(total, |total, set| {
        let checker = Checker { metadata: &files.metadata, split: files.split, kind, set };
        match checker.tally().and_then(|tally| checker.report(&tally, findings).map(|()| tally)) {
            Ok(tally) => total.plus(tally),
            Err(error) => {
                findings.add_error(Rule::Arrays, error);
                total
            }
        }
    });
    let sound = || files.sets.iter().filter(|set| set.sound);
    SplitReport {
        split: files.split.name(),
        metadata: files.metadata.clone(),
        groups: files.sets.iter().map(|set| set.group_indices.len().saturating_sub(1)).sum(),
        puzzles: files.sets.iter().map(|set| set.identifiers.len()).sum(),
        examples: files.sets.iter().map(SetFiles::examples).sum(),
        puzzles_per_group: spread(sound().map(|set| set.group_indices.as_slice())),
        examples_per_puzzle: spread(sound().map(|set| set.puzzle_indices.as_slice())),
        input_tokens: tally.input_tokens,
        label_tokens: tally.label_tokens,
        examples_without_labels: tally.without_labels,
        repeated: 0,
        also_in_train: 0,
    }
}

/// `count` examples of a split, evenly spread from the first to the last.
pub(super) fn choose(files: &SplitFiles, names: &[String], count: usize) -> Vec<Example> {
    let Some(set) = files.sets.iter().find(|set| set.examples() > 0) else { return vec![] };
    let last = set.examples() - 1;
    let mut indices: Vec<usize> = (0..count).map(|place| place * last / (count - 1).max(1)).collect();
    indices.dedup();
    let name = |example: usize| {
        let (_, identifier) = set.with_identifiers().find(|&(found, _)| found == example)?;
        names.get(usize::try_from(identifier).ok()?).cloned()
    };
    let row = |array: &Array, example: usize| {
        let mut tokens = vec![0; array.columns()];
        array.read_row(example, &mut tokens).map(|()| tokens)
    };
    let example = |index: usize| {
        let (inputs, labels) = (row(&set.inputs, index).ok()?, row(&set.labels, index).ok()?);
        Some(Example { split: files.split.name(), index, name: name(index), inputs, labels })
    };
    // What cannot be read is among the violations.
    indices.into_iter().filter_map(example).collect()
}

/// Lengths of consecutive ranges.
fn spread<'a>(indices: impl Iterator<Item = &'a [i32]>) -> Option<Spread> {
    let lengths: Vec<usize> =
        indices.flat_map(|indices| indices.windows(2)).map(|pair| (pair[1] - pair[0]) as usize).collect();
    let (min, max) = (*lengths.iter().min()?, *lengths.iter().max()?);
    Some(Spread { min, mean: lengths.iter().sum::<usize>() as f64 / lengths.len() as f64, max })
}

/// What was counted in some examples. Sums do not depend on the order, so neither does the result on threads.
struct Tally {
    input_tokens: Vec<u64>,
    label_tokens: Vec<u64>,
    without_labels: usize,
    /// Of [`Rule::Tokens`], [`Rule::Labels`] and [`Rule::Puzzles`]: the first example at fault and how many.
    faults: [Option<(usize, usize)>; 3],
}

impl Tally {
    fn new(vocab_size: usize) -> Tally {
        let zeros = vec![0; vocab_size.min(MOST_TOKENS)];
        Tally { input_tokens: zeros.clone(), label_tokens: zeros, without_labels: 0, faults: [None; 3] }
    }

    fn plus(mut self, other: Tally) -> Tally {
        let add = |sums: &mut Vec<u64>, more: Vec<u64>| {
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more)
        };
        add(&mut self.input_tokens, other.input_tokens);
        add(&mut self.label_tokens, other.label_tokens);
        self.without_labels += other.without_labels;
        for (fault, other) in self.faults.iter_mut().zip(other.faults) {
            *fault = match (*fault, other) {
                (Some((first, count)), Some((other, more))) => Some((first.min(other), count + more)),
                (one, None) => one,
                (None, one) => one,
            };
        }
        self
    }

    /// Notes that `example`, which comes after all earlier ones, breaks rule number `rule`.
    fn fault(&mut self, rule: usize, example: usize) {
        let (first, count) = self.faults[rule].unwrap_or((example, 0));
        self.faults[rule] = Some((first, count + 1));
    }
}

/// One set and what is known of its examples.
struct Checker<'a> {
    metadata: &'a Metadata,
    split: Split,
    kind: Kind,
    set: &'a SetFiles,
}

impl Checker<'_> {
    fn tally(&self) -> Result<Tally> {
        let Metadata { vocab_size, seq_len, .. } = *self.metadata;
        let start = || (Tally::new(vocab_size), vec![0; seq_len], vec![0; seq_len]);
        let tallies = (0..self.set.examples()).into_par_iter().try_fold(
            start,
            |(mut tally, mut inputs, mut labels), example| {
                self.set.inputs.read_row(example, &mut inputs)?;
                self.set.labels.read_row(example, &mut labels)?;
                self.count(&mut tally, example, &inputs, &labels);
                Ok((tally, inputs, labels))
            },
        );
        let tallies = tallies.map(|tally: Result<_>| tally.map(|(tally, ..)| tally));
        tallies.try_reduce(|| Tally::new(vocab_size), |one, other| Ok(one.plus(other)))
    }

    fn count(&self, tally: &mut Tally, example: usize, inputs: &[i32], labels: &[i32]) {
        let known = |counts: &mut Vec<u64>, token: i32| {
            let place = usize::try_from(token).ok().and_then(|token| counts.get_mut(token));
            place.map(|count| *count += 1).is_some()
        };
        // Every token has to be counted, so the search does not end at the first unknown one.
        let unknown = inputs.iter().filter(|&&token| !known(&mut tally.input_tokens, token)).count();
        let strange = labels
            .iter()
            .filter(|&&label| !known(&mut tally.label_tokens, label) && !self.ignored(label))
            .count();
        if unknown > 0 {
            tally.fault(0, example);
        }
        if strange > 0 {
            tally.fault(1, example);
        }
        let labelled = labels.iter().any(|&label| !self.ignored(label));
        tally.without_labels += usize::from(!labelled);
        if unknown == 0 && strange == 0 && self.puzzle_fault(inputs, labels, labelled).is_some() {
            tally.fault(2, example);
        }
    }

    fn ignored(&self, label: i32) -> bool {
        label == IGNORE_LABEL || Some(label) == self.metadata.ignore_label_id
    }

    /// What is wrong with an example as a puzzle; without labels only its input is looked at.
    fn puzzle_fault(&self, inputs: &[i32], labels: &[i32], labelled: bool) -> Option<String> {
        match self.kind {
            Kind::Sudoku { size } => {
                let grid =
                    |tokens| Shape::of_size(size).map(|shape| sudoku::Grid::from_tokens(shape, tokens));
                sudoku::solution_fault(&grid(inputs)?, &grid(labels)?)
                    .map(|fault| format!("the answer {fault}"))
            }
            Kind::Maze { cols, .. } => maze::solution_fault(cols, inputs, labels),
            Kind::Arc => {
                let Some((_, place)) = Grid::decode(inputs) else {
                    return Some("the input is no grid with end tokens below and right of it".into());
                };
                let label = Grid::decode(labels).map(|(_, place)| place);
                if self.split == Split::Test && place != (0, 0) {
                    Some(format!("the input lies at {place:?}, expected (0, 0) in the test split"))
                } else if labelled && label != Some(place) {
                    Some(format!("the label is no grid at the place of the input, {place:?}"))
                } else {
                    None
                }
            }
            Kind::Other => None,
        }
    }

    /// Describes the first example at fault of each rule.
    fn report(&self, tally: &Tally, findings: &mut Findings) -> Result<()> {
        let SetFiles { inputs, labels, .. } = self.set;
        for (rule, fault) in tally.faults.iter().enumerate() {
            let Some((example, count)) = *fault else { continue };
            let mut tokens = [vec![0; inputs.columns()], vec![0; labels.columns()]];
            let [given, wanted] = &mut tokens;
            inputs.read_row(example, given)?;
            labels.read_row(example, wanted)?;
            let vocab_size = self.metadata.vocab_size;
            let known = |&token: &i32| usize::try_from(token).is_ok_and(|token| token < vocab_size);
            let outside = |what: &str, tokens: &[i32], fine: &dyn Fn(&i32) -> bool| {
                let at = tokens.iter().position(|token| !fine(token)).unwrap_or_default();
                format!(
                    "example {example}, position {at}: {what} {}, expected less than {vocab_size}",
                    tokens[at]
                )
            };
            let (rule, array, problem) = match rule {
                0 => (Rule::Tokens, inputs, outside("token", given, &known)),
                1 => (
                    Rule::Labels,
                    labels,
                    outside("label", wanted, &|label| known(label) || self.ignored(*label)),
                ),
                _ => {
                    let labelled = wanted.iter().any(|&label| !self.ignored(label));
                    let fault = self.puzzle_fault(given, wanted, labelled).unwrap_or_default();
                    (Rule::Puzzles, labels, format!("example {example}: {fault}"))
                }
            };
            findings.add(rule, array.path(), problem, count);
        }
        Ok(())
    }
}
