//! `trm train`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::Result;
use crate::data::inspect::Kind;
use crate::data::{Dataset, Split};
use crate::model::Metrics;
use crate::recipe::Recipe;
use crate::report::{Progress, describe, say};
use crate::text::counted;
use crate::train::{At, InitFrom, Observer, RunOptions, Unobserved};

use super::common::{DeviceArgs, MemoryArgs, RecipeArgs, RecomputeArgs};
use super::output::Output;
use super::ranks;
use super::stop::Stop;

/// Train a model
///
/// Writes a run folder: recipe.toml, metrics.jsonl, sessions.jsonl (who trained it when and where), checkpoints, from
/// which --resume continues bit-identically, and the weights of the newest (model.safetensors with config.json, the
/// moving average where the recipe keeps one). SIGINT (Ctrl-C), SIGTERM, SIGHUP and SIGUSR1 finish the step at hand, save,
/// and exit with 130, 143, 129 and 138; another one, half a second later or more, ends at once. Long steps are each saved
/// where that costs little, and then left undone. "trm runs" lists the checkpoints.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,

    /// Data set to train on
    ///
    /// A folder with train and, to evaluate on, test, as "trm data" and the authors' release write it.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// Run folder to write
    ///
    /// It must not exist or be empty, unless --resume is given.
    #[arg(long, value_name = "RUN")]
    out: PathBuf,

    /// Continue the run in --out from its newest checkpoint that is whole
    ///
    /// Takes the recipe of the run. What --set changes of it holds from then on, and is written into the run's recipe.toml.
    /// After the learning rates were halved, a train.lr that is given is taken as it is. The data set must be that of the
    /// run, in whatever folder. An evaluation that was cut off is made up for.
    #[arg(long, conflicts_with = "recipe")]
    resume: bool,

    /// Continue from another checkpoint: best, latest or a step [default: latest]
    ///
    /// One that "trm runs" lists, with the learning rates as often halved as when it was written. Later ones are removed
    /// as soon as a new one has proved good.
    #[arg(long, value_name = "STEP", requires = "resume", conflicts_with = "recipe")]
    at: Option<At>,

    /// Begin from the weights of a run or file instead of fresh ones
    ///
    /// A folder with model.safetensors and config.json, or the .safetensors file. The optimiser begins anew.
    #[arg(long, value_name = "FILE|DIR", conflicts_with = "resume")]
    init_from: Option<PathBuf>,

    /// Take --init-from weights for another number of puzzle identifiers
    ///
    /// Every puzzle embedding then starts as the mean of those saved, as in the authors' release.
    #[arg(long, requires = "init_from")]
    reset_puzzle_emb: bool,

    /// Learn the puzzle embeddings only
    ///
    /// Fine-tuning on new tasks: the same as --set train.freeze_weights=true.
    #[arg(long)]
    freeze_weights: bool,

    /// Stop after so much time, as 2h30m
    ///
    /// Finishes the step at hand, saves, and exits with 124, unless the run was finished; --resume continues. Leave
    /// room for a step and a checkpoint before the time that a scheduler allows.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    time_limit: Option<Duration>,

    /// Open a device that fails anew, so often at the most
    ///
    /// Training then goes on from the newest checkpoint, as after --resume: after a driver's reset, a lost device, or one
    /// that does not answer.
    #[arg(long, value_name = "N", default_value_t = 3)]
    retries: u32,

    #[command(flatten)]
    device: DeviceArgs,

    #[command(flatten)]
    memory: MemoryArgs,

    #[command(flatten)]
    recompute: RecomputeArgs,
}

/// How a run ended.
#[derive(Serialize)]
struct Summary {
    run: PathBuf,
    step: u64,
    finished: bool,
    seconds: f64,
    samples_per_s: f64,
    /// The last evaluation, ...
    test: Option<Metrics>,
    /// ... and the steps done by then.
    test_step: Option<u64>,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let (ranks, local) = ranks::join()?;
    let first = ranks.as_ref().is_none_or(|ranks| ranks.is_first());
    let stop = Stop::on_signals("saving")?.after(args.time_limit);
    let mut recipe = match args.resume {
        true => args.recipe.load_from_run(&args.out)?,
        false => {
            let (name, recipe) = args.recipe.load()?;
            if first {
                tell_purpose(name, &args.data);
            }
            recipe
        }
    };
    recipe.freeze(args.freeze_weights)?;
    args.recompute.apply(&mut recipe.train);
    let stored = recipe.train.precision;
    let device = args.memory.limit(args.device.open_as(local, stored)?).recomputing(recipe.train.recompute);
    let device = device.submitting_at_most(Duration::from_millis(recipe.train.max_submission_ms));
    recipe.train.precision = device.target().precision.into();
    if args.resume && recipe.train.precision != stored {
        say(format!("going on in {} what was begun in {stored}", recipe.train.precision));
    }
    #[cfg(feature = "testing")]
    let device = match crate::engine::faults::Faults::of_environment() {
        Some(faults) => device.failing(std::sync::Arc::new(faults)),
        None => device,
    };
    let given: Vec<&str> = args.recipe.keys_set().collect();
    let wanted = stop.clone();
    let mut progress = Progress::new(&args.out, move || wanted.wanted());
    let options = RunOptions {
        retries: args.retries,
        ranks: ranks.as_ref(),
        resume: args.resume.then(|| args.at.unwrap_or(At::Latest)),
        given: &given,
        init_from: args
            .init_from
            .as_deref()
            .map(|weights| InitFrom { weights, reset_puzzle_emb: args.reset_puzzle_emb }),
        ..RunOptions::new(&recipe, &args.data, &args.out, &device)
    };
    let mut others = Unobserved(|| stop.wanted());
    let observer: &mut dyn Observer = if first { &mut progress } else { &mut others };
    let outcome = crate::train::run(options, observer)?;
    let summary = Summary {
        run: args.out.clone(),
        step: outcome.steps,
        finished: outcome.finished,
        seconds: progress.seconds(),
        samples_per_s: progress.samples_per_s(),
        test: outcome.evaluation.map(|(_, metrics)| metrics),
        test_step: outcome.evaluation.map(|(step, _)| step),
    };
    drop((progress, ranks));
    ranks::leave();
    if first {
        output.data(&summary, text)?;
    }
    Ok(if summary.finished { ExitCode::SUCCESS } else { ExitCode::from(stop.exit_code()) })
}

/// Says where a recipe that comes with trm meets other puzzles than those that it was made for.
fn tell_purpose(name: &str, data: &Path) {
    // What is wrong with a data set is said where it is used.
    let Ok(dataset) = Dataset::open(data, Split::Train) else { return };
    let (Some(made_for), Ok(kind)) = (Recipe::made_for(name), Kind::of_first_example(&dataset)) else {
        return;
    };
    let found = match kind {
        Kind::Other => format!("another task, of {} tokens", dataset.metadata().seq_len),
        known => known.to_string(),
    };
    if kind != made_for {
        say(format!(
            "recipe: {name} was made for {made_for}, the data set has {found}, which it may not suit"
        ));
    }
}

fn text(summary: &Summary) -> String {
    let Summary { run, step, finished, seconds, samples_per_s, test, test_step } = summary;
    let run = run.display();
    let test = match (test, test_step) {
        (Some(test), Some(step)) => format!("test after step {step}: {}\n", describe(test)),
        _ => String::new(),
    };
    let state = match finished {
        true => format!("{run}: finished after {}", counted(*step, "step")),
        false => format!("{run}: stopped after {}; continue with --resume", counted(*step, "step")),
    };
    format!("{state}\n{seconds:.0} s, {samples_per_s:.0} samples/s\n{test}")
}
