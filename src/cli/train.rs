//! `trm train`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::Result;
use crate::model::Metrics;
use crate::report::{Progress, describe, say};
use crate::train::{InitFrom, RunOptions};

use super::common::{DeviceArgs, INTERRUPTED, MemoryArgs, RecipeArgs, RecomputeArgs, interrupt_flag};
use super::output::Output;

/// Train a model
///
/// Writes a run folder: recipe.toml, metrics.jsonl, the weights (model.safetensors with config.json, the moving average
/// where the recipe keeps one) and state.safetensors, from which --resume continues bit-identically. Ctrl-C finishes
/// the step at hand, saves, and exits with 130.
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

    /// Continue the run in --out from its last checkpoint
    ///
    /// Takes the recipe of the run; --set may still change it. The data set must be that of the run, in whatever
    /// folder.
    #[arg(long, conflicts_with = "recipe")]
    resume: bool,

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
    /// The last evaluation.
    test: Option<Metrics>,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let mut recipe = match args.resume {
        true => args.recipe.load_from_run(&args.out)?,
        false => args.recipe.load()?.1,
    };
    recipe.freeze(args.freeze_weights)?;
    args.recompute.apply(&mut recipe.train);
    let stored = recipe.train.precision;
    let device = args.memory.limit(args.device.open_for(stored)?).recomputing(recipe.train.recompute);
    let device = device.submitting_at_most(Duration::from_millis(recipe.train.max_submission_ms));
    recipe.train.precision = device.target().precision.into();
    if args.resume && recipe.train.precision != stored {
        say(format!("going on in {} what was begun in {stored}", recipe.train.precision));
    }
    let mut progress = Progress::new(&args.out, interrupt_flag()?);
    let options = RunOptions {
        recipe: &recipe,
        data: &args.data,
        out: &args.out,
        device: &device,
        resume: args.resume,
        init_from: args
            .init_from
            .as_deref()
            .map(|weights| InitFrom { weights, reset_puzzle_emb: args.reset_puzzle_emb }),
    };
    let outcome = crate::train::run(options, &mut progress)?;
    let summary = Summary {
        run: args.out.clone(),
        step: outcome.steps,
        finished: outcome.finished,
        seconds: progress.seconds(),
        samples_per_s: progress.samples_per_s(),
        test: outcome.evaluation,
    };
    drop(progress);
    output.data(&summary, text)?;
    Ok(if summary.finished { ExitCode::SUCCESS } else { ExitCode::from(INTERRUPTED) })
}

fn text(summary: &Summary) -> String {
    let Summary { run, step, finished, seconds, samples_per_s, test } = summary;
    let run = run.display();
    let test = test.as_ref().map_or(String::new(), |test| format!("test: {}\n", describe(test)));
    let state = match finished {
        true => format!("{run}: finished after {step} steps"),
        false => format!("{run}: stopped after {step} steps; continue with --resume"),
    };
    format!("{state}\n{seconds:.0} s, {samples_per_s:.0} samples/s\n{test}")
}
