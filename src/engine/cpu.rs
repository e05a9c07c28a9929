//! The CPU engine: the same plan, dispatch by dispatch, through each kernel's native twin.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::{Counts, Engine, Times};
use crate::plan::{Call, Dispatch, Plan, Slice};
use crate::{Error, Result};

/// Buffers in memory and the plan that works on them.
#[derive(Debug)]
pub struct CpuEngine {
    plan: Arc<Plan>,
    buffers: Vec<Vec<f32>>,
    metrics_at: Option<Slice>,
    metrics: VecDeque<Vec<f32>>,
}

impl CpuEngine {
    /// Allocates the plan's buffers, all zero.
    pub fn new(plan: Arc<Plan>) -> CpuEngine {
        let buffers = plan.buffers.iter().map(|buffer| vec![0.0; buffer.words]).collect();
        let metrics_at = plan.view("metrics").ok();
        CpuEngine { plan, buffers, metrics_at, metrics: VecDeque::new() }
    }

    /// Written buffers are taken out of the list for the time of the call: a plan never binds them twice.
    fn run(buffers: &mut [Vec<f32>], dispatch: &Dispatch) {
        let bindings = || dispatch.interface.bindings.iter().zip(&dispatch.slices);
        let mut taken: Vec<Vec<f32>> = bindings()
            .filter(|(binding, _)| binding.writable)
            .map(|(_, slice)| std::mem::take(&mut buffers[slice.buffer]))
            .collect();
        let inputs = bindings().filter(|(binding, _)| !binding.writable).map(|(binding, slice)| {
            (binding.name.as_str(), &buffers[slice.buffer][slice.offset..slice.offset + slice.words])
        });
        let written = bindings().filter(|(binding, _)| binding.writable).zip(&mut taken);
        let outputs = written.map(|((binding, slice), words)| {
            (binding.name.as_str(), &mut words[slice.offset..slice.offset + slice.words])
        });
        let mut call = Call {
            interface: &dispatch.interface,
            params: &dispatch.params,
            constants: &dispatch.constants,
            inputs: inputs.collect(),
            outputs: outputs.collect(),
        };
        (dispatch.entry.twin)(&mut call);
        let places = bindings().filter(|(binding, _)| binding.writable).map(|(_, slice)| slice.buffer);
        for (buffer, words) in places.zip(taken) {
            buffers[buffer] = words;
        }
    }

    fn words(&mut self, slice: Slice) -> &mut [f32] {
        &mut self.buffers[slice.buffer][slice.offset..slice.offset + slice.words]
    }
}

/// Refuses a plan that exceeds the free memory, where the system tells (Linux): allocating it would end the program.
pub(super) fn check_memory(plan: &Plan) -> Result<()> {
    match (plan.bytes(), available_bytes()) {
        (needed, Some(limit)) if needed > limit => {
            let fix = "use a smaller batch".into();
            Err(Error::Limit { what: "the CPU engine".into(), needed, limit, unit: "bytes", fix })
        }
        _ => Ok(()),
    }
}

fn available_bytes() -> Option<u64> {
    let memory = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * 1024)
}

impl Engine for CpuEngine {
    fn write(&mut self, slice: Slice, words: &[u32]) -> Result<()> {
        self.words(slice).copy_from_slice(bytemuck::cast_slice(words));
        Ok(())
    }

    fn read(&mut self, slice: Slice) -> Result<Vec<u32>> {
        Ok(bytemuck::cast_slice(self.words(slice)).to_vec())
    }

    fn submit(&mut self) -> Result<()> {
        for dispatch in &self.plan.dispatches {
            CpuEngine::run(&mut self.buffers, dispatch);
        }
        if let Some(slice) = self.metrics_at {
            let block = self.words(slice).to_vec();
            self.metrics.push_back(block);
        }
        Ok(())
    }

    fn timed_submit(&mut self) -> Result<Times> {
        let plan = self.plan.clone();
        let start = Instant::now();
        plan.dispatches.iter().for_each(|dispatch| CpuEngine::run(&mut self.buffers, dispatch));
        Ok(Times { whole: start.elapsed(), ..Times::default() })
    }

    fn repeat(&mut self, index: usize, times: u32) -> Result<Times> {
        let plan = self.plan.clone();
        let start = Instant::now();
        (0..times).for_each(|_| CpuEngine::run(&mut self.buffers, &plan.dispatches[index]));
        Ok(Times { whole: start.elapsed(), ..Times::default() })
    }

    fn counts(&self) -> Counts {
        Counts::default()
    }

    fn metrics(&mut self, _wait: bool) -> Result<Option<Vec<f32>>> {
        Ok(self.metrics.pop_front())
    }
}
