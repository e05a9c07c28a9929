//! What is measured: a model of some sizes, on a device, with weights and a batch in place.

use crate::Result;
use crate::data::Batch;
use crate::data::symmetry::VariantDraw;
use crate::engine::{Device, Run};
use crate::model::init::Weights;
use crate::model::step::{Batches, eval_plan, train_plan};
use crate::model::{Clock, ModelConfig, Runner};
use crate::plan::{Plan, Precision, Target};
use crate::recipe::{Recipe, TrainSettings};

/// Which step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forward only.
    Eval,
    /// Forward, reverse, optimisers.
    Train,
    /// The same, computing inner activations again: [`Target::recompute`].
    Recompute,
}

impl Mode {
    /// `eval`, `train` or `train-recompute`.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Eval => "eval",
            Mode::Train => "train",
            Mode::Recompute => "train-recompute",
        }
    }
}

/// A model to measure.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What keys call it: the recipe.
    pub name: String,
    /// Its sizes.
    pub config: ModelConfig,
    /// Its training settings.
    pub settings: TrainSettings,
    /// B.
    pub batch: usize,
}

impl Subject {
    /// `recipe`, called `name`, at these sizes.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`] for impossible sizes.
    pub fn of(
        name: &str,
        recipe: Recipe,
        batch: usize,
        seq_len: usize,
        vocab_size: usize,
    ) -> Result<Subject> {
        let config = ModelConfig {
            arch: recipe.arch,
            vocab_size,
            seq_len,
            num_puzzle_identifiers: 1,
            identifiers: None,
        };
        config.validate()?;
        Ok(Subject { name: name.into(), config, settings: recipe.train, batch })
    }

    /// The beginning of the keys of its measurements.
    pub fn key(&self, bench: &str, mode: Mode) -> String {
        let ModelConfig { seq_len, .. } = self.config;
        let stored = match self.settings.precision {
            Precision::F32 => String::new(),
            half => format!("/{half}"),
        };
        format!("{bench}/{}/B{}/S{seq_len}{stored}/{}", self.name, self.batch, mode.name())
    }

    /// The plan of one supervision step.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`] for impossible sizes.
    pub fn plan(&self, mode: Mode, target: Target) -> Result<Plan> {
        let target = Target { recompute: mode == Mode::Recompute, ..target };
        match mode {
            Mode::Eval => eval_plan(&self.config, self.batch, target),
            Mode::Train | Mode::Recompute => {
                let augment = self.settings.symmetries_of(&self.config);
                let batches = Batches { augment, ..self.batch.into() };
                train_plan(&self.config, &self.settings.optimiser(), batches, target)
            }
        }
    }

    /// The plan on a device, with fresh weights and a batch of arbitrary tokens, run once.
    ///
    /// # Errors
    /// [`crate::Error::Limit`] where it does not fit the device, device failures.
    pub fn load(&self, mode: Mode, device: &Device) -> Result<Run> {
        let mut run = self.prepare(mode, device, device.target())?;
        run.timed_submit()?;
        Ok(run)
    }

    /// The same laid out for `target`, not run yet.
    ///
    /// # Errors
    /// As [`Subject::load`].
    pub fn prepare(&self, mode: Mode, device: &Device, target: Target) -> Result<Run> {
        let mut runner = Runner::of(Run::new(device, self.plan(mode, target)?)?, &self.config)?;
        runner.load(&Weights::fresh(&self.config, self.settings.seed))?;
        let mut batch = Batch::new(self.batch, self.config.seq_len);
        let tokens = (0..).map(|at| (at * 7 % self.config.vocab_size) as i32);
        batch.inputs.iter_mut().zip(tokens).for_each(|(input, token)| *input = token);
        batch.labels.copy_from_slice(&batch.inputs);
        if mode != Mode::Eval && self.settings.symmetries_of(&self.config).is_some() {
            batch.variants =
                (0..).take(self.batch).map(|block| VariantDraw { block, ..VariantDraw::default() }).collect();
        }
        runner.feed(&batch)?;
        let settings = &self.settings;
        let clock = Clock {
            step: 1,
            lr: settings.lr as f32,
            puzzle_emb_lr: settings.puzzle_emb_lr as f32,
            betas: (settings.beta1, settings.beta2),
            seed: settings.seed,
            first_sample: 0,
            most_steps: u32::MAX,
        };
        runner.set_clock(&clock)?;
        Ok(runner.into_run())
    }
}
