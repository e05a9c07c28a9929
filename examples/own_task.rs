//! Trains a small model on a task of one's own: sorting four digits. A minute on two cores.
//!
//!     cargo run --release --example own_task
//!
//! An argument is the number of epochs, 20 unless told.

use std::sync::Arc;

use trm::data::Split;
use trm::data::own::{Task, Words, build_task};
use trm::eval::{Evaluator, Pace, Selection};
use trm::model::Which;
use trm::rng::Rng;
use trm::{Dataset, Device, Recipe, Result, Trainer};

/// Four digits, the same in order.
struct Sorting;

impl Task for Sorting {
    fn words(&self) -> Result<Words> {
        Words::parse("0..9")
    }

    fn seq_len(&self) -> usize {
        4
    }

    fn sample(&self, rng: &mut Rng, inputs: &mut [u8], labels: &mut [u8]) {
        // Token 0 is padding, 1 the first word.
        inputs.fill_with(|| 1 + rng.below(10) as u8);
        labels.copy_from_slice(inputs);
        labels.sort_unstable();
    }
}

/// Trains, then tells what was learnt.
pub fn main() -> Result<()> {
    let epochs = std::env::args().nth(1).unwrap_or_else(|| "20".to_owned());
    let folder = std::env::temp_dir().join("trm-sorting");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(trm::Error::io(&folder))?;
    }
    build_task(&Sorting, (1800, 200), 0, &folder)?;

    let sets = [
        "arch.mlp_t=false",
        "arch.pos_encodings=rope",
        "arch.halt_max_steps=4",
        "arch.H_cycles=1",
        "train.lr=3e-3",
        &format!("train.epochs={epochs}"),
        &format!("train.eval_interval={epochs}"),
    ];
    let recipe = Recipe::load("tiny-sudoku4", &sets.map(str::to_owned))?;
    let train = Arc::new(Dataset::open(&folder, Split::Train)?);
    let test = Arc::new(Dataset::open(&folder, Split::Test)?);
    let device = Device::cpu();

    let mut trainer = Trainer::new(&recipe, train, &device)?;
    while trainer.step_count() < trainer.total_steps() {
        trainer.step()?;
        // The metrics of earlier steps, as the device is done with them.
        while let Some(done) = trainer.metrics(false)? {
            if done.step.is_multiple_of(100) {
                println!("step {}: accuracy {:.3}", done.step, done.metrics.accuracy);
            }
        }
    }
    let weights = trainer.weights(Which::Ema)?;

    let mut evaluator = Evaluator::new(trainer.config(), &device, 32)?;
    evaluator.load(&weights)?;
    let all = Selection::all(&test);
    let found = evaluator.evaluate_at(Pace::default(), test.clone(), &all, |_| {})?;
    println!("sorts {:.1} % of lists that it has not seen", 100.0 * found.metrics.exact_accuracy);
    Ok(())
}
