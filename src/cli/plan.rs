//! `trm plan`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::Result;
use crate::bench::{Prediction, Roofline, predict};
use crate::data::{Dataset, Split};
use crate::model::ModelConfig;
use crate::model::step::{eval_plan, train_plan};
use crate::plan::{Element, Target};
use crate::recipe::Recipe;
use crate::report::{PlanSummary, say};

use super::common::{RecipeArgs, RecomputeArgs};
use super::output::Output;

/// S and V where none are given: 9x9 Sudoku's.
const SUDOKU_SEQ_LEN: usize = 81;
const SUDOKU_VOCAB_SIZE: usize = 11;

/// Show what one supervision step launches, computes and holds, without a device
///
/// Counts dispatches by kernel and by block, floating-point operations, bytes moved and memory by role. "least
/// possible" is what no placement can do with less than: all that lives as long as the run (weights, moments, moving
/// average, gradients, puzzle embeddings, carry, batch), and the most of everything else that is alive at once, each
/// tensor from the dispatch that first writes it to the last that uses it. The sizes of the data are those of 9x9
/// Sudoku unless they or a data set are given.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,

    /// B, samples at once [default: the recipe's global_batch_size]
    ///
    /// Memory and work grow in proportion to it; the largest binding must fit the limit that "trm devices" shows.
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

    /// How activations are stored: f32, bf16 or f16 [default: what the recipe says]
    ///
    /// Activations in halves take half the memory.
    #[arg(long, value_name = "PRECISION")]
    precision: Option<Element>,

    #[command(flatten)]
    recompute: RecomputeArgs,

    /// Predict the time of the step on a device of this peak and bandwidth
    ///
    /// Every dispatch is taken for as fast as its arithmetic or its traffic allows, whichever is slower, plus 2 us to
    /// launch it: a lower bound.
    #[arg(long, value_name = "TFLOP/s,GB/s", value_parser = limits, allow_hyphen_values = true)]
    predict: Option<Roofline>,
}

fn limits(text: &str) -> std::result::Result<Roofline, String> {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    let numbers = text.split_once(',').and_then(|(peak, rate)| number(peak).zip(number(rate)));
    // Normal numbers are neither 0 nor infinite.
    let usable = |rate: f64| rate > 0.0 && rate.is_normal();
    match numbers.map(|(peak, gbytes)| Roofline { gflops: 1e3 * peak, gbytes, matrix_gflops: None }) {
        Some(limits) if usable(limits.gflops) && usable(limits.gbytes) => Ok(limits),
        _ => Err("give two positive numbers, as in 20,500".into()),
    }
}

#[derive(Serialize)]
struct Planned {
    recipe: String,
    mode: &'static str,
    batch: usize,
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
    let batch = args.batch.map_or(recipe.train.global_batch_size, usize::from);
    let config = args.config(&recipe)?;
    // Without a device, auto is what any of them can have.
    let precision = args.precision.or(recipe.train.precision.element()).unwrap_or_default();
    let target = Target { precision, recompute: recipe.train.recompute, ..Target::default() };
    let (mode, plan) = match args.eval {
        true => ("eval", eval_plan(&config, batch, target)?),
        false => ("train", train_plan(&config, &recipe.train.optimiser(), batch, target)?),
    };
    let planned = Planned {
        recipe: name.to_owned(),
        mode,
        batch,
        seq_len: config.seq_len,
        vocab_size: config.vocab_size,
        num_puzzle_identifiers: config.num_puzzle_identifiers,
        precision,
        recompute: target.recompute && !args.eval,
        summary: PlanSummary::of(&plan),
        prediction: args.predict.map(|limits| predict(&plan, limits)),
    };
    if args.data.is_none() && (args.seq_len.is_none() || args.vocab_size.is_none()) {
        let otherwise = "what --data, --seq-len and --vocab-size leave open is 9x9 Sudoku's";
        say(format!("sizes: S {}, V {}; {otherwise}", config.seq_len, config.vocab_size));
    }
    output.data(&planned, text)?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn config(&self, recipe: &Recipe) -> Result<ModelConfig> {
        let arch = recipe.arch.clone();
        let (vocab_size, seq_len, num_puzzle_identifiers) = match &self.data {
            None => (
                self.vocab_size.unwrap_or(SUDOKU_VOCAB_SIZE),
                self.seq_len.unwrap_or(SUDOKU_SEQ_LEN),
                self.puzzle_identifiers,
            ),
            Some(dir) => {
                let dataset = Dataset::open(dir, Split::Train)?;
                let metadata = dataset.metadata();
                (metadata.vocab_size, metadata.seq_len, metadata.num_puzzle_identifiers)
            }
        };
        Ok(ModelConfig { arch, vocab_size, seq_len, num_puzzle_identifiers })
    }
}

fn text(planned: &Planned) -> String {
    let Planned { recipe, mode, batch, seq_len, vocab_size, num_puzzle_identifiers, .. } = planned;
    let recompute = if planned.recompute { ", inner activations computed again" } else { "" };
    format!(
        "{recipe}: one supervision step, mode {mode}, B {batch}, S {seq_len}, V {vocab_size}, \
         {num_puzzle_identifiers} puzzle identifier(s), activations in {}{recompute}\n\n{}{}",
        planned.precision,
        planned.summary,
        planned.prediction.map(|prediction| prediction.to_string()).unwrap_or_default()
    )
}
