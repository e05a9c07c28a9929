//! A step in micro-batches against the same step in one piece: the same samples halt, the same gradients come out but for
//! roundings, and a run goes from one size to another.

use std::path::Path;

use libtest_mimic::{Failed, Trial};
use trm::engine::{Device, Run};
use trm::model::step::{Batches, train_plan};
use trm::model::{ArchName, ModelConfig};
use trm::plan::{Buffer, Plan, Role, Target};
use trm::train::Trainer;

use crate::check::nmse;
use crate::data::trials;
use crate::harness::{Needs, on_each};
use crate::models::{Session, architectures, optimiser, small};
use crate::train_puzzle_emb::{data, recipe};

/// One test for each architecture and device, and what holds of plans and runs.
pub fn tests() -> Vec<Trial> {
    let mut all = trials("micro_batches", &[("odd_sizes_are_refused", odd_sizes_are_refused)]);
    for (name, config) in architectures() {
        let [cpu, gpu] =
            on_each(&format!("micro_batches::{}", name.replace(' ', "_")), Needs::Adapter, move |device| {
                agrees(device, &config)
            });
        all.push(cpu);
        // What differs on a device is the kernels, and these launch them all.
        if ["trm attention", "trm continue head", "trm damped with noise"].contains(&name) {
            all.push(gpu);
        }
    }
    all.extend(on_each("micro_batches::a_run_changes_its_size", Needs::Adapter, run_changes_size));
    all
}

const BATCH: usize = 6;

fn plan(config: &ModelConfig, micro_batch: usize, target: Target) -> trm::Result<Plan> {
    train_plan(config, &optimiser(BATCH), Batches { micro_batch, ..BATCH.into() }, target)
}

fn session(device: &Device, config: &ModelConfig, micro_batch: usize) -> trm::Result<Session> {
    let run = Run::new(device, plan(config, micro_batch, device.target())?)?;
    Session::of(run, config, BATCH)
}

/// Steps of a session: long enough for samples to halt, by exploration too, and new ones to come.
const STEPS: u32 = 5;

fn agrees(device: &Device, config: &ModelConfig) -> Result<(), Failed> {
    let mut whole = session(device, config, BATCH)?;
    let parts = [1, 3].map(|micro_batch| session(device, config, micro_batch));
    let mut parts = parts.into_iter().collect::<trm::Result<Vec<Session>>>()?;
    for step in 1..=STEPS {
        // From the same point in every step: the optimiser turns the sign of a rounding into a whole step.
        let lasting = whole.run.plan.buffers.iter().filter(|buffer| lasts(buffer));
        for name in lasting.map(|buffer| buffer.name.clone()).collect::<Vec<String>>() {
            let words = whole.run.read(&name)?;
            parts.iter_mut().try_for_each(|part| part.run.write(&name, &words))?;
        }
        whole.step(step)?;
        for part in &mut parts {
            part.step(step)?;
            compare(&mut whole, part).map_err(|error| format!("step {step}: {error}"))?;
        }
    }
    Ok(())
}

fn lasts(buffer: &Buffer) -> bool {
    matches!(buffer.role, Role::Weights | Role::Optimiser | Role::Carry) && !buffer.shared
}

fn compare(whole: &mut Session, part: &mut Session) -> Result<(), String> {
    let case = |name: &str, count: usize| format!("{name} in {count} micro-batches");
    let count = part.run.plan.micro_batches;
    for name in ["carry.halted", "carry.steps", "carry.data.inputs", "carry.data.puzzle_identifiers"] {
        let [found, expected] = [part.run.read_ints(name), whole.run.read_ints(name)];
        if found.map_err(|error| error.to_string())? != expected.map_err(|error| error.to_string())? {
            return Err(format!("{} differs", case(name, count)));
        }
    }
    for name in ["gradients", "metrics", "puzzle_rows", "carry.state.L"] {
        let [found, expected] = [part.run.read_floats(name), whole.run.read_floats(name)];
        let (Ok(found), Ok(expected)) = (found, expected) else { continue };
        let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
        let error = nmse(&found, &expected);
        if error.is_nan() || error > 1e-11 {
            return Err(format!("{}: NMSE {error:e}", case(name, count)));
        }
    }
    Ok(())
}

/// A state that was saved in micro-batches of one size goes on in another, and the data is the same.
fn run_changes_size(device: &Device) -> Result<(), Failed> {
    let (_folder, dataset) = data(41)?;
    let sizes = ["train.micro_batch=3", "train.micro_batch=2", "train.micro_batch=6"];
    let mut losses = Vec::new();
    let mut state = None;
    for size in sizes {
        let recipe = recipe(&["train.global_batch_size=6", size])?;
        let mut trainer = Trainer::new(&recipe, dataset.clone(), device)?;
        if let Some(state) = &state {
            trainer.restore(Path::new("state"), state)?;
        }
        for _ in 0..5 {
            trainer.step()?;
        }
        while let Some(metrics) = trainer.metrics(true)? {
            losses.push(metrics.metrics.loss());
        }
        state = Some(trainer.state()?);
    }
    let recipe = recipe(&["train.global_batch_size=6", "train.micro_batch=6"])?;
    let mut whole = Trainer::new(&recipe, dataset, device)?;
    for (step, loss) in losses.into_iter().enumerate() {
        whole.step()?;
        let expected = whole.metrics(true)?.ok_or("a step has no metrics")?.metrics.loss();
        if (loss - expected).abs().is_nan() || (loss - expected).abs() > 1e-4 * expected {
            return Err(format!("step {}: loss {loss}, in one piece {expected}", step + 1).into());
        }
    }
    Ok(())
}

fn odd_sizes_are_refused() {
    for micro_batch in [0, 4, 7] {
        let error = plan(&small(ArchName::Trm), micro_batch, Target::default()).unwrap_err();
        let expected = format!("train.micro_batch: {micro_batch} does not divide the batch of 6");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
    let of = |micro_batch| plan(&small(ArchName::Trm), micro_batch, Target::default()).unwrap();
    let [whole, parts] = [6, 1].map(of);
    assert_eq!((whole.micro_batches, parts.micro_batches), (1, 6));
    assert!(parts.bytes() < whole.bytes());
}
