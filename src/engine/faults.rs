//! Faults on demand, for tests: an engine that fails at a call of one's choice, and from then on for good, as a lost device
//! does.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{Counts, Engine, GiveUp, Times};
use crate::plan::{Half, Slice};
use crate::{Error, Result};

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The device is gone.
    Lost,
    /// Its memory is used up.
    Memory,
}

/// Where in the life of a run it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A plan is loaded.
    Load,
    /// The host writes.
    Write,
    /// A step is submitted.
    Submit,
    /// The metric block of a step is taken.
    Metrics,
    /// The host reads.
    Read,
}

/// One fault that is to come, once or more often, at a call of a stage.
#[derive(Debug)]
pub struct Faults {
    fault: Fault,
    stage: Stage,
    /// Calls of that stage that still go well.
    left: AtomicU32,
    /// How often it comes, each time to another device,
    times: u32,
    /// and how often it came.
    struck: AtomicU32,
}

impl Faults {
    /// After `calls` calls of `stage`.
    pub fn after(calls: u32, stage: Stage, fault: Fault) -> Faults {
        Faults { fault, stage, left: AtomicU32::new(calls), times: 1, struck: AtomicU32::new(0) }
    }

    /// What the variable `TRM_FAULT` asks for, as in `submit:37`: a device that is lost after 37 calls of a stage.
    pub fn of_environment() -> Option<Faults> {
        let wanted = std::env::var("TRM_FAULT").ok()?;
        let (stage, calls) = wanted.split_once(':')?;
        let stages = [Stage::Load, Stage::Write, Stage::Submit, Stage::Metrics, Stage::Read];
        let stage = stages.into_iter().find(|known| format!("{known:?}").eq_ignore_ascii_case(stage))?;
        Some(Faults::after(calls.parse().ok()?, stage, Fault::Lost))
    }

    /// Whether it has come.
    pub fn struck(&self) -> bool {
        self.struck.load(Ordering::SeqCst) > 0
    }

    /// The same that comes to so many devices one after the other, from the second on at the first such call.
    pub fn on_devices(self, times: u32) -> Faults {
        Faults { times, ..self }
    }

    /// Fails where the fault is due; another device is whole again.
    pub(super) fn pass(&self, stage: Stage) -> Result<()> {
        if stage != self.stage || self.struck.load(Ordering::SeqCst) >= self.times {
            return Ok(());
        }
        let count = |left: u32| left.checked_sub(1);
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count) {
            Ok(_) => Ok(()),
            Err(_) => {
                self.struck.fetch_add(1, Ordering::SeqCst);
                Err(self.error())
            }
        }
    }

    fn error(&self) -> Error {
        let device = "of a test".to_owned();
        match self.fault {
            Fault::Lost => Error::Lost { device, problem: "lost (a test)".into() },
            Fault::Memory => Error::Memory { device, needed: 1 },
        }
    }
}

/// An engine to which a fault comes.
pub(super) struct FaultyEngine {
    pub(super) engine: Box<dyn Engine>,
    pub(super) faults: std::sync::Arc<Faults>,
    pub(super) broken: bool,
}

impl FaultyEngine {
    fn pass(&mut self, stage: Stage) -> Result<()> {
        if self.broken {
            return Err(self.faults.error());
        }
        self.faults.pass(stage).inspect_err(|_| self.broken = true)
    }
}

impl Engine for FaultyEngine {
    fn write(&mut self, slice: Slice, words: &[u32]) -> Result<()> {
        self.pass(Stage::Write)?;
        self.engine.write(slice, words)
    }

    fn read(&mut self, slice: Slice) -> Result<Vec<u32>> {
        self.pass(Stage::Read)?;
        self.engine.read(slice)
    }

    fn submit(&mut self, half: Half, give_up: GiveUp<'_>) -> Result<bool> {
        self.pass(Stage::Submit)?;
        self.engine.submit(half, give_up)
    }

    fn timed_submit(&mut self) -> Result<Times> {
        self.pass(Stage::Submit)?;
        self.engine.timed_submit()
    }

    fn repeat(&mut self, index: usize, times: u32) -> Result<Times> {
        self.pass(Stage::Submit)?;
        self.engine.repeat(index, times)
    }

    fn counts(&self) -> Counts {
        self.engine.counts()
    }

    fn metrics(&mut self, wait: bool) -> Result<Option<Vec<f32>>> {
        self.pass(Stage::Metrics)?;
        self.engine.metrics(wait)
    }
}
