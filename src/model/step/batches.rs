//! How many samples a training step has, and how they are taken.

use crate::data::symmetry::Symmetries;
use crate::{Error, Result};

/// The samples of a training step, and how many of them are computed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batches {
    /// B.
    pub batch: usize,
    /// Samples computed at once; divides B.
    pub micro_batch: usize,
    /// How many plans like this one make the step together, each with B samples of its own: after the gradients, the step
    /// pauses for the host to add them up and to write `gathered.*`.
    pub ranks: usize,
    /// What each sample is drawn as a symmetry of its example in, if it is.
    pub augment: Option<Symmetries>,
}

impl From<usize> for Batches {
    /// All at once, as they come.
    fn from(batch: usize) -> Batches {
        Batches { batch, micro_batch: batch, ranks: 1, augment: None }
    }
}

impl Batches {
    pub(super) fn check(self) -> Result<()> {
        let Batches { batch, micro_batch, ranks, .. } = self;
        if ranks == 0 {
            return Err(Error::usage("ranks", "are 0", "give at least 1"));
        }
        if batch == 0 {
            return Err(Error::recipe("train.global_batch_size", "is 0", "give at least 1"));
        }
        if micro_batch == 0 || !batch.is_multiple_of(micro_batch) {
            let problem = format!("{micro_batch} does not divide the batch of {batch}");
            return Err(Error::recipe(
                "train.micro_batch",
                problem,
                "give a divisor, or 0 to have one chosen",
            ));
        }
        Ok(())
    }
}
