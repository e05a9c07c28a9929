//! A whole training run: steps, evaluations, checkpoints, in a run folder that can be resumed.
//!
//! The folder holds `recipe.toml`, `metrics.jsonl` (written by the observer), the weights for use
//! (`model.safetensors` with `config.json`; the moving average where the recipe asks for one) and
//! `state.safetensors`, from which the run continues bit-identically. Each file is replaced as a whole.

use std::path::Path;
use std::sync::Arc;

use super::trainer::{StepMetrics, Trainer};
use crate::checkpoint;
use crate::data::{Dataset, Split};
use crate::engine::Device;
use crate::eval::Evaluator;
use crate::model::init::Weights;
use crate::model::{Metrics, Which};
use crate::recipe::{Recipe, TrainSettings};
use crate::{Result, files};

/// The recipe's name in a run folder.
pub const RECIPE_FILE: &str = "recipe.toml";

/// What a run is made of.
#[derive(Clone, Copy)]
pub struct RunOptions<'a> {
    /// Architecture and training settings.
    pub recipe: &'a Recipe,
    /// The data set's folder.
    pub data: &'a Path,
    /// The run folder: there already when resuming, otherwise created.
    pub out: &'a Path,
    /// Where to compute.
    pub device: &'a Device,
    /// Continue from the folder's state.
    pub resume: bool,
    /// Begin a new run from saved weights instead of fresh ones.
    pub init_from: Option<InitFrom<'a>>,
}

/// Weights that a run begins from; see [`Trainer::init_from`].
#[derive(Clone, Copy, Debug)]
pub struct InitFrom<'a> {
    /// A folder or a `.safetensors` file.
    pub weights: &'a Path,
    /// Take weights for another number of puzzle identifiers, and start every row from the mean of theirs.
    pub reset_puzzle_emb: bool,
}

/// Is told what happens, and may stop the run.
pub trait Observer {
    /// Settings with nothing left open, and the bytes of device memory that training takes with them.
    fn laid_out(&mut self, settings: &TrainSettings, bytes: u64);
    /// Before the first step: steps done (0 unless resumed), steps of the whole run, samples per step.
    fn started(&mut self, done: u64, total: u64, batch: usize) -> Result<()>;
    /// Metrics of a step, at least one step late.
    fn step(&mut self, metrics: &StepMetrics) -> Result<()>;
    /// An evaluation over the whole test split, after `step` steps.
    fn evaluated(&mut self, step: u64, metrics: &Metrics) -> Result<()>;
    /// A checkpoint was written.
    fn saved(&mut self, step: u64) -> Result<()>;
    /// Whether to stop after the current step; a checkpoint is written first.
    fn stop(&self) -> bool;
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Steps done.
    pub steps: u64,
    /// The run did all of its steps.
    pub finished: bool,
    /// The last evaluation.
    pub evaluation: Option<Metrics>,
}

/// Trains to the end, or until the observer says stop.
///
/// # Errors
/// Bad data or settings before anything is written; device failures, full disks, and losses or gradients that stay
/// infinite or NaN later.
pub fn run(options: RunOptions<'_>, observer: &mut dyn Observer) -> Result<Outcome> {
    let dataset = Arc::new(Dataset::open(options.data, Split::Train)?);
    dataset.check_tokens()?;
    let mut trainer = Trainer::new(options.recipe, dataset.clone(), options.device)?;
    observer.laid_out(trainer.settings(), trainer.bytes());
    let recipe = Recipe { train: trainer.settings().clone(), ..options.recipe.clone() };
    let options = RunOptions { recipe: &recipe, ..options };
    let settings = &recipe.train;
    let mut evaluator = Evaluation::open(&options)?;
    if options.resume {
        trainer.restore(options.out)?;
    } else {
        if let Some(from) = options.init_from {
            trainer.init_from(from.weights, from.reset_puzzle_emb)?;
        }
        create_folder(&options)?;
    }
    let eval_every = settings.steps_of(settings.eval_interval, &dataset).max(1);
    let (mut evaluation, mut unsaved) = (None, false);
    observer.started(trainer.step_count(), trainer.total_steps(), settings.global_batch_size)?;
    while trainer.step_count() < trainer.total_steps() {
        trainer.step()?;
        while let Some(metrics) = trainer.metrics(false)? {
            observer.step(&metrics)?;
        }
        let (step, stopping) = (trainer.step_count(), observer.stop());
        let last = step == trainer.total_steps();
        // The last evaluation replaces one that would come just before it.
        let due = step.is_multiple_of(eval_every) && trainer.total_steps() - step >= eval_every;
        let evaluating = last || (due && !stopping);
        let saving = settings.checkpoint_every > 0 && step.is_multiple_of(settings.checkpoint_every);
        // While the last loss is not finite, the checkpoint that is there is the better one, and saving waits.
        unsaved |= evaluating || stopping || saving;
        if unsaved {
            drain(&mut trainer, observer)?;
            match trainer.check_loss() {
                Ok(()) => {
                    save(&mut trainer, options.out)?;
                    observer.saved(step)?;
                    unsaved = false;
                }
                Err(lost) if last || stopping => return Err(lost),
                Err(_) => {}
            }
        }
        if let (true, Some(evaluator)) = (evaluating, evaluator.as_mut()) {
            let metrics = evaluator.run(&trainer.weights(Which::Ema)?)?;
            observer.evaluated(step, &metrics)?;
            evaluation = Some(metrics);
        }
        if stopping {
            return Ok(Outcome { steps: step, finished: last, evaluation });
        }
    }
    Ok(Outcome { steps: trainer.step_count(), finished: true, evaluation })
}

fn create_folder(options: &RunOptions<'_>) -> Result<()> {
    let folder = files::OutputFolder::create(options.out)?;
    files::write_atomic(&folder.path().join(RECIPE_FILE), options.recipe.to_toml()?.as_bytes())?;
    folder.commit()
}

fn drain(trainer: &mut Trainer, observer: &mut dyn Observer) -> Result<()> {
    while let Some(metrics) = trainer.metrics(true)? {
        observer.step(&metrics)?;
    }
    Ok(())
}

fn save(trainer: &mut Trainer, folder: &Path) -> Result<()> {
    let weights = trainer.weights(Which::Ema)?;
    checkpoint::save(folder, trainer.config(), &weights)?;
    checkpoint::save_state(folder, &trainer.state()?)
}

/// The test split and a model to evaluate on it; absent where the data set has none.
struct Evaluation {
    evaluator: Evaluator,
    dataset: Arc<Dataset>,
}

impl Evaluation {
    fn open(options: &RunOptions<'_>) -> Result<Option<Evaluation>> {
        if !options.data.join(Split::Test.name()).exists() {
            return Ok(None);
        }
        let dataset = Arc::new(Dataset::open(options.data, Split::Test)?);
        dataset.check_tokens()?;
        let config = options.recipe.model(&dataset)?;
        let batch = options.recipe.train.micro_batch.min(dataset.examples().max(1));
        let evaluator = Evaluator::new(&config, options.device, batch)?;
        Ok(Some(Evaluation { evaluator, dataset }))
    }

    fn run(&mut self, weights: &Weights) -> Result<Metrics> {
        self.evaluator.load(weights)?;
        self.evaluator.evaluate(self.dataset.clone(), |_| {})
    }
}
