//! Devices that fail: typed errors at every call, no panic, and a device opened anew that works.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use trm::engine::faults::{Fault, Faults, Stage};
use trm::engine::{Device, Run};
use trm::model::ArchName;
use trm::plan::{Entry, Kernel, Role, Tape};
use trm::train::{Checkpoint, RunOptions, Unobserved, run};
use trm::{Error, Result};

use crate::harness::{Needs, on_each};
use crate::models::{Session, small};
use crate::train_puzzle_emb::{data, recipe};

/// This file's tests.
pub fn tests() -> Vec<Trial> {
    let lost = on_each("faults::a_lost_device_says_so", Needs::Adapter, lost_device);
    let injected = on_each("faults::each_stage_can_fail", Needs::Adapter, each_stage);
    let survived = on_each("faults::a_run_survives_each", Needs::Adapter, run_survives);
    let refused = on_each("faults::a_refused_kernel_harms_no_other", Needs::Adapter, refused_kernel);
    let hung = on_each("faults::a_hung_device_is_given_up", Needs::Adapter, hung_device);
    let all = lost.into_iter().chain(injected).chain(survived).chain(refused).chain(hung);
    all.collect()
}

const BATCH: usize = 2;

fn weights_after(device: &Device, steps: u32) -> Result<Vec<u32>> {
    let mut session = Session::new(device, &small(ArchName::Trm), BATCH)?;
    (1..=steps).try_for_each(|step| session.step(step))?;
    session.run.read("weights")
}

/// Takes a feature that only devices with matrix units are opened with.
static REFUSED: Kernel = Kernel {
    name: "refused",
    source: "enable f16;\n\
        @group(0) @binding(0) var<storage, read_write> y: array<u32>;\n\
        @compute @workgroup_size(64)\n\
        fn halve(@builtin(local_invocation_index) local: u32) { y[local] = u32(f16(y[local]) / 2.0h); }\n",
    entries: &[Entry { name: "halve", twin: |_| {} }],
};

/// What a driver does not compile is an error of that plan alone: trials of variants go on with others.
fn refused_kernel(device: &Device) -> std::result::Result<(), Failed> {
    if device.info().kind == "cpu" || device.cooperative().is_some() {
        return Ok(());
    }
    let mut tape = Tape::new(device.target());
    let y = tape.buffer("y", Role::Activation, 64);
    tape.call(&REFUSED, "halve").bind("y", y).threads(64).push()?;
    match Run::new(device, tape.finish()?).err() {
        Some(Error::Device { .. }) => {}
        other => return Err(format!("a kernel that takes f16: {other:?}").into()),
    }
    weights_after(device, 1)?;
    Ok(())
}

/// The driver is told to drop the device under a run.
fn lost_device(device: &Device) -> std::result::Result<(), Failed> {
    if device.info().kind == "cpu" {
        return Ok(());
    }
    let victim = device.reopened()?;
    let mut session = Session::new(&victim, &small(ArchName::Trm), BATCH)?;
    session.step(1)?;
    victim.destroy();
    // The driver may say so only when it is waited for.
    let waited = session.step(2).and_then(|()| {
        session.run.metrics(true)?;
        session.run.metrics(true)
    });
    let outcomes = [
        ("a step", waited.err()),
        ("submit", session.run.submit().err()),
        ("metrics", session.run.metrics(true).err()),
        ("read", session.run.read("weights").err()),
        ("load", Session::new(&victim, &small(ArchName::Trm), BATCH).err()),
    ];
    for (call, error) in outcomes {
        match error {
            Some(Error::Lost { .. }) => {}
            other => return Err(format!("{call} on a lost device: {other:?}").into()),
        }
    }
    match weights_after(&victim.reopened()?, 3)? == weights_after(device, 3)? {
        true => Ok(()),
        false => Err("a device opened anew computes something else".into()),
    }
}

/// A device that does not answer in time is given up with an error, whoever waits for it; and one opened anew works.
fn hung_device(device: &Device) -> std::result::Result<(), Failed> {
    if device.info().kind == "cpu" {
        return Ok(());
    }
    let slow = device.reopened()?;
    let hung = slow.clone().waiting_at_most(Duration::from_nanos(1));
    match weights_after(&hung, 1) {
        Err(Error::Lost { problem, .. }) if problem.contains("not answered") => {}
        other => {
            return Err(format!("a device that takes too long: {:?}", other.map(|state| state.len())).into());
        }
    }
    match weights_after(&slow.reopened()?, 3)? == weights_after(device, 3)? {
        true => Ok(()),
        false => Err("a device opened anew computes something else".into()),
    }
}

fn each_stage(device: &Device) -> std::result::Result<(), Failed> {
    let expected = weights_after(device, 3)?;
    for stage in [Stage::Load, Stage::Write, Stage::Submit, Stage::Read] {
        for fault in [Fault::Lost, Fault::Memory] {
            let calls = if stage == Stage::Submit { 1 } else { 0 };
            let device = device.clone().failing(Arc::new(Faults::after(calls, stage, fault)));
            let error = weights_after(&device, 3).err();
            if !error.as_ref().is_some_and(Error::is_device_fault) {
                return Err(format!("{fault:?} at {stage:?}: {error:?}").into());
            }
            // It comes once.
            if stage == Stage::Submit && weights_after(&device.reopened()?, 3)? != expected {
                return Err(format!("after {fault:?} at {stage:?} another try ends elsewhere").into());
            }
        }
    }
    Ok(())
}

/// A run whose device fails at any stage goes on from its last checkpoint on a new one, and ends as one that was not
/// disturbed; without tries it ends with the fault.
fn run_survives(device: &Device) -> std::result::Result<(), Failed> {
    let (folder, _) = data(41)?;
    let sets =
        ["train.global_batch_size=8", "train.epochs=2", "train.eval_interval=2", "train.checkpoint_every=2"];
    let recipe = recipe(&sets)?;
    let out = tempfile::tempdir()?;
    let end = |name: &str, device: &Device, retries: u32| -> Result<Vec<u8>> {
        let out = out.path().join(name);
        let options = RunOptions { retries, ..RunOptions::new(&recipe, folder.path(), &out, device) };
        run(options, &mut Unobserved(|| false))?;
        let last = Checkpoint::list(&out)?.pop().map(|checkpoint| checkpoint.path).unwrap_or_default();
        trm::files::read(&last)
    };
    let expected = end("undisturbed", device, 0)?;
    let stages =
        [(Stage::Load, 0), (Stage::Write, 12), (Stage::Submit, 3), (Stage::Metrics, 5), (Stage::Read, 9)];
    for (stage, calls) in stages {
        let faults = Arc::new(Faults::after(calls, stage, Fault::Lost));
        let found = end(&format!("{stage:?}"), &device.clone().failing(faults.clone()), 1);
        if !faults.struck() {
            return Err(format!("nothing happened at {stage:?}").into());
        }
        if found.map_err(|error| format!("{stage:?}: {error}"))? != expected {
            return Err(format!("after a fault at {stage:?} the run ends elsewhere").into());
        }
    }
    let faults = Arc::new(Faults::after(3, Stage::Submit, Fault::Memory));
    match end("no tries", &device.clone().failing(faults), 0) {
        Err(Error::Memory { .. }) => Ok(()),
        other => Err(format!("without tries: {:?}", other.map(|state| state.len())).into()),
    }
}
