//! How long the built-in recipes would train here: the floating-point operations of their steps, at the rate of a step
//! that was measured.

use std::time::Duration;

use indicatif::HumanDuration;
use serde::Serialize;

use super::Finding;
use crate::bench::{Measurement, Mode, Subject, step};
use crate::cli::with_options;
use crate::engine::Device;
use crate::model::ModelConfig;
use crate::recipe::Recipe;
use crate::text::BinaryBytes;
use crate::train::{Layout, Room};
use crate::{Error, Result};

/// How long a step may take that is measured.
const MOST_SECONDS: f64 = 2.0;
const REPETITIONS: usize = 1;
/// Samples at once of the large step, the first that is fast enough.
const BATCHES: [usize; 6] = [64, 16, 8, 4, 2, 1];

/// What a built-in recipe is made for.
struct Task {
    recipe: &'static str,
    data: &'static str,
    /// Examples of an epoch: groups times examples of a puzzle.
    examples: f64,
    seq_len: usize,
    vocab_size: usize,
    identifiers: usize,
}

const fn task(recipe: &'static str, data: &'static str, seq_len: usize, vocab_size: usize) -> Task {
    Task { recipe, data, examples: 1000.0, seq_len, vocab_size, identifiers: 1 }
}

/// Those of ARC as the release's checkpoints count them: its 960 and 1,280 tasks with demonstrations, augmented.
const TASKS: [Task; 10] = [
    task("tiny-sudoku4", "1,000 Sudokus 4x4", 16, 6),
    task("tiny-sudoku6", "1,000 Sudokus 6x6", 36, 8),
    Task { examples: 20_000.0, ..task("tiny-sudoku9", "20,000 Sudokus 9x9", 81, 11) },
    task("sudoku-fast", "1,000 Sudokus 9x9", 81, 11),
    task("tiny-maze", "1,000 mazes 5x5", 25, 6),
    task("sudoku-mlp", "Sudoku-Extreme", 81, 11),
    task("sudoku-att", "Sudoku-Extreme", 81, 11),
    task("maze-hard", "Maze-Hard", 900, 6),
    Task { examples: 3979.0, identifiers: 876_406, ..task("arc1", "ARC-AGI-1", 900, 12) },
    Task { examples: 5560.0, identifiers: 1_281_281, ..task("arc2", "ARC-AGI-2", 900, 12) },
];

/// The steps that were measured: one of a small model, whose rate is that of the tiny recipes, and one of full size.
pub struct Measured {
    small: Measurement,
    large: Measurement,
}

/// What a training takes.
#[derive(Serialize)]
pub struct Training {
    recipe: &'static str,
    data: &'static str,
    steps: u64,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Fits { micro_batch: usize, recompute: bool, memory_bytes: u64, seconds_per_step: f64, seconds: f64 },
    Refused { refused: String },
}

/// Measures two training steps.
pub fn measure(device: &Device) -> Result<Measured> {
    let subject = |name: &str, batch, seq_len, vocab_size| {
        let mut recipe = Recipe::load(name, &[])?;
        recipe.train.precision = device.target().precision.into();
        Subject::of(name, recipe, batch, seq_len, vocab_size)
    };
    let of = |subject: &Subject| {
        let measured = step::measure(device, subject, &[Mode::Train], REPETITIONS)?;
        let nothing = || Error::usage("bench", "nothing was measured", "look at \"trm bench step\"");
        measured.into_iter().next().ok_or_else(nothing)
    };
    let small = of(&subject("tiny-sudoku6", 8, 36, 8)?)?;
    for batch in BATCHES {
        let large = subject("sudoku-mlp", batch, 81, 11)?;
        let plan = large.plan(Mode::Train, device.target())?;
        if seconds(&small, plan.cost().flops) <= MOST_SECONDS && device.check(&plan).is_ok() {
            return Ok(Measured { large: of(&large)?, small });
        }
    }
    Ok(Measured { large: small.clone(), small })
}

/// At the rate of what was measured.
fn seconds(measured: &Measurement, flops: u64) -> f64 {
    flops as f64 / (1e9 * measured.gflops).max(1.0)
}

impl Measured {
    pub fn finding(&self) -> Finding {
        let Measurement { key, seconds, gflops, .. } = &self.large;
        Finding::ok("bench", format!("{key}: {:.1} ms, {gflops:.0} GFLOP/s", 1e3 * seconds))
    }

    fn of(&self, recipe: &str) -> &Measurement {
        if recipe.starts_with("tiny-") { &self.small } else { &self.large }
    }
}

/// What every built-in recipe takes on `device`.
pub fn trainings(device: &Device, measured: &Measured) -> Vec<Training> {
    TASKS.iter().filter_map(|task| task.training(device, measured.of(task.recipe)).ok()).collect()
}

impl Task {
    fn training(&self, device: &Device, measured: &Measurement) -> Result<Training> {
        let Recipe { arch, train } = Recipe::load(self.recipe, &[])?;
        let config = ModelConfig {
            arch,
            vocab_size: self.vocab_size,
            seq_len: self.seq_len,
            num_puzzle_identifiers: self.identifiers,
            identifiers: None,
        };
        let steps = (train.epochs as f64 * self.examples / train.global_batch_size as f64) as u64;
        let holds = |plan: &_, others| device.check_beside(plan, others);
        let room = Room { holds: &holds, most_flops: device.most_flops() };
        let augment = train.symmetries_of(&config);
        let outcome = match Layout::choose(&config, &train, augment, device.target(), 1, room) {
            Ok((Layout { micro_batch, recompute }, plan)) => {
                let seconds_per_step = seconds(measured, plan.cost().flops);
                let (memory_bytes, seconds) = (plan.bytes(), steps as f64 * seconds_per_step);
                Outcome::Fits { micro_batch, recompute, memory_bytes, seconds_per_step, seconds }
            }
            Err(error) => Outcome::Refused { refused: with_options(&error.to_string()) },
        };
        Ok(Training { recipe: self.recipe, data: self.data, steps, outcome })
    }
}

impl Training {
    /// A row of the table.
    pub fn cells(&self) -> Vec<String> {
        let first = [self.recipe.to_owned(), self.data.to_owned(), self.steps.to_string()];
        let rest = match &self.outcome {
            Outcome::Refused { .. } => vec!["-".into(); 4],
            Outcome::Fits { micro_batch, recompute, memory_bytes, seconds_per_step, seconds } => vec![
                format!("{micro_batch}{}", if *recompute { "+" } else { "" }),
                BinaryBytes(*memory_bytes).to_string(),
                duration(*seconds_per_step),
                HumanDuration(Duration::from_secs_f64(*seconds)).to_string(),
            ],
        };
        first.into_iter().chain(rest).collect()
    }

    /// Why there is no room for it.
    pub fn refusal(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Refused { refused } => Some(format!("{}: {refused}", self.recipe)),
            Outcome::Fits { .. } => None,
        }
    }
}

fn duration(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1} ms", 1e3 * seconds) } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_recipe_has_its_task() {
        let known: Vec<&str> = TASKS.iter().map(|task| task.recipe).collect();
        for name in Recipe::names() {
            assert!(known.contains(&name), "{name} is missing");
        }
        assert_eq!(known.len(), Recipe::names().count());
    }

    #[test]
    fn time_follows_from_work_and_rate() {
        let measured = Measurement { gflops: 50.0, ..Measurement::default() };
        let tiny = TASKS[0].training(&Device::cpu(), &measured).unwrap();
        let Outcome::Fits { micro_batch, seconds_per_step, seconds, .. } = tiny.outcome else {
            panic!("{}", serde_json::to_string(&tiny).unwrap());
        };
        assert_eq!((tiny.steps, micro_batch), (406, 64));
        assert!((seconds - 406.0 * seconds_per_step).abs() < 1e-9 && seconds_per_step > 1e-3);
        let little = Device::cpu().holding_at_most(1 << 20);
        let refused = TASKS[6].training(&little, &measured).unwrap();
        assert!(matches!(refused.outcome, Outcome::Refused { .. }));
    }
}
