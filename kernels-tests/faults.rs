//! Devices that fail: typed errors at every call, no panic, and a device opened anew that works.

use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use trm::engine::Device;
use trm::engine::faults::{Fault, Faults, Stage};
use trm::model::ArchName;
use trm::{Error, Result};

use crate::harness::{Needs, on_each};
use crate::models::{Session, small};

/// This file's tests.
pub fn tests() -> Vec<Trial> {
    let lost = on_each("faults::a_lost_device_says_so", Needs::Adapter, lost_device);
    let injected = on_each("faults::each_stage_can_fail", Needs::Adapter, each_stage);
    lost.into_iter().chain(injected).collect()
}

const BATCH: usize = 2;

fn weights_after(device: &Device, steps: u32) -> Result<Vec<u32>> {
    let mut session = Session::new(device, &small(ArchName::Trm), BATCH)?;
    (1..=steps).try_for_each(|step| session.step(step))?;
    session.run.read("weights")
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
