//! Evaluation: every sample of a test split runs all N_sup supervision steps (the release never stops early).

use std::sync::Arc;

use crate::data::{Batch, Dataset, TestBatches};
use crate::engine::{Device, Run};
use crate::model::ModelConfig;
use crate::model::init::Weights;
use crate::model::step::eval_plan;
use crate::ops::metrics::NAMES;
use crate::train::load_weights;
use crate::train::metrics::{Metrics, block_of};
use crate::{Error, Result};

/// A model without gradients on one device.
pub struct Evaluator {
    run: Run,
    config: ModelConfig,
    batch: usize,
}

/// What a batch of samples looks like after one supervision step.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// (B, S): the highest logit of each position.
    pub predictions: Vec<i32>,
    /// (B): above 0 the model believes its answer.
    pub q_halt: Vec<f32>,
}

impl Evaluator {
    /// Loads the plan; weights come with [`Evaluator::load`].
    ///
    /// # Errors
    /// [`Error::Recipe`] for impossible sizes, [`Error::Limit`] for a batch that does not fit the device.
    pub fn new(config: &ModelConfig, device: &Device, batch: usize) -> Result<Evaluator> {
        let run = Run::of_batch(device, batch, |batch| eval_plan(config, batch, device.target()))?;
        Ok(Evaluator { run, config: config.clone(), batch })
    }

    /// Uploads weights.
    pub fn load(&mut self, weights: &Weights) -> Result<()> {
        load_weights(&mut self.run, &self.config, weights)
    }

    /// Supervision steps that a sample runs.
    pub fn max_steps(&self) -> usize {
        self.config.arch.halt_max_steps
    }

    /// Starts new samples in all slots: they are taken in by the next [`Evaluator::step`].
    pub fn start(&mut self, batch: &Batch) -> Result<()> {
        self.run.write_ints("batch.inputs", &batch.inputs)?;
        self.run.write_ints("batch.labels", &batch.labels)?;
        self.run.write_ints("batch.puzzle_identifiers", &batch.puzzle_identifiers)?;
        self.run.write_ints("carry.halted", &vec![1; self.batch])
    }

    /// One supervision step of all slots; returns its metric block.
    pub fn step(&mut self) -> Result<[f64; NAMES.len()]> {
        self.run.submit()?;
        Ok(block_of(&self.run.metrics(true)?.unwrap_or_default()))
    }

    /// The answers as they are now.
    pub fn answers(&mut self) -> Result<Answers> {
        let per_sample = 2 * self.config.length();
        let q = self.run.read_floats("q_logits")?;
        let q_halt = q.chunks(per_sample).map(|sample| sample[0]).collect();
        Ok(Answers { predictions: self.run.read_ints("predictions")?, q_halt })
    }

    /// Runs a whole test split; `progress` is told the samples done so far.
    ///
    /// # Errors
    /// [`Error::File`] for a data set that does not fit the model or has no labelled sample.
    pub fn evaluate(&mut self, dataset: Arc<Dataset>, mut progress: impl FnMut(usize)) -> Result<Metrics> {
        check_fit(&self.config, &dataset)?;
        let mut batch = Batch::new(self.batch, self.config.seq_len);
        let mut batches = TestBatches::new(dataset.clone(), self.batch);
        let (mut sums, mut samples) = ([0.0; NAMES.len()], 0);
        loop {
            let count = batches.next_batch(&mut batch)?;
            if count == 0 {
                break;
            }
            self.start(&batch)?;
            let mut block = [0.0; NAMES.len()];
            for _ in 0..self.max_steps() {
                block = self.step()?;
            }
            sums.iter_mut().zip(block).for_each(|(sum, value)| *sum += value);
            samples += count;
            progress(samples);
        }
        if sums[0] == 0.0 {
            return Err(Error::file(
                dataset.folder(),
                "holds no labelled sample",
                "evaluate on a split with labels",
            ));
        }
        Ok(Metrics::of(&sums, samples as f64))
    }
}

/// Refuses a data set whose sizes differ from the model's, naming the first.
pub fn check_fit(config: &ModelConfig, dataset: &Dataset) -> Result<()> {
    let metadata = dataset.metadata();
    let sizes = [
        ("seq_len", metadata.seq_len, config.seq_len),
        ("vocab_size", metadata.vocab_size, config.vocab_size),
        ("num_puzzle_identifiers", metadata.num_puzzle_identifiers, config.num_puzzle_identifiers),
    ];
    match sizes.iter().find(|(_, found, expected)| found != expected) {
        Some((name, found, expected)) => Err(Error::file(
            dataset.folder(),
            format!("its {name} is {found}, the model's is {expected}"),
            "use the data set that the model was trained for",
        )),
        None => Ok(()),
    }
}
