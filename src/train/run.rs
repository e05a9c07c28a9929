//! A whole training run: steps, evaluations, checkpoints, in a run folder that can be resumed at any moment.
//!
//! The folder holds `recipe.toml`, `metrics.jsonl` (written by the observer), `sessions.jsonl`, the checkpoints, from
//! which a run continues bit-identically, and the newest one's weights for use (`model.safetensors` with `config.json`;
//! the moving average where the recipe asks for one). Each file is replaced as a whole.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::checkpoints::{At, Found, wait};
use super::evaluation::{Evaluation, Made};
use super::folder::{RECIPE_FILE, RunFolder, still_there};
use super::observer::Observer;
use super::sessions::{Before, Session};
use super::trainer::Trainer;
use super::training::{Training, after};
use crate::checkpoint::State;
use crate::data::{Dataset, Split};
use crate::engine::Device;
use crate::model::Metrics;
use crate::ranks::{Alone, Ranks};
use crate::recipe::Recipe;
use crate::text::counted;
use crate::{Error, Result, files};

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
    /// Continue from a checkpoint of the folder. What came later than another than the latest goes as soon as a new one has
    /// proved good.
    pub resume: Option<At>,
    /// Keys of the recipe that were given for this session, as `train.lr`, whatever the run had.
    pub given: &'a [&'a str],
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
        RunOptions {
            recipe,
            data,
            out,
            device,
            resume: None,
            given: &[],
            init_from: None,
            retries: 0,
            ranks: None,
        }
    }
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
    let (mut device, mut resume, mut given) = (options.device.clone(), options.resume, options.given);
    // The others would wait for ever for one that begins again.
    let mut left = if options.ranks.is_some() { 0 } else { options.retries };
    let mut begun = false;
    loop {
        match attempt(RunOptions { device: &device, resume, given, ..options }, &mut begun, observer) {
            Err(fault) if fault.is_device_fault() && left > 0 => {
                // From then on the folder says how the run goes on; before, it may be that of another run.
                if begun {
                    (resume, given) = (Some(At::Latest), &[]);
                }
                let attempts = counted(left, "attempt");
                observer.note(&format!("{fault}; opening the device anew, {attempts} left"));
                device = device.reopened()?;
                left -= 1;
            }
            outcome => return outcome,
        }
    }
}

/// Sets `begun` once the folder is that of this run, and says how it goes on.
fn attempt(options: RunOptions<'_>, begun: &mut bool, observer: &mut dyn Observer) -> Result<Outcome> {
    let ranks: Arc<dyn Ranks> = options.ranks.cloned().unwrap_or_else(|| Arc::new(Alone));
    if options.resume.is_none() && ranks.is_first() {
        // A large model takes a while to be built.
        files::refuse_existing(options.out)?;
    }
    let resumed =
        options.resume.map(|at| Ok((RunFolder::open(options.out, ranks.clone())?, at))).transpose()?;
    let before = resumed.as_ref().and_then(|_| Before::of(options.out));
    let dataset = Arc::new(Dataset::open(options.data, Split::Train)?);
    dataset.check_tokens()?;
    let mut trainer = open(&options, before.as_ref(), &dataset, &ranks, observer)?;
    // What was left open stays so in the folder: another session may decide otherwise.
    let recipe = Recipe { train: trainer.settings().clone(), ..options.recipe.clone() };
    let session = RunOptions { recipe: &recipe, ..options };
    let evaluation = Evaluation::open(&session, ranks.clone())?;
    let (folder, evaluated, logged) = match resumed {
        Some((folder, at)) => {
            let stands = resume(&folder, at, &options, &mut trainer, observer);
            let (evaluated, logged) = stands.map_err(|error| resumable(error, options.out))?;
            (folder, evaluated, logged)
        }
        None => {
            if let Some(from) = options.init_from {
                trainer.init_from(from.weights, from.reset_puzzle_emb)?;
            }
            (RunFolder::create(options.out, options.recipe, &trainer.state()?, ranks.clone())?, None, 0)
        }
    };
    *begun = true;
    if let Some(other) = before.and_then(|before| before.other_device(&options.device.info())) {
        observer.note(&other);
    }
    let settings = &recipe.train;
    observer.laid_out(settings, trainer.bytes());
    let (done, total) = (trainer.step_count(), trainer.total_steps());
    observer.started(done, logged, total, settings.global_batch_size)?;
    if options.resume.is_some() && done >= total {
        let all = counted(total, "step");
        observer.note(&format!(
            "the recipe has {all}, {done} are done: a larger train.epochs gives the run more"
        ));
    }
    let session = match ranks.is_first() {
        true => {
            let stands = (trainer.step_count(), trainer.lr_halvings());
            Some(Session::start(&session, &dataset.identity()?, stands)?)
        }
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

/// The trainer; of a resumed run laid out as before where that is possible, so that it ends as if it had never stopped.
fn open(
    options: &RunOptions<'_>,
    before: Option<&Before>,
    dataset: &Arc<Dataset>,
    ranks: &Arc<dyn Ranks>,
    observer: &mut dyn Observer,
) -> Result<Trainer> {
    let opened =
        |recipe: &Recipe, device: &Device| Trainer::among(ranks.clone(), recipe, dataset.clone(), device);
    if let Some(train) = before.and_then(|before| before.layout(options)) {
        let device = options.device.clone().recomputing(train.recompute);
        match opened(&Recipe { train, ..options.recipe.clone() }, &device) {
            Err(Error::Limit { .. } | Error::Memory { .. }) => {
                observer.note("there is no room to compute as many samples at once as before: choosing anew");
            }
            outcome => return outcome,
        }
    }
    opened(options.recipe, options.device)
}

/// Says of a file that could not be written, as on a full disk, what becomes of the run.
fn resumable(error: Error, run: &Path) -> Error {
    match (error, still_there(run)) {
        (Error::Io { path, .. } | Error::File { path, .. } | Error::Failed { path, .. }, Err(gone))
            if path.starts_with(run) =>
        {
            gone
        }
        (Error::Io { path, source }, Ok(())) if path.starts_with(run) => {
            let problem = format!("cannot be written: {source}");
            Error::failed(path, problem, "mend that and continue with `resume`: the last checkpoint is whole")
        }
        (other, _) => other,
    }
}

/// Puts the trainer where a checkpoint stands, and the recipe that was given into the folder; returns the checkpoint's
/// evaluation if it was made, and the last step whose metrics are of its past.
fn resume(
    folder: &RunFolder,
    at: At,
    options: &RunOptions<'_>,
    trainer: &mut Trainer,
    observer: &mut dyn Observer,
) -> Result<(Option<Made>, u64)> {
    folder.mend_notes()?.iter().for_each(|line| observer.note(line));
    let Found { checkpoint, content: state, passed_over } = folder.load(at)?;
    passed_over.iter().for_each(|line| observer.note(line));
    let forgotten = if rate_given(options.given) { state.lr_halvings } else { 0 };
    let state = State { lr_halvings: state.lr_halvings - forgotten, ..state };
    trainer.restore(&checkpoint.path, &state)?;
    let logged = folder.go_on_from(&checkpoint, at != At::Latest)?;
    let halved = match (state.lr_halvings, forgotten) {
        (0, 0) => String::new(),
        (0, times) => {
            folder.forget_halvings()?;
            let times = counted(times, "time");
            format!("; a learning rate was given: all are those of the recipe, not halved {times} any more")
        }
        (times, _) => format!(", learning rates halved {} since the run diverged", counted(times, "time")),
    };
    let exact = checkpoint.note.exact_accuracy.map(|share| format!(", {:.2} % exact", 100.0 * share));
    let (path, exact) = (checkpoint.path.display(), exact.unwrap_or_default());
    observer.note(&format!("going on from {path}{exact}{halved}"));
    let changes = folder.keep_recipe(options.recipe)?;
    if !changes.is_empty() {
        observer.note(&format!("{RECIPE_FILE}: from now on {}", changes.join(", ")));
    }
    Ok((Made::of(&checkpoint), logged))
}

fn rate_given(given: &[&str]) -> bool {
    given.iter().any(|key| ["train.lr", "train.puzzle_emb_lr"].contains(key))
}
