//! A plan in an engine.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Counts, Device, Engine, GiveUp, Times};
use crate::plan::{Half, Plan, Slice};
use crate::{Error, Result};

/// A plan loaded into an engine, with typed access by name.
pub struct Run {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Locked by nobody: whoever runs a plan has it for itself. Yet with it a run can be shared between threads, though
    /// engines cannot.
    engine: Mutex<Box<dyn Engine>>,
}

impl Run {
    /// Allocates the plan's buffers on `device`, all zero, and prepares its kernels.
    ///
    /// # Errors
    /// [`crate::Error::Limit`] where a buffer or binding exceeds what the device allows,
    /// [`crate::Error::Memory`] where it has none left, [`crate::Error::Device`] where the driver refuses otherwise.
    pub fn new(device: &Device, plan: Plan) -> Result<Run> {
        let plan = Arc::new(plan);
        Ok(Run { engine: Mutex::new(device.load(plan.clone())?), plan })
    }

    /// [`Run::new`] for the plan that `plan_of` makes of `batch` samples; where it exceeds a limit, that of the device
    /// or one of any plan, the error names the largest batch that fits.
    ///
    /// # Errors
    /// As [`Run::new`], and what `plan_of` refuses.
    pub fn of_batch(device: &Device, batch: usize, plan_of: impl Fn(usize) -> Result<Plan>) -> Result<Run> {
        let fitting = |batch| plan_of(batch).and_then(|plan| device.check(&plan).map(|()| plan));
        let (what, needed, limit, unit) = match fitting(batch) {
            Ok(plan) => return Run::new(device, plan),
            Err(Error::Limit { what, needed, limit, unit, .. }) => (what, needed, limit, unit),
            Err(error) => return Err(error),
        };
        // What is too much for one sample too has its own remedy.
        fitting(1)?;
        let (mut fits, mut exceeds) = (1, batch);
        while exceeds - fits > 1 {
            let middle = fits + (exceeds - fits) / 2;
            match fitting(middle) {
                Ok(_) => fits = middle,
                Err(Error::Limit { .. }) => exceeds = middle,
                Err(error) => return Err(error),
            }
        }
        let fix = format!(
            "the largest batch that fits is {fits}: take that (train.global_batch_size, `batch`), store less of each \
             sample (`precision` bf16; in training `recompute`), or use another device"
        );
        Err(Error::Limit { what: format!("a batch of {batch}: {what}"), needed, limit, unit, fix })
    }

    /// Overwrites the first words of a named buffer or view.
    pub fn write_floats(&mut self, name: &str, values: &[f32]) -> Result<()> {
        self.write(name, bytemuck::cast_slice(values))
    }

    /// Overwrites the first words of a named buffer or view.
    pub fn write_ints(&mut self, name: &str, values: &[i32]) -> Result<()> {
        self.write(name, bytemuck::cast_slice(values))
    }

    /// Overwrites the first words of a named buffer, split or not, or view.
    pub fn write(&mut self, name: &str, words: &[u32]) -> Result<()> {
        let mut rest = words;
        for slice in self.plan.parts(name)? {
            let (now, later) = rest.split_at(rest.len().min(slice.words));
            self.engine().write(Slice { words: now.len(), ..slice }, now)?;
            rest = later;
        }
        Ok(())
    }

    /// A whole named buffer or view.
    pub fn read_floats(&mut self, name: &str) -> Result<Vec<f32>> {
        Ok(bytemuck::cast_vec(self.read(name)?))
    }

    /// A whole named buffer or view.
    pub fn read_ints(&mut self, name: &str) -> Result<Vec<i32>> {
        Ok(bytemuck::cast_vec(self.read(name)?))
    }

    /// A whole named buffer or view, or all parts of a split buffer one after the other.
    pub fn read(&mut self, name: &str) -> Result<Vec<u32>> {
        let mut parts = self.plan.parts(name)?.into_iter();
        let mut words = parts.next().map_or(Ok(Vec::new()), |slice| self.engine().read(slice))?;
        for slice in parts {
            words.extend_from_slice(&self.engine().read(slice)?);
        }
        Ok(words)
    }

    /// Runs the plan once.
    pub fn submit(&mut self) -> Result<()> {
        self.submit_unless(Half::Whole, &|| false).map(drop)
    }

    /// Runs a half of the plan, or all of it; see [`Engine::submit`].
    pub fn submit_unless(&mut self, half: Half, give_up: GiveUp<'_>) -> Result<bool> {
        self.engine().submit(half, give_up)
    }

    /// See [`Engine::timed_submit`].
    pub fn timed_submit(&mut self) -> Result<Times> {
        self.engine().timed_submit()
    }

    /// See [`Engine::repeat`].
    pub fn repeat(&mut self, index: usize, times: u32) -> Result<Times> {
        self.engine().repeat(index, times)
    }

    /// See [`Engine::counts`].
    pub fn counts(&mut self) -> Counts {
        self.engine().counts()
    }

    /// See [`Engine::metrics`].
    pub fn metrics(&mut self, wait: bool) -> Result<Option<Vec<f32>>> {
        self.engine().metrics(wait)
    }

    fn engine(&mut self) -> &mut dyn Engine {
        self.engine.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut()
    }
}
