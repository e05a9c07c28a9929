//! A whole training run: steps, evaluations, checkpoints, in a run folder that can be resumed at any moment.
//!
//! The folder holds `recipe.toml`, `metrics.jsonl` (written by the observer), `sessions.jsonl`, the checkpoints, from
//! which a run continues bit-identically, and the newest one's weights for use (`model.safetensors` with `config.json`;
//! the moving average where the recipe asks for one). Each file is replaced as a whole.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::checkpoints::{Checkpoint, Note, wait};
use super::folder::{RECIPE_FILE, RunFolder, still_there};
use super::sessions::Session;
use super::trainer::{StepMetrics, Trainer};
use crate::checkpoint::State;
use crate::data::{Dataset, Split};
use crate::engine::Device;
use crate::eval::{Evaluator, Pace, Selection};
use crate::model::init::Weights;
use crate::model::{Metrics, Which};
use crate::ranks::{self, Alone, Ranks};
use crate::recipe::{OnDivergence, Recipe, TrainSettings};
use crate::{Error, Result};

/// How often a run may halve its learning rates: beyond 1/32 something else is wrong.
const MOST_HALVINGS: u32 = 5;

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

/// Is told what happens, and may stop the run.
pub trait Observer {
    /// Settings with nothing left open, and the bytes of device memory that training takes with them.
    fn laid_out(&mut self, settings: &TrainSettings, bytes: u64);
    /// Before the first step: steps done (0 unless resumed), steps of the whole run, samples per step.
    fn started(&mut self, done: u64, total: u64, batch: usize) -> Result<()>;
    /// Metrics of a step, at least one step late.
    fn step(&mut self, metrics: &StepMetrics) -> Result<()>;
    /// An evaluation of so many `examples` of the test split, after `step` steps. After a resume it may be one that was made
    /// before.
    fn evaluated(&mut self, step: u64, examples: usize, metrics: &Metrics) -> Result<()>;
    /// An evaluation has come so far.
    fn evaluating(&mut self, _done: f64, _examples: usize) {}
    /// A checkpoint was written.
    fn saved(&mut self, step: u64) -> Result<()>;
    /// Whether to stop after the current step; a checkpoint is written first. Evaluations end then, too.
    fn stop(&self) -> bool;
    /// Something that people should know.
    fn note(&mut self, _text: &str) {}
    /// Training has diverged and goes on from `step` again, its learning rates halved `halvings` times by now.
    fn went_back(&mut self, _step: u64, _halvings: u32) -> Result<()> {
        Ok(())
    }
}

/// Takes no notice, and stops when told: for ranks beside the first, and for tests.
pub struct Unobserved<F>(pub F);

impl<F: Fn() -> bool> Observer for Unobserved<F> {
    fn laid_out(&mut self, _: &TrainSettings, _: u64) {}

    fn started(&mut self, _: u64, _: u64, _: usize) -> Result<()> {
        Ok(())
    }

    fn step(&mut self, _: &StepMetrics) -> Result<()> {
        Ok(())
    }

    fn evaluated(&mut self, _: u64, _: usize, _: &Metrics) -> Result<()> {
        Ok(())
    }

    fn saved(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn stop(&self) -> bool {
        (self.0)()
    }
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
    loop {
        let existed = resume.is_some();
        match attempt(RunOptions { device: &device, resume, ..options }, observer) {
            Err(fault) if fault.is_device_fault() && left > 0 => {
                // Before there was a run folder, there is nothing to resume.
                let began = existed || options.out.join(RECIPE_FILE).is_file();
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
    let halved = match state.lr_halvings {
        0 => String::new(),
        times => format!(", learning rates halved {times} times since the run diverged"),
    };
    observer.note(&format!("going on from {}{halved}", checkpoint.path.display()));
    Ok(evaluation_made(&checkpoint))
}

fn evaluation_made(checkpoint: &Checkpoint) -> Option<u64> {
    checkpoint.note.exact_accuracy.map(|_| checkpoint.step)
}

fn after(wait: Option<Duration>) -> Option<Instant> {
    wait.and_then(|wait| Instant::now().checked_add(wait))
}

/// A run under way.
struct Training<'a> {
    ranks: Arc<dyn Ranks>,
    observer: &'a mut dyn Observer,
    trainer: Trainer,
    folder: RunFolder,
    evaluation: Option<Evaluation>,
    settings: &'a TrainSettings,
    eval_every: u64,
    /// Steps done at the newest checkpoint of this run, ...
    saved: u64,
    /// ... whether it was written since the run was resumed or went back to one, ...
    saved_here: bool,
    /// ... and whether a finite loss has followed it.
    confirmed: bool,
    /// The checkpoint that the run went back to last.
    went_back_to: Option<u64>,
    /// A checkpoint is due; while the last loss is not finite, the one that is there is better, and it waits.
    save_wanted: bool,
    /// The step whose evaluation was made last.
    evaluated: Option<u64>,
    last_evaluation: Option<(u64, Metrics)>,
    /// When the time alone asks for a checkpoint.
    save_at: Option<Instant>,
    /// Time spent on checkpoints.
    saving: Duration,
}

impl Training<'_> {
    fn go(&mut self) -> Result<Outcome> {
        loop {
            match self.advance() {
                Ok(None) => {}
                Ok(Some(outcome)) => return Ok(outcome),
                Err(Error::Numeric { what, problem, .. }) => self.go_back(what, problem)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Saves if that is due, and then evaluates, makes a step or ends.
    fn advance(&mut self) -> Result<Option<Outcome>> {
        let step = self.trainer.step_count();
        let stopping = ranks::any(&*self.ranks, self.observer.stop())?;
        let last = step >= self.trainer.total_steps();
        let evaluating = self.owes_evaluation(step, last);
        let every = self.settings.checkpoint_every;
        let long_ago = self.save_at.is_some_and(|save_at| save_at <= Instant::now());
        let now_and_then = (every > 0 && step.is_multiple_of(every)) || ranks::any(&*self.ranks, long_ago)?;
        self.save_wanted |= evaluating || last || stopping || now_and_then;
        if self.save_wanted {
            self.save(step, last || stopping)?;
        }
        if stopping || (last && !evaluating) {
            let finished = last && !evaluating;
            return Ok(Some(Outcome { steps: step, finished, evaluation: self.last_evaluation }));
        }
        if evaluating {
            self.evaluate(step, last)?;
        } else {
            self.trainer.step()?;
            self.take_metrics(false)?;
        }
        Ok(None)
    }

    /// The last evaluation replaces one that would come just before it.
    fn owes_evaluation(&self, step: u64, last: bool) -> bool {
        let due = step > 0
            && step.is_multiple_of(self.eval_every)
            && self.trainer.total_steps().saturating_sub(step) >= self.eval_every;
        self.evaluation.is_some() && self.evaluated != Some(step) && (last || due)
    }

    fn take_metrics(&mut self, all: bool) -> Result<()> {
        while let Some(metrics) = self.trainer.metrics(all)? {
            self.observer.step(&metrics)?;
            if metrics.step > self.saved && metrics.metrics.loss().is_finite() {
                self.confirm()?;
            }
        }
        Ok(())
    }

    /// The newest checkpoint is a good one: those that it replaces can go.
    fn confirm(&mut self) -> Result<()> {
        let first = !std::mem::replace(&mut self.confirmed, true);
        if first && self.saved_here {
            self.folder.prune(self.saved, self.settings.keep)?;
        }
        Ok(())
    }

    fn save(&mut self, step: u64, now_or_never: bool) -> Result<()> {
        self.take_metrics(true)?;
        match self.trainer.check_loss() {
            Err(lost) if now_or_never => return Err(lost),
            Err(_) => return Ok(()),
            Ok(()) => self.save_wanted = false,
        }
        if step == self.saved {
            return Ok(());
        }
        let started = Instant::now();
        self.folder.save(&self.trainer.state()?)?;
        (self.saved, self.saved_here, self.confirmed) = (step, true, false);
        self.observer.saved(step)?;
        self.saving += started.elapsed();
        self.save_at = after(wait(self.settings.checkpoint_minutes, started.elapsed()));
        Ok(())
    }

    fn evaluate(&mut self, step: u64, last: bool) -> Result<()> {
        let Some(evaluation) = self.evaluation.as_mut() else { return Ok(()) };
        let weights = self.trainer.weights(Which::Ema)?;
        let selection = evaluation.selection(self.settings, last);
        let halt = self.settings.eval_halt && !last;
        let found = evaluation.run(&weights, &selection, halt, self.observer)?;
        let Some(metrics) = found else { return Ok(()) };
        if !metrics.loss().is_finite() {
            let problem = format!("its loss is {}", metrics.loss());
            return Err(Error::Numeric {
                what: format!("evaluation after step {step}"),
                problem,
                fix: String::new(),
            });
        }
        self.observer.evaluated(step, selection.len(), &metrics)?;
        if self.saved == step {
            self.folder.note(step, &Note::of(&metrics))?;
        }
        (self.evaluated, self.last_evaluation) = (Some(step), Some((step, metrics)));
        // No further loss will follow.
        if last { self.confirm() } else { Ok(()) }
    }

    /// After a loss that is not finite, `what` and its `problem`: goes on from the last good checkpoint with halved learning rates where
    /// the recipe says so; else, or if that was done too often, leaves the folder so that it can be resumed.
    fn go_back(&mut self, what: String, problem: String) -> Result<()> {
        let problem = problem + &self.trainer.explain()?;
        let lost = format!("{what}: {problem}");
        let halvings = self.trainer.lr_halvings() + 1;
        let stops = self.settings.on_divergence == OnDivergence::Stop || halvings > MOST_HALVINGS;
        // One finite loss is little: where going back to a checkpoint has not helped, an older one may.
        if !self.confirmed || (!stops && self.went_back_to == Some(self.saved)) {
            self.folder.give_up(self.saved, &lost)?;
        }
        let (good, state, _) = self.folder.load(ResumeFrom::Newest)?;
        if stops {
            if good.step != self.saved {
                self.folder.publish(&good.path, &state)?;
            }
            let fix = format!(
                "--resume goes on from step {}, or with --at from an older checkpoint: give it a lower train.lr, a \
                 longer train.lr_warmup_steps or train.on_divergence=back-off",
                good.step
            );
            return Err(Error::Numeric { what, problem, fix });
        }
        let state = State { lr_halvings: halvings, ..state };
        self.folder.rewrite(&good, &state)?;
        self.trainer.restore(&good.path, &state)?;
        self.observer.note(&format!(
            "{lost}; going back to step {} with learning rates halved, the {halvings}. of {MOST_HALVINGS} times",
            good.step
        ));
        (self.saved, self.saved_here, self.confirmed, self.save_wanted) = (good.step, false, false, false);
        self.went_back_to = Some(good.step);
        self.evaluated = evaluation_made(&good);
        self.observer.went_back(good.step, halvings)
    }
}

/// The test split and a model to evaluate on it; absent where the data set has none.
struct Evaluation {
    ranks: Arc<dyn Ranks>,
    evaluator: Evaluator,
    dataset: Arc<Dataset>,
    stop: Arc<AtomicBool>,
}

impl Evaluation {
    fn open(options: &RunOptions<'_>, ranks: Arc<dyn Ranks>) -> Result<Option<Evaluation>> {
        if !options.data.join(Split::Test.name()).exists() {
            return Ok(None);
        }
        let dataset = Arc::new(Dataset::open(options.data, Split::Test)?);
        dataset.check_tokens()?;
        let config = options.recipe.model(&dataset)?;
        let batch = options.recipe.train.micro_batch.min(dataset.examples().max(1));
        let mut evaluator = Evaluator::new(&config, options.device, batch)?;
        let stop = Arc::new(AtomicBool::new(false));
        evaluator.stop_when(stop.clone());
        Ok(Some(Evaluation { ranks, evaluator, dataset, stop }))
    }

    /// The last evaluation takes every example.
    fn selection(&self, settings: &TrainSettings, last: bool) -> Selection {
        let most = if last { 0 } else { settings.eval_examples };
        Selection::of(&self.dataset, most, settings.seed)
    }

    /// None if it was stopped before its end.
    fn run(
        &mut self,
        weights: &Weights,
        selection: &Selection,
        halt: bool,
        observer: &mut dyn Observer,
    ) -> Result<Option<Metrics>> {
        self.evaluator.load(weights)?;
        let (flag, ranks) = (&self.stop, &*self.ranks);
        flag.store(observer.stop(), Ordering::Relaxed);
        let progress = |done: f64| {
            observer.evaluating(done * ranks.size() as f64, selection.len());
            flag.store(observer.stop(), Ordering::Relaxed);
        };
        let pace = Pace { halt, every_step: false, cut_short: true };
        self.evaluator.evaluate_among(ranks, pace, &self.dataset, selection, progress)
    }
}
