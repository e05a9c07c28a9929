//! Steps that are submitted piece by piece: the same bits, and as many pieces as a bound on their time asks for.

use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use trm::engine::{Device, Run};
use trm::model::ArchName;
use trm::model::step::{Batches, train_plan};

use crate::harness::{Needs, on_each};
use crate::models::{Session, optimiser, small};

/// This file's tests.
pub fn tests() -> Vec<Trial> {
    on_each("submissions::pieces_change_nothing", Needs::Adapter, pieces_change_nothing).into()
}

const BATCH: usize = 4;

/// The state after a few steps, the submissions of the last one, and the dispatches that a step runs.
fn train(device: &Device) -> trm::Result<(Vec<u32>, u64, usize)> {
    let config = small(ArchName::Trm);
    let batches = Batches { batch: BATCH, micro_batch: 2, ranks: 1 };
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
