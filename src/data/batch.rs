//! A batch of examples as the model takes it.

use std::ops::Range;

use super::symmetry::VariantDraw;

/// The label of a position that counts neither in the loss nor in the metrics.
pub const IGNORE_LABEL: i32 = -100;

/// B examples of S tokens, allocated once and filled over and over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Tokens given, (B, S), each in `0..vocab_size`.
    pub inputs: Vec<i32>,
    /// Tokens wanted, (B, S); [`IGNORE_LABEL`] where nothing is.
    pub labels: Vec<i32>,
    /// Row of the puzzle embedding table for each example, (B).
    pub puzzle_identifiers: Vec<i32>,
    /// By what the symmetry of each example is drawn that the model takes in its place, (B), or none.
    pub(crate) variants: Vec<VariantDraw>,
    seq_len: usize,
}

impl Batch {
    /// A batch of `batch` examples of `seq_len` zeros, all labels ignored.
    pub fn new(batch: usize, seq_len: usize) -> Batch {
        Batch {
            inputs: vec![0; batch * seq_len],
            labels: vec![IGNORE_LABEL; batch * seq_len],
            puzzle_identifiers: vec![0; batch],
            variants: Vec::new(),
            seq_len,
        }
    }

    /// B, the number of examples.
    pub fn size(&self) -> usize {
        self.puzzle_identifiers.len()
    }

    /// S, the tokens of an example.
    pub fn seq_len(&self) -> usize {
        self.seq_len
    }

    /// Makes example `row` the same as example `from` of `other`, whose S is the same.
    pub fn copy_row(&mut self, row: usize, other: &Batch, from: usize) {
        let source = from * self.seq_len..(from + 1) * self.seq_len;
        let (inputs, labels) = self.row_mut(row);
        inputs.copy_from_slice(&other.inputs[source.clone()]);
        labels.copy_from_slice(&other.labels[source]);
        self.puzzle_identifiers[row] = other.puzzle_identifiers[from];
    }

    /// The examples in `rows`, as a batch of their own.
    pub fn part(&self, rows: Range<usize>) -> Batch {
        let tokens = rows.start * self.seq_len..rows.end * self.seq_len;
        Batch {
            inputs: self.inputs[tokens.clone()].to_vec(),
            labels: self.labels[tokens].to_vec(),
            variants: self.variants.get(rows.clone()).unwrap_or_default().to_vec(),
            puzzle_identifiers: self.puzzle_identifiers[rows].to_vec(),
            seq_len: self.seq_len,
        }
    }

    /// Inputs and labels of example `row`, (S) each.
    pub fn row_mut(&mut self, row: usize) -> (&mut [i32], &mut [i32]) {
        let range = row * self.seq_len..(row + 1) * self.seq_len;
        (&mut self.inputs[range.clone()], &mut self.labels[range])
    }
}
