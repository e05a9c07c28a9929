//! Memory that tensors share: no value is overwritten before its last use, and nothing is read unwritten.
//!
//! Programs of random sums over tensors of several sizes and roles, some kept for the host, run
//! on the CPU engine and must agree with the same sums over plain vectors, whatever the plan put where.

use libtest_mimic::{Failed, Trial};
use trm::Result;
use trm::engine::{Device, Run};
use trm::model::ModelConfig;
use trm::model::step::train_plan;
use trm::ops::sum::{gradient, sum};
use trm::plan::{Element, Role, Tape, Target, Tensor};
use trm::recipe::Recipe;
use trm::rng::Rng;

use crate::check::{self, roundings};
use crate::data::trials;
use crate::harness::poison;
use crate::models::{Session, architectures, optimiser};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let random = Trial::test("plan_memory::random_programs_keep_their_values", || {
        (0..40).try_for_each(|seed| Program::random(seed)?.check())
    });
    let models: [(&str, fn()); 4] = [
        ("steps_read_nothing_unwritten", steps_read_nothing_unwritten),
        ("the_least_is_what_is_alive_at_once", the_least_is_what_is_alive_at_once),
        ("recipes_take_little_more_than_the_least", recipes_take_little_more_than_the_least),
        ("recomputing_drops_inner_activations", recomputing_drops_inner_activations),
    ];
    trials("plan_memory", &models).into_iter().chain([random]).collect()
}

/// Operations of a program.
const LENGTH: usize = 80;

/// A tensor and the values that it must hold.
#[derive(Clone)]
struct Known {
    tensor: Tensor,
    values: Vec<f64>,
}

/// A random program under construction.
struct Program {
    tape: Tape,
    rng: Rng,
    known: Vec<Known>,
    inputs: Vec<Vec<f32>>,
    kept: Vec<(String, Vec<f64>)>,
    tensors: usize,
}

impl Program {
    fn random(seed: u64) -> Result<Program> {
        let mut program = Program {
            tape: Tape::new(Target::default()),
            rng: Rng::new(seed, 0),
            known: Vec::new(),
            inputs: Vec::new(),
            kept: Vec::new(),
            tensors: 0,
        };
        for words in [64, 70, 100] {
            let values: Vec<f32> = (0..words).map(|_| program.rng.uniform()).collect();
            let tensor = program.tape.buffer(&format!("input {words}"), Role::Batch, words);
            let known = values.iter().map(|&value| f64::from(value)).collect();
            program.known.push(Known { tensor, values: known });
            program.inputs.push(values);
        }
        for step in 0..LENGTH {
            program.add()?;
            if program.rng.below(10) == 0 || step + 1 == LENGTH {
                program.keep(step);
            }
        }
        Ok(program)
    }

    /// Lays the sum of two tensors of one size down; mostly recent ones, so that older ones fall out of use.
    fn add(&mut self) -> Result<()> {
        let first = self.recent();
        let words = self.known[first].values.len();
        let same: Vec<usize> =
            (0..self.known.len()).filter(|&other| self.known[other].values.len() == words).collect();
        let second = same[self.rng.below(same.len())];
        let role = [Role::Activation, Role::Gradient][self.rng.below(2)];
        self.lay(first, second, role)
    }

    fn lay(&mut self, first: usize, second: usize, role: Role) -> Result<()> {
        let (a, b) = (self.known[first].clone(), self.known[second].clone());
        let values = a.values.iter().zip(&b.values).map(|(a, b)| a + b).collect();
        let total = match role {
            // A gradient is the sum of what was contributed to a tensor.
            Role::Gradient => {
                let whose = self.tape.tensor(role, 1);
                self.tape.require_grad(whose);
                [a.tensor, b.tensor].into_iter().for_each(|term| self.tape.contribute(whose, term));
                gradient(&mut self.tape, whose)?.unwrap_or(whose)
            }
            _ => sum(&mut self.tape, &[a.tensor, b.tensor])?,
        };
        self.tensors += 1;
        self.known.push(Known { tensor: total, values });
        Ok(())
    }

    fn recent(&mut self) -> usize {
        let count = self.known.len();
        count - 1 - self.rng.below(count.min(6))
    }

    /// Lets the host look at the newest tensor.
    fn keep(&mut self, step: usize) {
        if let Some(known) = self.known.last() {
            let name = format!("kept at {step}");
            self.tape.name(name.clone(), known.tensor);
            self.kept.push((name, known.values.clone()));
        }
    }

    fn check(self) -> std::result::Result<(), Failed> {
        let plan = self.tape.finish()?;
        if plan.buffers.len() >= self.tensors {
            return Err(format!(
                "{} tensors in {} buffers: nothing is shared",
                self.tensors,
                plan.buffers.len()
            )
            .into());
        }
        if plan.bytes() < plan.least_bytes {
            return Err(format!("{} bytes, at least {}", plan.bytes(), plan.least_bytes).into());
        }
        let mut run = Run::new(&Device::cpu(), plan)?;
        poison(&mut run, |_| true)?;
        for values in &self.inputs {
            run.write_floats(&format!("input {}", values.len()), values)?;
        }
        run.submit()?;
        for (name, values) in &self.kept {
            // One rounding for each sum that went before.
            check::close(&run.read_floats(name)?, values, roundings(LENGTH))
                .map_err(|failure| format!("{name}: {failure}"))?;
        }
        Ok(())
    }
}

/// A step from planned memory full of NaN gives the bits of a step from zeros.
fn steps_read_nothing_unwritten() {
    for ((name, config), recompute) in
        architectures().into_iter().flat_map(|one| [(one.clone(), false), (one, true)])
    {
        let device = Device::cpu().recomputing(recompute);
        let results = [false, true].map(|poisoned| {
            let mut session = Session::new(&device, &config, 3).unwrap();
            if poisoned {
                poison(&mut session.run, |buffer| buffer.shared).unwrap();
            }
            session.step(1).unwrap();
            ["weights", "ema", "gradients", "metrics", "carry.halted"]
                .map(|buffer| session.run.read_ints(buffer).unwrap())
        });
        assert_eq!(results[0], results[1], "{name}: bits after a step from zeros and from NaN");
    }
}

/// Sums whose lifetimes are plain to see: two small ones are alive at the end, one while the wide ones are.
fn the_least_is_what_is_alive_at_once() {
    let mut tape = Tape::new(Target::default());
    let (input, wide) = (tape.buffer("input", Role::Batch, 64), tape.buffer("wide", Role::Batch, 512));
    let mut add = |a, b| sum(&mut tape, &[a, b]).unwrap();
    let first = add(input, input);
    let wider = add(wide, wide);
    add(wider, wide);
    let second = add(input, input);
    let total = add(first, second);
    tape.name("total", total);
    let plan = tape.finish().unwrap();
    assert_eq!(plan.least_bytes, 4 * (64 + 512 + 64 + 2 * 512));
    // The two wide ones have places of their own, of which the later small ones take one each.
    assert_eq!(plan.bytes(), plan.least_bytes);
}

/// The models of the built-in recipes at the sizes of their data: name, config, batches.
fn recipes() -> impl Iterator<Item = (&'static str, ModelConfig, Vec<usize>)> {
    Recipe::names().map(|name| {
        let (seq_len, vocab_size) = match name {
            "tiny-sudoku4" => (16, 6),
            "tiny-sudoku6" => (36, 8),
            "tiny-maze" => (121, 6),
            "maze-hard" => (900, 6),
            "arc1" | "arc2" => (900, 12),
            _ => (81, 11),
        };
        let arch = Recipe::load(name, &[]).unwrap().arch;
        let batches = if name == "maze-hard" { vec![8, 1] } else { vec![8] };
        (
            name,
            ModelConfig { arch, vocab_size, seq_len, num_puzzle_identifiers: 1, identifiers: None },
            batches,
        )
    })
}

/// The bound of every plan's memory over the least possible.
const WASTE: f64 = 1.25;

fn recipes_take_little_more_than_the_least() {
    for (name, config, batches) in recipes() {
        for (batch, precision, recompute) in batches.into_iter().flat_map(|batch| {
            let kinds = [Element::F32, Element::Bf16].map(|stored| [(stored, false), (stored, true)]);
            kinds.into_iter().flatten().map(move |(precision, recompute)| (batch, precision, recompute))
        }) {
            let target = Target { precision, recompute, ..Target::default() };
            let plan = train_plan(&config, &optimiser(batch), batch, target).unwrap();
            let ratio = plan.bytes() as f64 / plan.least_bytes as f64;
            let what = format!("{name}, B {batch}, {precision}, recompute {recompute}");
            assert!((1.0..=WASTE).contains(&ratio), "{what}: {ratio:.3} of the least possible");
        }
    }
}

/// With recomputation no recorded pass keeps more than the inputs of its MLPs: less than a third of what it kept, as
/// gate_up alone is five times as wide as they are.
fn recomputing_drops_inner_activations() {
    let (_, config, _) = recipes().find(|(name, ..)| *name == "sudoku-mlp").unwrap();
    let [kept, dropped] = [false, true].map(|recompute| {
        let target = Target { recompute, ..Target::default() };
        let plan = train_plan(&config, &optimiser(8), 8, target).unwrap();
        plan.buffers.iter().filter(|buffer| buffer.shared).map(|buffer| buffer.words).sum::<usize>()
    });
    assert!(3 * dropped < kept, "{dropped} words of {kept} are left");
}
