//! `samples.json` in a run folder: what the model made of a few test samples at its last evaluation, to be drawn by
//! `trm report`.

use serde::{Deserialize, Serialize};

use crate::data::arc::SEQ_LEN;
use crate::data::inspect::Kind;
use crate::data::own::Words;
use crate::eval::Look;

pub(crate) const SAMPLES_FILE: &str = "samples.json";

/// Samples that are kept: the first of an evaluation.
pub(super) const KEPT: usize = 4;

/// The samples of an evaluation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Samples {
    /// Training steps done by then.
    pub step: u64,
    pub kind: Kind,
    /// Of an own task.
    pub words: Option<Words>,
    pub samples: Vec<Sample>,
}

/// A sample and the answer after its last supervision step, (S) tokens each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub inputs: Vec<i32>,
    pub labels: Vec<i32>,
    pub answer: Vec<i32>,
}

impl Samples {
    /// Whether all have as many tokens as puzzles of this kind.
    pub fn fit(&self) -> bool {
        let cells = match self.kind {
            Kind::Sudoku { size } => size.checked_mul(size),
            Kind::Maze { rows, cols } => rows.checked_mul(cols),
            Kind::Arc => Some(SEQ_LEN),
            Kind::Other => self.samples.first().map(|sample| sample.inputs.len()),
        };
        let lengths = |sample: &Sample| {
            [&sample.inputs, &sample.labels, &sample.answer].map(|tokens| Some(tokens.len()))
        };
        self.samples.iter().all(|sample| lengths(sample) == [cells; 3])
    }
}

impl Sample {
    pub(super) fn of(look: &Look<'_>) -> Sample {
        let [inputs, labels, answer] = [look.inputs, look.labels, look.predictions].map(<[i32]>::to_vec);
        Sample { inputs, labels, answer }
    }
}
