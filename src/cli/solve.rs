//! `trm solve`.

use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver};

use serde::Serialize;

use crate::data::sudoku::{Grid, solution_fault};
use crate::engine::Device;
use crate::eval::{Solver, Thought};
use crate::model::ModelConfig;
use crate::model::init::Weights;
use crate::report::{draw_answer, say};
use crate::{Error, Result};

use super::common::{DeviceArgs, WeightsArgs};
use super::output::Output;
use super::solve_data;

/// Lines of standard input that are solved at once, where so many are waiting.
const AT_ONCE: usize = 16;

/// Solve Sudoku puzzles, or samples of any data set
///
/// Says of each answer whether it is a valid solution that keeps the clues; exits with 1 if one is not. With --data and
/// --sample the puzzles are samples of its test split, whatever its task is.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    weights: WeightsArgs,

    /// Puzzles: one line of digits each, '.' or 0 for blanks; '-' reads lines from standard input
    #[arg(value_name = "PUZZLE", required_unless_present = "data")]
    puzzles: Vec<String>,

    /// Data set whose test samples to solve
    ///
    /// Drawn as what they are: words of an own task, mazes with their paths, grids.
    #[arg(long, value_name = "DIR", conflicts_with = "puzzles")]
    data: Option<PathBuf>,

    /// Which samples of --data, from 0 on
    ///
    /// In the order of its files.
    #[arg(long, value_name = "N", num_args = 1.., default_value = "0", requires = "data")]
    sample: Vec<usize>,

    /// Print the answer after every supervision step
    ///
    /// Cells that changed are marked: with colours on a terminal, unless NO_COLOR is set, else by stars.
    #[arg(long)]
    watch: bool,

    #[command(flatten)]
    device: DeviceArgs,
}

/// A puzzle with what the model made of it.
#[derive(Serialize)]
pub struct Solved {
    puzzle: String,
    answer: String,
    solved: bool,
    /// What keeps the answer from being a solution.
    fault: Option<String>,
    steps: Vec<Step>,
}

/// The answer after one supervision step.
#[derive(Serialize)]
struct Step {
    answer: String,
    q_halt: f32,
    solved: bool,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let (config, weights) = args.weights.load()?;
    let device = args.device.open_for(args.weights.precision(&config.arch)?)?;
    if let Some(data) = &args.data {
        let all = solve_data::run((&config, &weights), &device, data, &args.sample, args.watch, output)?;
        return Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut solvers = Solvers { config, weights, device, one: None, many: None };
    let mut all_solved = true;
    let mut solve = |puzzles: &[Grid]| {
        for (puzzle, thoughts) in puzzles.iter().zip(solvers.solve_all(puzzles)?) {
            let solved = Solved::of(puzzle, &thoughts);
            all_solved &= solved.solved;
            let text = |solved: &Solved| solved.text(puzzle, &thoughts, args.watch, output.colour());
            output.painted(&solved, text)?;
        }
        Ok(())
    };
    for puzzle in &args.puzzles {
        match puzzle.as_str() {
            "-" => each_line(&mut solve)?,
            puzzle => solve(&[Grid::parse(puzzle)?])?,
        }
    }
    Ok(if all_solved { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A model on a device, for one puzzle and for many.
struct Solvers {
    config: ModelConfig,
    weights: Weights,
    device: Device,
    one: Option<Solver>,
    many: Option<Solver>,
}

impl Solvers {
    /// On a device that fails meanwhile, once more after it was opened anew.
    fn solve_all(&mut self, puzzles: &[Grid]) -> Result<Vec<Vec<Thought>>> {
        match self.try_all(puzzles) {
            Err(fault) if fault.is_device_fault() => {
                say(format!("{fault}; trying once more on the device opened anew"));
                self.device = self.device.reopened()?;
                (self.one, self.many) = (None, None);
                self.try_all(puzzles)
            }
            outcome => outcome,
        }
    }

    fn try_all(&mut self, puzzles: &[Grid]) -> Result<Vec<Vec<Thought>>> {
        // A batch takes its time, however few there are.
        let (place, batch) = match 2 * puzzles.len() < AT_ONCE {
            true => (&mut self.one, 1),
            false => (&mut self.many, AT_ONCE),
        };
        let solver = match place {
            Some(solver) => solver,
            none => none.insert(Solver::of_batch(&self.config, &self.weights, &self.device, batch)?),
        };
        solver.solve_all(puzzles)
    }
}

/// Hands on the lines that are waiting, at most [`AT_ONCE`], without waiting for more. Empty lines are skipped.
fn each_line(mut solve: impl FnMut(&[Grid]) -> Result<()>) -> Result<()> {
    let lines = lines_of_input();
    while let Ok(first) = lines.recv() {
        let (mut puzzles, mut refused) = (Vec::new(), None);
        for (number, line) in std::iter::once(first).chain(lines.try_iter()).take(AT_ONCE) {
            match parse_line(number, line) {
                Ok(puzzle) => puzzles.extend(puzzle),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        solve(&puzzles)?;
        refused.map_or(Ok(()), Err)?;
    }
    Ok(())
}

/// Numbered from 1 on, as they come.
fn lines_of_input() -> Receiver<(usize, std::io::Result<String>)> {
    let (sender, lines) = mpsc::sync_channel(AT_ONCE);
    std::thread::spawn(move || {
        let lines = (1..).zip(std::io::stdin().lock().lines());
        // Nobody listens after a line that was refused.
        lines.map(|line| sender.send(line)).take_while(std::result::Result::is_ok).for_each(drop);
    });
    lines
}

fn parse_line(number: usize, line: std::io::Result<String>) -> Result<Option<Grid>> {
    let line = line.map_err(Error::io("standard input"))?;
    let puzzle = line.trim();
    if puzzle.is_empty() {
        return Ok(None);
    }
    Grid::parse(puzzle).map(Some).map_err(|error| match error {
        Error::Usage { problem, fix, .. } => {
            Error::usage(format!("standard input, line {number}"), problem, fix)
        }
        other => other,
    })
}

impl Solved {
    /// The last of `thoughts` is the answer.
    pub fn of(puzzle: &Grid, thoughts: &[Thought]) -> Solved {
        let step = |thought: &Thought| Step {
            answer: thought.answer.to_string(),
            q_halt: thought.q_halt,
            solved: thought.solved,
        };
        let answer = thoughts.last().map_or(*puzzle, |thought| thought.answer);
        let fault = solution_fault(puzzle, &answer);
        Solved {
            puzzle: puzzle.to_string(),
            answer: answer.to_string(),
            solved: fault.is_none(),
            fault,
            steps: thoughts.iter().map(step).collect(),
        }
    }

    /// The puzzle in one line.
    pub fn puzzle(&self) -> &str {
        &self.puzzle
    }

    /// The puzzle, the answer or all answers, and the verdict.
    pub fn text(&self, puzzle: &Grid, thoughts: &[Thought], watch: bool, colour: bool) -> String {
        let mut text = format!("puzzle, {} clues\n{}", puzzle.clues(), puzzle.draw());
        let mut previous = *puzzle;
        let skipped = if watch { 0 } else { thoughts.len().saturating_sub(1) };
        for (index, thought) in thoughts.iter().enumerate().skip(skipped) {
            let confidence = 1.0 / (1.0 + (-thought.q_halt).exp());
            text += &format!("step {} of {}, halt {confidence:.3}", index + 1, thoughts.len());
            text += &match index > skipped && previous == thought.answer {
                true => ", no change\n".to_owned(),
                false => format!("\n{}", draw_answer(puzzle, &previous, &thought.answer, colour)),
            };
            previous = thought.answer;
        }
        match &self.fault {
            None => text + "solved: a valid solution that keeps the clues\n\n",
            Some(fault) => text + &format!("not solved: the answer {fault}\n\n"),
        }
    }
}
