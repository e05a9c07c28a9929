//! `trm demo`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use crate::Result;
use crate::checkpoint::{self, Shipped};
use crate::data::inspect::Kind;
use crate::data::pasted::Puzzle;
use crate::data::sudoku::{GenerateOptions, Grid, Shape, build_generated};
use crate::data::{Dataset, Split};
use crate::engine::Device;
use crate::eval::{Question, Solver};
use crate::files::OutputFolder;
use crate::model::init::Weights;
use crate::model::{Metrics, ModelConfig};
use crate::recipe::Recipe;
use crate::report::{Progress, describe, say};
use crate::train::RunOptions;

use super::common::DeviceArgs;
use super::output::Output;
use super::solve::Solved;
use super::stop::Stop;

const SHOWN: usize = 3;

/// Exact accuracy that the demo promises.
const PROMISED: f64 = 0.95;

/// Train a tiny model on generated Sudokus and solve puzzles that it has never seen
///
/// First a model that comes with trm solves one; the training then begins from nothing and takes a few minutes without a
/// GPU. Exits with 1 if less than 95 % of the held-out puzzles are solved.
#[derive(clap::Args)]
pub struct Args {
    /// Folder to write: the data set and the run [default: runs/demo, or the next free number]
    ///
    /// It must not exist or be empty.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Side length of the puzzles: 4 or 6 [default: 6 on a GPU, else 4]
    ///
    /// Trains the recipe tiny-sudoku4 or tiny-sudoku6; 6x6 takes about seven times as much work for each step.
    #[arg(long, value_name = "SIZE", value_parser = ["4", "6"])]
    size: Option<String>,

    /// Seed of puzzles, weights and training
    ///
    /// The same seed on the same device gives the same weights.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Serialize)]
struct Summary {
    device: String,
    run: PathBuf,
    step: u64,
    seconds: f64,
    samples_per_s: f64,
    test: Option<Metrics>,
    /// Before the training, by the model that comes with trm.
    at_once: Vec<Solved>,
    solved: Vec<Solved>,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let device = args.device.open()?;
    let out = args.out.clone().unwrap_or_else(free_folder);
    let (data, folder) = (out.join("data"), out.join("run"));
    let (size, name) = args.size_and_recipe(&device);
    generate(&out, size, args.seed)?;
    let at_once = solve_at_once(size, &data, &device, output)?;
    let mut recipe = Recipe::load(name, &[])?;
    recipe.train.seed = args.seed;
    let stop = Stop::on_signals("saving")?;
    let wanted = stop.clone();
    let mut progress = Progress::new(&folder, move || wanted.wanted());
    let options = RunOptions::new(&recipe, &data, &folder, &device);
    say(format!("training {name} on {}", device.info().name));
    let outcome = crate::train::run(options, &mut progress)?;
    let (seconds, samples_per_s) = (progress.seconds(), progress.samples_per_s());
    drop(progress);
    if !outcome.finished {
        say(format!("stopped; the run is in {}", folder.display()));
        return Ok(ExitCode::from(stop.exit_code()));
    }

    let solved = solve(checkpoint::load(&folder)?, &data, SHOWN, &device, output)?;
    let test = outcome.evaluation.map(|(_, metrics)| metrics);
    let summary = Summary {
        device: device.info().name,
        run: folder,
        step: outcome.steps,
        seconds,
        samples_per_s,
        test,
        at_once,
        solved,
    };
    output.data(&summary, text)?;
    let kept = test.is_some_and(|test| test.exact_accuracy >= PROMISED);
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Args {
    fn size_and_recipe(&self, device: &Device) -> (usize, &'static str) {
        match self.size.as_deref() {
            Some("6") => (6, "tiny-sudoku6"),
            None if device.info().is_hardware() => (6, "tiny-sudoku6"),
            _ => (4, "tiny-sudoku4"),
        }
    }
}

/// `runs/demo`, or the first of `runs/demo-2` and so on that is not there.
fn free_folder() -> PathBuf {
    let numbered = (2..).map(|number| format!("runs/demo-{number}"));
    let mut names = std::iter::once("runs/demo".to_owned()).chain(numbered).map(PathBuf::from);
    names.find(|path| !path.exists()).unwrap_or_default()
}

/// Writes the data set to `<out>/data`.
fn generate(out: &Path, size: usize, seed: u64) -> Result<()> {
    let folder = OutputFolder::create(out)?;
    let options = GenerateOptions::small(folder.path().join("data"), size, seed);
    let summary = build_generated(&options, &mut |_| {})?;
    folder.commit()?;
    say(format!(
        "generated {} puzzles of {1}x{1} cells to learn from, with {2} augmentations each, and {3} to test",
        summary.train.puzzles, summary.size, options.num_aug, summary.test.puzzles
    ));
    Ok(())
}

/// Solves a test puzzle with the model that comes with trm, so that there is something to see before the training.
fn solve_at_once(size: usize, data: &Path, device: &Device, output: &Output) -> Result<Vec<Solved>> {
    let Some(shipped) = Shipped::of(Kind::Sudoku { size }) else { return Ok(Vec::new()) };
    say(format!("{} comes with trm and solves one at once:", shipped.path()));
    solve(shipped.load()?, data, 1, device, output)
}

/// Solves the first `most` test puzzles, drawing every step as it goes.
fn solve(
    (config, weights): (ModelConfig, Weights),
    data: &Path,
    most: usize,
    device: &Device,
    output: &Output,
) -> Result<Vec<Solved>> {
    let mut solver = Solver::new(&config, &weights, device, 1)?;
    let test = Dataset::open(data, Split::Test)?;
    let (mut inputs, mut labels) = (vec![0; config.seq_len], vec![0; config.seq_len]);
    let mut all = Vec::new();
    for (set, example) in
        test.sets().iter().flat_map(|set| (0..set.examples()).map(move |at| (set, at))).take(most)
    {
        test.read_example(set, example, &mut inputs, &mut labels)?;
        let Some(shape) = Shape::of_cells(config.seq_len) else { break };
        let puzzle = Puzzle::Sudoku(Grid::from_tokens(shape, &inputs));
        for solution in solver.solve_all(&[Question::from(&puzzle)])? {
            let solved = Solved::of(&puzzle, &solution);
            output.text(&solved.text(&puzzle, &solution, true, output.colour()))?;
            all.push(solved);
        }
    }
    Ok(all)
}

fn text(summary: &Summary) -> String {
    let Summary { device, run, step, seconds, samples_per_s, test, solved, .. } = summary;
    let test = test
        .as_ref()
        .map_or(String::new(), |test| format!("puzzles never seen in training: {}\n", describe(test)));
    let program = std::env::args().next().unwrap_or_else(|| "trm".to_owned());
    let puzzle = solved.first().map_or("PUZZLE", Solved::puzzle);
    format!(
        "{device}: {step} steps in {seconds:.0} s, {samples_per_s:.0} samples/s\n{test}to solve one more:\n  {program} \
         solve --run {} --watch {puzzle}\n",
        run.display()
    )
}
