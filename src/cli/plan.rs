//! `trm plan`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::bench::{Prediction, Roofline, predict};
use crate::data::symmetry::Symmetries;
use crate::data::{Dataset, Split};
use crate::engine::{Device, select};
use crate::eval::probe::settle;
use crate::model::ModelConfig;
use crate::model::step::eval_plan;
use crate::plan::{Element, Matrices, Plan, Precision, SHARED_BYTES, Target};
use crate::recipe::{Recipe, TrainSettings};
use crate::report::{PlanSummary, say};
use crate::text::counted;
use crate::train::{Layout, Room};
use crate::{Error, Result};

use super::common::{MemoryArgs, RecipeArgs, RecomputeArgs, adopt_choice};
use super::output::Output;

/// S and V where none are given: 9x9 Sudoku's.
const SUDOKU_SEQ_LEN: usize = 81;
const SUDOKU_VOCAB_SIZE: usize = 11;

/// Show what one supervision step launches, computes and holds
///
/// Counts dispatches by kernel and by block, floating-point operations, bytes moved and memory by role. "least
/// possible" is what no placement can do with less than: all that lives as long as the run (weights, moments, moving
/// average, gradients, puzzle embeddings, carry, batch), and the most of everything else that is alive at once, each
/// tensor from the dispatch that first writes it to the last that uses it. No device is needed; with --device or
/// --memory, the plan is the one that "trm train" would take there. Without --data, --seq-len and --vocab-size, puzzles
/// are 9x9 Sudokus.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,

    /// B, samples at once [default: the recipe's global_batch_size]
    ///
    /// In one piece, memory and work grow in proportion to it, and the largest binding must fit the limit that "trm
    /// devices" shows.
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u16).range(1..))]
    batch: Option<u16>,

    /// Plan an evaluation step instead of a training step
    ///
    /// No gradients, no optimisers, and no activations kept for them.
    #[arg(long)]
    eval: bool,

    /// Take the sizes of this data set
    ///
    /// A folder with train/dataset.json, as "trm data" and the authors' release write it.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["seq_len", "vocab_size", "puzzle_identifiers"])]
    data: Option<PathBuf>,

    /// S, tokens of a puzzle [default: 81]
    ///
    /// 81 for 9x9 Sudoku, 900 for mazes and ARC.
    #[arg(long, value_name = "S")]
    seq_len: Option<usize>,

    /// V, tokens in the vocabulary [default: 11]
    ///
    /// 11 for 9x9 Sudoku: padding, blank and nine digits.
    #[arg(long, value_name = "V")]
    vocab_size: Option<usize>,

    /// Rows of the puzzle embedding table
    ///
    /// 1 for Sudoku and mazes, whose puzzles share one; one per augmented task for ARC.
    #[arg(long, value_name = "N", default_value_t = 1)]
    puzzle_identifiers: usize,

    /// How activations are stored: auto, f32, bf16 or f16 [default: what the recipe says]
    ///
    /// Activations in halves take half the memory. Without a device, "auto" is f16 with --units, else f32.
    #[arg(long, value_name = "PRECISION")]
    precision: Option<Precision>,

    /// Plan for matrix units of this size, and subgroups of so many threads
    ///
    /// 16x32 for NVIDIA's, 8x32 for Apple's, 16x64 for AMD's.
    #[arg(long, value_name = "SIZExTHREADS", value_parser = units, conflicts_with = "device")]
    units: Option<Matrices>,

    #[command(flatten)]
    recompute: RecomputeArgs,

    /// Plan for this device: auto, cpu, gpu, an index or part of a name
    ///
    /// Shows how many samples training would compute at once there, and whether it would compute inner activations
    /// again.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,

    #[command(flatten)]
    memory: MemoryArgs,

    /// Predict the time of the step on a device of this peak and bandwidth
    ///
    /// Every dispatch is taken for as fast as its arithmetic or its traffic allows, whichever is slower, plus 2 us to
    /// launch it: a lower bound. The third number is the peak of matrix units.
    #[arg(long, value_name = "TFLOP/s,GB/s[,TFLOP/s]", value_parser = limits, allow_hyphen_values = true)]
    predict: Option<Roofline>,
}

fn limits(text: &str) -> std::result::Result<Roofline, String> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
    let limits = match numbers.as_deref() {
        Some([peak, gbytes]) => Some((1e3 * peak, *gbytes, None)),
        Some([peak, gbytes, units]) => Some((1e3 * peak, *gbytes, Some(1e3 * units))),
        _ => None,
    };
    // Normal numbers are neither 0 nor infinite.
    let usable = |rate: f64| rate > 0.0 && rate.is_normal();
    match limits {
        Some((gflops, gbytes, matrix_gflops))
            if [gflops, gbytes].into_iter().chain(matrix_gflops).all(usable) =>
        {
            Ok(Roofline { gflops, gbytes, matrix_gflops })
        }
        _ => Err("give two positive numbers, as in 20,500, or three".into()),
    }
}

fn units(text: &str) -> std::result::Result<Matrices, String> {
    let parted = text.split_once('x').map(|(size, threads)| (size.parse(), threads.parse()));
    match parted {
        Some((Ok(size @ (8 | 16)), Ok(subgroup @ (4..=128)))) => {
            Ok(Matrices { size, subgroup, ..Matrices::default() })
        }
        _ => Err("give 8 or 16, and the threads of a subgroup, as in 16x32".into()),
    }
}

#[derive(Serialize)]
struct Planned {
    recipe: String,
    mode: &'static str,
    batch: usize,
    micro_batch: usize,
    seq_len: usize,
    vocab_size: usize,
    num_puzzle_identifiers: usize,
    precision: Element,
    recompute: bool,
    #[serde(flatten)]
    summary: PlanSummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    prediction: Option<Prediction>,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let (name, mut recipe) = args.recipe.load()?;
    args.recompute.apply(&mut recipe.train);
    let settings = &mut recipe.train;
    settings.global_batch_size = args.batch.map_or(settings.global_batch_size, usize::from);
    let batch = settings.global_batch_size;
    let (config, augment) = args.data(&recipe)?;
    let place = Place::of(args, &recipe.train)?;
    let target = place.target;
    let (mode, layout, plan) = match args.eval {
        true => {
            let layout = Layout { micro_batch: batch, recompute: false };
            ("eval", layout, eval_plan(&config, batch, target)?)
        }
        false => {
            let holds = |plan: &Plan, others| place.holds(plan, others);
            let most_flops = place.device.as_ref().map_or(u64::MAX, Device::most_flops);
            let room = Room { holds: &holds, most_flops };
            let (layout, plan) = Layout::choose(&config, &recipe.train, augment, target, 1, room)?;
            ("train", layout, plan)
        }
    };
    let planned = Planned {
        recipe: name.to_owned(),
        mode,
        batch,
        micro_batch: layout.micro_batch,
        seq_len: config.seq_len,
        vocab_size: config.vocab_size,
        num_puzzle_identifiers: config.num_puzzle_identifiers,
        precision: target.precision,
        recompute: layout.recompute,
        summary: PlanSummary::of(&plan),
        prediction: args.predict.map(|limits| predict(&plan, limits)),
    };
    if args.data.is_none() && (args.seq_len.is_none() || args.vocab_size.is_none()) {
        let (seq_len, vocab_size) = (config.seq_len, config.vocab_size);
        let otherwise =
            "9x9 Sudoku's where not given; --data DIR, or --seq-len and --vocab-size, take others";
        say(format!("sizes: puzzles of {seq_len} tokens, each one of {vocab_size}: {otherwise}"));
    }
    output.data(&planned, text)?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// The model's sizes, and what samples are drawn in.
    fn data(&self, recipe: &Recipe) -> Result<(ModelConfig, Option<Symmetries>)> {
        let config = |vocab_size, seq_len, num_puzzle_identifiers| ModelConfig {
            arch: recipe.arch.clone(),
            vocab_size,
            seq_len,
            num_puzzle_identifiers,
            identifiers: None,
        };
        let Some(dir) = &self.data else {
            let vocab_size = self.vocab_size.unwrap_or(SUDOKU_VOCAB_SIZE);
            let seq_len = self.seq_len.unwrap_or(SUDOKU_SEQ_LEN);
            let config = config(vocab_size, seq_len, self.puzzle_identifiers);
            let augment = recipe.train.symmetries_of(&config);
            return Ok((config, augment));
        };
        let dataset = Dataset::open(dir, Split::Train)?;
        let metadata = dataset.metadata();
        let config = config(metadata.vocab_size, metadata.seq_len, metadata.num_puzzle_identifiers);
        let augmented = recipe.train.augment && !self.eval;
        let augment = augmented.then(|| Symmetries::of_dataset(&dataset)).transpose()?;
        Ok((config, augment))
    }
}

/// Bytes of the largest binding of most drivers.
const BINDING_BYTES: u64 = (1 << 31) - 4;

/// What is planned for.
struct Place {
    device: Option<Device>,
    most_bytes: Option<u64>,
    target: Target,
}

impl Place {
    fn of(args: &Args, settings: &TrainSettings) -> Result<Place> {
        let most_bytes = args.memory.most();
        let precision = args.precision.unwrap_or(settings.precision);
        let device = match &args.device {
            Some(name) => {
                let most = Duration::from_millis(settings.max_submission_ms);
                let device = settle(select(name)?.0, precision).submitting_at_most(most);
                adopt_choice(&device);
                Some(args.memory.limit(device))
            }
            None => None,
        };
        // Without a device, auto is what any of them can have, or those with such units.
        let auto = args.units.map_or(Element::F32, |_| Element::F16);
        let otherwise = Target {
            precision: precision.element().unwrap_or(auto),
            matrices: args.units,
            shared_bytes: args.units.map_or(SHARED_BYTES, |_| 3 * SHARED_BYTES),
            binding_bytes: most_bytes.map_or(u64::MAX, |_| BINDING_BYTES),
            ..Target::default()
        };
        let target = device.as_ref().map_or(otherwise, Device::target);
        Ok(Place { device, most_bytes, target: Target { recompute: settings.recompute, ..target } })
    }

    /// Without a device or a limit, there is room for everything.
    fn holds(&self, plan: &Plan, others: u64) -> Result<()> {
        let refuse = |what: &str, needed: u64, limit: u64| {
            let fix = "give more".to_owned();
            Err(Error::Limit { what: what.into(), needed, limit, unit: "bytes", fix })
        };
        match (&self.device, self.most_bytes) {
            (Some(device), _) => device.check_beside(plan, others),
            (None, Some(limit)) if plan.bytes() + others > limit => {
                refuse("--memory", plan.bytes() + others, limit)
            }
            (None, Some(_)) if plan.largest_binding().0 > BINDING_BYTES => {
                refuse("a binding", plan.largest_binding().0, BINDING_BYTES)
            }
            (None, _) => Ok(()),
        }
    }
}

fn text(planned: &Planned) -> String {
    let Planned { recipe, mode, batch, seq_len, vocab_size, num_puzzle_identifiers, .. } = planned;
    let batch = match planned.micro_batch {
        all if all == *batch => format!("B {batch}"),
        part => format!("B {batch} in micro-batches of {part}"),
    };
    let recompute = if planned.recompute { ", inner activations computed again" } else { "" };
    format!(
        "{recipe}: one supervision step, mode {mode}, {batch}, S {seq_len}, V {vocab_size}, \
         {}, activations in {}{recompute}\n\n{}{}",
        counted(*num_puzzle_identifiers, "puzzle identifier"),
        planned.precision,
        planned.summary,
        planned.prediction.map(|prediction| prediction.to_string()).unwrap_or_default()
    )
}
