//! Which examples of a test split are evaluated: all of them, or whole groups drawn once for a whole run, so that the
//! evaluations of a run can be compared.

use crate::data::Dataset;
use crate::rng::Rng;
use crate::{Error, Result};

/// Stream of the draw.
const STREAM: u64 = 0x5e1e_c7ed;

/// Places of examples among all of a split, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(Vec<usize>);

impl Selection {
    /// Every example.
    pub fn all(dataset: &Dataset) -> Selection {
        Selection((0..dataset.examples()).collect())
    }

    /// Groups in an order that `seed` gives until they have `most` examples, of the last one only as many as are missing;
    /// every example where `most` is 0 or there are no more.
    pub fn of(dataset: &Dataset, most: usize, seed: u64) -> Selection {
        if most == 0 || most >= dataset.examples() {
            return Selection::all(dataset);
        }
        let mut groups = Vec::new();
        let mut first = 0;
        for set in dataset.sets() {
            groups.extend((0..set.groups()).map(|group| {
                let puzzles = set.puzzles_of(group);
                let start = set.examples_of(puzzles.start).start;
                first + start..first + set.examples_of(puzzles.end - 1).end
            }));
            first += set.examples();
        }
        Rng::new(seed, STREAM).shuffle(&mut groups);
        let mut chosen: Vec<usize> = groups.into_iter().flatten().take(most).collect();
        chosen.sort_unstable();
        Selection(chosen)
    }

    /// The examples at `places`, each once.
    ///
    /// # Errors
    /// [`Error::Usage`] for a place that the split does not have.
    pub fn at(dataset: &Dataset, places: &[usize]) -> Result<Selection> {
        let (mut places, examples) = (places.to_vec(), dataset.examples());
        places.sort_unstable();
        places.dedup();
        match places.iter().find(|place| **place >= examples) {
            None => Ok(Selection(places)),
            Some(place) => {
                let fix = format!("give 0 to {}", examples.saturating_sub(1));
                Err(Error::usage("sample", format!("{place}, there are {examples}"), fix))
            }
        }
    }

    /// The part of it that one of `ranks` evaluates.
    pub fn share(&self, rank: usize, ranks: usize) -> Selection {
        Selection(self.0.iter().copied().skip(rank).step_by(ranks).collect())
    }

    /// How many examples.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their places.
    pub fn places(&self) -> &[usize] {
        &self.0
    }
}
