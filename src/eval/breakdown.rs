//! Which Sudokus of a test split a model gets right: by the list that they come from, and by their clues.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::Selection;
use super::evaluate::samples_of;
use super::measure::Outcome;
use crate::Result;
use crate::data::inspect::Kind;
use crate::data::sudoku::{Grid, Shape};
use crate::data::{Batch, Dataset, Origin, Split, read_origins};

/// How right a model is about some samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Share {
    /// Samples that were measured.
    pub samples: usize,
    /// Those that are right in every cell.
    pub exact: usize,
    /// Their share.
    pub exact_accuracy: f64,
    /// Share of cells that are right, averaged over samples.
    pub accuracy: f64,
}

/// The puzzles of one list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfList {
    /// The list's name.
    pub list: String,
    /// How right the model is about them.
    #[serde(flatten)]
    pub share: Share,
}

/// The puzzles with so many clues.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfClues {
    /// Cells that are given.
    pub clues: usize,
    /// How right the model is about them.
    #[serde(flatten)]
    pub share: Share,
}

/// The parts of an evaluation, those without any sample left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Breakdown {
    /// In the order of the data set; empty if it does not say where its puzzles come from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_list: Vec<OfList>,
    /// Ascending.
    pub by_clues: Vec<OfClues>,
}

/// Where the test puzzles come from.
fn origins(dataset: &Dataset) -> Result<Vec<Origin>> {
    match dataset.folder().parent() {
        Some(dir) => read_origins(dir, Split::Test, dataset.examples()),
        None => Ok(Vec::new()),
    }
}

impl Breakdown {
    /// Refuses a data set that contradicts itself, before anything is measured.
    ///
    /// # Errors
    /// As [`Breakdown::of`].
    pub fn check(dataset: &Dataset) -> Result<()> {
        origins(dataset).map(drop)
    }

    /// Of the samples selected of a test split, with what came of each, in their order; None if they are no Sudokus.
    ///
    /// # Errors
    /// [`crate::Error::Io`] or [`crate::Error::File`] for a data set that cannot be read or contradicts itself.
    pub fn of(
        dataset: &Arc<Dataset>,
        selection: &Selection,
        outcomes: &[Option<Outcome>],
    ) -> Result<Option<Breakdown>> {
        let Kind::Sudoku { size } = Kind::of_first_example(dataset)? else { return Ok(None) };
        let Some(shape) = Shape::of_size(size) else { return Ok(None) };
        let lists = origins(dataset)?;
        // The places behind the last example of each list.
        let ends = lists.iter().scan(0, |end, origin| {
            *end += origin.examples;
            Some(*end)
        });
        let ends: Vec<usize> = ends.collect();
        let (mut by_list, mut by_clues): (Vec<Share>, BTreeMap<usize, Share>) =
            (vec![Share::default(); lists.len()], BTreeMap::new());
        let (mut samples, mut one) =
            (samples_of(dataset, selection), Batch::new(1, dataset.metadata().seq_len));
        for (&place, outcome) in selection.places().iter().zip(outcomes) {
            if !samples(&mut one)? {
                break;
            }
            let Some(outcome) = outcome else { continue };
            let clues = Grid::from_tokens(shape, &one.inputs).clues();
            by_clues.entry(clues).or_default().add(outcome);
            // Data sets that were joined may have puzzles of one list each.
            let own = lists.get(ends.partition_point(|&end| end <= place));
            let list = own.and_then(|own| lists.iter().position(|other| other.name == own.name));
            list.into_iter().for_each(|list| by_list[list].add(outcome));
        }
        let of_list = |(origin, share): (Origin, Share)| OfList { list: origin.name, share };
        let by_list = lists.into_iter().zip(by_list).map(of_list);
        let by_clues = by_clues.into_iter().map(|(clues, share)| OfClues { clues, share });
        Ok(Some(Breakdown {
            by_list: by_list.filter(|part| part.share.samples > 0).collect(),
            by_clues: by_clues.collect(),
        }))
    }
}

impl Share {
    fn add(&mut self, outcome: &Outcome) {
        let cells = self.accuracy * self.samples as f64 + outcome.accuracy;
        self.samples += 1;
        self.exact += usize::from(outcome.exact);
        self.exact_accuracy = self.exact as f64 / self.samples as f64;
        self.accuracy = cells / self.samples as f64;
    }
}
