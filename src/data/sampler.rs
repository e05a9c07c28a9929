//! The order in which examples are seen: training batches for ever, test batches once.
//!
//! Training follows the authors' release. An iteration is `epochs_per_iteration` shuffled passes over the
//! groups of a set, one after the other; each group gives one random puzzle, whose examples join the batch in
//! random order until it is full; the last partial batch of the iteration is dropped. Several sets take turns,
//! one iteration each. All draws are functions of (seed, epoch) and (seed, iteration), so that three numbers
//! are the whole state.
//!
//! A sampler may also say by what a variant of each example is drawn, anew each time ([`Sampler::augmented`]). Examples stay
//! as they lie on disk: the variant is made where the example is taken, on the device.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::symmetry::{Symmetries, VariantDraw};
use super::{Batch, Dataset, IGNORE_LABEL, Set};
use crate::rng::Rng;
use crate::{Error, Result};

/// Streams of random numbers: the order of the groups by epoch, the choices inside a group by iteration.
const ORDER_STREAM: u64 = 0x6F72_6465 << 32;
const CHOICE_STREAM: u64 = 0x6368_6F69 << 32;
/// Variants, by iteration and the number of the choice that took their example.
const VARIANT_STREAM: u64 = 0x7661_7269 << 32;
/// Blocks of four random numbers kept for a variant: one of a Sudoku takes 25 numbers and rarely some more.
const BLOCKS_OF_A_VARIANT: u64 = 16;

/// Where a [`Sampler`] stands; saved with a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplerState {
    /// Finished iterations.
    pub iteration: u64,
    /// Groups taken in this iteration.
    pub groups_taken: usize,
    /// Random numbers used for choices in this iteration.
    pub choices: u64,
}

/// Endless training batches of one data set.
pub struct Sampler {
    dataset: Arc<Dataset>,
    batch_size: usize,
    epochs_per_iteration: usize,
    seed: u64,
    iteration: u64,
    groups_taken: usize,
    choice: Rng,
    /// The groups in the order of the epoch at hand.
    order: Vec<u32>,
    /// The examples of the puzzle at hand, the chosen ones first.
    examples: Vec<usize>,
    /// Those that examples are trained in, where it is not as they lie on disk.
    symmetries: Option<Symmetries>,
}

impl Sampler {
    /// A sampler at the start of the first iteration.
    ///
    /// # Errors
    /// [`Error::Recipe`] if an iteration cannot fill one batch of `batch_size`.
    pub fn new(
        dataset: Arc<Dataset>,
        batch_size: usize,
        epochs_per_iteration: usize,
        seed: u64,
    ) -> Result<Self> {
        let groups = dataset.sets().iter().map(Set::groups).max().unwrap_or(0);
        let examples = dataset.sets().iter().map(Set::largest_puzzle).max().unwrap_or(0);
        for set in dataset.sets() {
            check_batch_size(&dataset, set, batch_size, epochs_per_iteration)?;
        }
        Ok(Sampler {
            dataset,
            batch_size,
            epochs_per_iteration,
            seed,
            iteration: 0,
            groups_taken: 0,
            choice: Rng::new(seed, CHOICE_STREAM),
            order: Vec::with_capacity(groups),
            examples: Vec::with_capacity(examples),
            symmetries: None,
        })
    }

    /// Each example stands for one of its symmetries from now on, drawn uniformly and anew each time: of a Sudoku all
    /// relabellings and rearrangements, of a maze the turns and reflections. [`Sampler::vary`] makes them.
    ///
    /// # Errors
    /// [`Error::Recipe`] for a data set that is neither; [`Error::File`] if its first example cannot be read.
    pub fn augmented(self) -> Result<Sampler> {
        let symmetries = Symmetries::of_dataset(&self.dataset)?;
        Ok(Sampler { symmetries: Some(symmetries), ..self })
    }

    /// What its examples are drawn in.
    pub(crate) fn symmetries(&self) -> Option<Symmetries> {
        self.symmetries
    }

    /// Makes each example of a batch that this sampler filled the symmetry drawn for it, once: what a training step does on the
    /// device. Nothing to do for a sampler that is not [`Sampler::augmented`].
    pub fn vary(&self, batch: &mut Batch) {
        let Some(symmetries) = self.symmetries else { return };
        for (row, draw) in std::mem::take(&mut batch.variants).into_iter().enumerate() {
            let variant = symmetries.draw(&mut draw.rng());
            let (inputs, labels) = batch.row_mut(row);
            inputs.copy_from_slice(&variant.apply(inputs));
            labels.copy_from_slice(&variant.apply(labels));
        }
    }

    /// Fills `batch` with the next examples.
    ///
    /// # Errors
    /// [`Error::File`] for a token or label that is not in the vocabulary.
    ///
    /// # Panics
    /// If `batch` was not made for the batch size and S of this sampler.
    pub fn next_batch(&mut self, batch: &mut Batch) -> Result<()> {
        assert_eq!((batch.size(), batch.seq_len()), (self.batch_size, self.dataset.metadata().seq_len));
        while !self.fill(batch)? {
            self.iteration += 1;
            self.groups_taken = 0;
            self.choice = Rng::new(self.seed, CHOICE_STREAM ^ self.iteration);
        }
        Ok(())
    }

    /// Where the sampler stands between two batches.
    pub fn state(&self) -> SamplerState {
        SamplerState {
            iteration: self.iteration,
            groups_taken: self.groups_taken,
            choices: self.choice.position(),
        }
    }

    /// Continues where `state` was taken, from a sampler of the same data set, sizes and seed.
    ///
    /// # Errors
    /// [`Error::Recipe`] if an iteration has fewer groups than were taken.
    pub fn restore(&mut self, state: SamplerState) -> Result<()> {
        let groups = self.dataset.sets()[self.set_index(state.iteration)].groups();
        let most = groups.saturating_mul(self.epochs_per_iteration);
        if state.groups_taken > most {
            let problem = format!(
                "{} epoch(s) between evaluations are {most} groups of {}, the run stood at group {}",
                self.epochs_per_iteration,
                self.dataset.folder().display(),
                state.groups_taken
            );
            let fix = "resume with that of the run, or a multiple of it, and with the run's data set";
            return Err(Error::recipe("train.eval_interval", problem, fix));
        }
        self.iteration = state.iteration;
        self.groups_taken = state.groups_taken;
        self.choice = Rng::new(self.seed, CHOICE_STREAM ^ state.iteration).at(state.choices);
        if !self.groups_taken.is_multiple_of(groups) {
            self.shuffle(groups);
        }
        Ok(())
    }

    /// Fills `batch`, or says that the iteration ended before it was full.
    fn fill(&mut self, batch: &mut Batch) -> Result<bool> {
        let dataset = Arc::clone(&self.dataset);
        let set = &dataset.sets()[self.set_index(self.iteration)];
        batch.variants.clear();
        let mut row = 0;
        while row < batch.size() {
            if self.groups_taken == set.groups().saturating_mul(self.epochs_per_iteration) {
                return Ok(false);
            }
            let puzzles = set.puzzles_of(self.next_group(set.groups()));
            let puzzle = puzzles.start + self.choice.below(puzzles.len());
            self.choose(set.examples_of(puzzle), batch.size() - row);
            // Each example took one random number at least, so no two have the same.
            let first = self.choice.position() - self.examples.len() as u64;
            for (number, &example) in (first..).zip(&self.examples) {
                read_row(&dataset, set, example, puzzle, batch, row)?;
                batch.variants.extend(self.symmetries.map(|_| self.variant(number)));
                row += 1;
            }
        }
        Ok(true)
    }

    /// By what the symmetry of an example is drawn: a function of seed, iteration and `number`.
    fn variant(&self, number: u64) -> VariantDraw {
        let (seed, stream) = (self.seed, VARIANT_STREAM ^ self.iteration);
        VariantDraw { seed, stream, block: number.wrapping_mul(BLOCKS_OF_A_VARIANT) }
    }

    fn set_index(&self, iteration: u64) -> usize {
        (iteration % self.dataset.sets().len() as u64) as usize
    }

    fn next_group(&mut self, groups: usize) -> usize {
        let place = self.groups_taken % groups;
        if place == 0 {
            self.shuffle(groups);
        }
        self.groups_taken += 1;
        self.order[place] as usize
    }

    /// Lays out the order of the epoch at hand. Only one epoch is held, an iteration may have thousands.
    fn shuffle(&mut self, groups: usize) {
        let epochs_before = self.iteration.wrapping_mul(self.epochs_per_iteration as u64);
        let epoch = epochs_before.wrapping_add((self.groups_taken / groups) as u64);
        self.order.clear();
        self.order.extend(0..groups as u32);
        Rng::new(self.seed, ORDER_STREAM ^ epoch).shuffle(&mut self.order);
    }

    /// Puts at most `most` of `examples` into `self.examples`, in random order (a Fisher-Yates cut short).
    fn choose(&mut self, examples: Range<usize>, most: usize) {
        self.examples.clear();
        self.examples.extend(examples);
        let count = self.examples.len();
        for place in 0..count.min(most) {
            self.examples.swap(place, place + self.choice.below(count - place));
        }
        self.examples.truncate(most);
    }
}

/// The examples of all sets in order, in batches of one size; the last batch of a set is padded with `pad_id`,
/// ignored labels and the blank identifier.
pub struct TestBatches {
    dataset: Arc<Dataset>,
    batch_size: usize,
    set: usize,
    example: usize,
    puzzle: usize,
}

impl TestBatches {
    /// From the first example on, `batch_size` (at least 1) at a time.
    pub fn new(dataset: Arc<Dataset>, batch_size: usize) -> TestBatches {
        TestBatches { dataset, batch_size: batch_size.max(1), set: 0, example: 0, puzzle: 0 }
    }

    /// Passes over the next `count` examples.
    pub fn skip_examples(&mut self, mut count: usize) {
        while let Some(set) = self.dataset.sets().get(self.set) {
            let left = set.examples() - self.example;
            if count < left {
                self.example += count;
                return;
            }
            count -= left;
            (self.set, self.example, self.puzzle) = (self.set + 1, 0, 0);
        }
    }

    /// Fills `batch` and returns how many of its first examples are none of the padding; 0 at the end.
    ///
    /// # Errors
    /// [`Error::File`] for a token or label that is not in the vocabulary.
    ///
    /// # Panics
    /// If `batch` was not made for the batch size and S of this data set.
    pub fn next_batch(&mut self, batch: &mut Batch) -> Result<usize> {
        assert_eq!((batch.size(), batch.seq_len()), (self.batch_size, self.dataset.metadata().seq_len));
        while self.dataset.sets().get(self.set).is_some_and(|set| self.example == set.examples()) {
            (self.set, self.example, self.puzzle) = (self.set + 1, 0, 0);
        }
        let Some(set) = self.dataset.sets().get(self.set) else { return Ok(0) };
        let count = self.batch_size.min(set.examples() - self.example);
        for row in 0..count {
            while set.examples_of(self.puzzle).end <= self.example {
                self.puzzle += 1;
            }
            read_row(&self.dataset, set, self.example, self.puzzle, batch, row)?;
            self.example += 1;
        }
        for row in count..batch.size() {
            pad_row(&self.dataset, batch, row);
        }
        Ok(count)
    }
}

impl Iterator for TestBatches {
    type Item = Result<(Batch, usize)>;

    /// A batch of its own and its count of examples that are none of the padding.
    fn next(&mut self) -> Option<Self::Item> {
        let mut batch = Batch::new(self.batch_size, self.dataset.metadata().seq_len);
        match self.next_batch(&mut batch) {
            Ok(0) => None,
            Ok(count) => Some(Ok((batch, count))),
            Err(error) => Some(Err(error)),
        }
    }
}

fn read_row(
    dataset: &Dataset,
    set: &Set,
    example: usize,
    puzzle: usize,
    batch: &mut Batch,
    row: usize,
) -> Result<()> {
    batch.puzzle_identifiers[row] = set.identifier_of(puzzle);
    let (inputs, labels) = batch.row_mut(row);
    dataset.read_example(set, example, inputs, labels)
}

fn pad_row(dataset: &Dataset, batch: &mut Batch, row: usize) {
    batch.puzzle_identifiers[row] = dataset.metadata().blank_identifier_id;
    let (inputs, labels) = batch.row_mut(row);
    inputs.fill(dataset.metadata().pad_id);
    labels.fill(IGNORE_LABEL);
}

/// Refuses a batch that an iteration might not fill even once, whatever the draws.
fn check_batch_size(dataset: &Dataset, set: &Set, batch_size: usize, epochs: usize) -> Result<()> {
    let fewest = |group| set.puzzles_of(group).map(|puzzle| set.examples_of(puzzle).len()).min().unwrap_or(0);
    let per_epoch: usize = (0..set.groups()).map(fewest).sum();
    if batch_size > 0 && per_epoch.saturating_mul(epochs) >= batch_size {
        return Ok(());
    }
    let examples = per_epoch.saturating_mul(epochs);
    let problem = format!(
        "a batch of {batch_size}, an iteration of {epochs} epoch(s) over {} may give only {examples} examples",
        dataset.folder().display()
    );
    let fix = "lower it, take more epochs per iteration (eval_interval) or add puzzles";
    Err(Error::recipe("global_batch_size", problem, fix))
}
