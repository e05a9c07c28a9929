//! A whole training run: steps, evaluations, checkpoints, in a run folder that can be resumed at any moment.
//!
//! The folder holds `recipe.toml`, `metrics.jsonl` (written by the observer), `sessions.jsonl`, the checkpoints, from
//! which a run continues bit-identically, and the newest one's weights for use (`model.safetensors` with `config.json`;
//! the moving average where the recipe asks for one). Each file is replaced as a whole.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::checkpoints::wait;
use super::evaluation::Evaluation;
use super::folder::{RECIPE_FILE, RunFolder, still_there};
use super::observer::Observer;
use super::sessions::Session;
use super::trainer::Trainer;
use super::training::{Training, after, evaluation_made};
use crate::data::{Dataset, Split};
use crate::engine::Device;
use crate::model::Metrics;
use crate::ranks::{Alone, Ranks};
use crate::recipe::Recipe;
use crate::{Error, Result};

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
    /// Continue from a checkpoint of the folder.
    pub resume: Option<ResumeFrom>,
    /// Begin a new run from saved weights instead of fresh ones.
    pub init_from: Option<InitFrom<'a>>,
    /// How often a device that fails is opened anew, to go on from the newest checkpoint; never one of several ranks.
    pub retries: u32,
    /// The others that train the same model, each with this call; None for a run alone.
    pub ranks: Option<&'a Arc<dyn Ranks>>,
}

impl<'a> RunOptions<'a> {
    /// A new run from fresh weights, alone, that ends where its device fails.
    pub fn new(recipe: &'a Recipe, data: &'a Path, out: &'a Path, device: &'a Device) -> RunOptions<'a> {
        RunOptions { recipe, data, out, device, resume: None, init_from: None, retries: 0, ranks: None }
    }
}

/// Which checkpoint a run continues from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumeFrom {
    /// The newest that is whole and that training has not diverged from.
    Newest,
    /// That after so many steps. What came later goes as soon as a new checkpoint has proved good.
    Step(u64),
}

/// Weights that a run begins from; see [`Trainer::init_from`].
#[derive(Clone, Copy, Debug)]
pub struct InitFrom<'a> {
    /// A folder or a `.safetensors` file.
    pub weights: &'a Path,
    /// Take weights for another number of puzzle identifiers, and start every row from the mean of theirs.
    pub reset_puzzle_emb: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Steps done.
    pub steps: u64,
    /// The run did all of its steps and evaluations.
    pub finished: bool,
    /// The last evaluation of this session, and the steps done by then.
    pub evaluation: Option<(u64, Metrics)>,
}

/// Trains to the end, or until the observer says stop.
///
/// # Errors
/// Bad data or settings before anything is written, a run folder that is in use; device failures, full disks, and
/// losses or gradients that stay infinite or NaN later.
pub fn run(options: RunOptions<'_>, observer: &mut dyn Observer) -> Result<Outcome> {
    let (mut device, mut resume) = (options.device.clone(), options.resume);
    // The others would wait for ever for one that begins again.
    let mut left = if options.ranks.is_some() { 0 } else { options.retries };
    let is_run = || options.out.join(RECIPE_FILE).is_file();
    let others = resume.is_none() && is_run();
    loop {
        let existed = resume.is_some();
        match attempt(RunOptions { device: &device, resume, ..options }, observer) {
            Err(fault) if fault.is_device_fault() && left > 0 => {
                // Before there was a run folder, there is nothing to resume; nor is one of another run.
                let began = existed || (is_run() && !others);
                resume = if began { Some(ResumeFrom::Newest) } else { None };
                observer.note(&format!("{fault}; opening the device anew, {left} tries left"));
                device = device.reopened()?;
                left -= 1;
            }
            outcome => return outcome,
        }
    }
}

fn attempt(options: RunOptions<'_>, observer: &mut dyn Observer) -> Result<Outcome> {
    let ranks: Arc<dyn Ranks> = options.ranks.cloned().unwrap_or_else(|| Arc::new(Alone));
    let resumed =
        options.resume.map(|from| Ok((RunFolder::open(options.out, ranks.clone())?, from))).transpose()?;
    let dataset = Arc::new(Dataset::open(options.data, Split::Train)?);
    dataset.check_tokens()?;
    let mut trainer = Trainer::among(ranks.clone(), options.recipe, dataset.clone(), options.device)?;
    let recipe = Recipe { train: trainer.settings().clone(), ..options.recipe.clone() };
    let options = RunOptions { recipe: &recipe, ..options };
    let evaluation = Evaluation::open(&options, ranks.clone())?;
    let (folder, evaluated) = match resumed {
        Some((folder, from)) => {
            let evaluated = resume(&folder, from, &mut trainer, observer)?;
            (folder, evaluated)
        }
        None => {
            if let Some(from) = options.init_from {
                trainer.init_from(from.weights, from.reset_puzzle_emb)?;
            }
            (RunFolder::create(options.out, &recipe, &trainer.state()?, ranks.clone())?, None)
        }
    };
    let settings = &recipe.train;
    observer.laid_out(settings, trainer.bytes());
    observer.started(trainer.step_count(), trainer.total_steps(), settings.global_batch_size)?;
    let session = match ranks.is_first() {
        true => Some(Session::start(&options, &dataset.identity()?, trainer.step_count())?),
        false => None,
    };
    let mut training = Training {
        ranks,
        observer,
        folder,
        evaluation,
        settings,
        eval_every: settings.steps_of(settings.eval_interval, &dataset).max(1),
        saved: trainer.step_count(),
        saved_here: false,
        confirmed: false,
        went_back_to: None,
        save_wanted: false,
        evaluated,
        last_evaluation: None,
        save_at: after(wait(settings.checkpoint_minutes, Duration::ZERO)),
        saving: Duration::ZERO,
        save_took: Duration::ZERO,
        step_took: Duration::ZERO,
        trainer,
    };
    let outcome = training.go();
    let (step, saving) = (training.trainer.step_count(), training.saving.as_secs_f64());
    let ended = session.map(|session| session.end(options.out, step, &outcome, saving));
    let outcome = outcome.and_then(|outcome| ended.transpose().map(|_| outcome));
    outcome.map_err(|error| resumable(error, options.out))
}

/// Says of a file that could not be written, as on a full disk, what becomes of the run.
fn resumable(error: Error, run: &Path) -> Error {
    match (error, still_there(run)) {
        (Error::Io { path, .. } | Error::File { path, .. }, Err(gone)) if path.starts_with(run) => gone,
        (Error::Io { path, source }, Ok(())) if path.starts_with(run) => {
            let problem = format!("cannot be written: {source}");
            Error::file(path, problem, "mend that and continue with --resume: the last checkpoint is whole")
        }
        (other, _) => other,
    }
}

/// Puts the trainer where a checkpoint stands; returns its step if its evaluation was made.
fn resume(
    folder: &RunFolder,
    from: ResumeFrom,
    trainer: &mut Trainer,
    observer: &mut dyn Observer,
) -> Result<Option<u64>> {
    let (checkpoint, state, passed_over) = folder.load(from)?;
    passed_over.iter().for_each(|line| observer.note(line));
    trainer.restore(&checkpoint.path, &state)?;
    if from != ResumeFrom::Newest {
        folder.leave_behind(checkpoint.step)?;
    }
    let halved = match state.lr_halvings {
        0 => String::new(),
        times => format!(", learning rates halved {times} times since the run diverged"),
    };
    observer.note(&format!("going on from {}{halved}", checkpoint.path.display()));
    Ok(evaluation_made(&checkpoint))
}
