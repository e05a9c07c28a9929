//! A model on a device: a plan that is loaded, with everything in place that a step needs beside its batch.

use std::ops::{Deref, DerefMut};

use super::init::Weights;
use super::params::{Home, Params};
use super::step::rope_table;
use super::{Clock, Draw, ModelConfig};
use crate::data::symmetry::VariantDraw;
use crate::data::{Batch, IGNORE_LABEL};
use crate::engine::Run;
use crate::{Error, Result};

/// Which weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// As the optimiser left them.
    Raw,
    /// Their moving average; puzzle embeddings, which have none, as they are.
    Ema,
}

/// A run of [`train_plan`](super::step::train_plan) or [`eval_plan`](super::step::eval_plan).
pub struct Runner {
    run: Run,
    config: ModelConfig,
}

impl Runner {
    /// Puts the rotary table of `config`, whose plan `run` has, in place; every slot waits for a new sample.
    ///
    /// # Errors
    /// Device failures, like all methods here.
    pub fn of(mut run: Run, config: &ModelConfig) -> Result<Runner> {
        if let Some(table) = rope_table(config) {
            run.write_floats("rope_table", &table)?;
        }
        let slots = run.plan.words("carry.halted")?;
        run.write_ints("carry.halted", &vec![1; slots])?;
        Ok(Runner { run, config: config.clone() })
    }

    /// The model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Uploads weights. Where the plan trains, their moving average starts as they are.
    pub fn load(&mut self, weights: &Weights) -> Result<()> {
        self.run.write_floats("weights", &weights.trained)?;
        self.run.write_floats("initial_states", &weights.initial_states)?;
        if !weights.puzzle_emb.is_empty() {
            self.run.write_floats("puzzle_emb", &weights.puzzle_emb)?;
        }
        match self.run.plan.view("ema") {
            Ok(_) => self.run.write_floats("ema", &weights.trained),
            Err(_) => Ok(()),
        }
    }

    /// Copies weights to the host, after all submitted steps.
    pub fn weights(&mut self, which: Which) -> Result<Weights> {
        let params = Params::of(&self.config);
        let mut weights = Weights::zeros(&params);
        weights.trained = self.run.read_floats(if which == Which::Ema { "ema" } else { "weights" })?;
        weights.initial_states = self.run.read_floats("initial_states")?;
        if params.count(Home::PuzzleEmb) > 0 {
            let table = self.run.read_floats("puzzle_emb")?;
            weights.puzzle_emb[..table.len()].copy_from_slice(&table);
        }
        Ok(weights)
    }

    /// Uploads what slots that wait for a new sample take in the next step, and by what the symmetry of each is drawn that
    /// they take in its place, where the batch says so.
    ///
    /// # Errors
    /// [`Error::Usage`] for numbers that the model has no row for: kernels look them up without asking.
    pub fn feed(&mut self, batch: &Batch) -> Result<()> {
        let (vocab, identifiers) = (self.config.vocab_size, self.config.num_puzzle_identifiers);
        let labels = batch.labels.iter().filter(|label| **label != IGNORE_LABEL);
        check_below(vocab, "an input", &batch.inputs)?;
        check_below(vocab, "a label", labels)?;
        check_below(identifiers, "a puzzle identifier", &batch.puzzle_identifiers)?;
        self.run.write_ints("batch.inputs", &batch.inputs)?;
        self.run.write_ints("batch.labels", &batch.labels)?;
        self.run.write_ints("batch.puzzle_identifiers", &batch.puzzle_identifiers)?;
        match batch.variants.is_empty() {
            true => Ok(()),
            false => {
                let words: Vec<[u32; VariantDraw::WORDS]> =
                    batch.variants.iter().map(VariantDraw::words).collect();
                self.run.write("batch.variants", words.as_flattened())
            }
        }
    }

    /// Sets the clock of the next step, for each of its micro-batches, and what its random numbers are drawn by.
    pub fn set_clock(&mut self, clock: &Clock) -> Result<()> {
        let micro_batches = self.run.plan.micro_batches;
        let micro_batch = self.run.plan.words("carry.halted")? / micro_batches;
        let first = |index: usize| clock.first_sample + (index * micro_batch) as u32;
        let clocks = (0..micro_batches).map(|index| Clock { first_sample: first(index), ..*clock }.words());
        self.run.write("clock", clocks.collect::<Vec<_>>().as_flattened())?;
        let slots = (micro_batches * micro_batch) as u32;
        let draw = |slot| Draw { seed: clock.seed, sample: clock.first_sample + slot, step: clock.step };
        self.set_draws((0..slots).map(draw))
    }

    /// Says by what each slot's random numbers are drawn in the next step; nothing to do for a model that draws none.
    pub fn set_draws(&mut self, draws: impl Iterator<Item = Draw>) -> Result<()> {
        match self.run.plan.view("batch.draws") {
            Ok(_) => {
                let words: Vec<[u32; Draw::WORDS]> = draws.map(|draw| draw.words()).collect();
                self.run.write("batch.draws", words.as_flattened())
            }
            Err(_) => Ok(()),
        }
    }

    /// The run alone.
    pub fn into_run(self) -> Run {
        self.run
    }
}

fn check_below<'a>(bound: usize, what: &str, numbers: impl IntoIterator<Item = &'a i32>) -> Result<()> {
    match numbers.into_iter().find(|number| !usize::try_from(**number).is_ok_and(|number| number < bound)) {
        Some(number) => {
            let problem = format!("{what} is {number}, the model knows 0 to {}", bound - 1);
            Err(Error::usage("batch", problem, "give samples of the model's own data set"))
        }
        None => Ok(()),
    }
}

impl Deref for Runner {
    type Target = Run;

    fn deref(&self) -> &Run {
        &self.run
    }
}

impl DerefMut for Runner {
    fn deref_mut(&mut self) -> &mut Run {
        &mut self.run
    }
}
