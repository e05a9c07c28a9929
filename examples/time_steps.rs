//! How long supervision steps of batches take on a device: what one more puzzle at once costs.
//!
//!     cargo run --release --example time_steps -- gpu
//!
//! Another argument is the largest batch, 64 unless told.

use std::time::Instant;

use trm::data::inspect::Kind;
use trm::eval::Question;
use trm::model::ModelConfig;
use trm::{Model, Recipe, Result, Solver};

/// Supervision steps of a measurement.
const STEPS: usize = 16;

/// Times batches of several sizes.
pub fn main() -> Result<()> {
    let wanted = std::env::args().nth(1).unwrap_or_else(|| "auto".to_owned());
    let (device, why) = trm::engine::select(&wanted)?;
    println!("{}: {why}", device.info().name);
    let arch = Recipe::load("tiny-sudoku6", &[format!("arch.halt_max_steps={STEPS}")])?.arch;
    let sizes =
        ModelConfig { arch, vocab_size: 8, seq_len: 36, num_puzzle_identifiers: 1, identifiers: None };
    let model = Model::fresh(sizes, 0);
    let most = std::env::args().nth(2).and_then(|most| most.parse().ok()).unwrap_or(64);
    for batch in [1, 4, 16, 64].into_iter().filter(|batch| *batch <= most) {
        let blank = Question { kind: Kind::Sudoku { size: 6 }, inputs: vec![1; 36], identifier: 0 };
        let questions = vec![blank; batch];
        let mut solver = Solver::new(&model.config, &model.weights, &device, batch)?;
        // The first time, weights are packed and kernels loaded.
        solver.solve_all(&questions)?;
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let begun = Instant::now();
            solver.solve_all(&questions)?;
            best = best.min(begun.elapsed().as_secs_f64());
        }
        let step = 1e3 * best / STEPS as f64;
        println!("{batch:3} at once: {step:.3} ms a step, {:.3} ms a puzzle's step", step / batch as f64);
    }
    Ok(())
}
