//! A model on a device: a plan that is loaded, with everything in place that a step needs beside its batch.

use std::ops::{Deref, DerefMut};

use super::init::Weights;
use super::params::{Home, Params};
use super::step::rope_table;
use super::{Clock, ModelConfig};
use crate::Result;
use crate::data::Batch;
use crate::engine::Run;

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
    params: Params,
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
        let slots = run.plan.view("carry.halted")?.words;
        run.write_ints("carry.halted", &vec![1; slots])?;
        Ok(Runner { run, params: Params::of(config) })
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
        let mut weights = Weights::zeros(&self.params);
        weights.trained = self.run.read_floats(if which == Which::Ema { "ema" } else { "weights" })?;
        weights.initial_states = self.run.read_floats("initial_states")?;
        if self.params.count(Home::PuzzleEmb) > 0 {
            let table = self.run.read_floats("puzzle_emb")?;
            weights.puzzle_emb[..table.len()].copy_from_slice(&table);
        }
        Ok(weights)
    }

    /// Uploads what slots that wait for a new sample take in the next step.
    pub fn feed(&mut self, batch: &Batch) -> Result<()> {
        self.run.write_ints("batch.inputs", &batch.inputs)?;
        self.run.write_ints("batch.labels", &batch.labels)?;
        self.run.write_ints("batch.puzzle_identifiers", &batch.puzzle_identifiers)
    }

    /// Sets the clock of the next step.
    pub fn set_clock(&mut self, clock: &Clock) -> Result<()> {
        self.run.write("clock", &clock.words())
    }

    /// The run alone.
    pub fn into_run(self) -> Run {
        self.run
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
