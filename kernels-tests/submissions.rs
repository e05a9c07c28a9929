//! Steps that are submitted piece by piece: the same bits, and as many pieces as a bound on their time asks for.

use std::cell::Cell;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use trm::engine::{Device, Run};
use trm::model::ArchName;
use trm::model::step::{Batches, train_plan};

use trm::train::{At, Checkpoint, Outcome, RunOptions, Unobserved, run};

use crate::harness::{Needs, on_each};
use crate::models::{Session, optimiser, small};
use crate::train_puzzle_emb::{data, recipe};

/// This file's tests.
pub fn tests() -> Vec<Trial> {
    let pieces = on_each("submissions::pieces_change_nothing", Needs::Adapter, pieces_change_nothing);
    let given_up = on_each("submissions::a_stop_leaves_a_step_undone", Needs::Adapter, left_undone);
    pieces.into_iter().chain(given_up).collect()
}

const BATCH: usize = 4;

/// The state after a few steps, the submissions of the last one, and the dispatches that a step runs.
fn train(device: &Device) -> trm::Result<(Vec<u32>, u64, usize)> {
    let config = small(ArchName::Trm);
    let batches = Batches { micro_batch: 2, ..BATCH.into() };
    let run = Run::new(device, train_plan(&config, &optimiser(BATCH), batches, device.target())?)?;
    let mut session = Session::of(run, &config, BATCH)?;
    let mut submissions = 0;
    for step in 1..=4 {
        let before = session.run.counts().submissions;
        session.step(step)?;
        submissions = session.run.counts().submissions - before;
    }
    let state = [session.run.read("weights")?, session.run.read("carry.state.L")?].concat();
    Ok((state, submissions, session.run.plan.sequence().count()))
}

fn pieces_change_nothing(device: &Device) -> Result<(), Failed> {
    // Tests share a device, and its counts with it.
    let device = &device.reopened()?;
    let bounds = [Duration::ZERO, Duration::from_secs(1000), Duration::from_nanos(1)];
    let [whole, generous, strict] = bounds.map(|most| train(&device.clone().submitting_at_most(most)));
    let ((whole, one, dispatches), (generous, still_one, _), (strict, all, _)) = (whole?, generous?, strict?);
    if whole != generous || whole != strict {
        return Err("steps in pieces end elsewhere".into());
    }
    let expected = if device.info().kind == "cpu" { (0, 0, 0) } else { (1, 1, dispatches as u64) };
    match (one, still_one, all) == expected {
        true => Ok(()),
        false => Err(format!("{one}, {still_one} and {all} submissions of {dispatches} dispatches").into()),
    }
}

/// A run that is stopped inside of a step whose beginning is saved ends there at once, and goes on as if nothing had been.
fn left_undone(device: &Device) -> Result<(), Failed> {
    let device = &device.clone().submitting_at_most(Duration::from_nanos(1));
    let (folder, _) = data(41)?;
    let recipe = recipe(&[
        "train.global_batch_size=8",
        "train.epochs=1",
        "train.eval_interval=1",
        "train.checkpoint_every=1",
    ])?;
    let out = tempfile::tempdir()?;
    // Says stop after it was asked so often; returns how often it was asked, too.
    let train = |name: &str, asked: u32, resume| -> trm::Result<(Outcome, u32)> {
        let (out, calls) = (out.path().join(name), Cell::new(0));
        let stop = || {
            calls.set(calls.get() + 1);
            calls.get() > asked
        };
        let options = RunOptions { resume, ..RunOptions::new(&recipe, folder.path(), &out, device) };
        let outcome = run(options, &mut Unobserved(stop))?;
        Ok((outcome, calls.get()))
    };
    let end = |name: &str| -> trm::Result<Vec<u8>> {
        let last = Checkpoint::list(&out.path().join(name))?.pop().map(|checkpoint| checkpoint.path);
        trm::files::read(&last.unwrap_or_default())
    };
    let (whole, calls) = train("undisturbed", u32::MAX, None)?;
    // Inside of the first step, and of a later one.
    for (name, asked) in [("first", 20), ("later", calls / 2)] {
        let (stopped, calls) = train(name, asked, None)?;
        if stopped.finished || calls != asked + 1 || (name == "first") != (stopped.steps == 0) {
            return Err(format!("{name}: after {} steps, asked {calls} times", stopped.steps).into());
        }
        let (finished, _) = train(name, u32::MAX, Some(At::Latest))?;
        if finished.steps != whole.steps || end(name)? != end("undisturbed")? {
            return Err(format!("{name}: another end than without a stop").into());
        }
    }
    Ok(())
}
