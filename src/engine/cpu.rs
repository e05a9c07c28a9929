//! The CPU engine: the same plan, dispatch by dispatch, through each kernel's native twin.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::{Counts, Engine, Times};
use crate::plan::{Call, Dispatch, Element, Input, Plan, Slice};
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

    /// Written buffers are taken out of the list for the time of the call: a plan never binds them twice. Twins
    /// compute in f32: halves that they write are widened before and narrowed after the call.
    fn run(buffers: &mut [Vec<f32>], dispatch: &Dispatch) {
        let bindings =
            || dispatch.interface.bindings.iter().zip(dispatch.slices.iter().zip(&dispatch.written));
        let written = || bindings().filter(|(binding, _)| binding.writable);
        let mut taken: Vec<Vec<f32>> =
            written().map(|(_, (slice, _))| std::mem::take(&mut buffers[slice.buffer])).collect();
        let mut widened: Vec<Vec<f32>> = written()
            .zip(&taken)
            .map(|((_, (slice, _)), words)| match slice.element {
                Element::F32 => Vec::new(),
                element => element.widened(&words[slice.offset..slice.offset + slice.words]),
            })
            .collect();
        let cells: Vec<OnceCell<Vec<f32>>> = bindings().map(|_| OnceCell::new()).collect();
        let read = bindings().zip(&cells).filter(|((binding, _), _)| !binding.writable);
        let inputs = read.map(|((binding, (slice, _)), widened)| Input {
            name: &binding.name,
            words: &buffers[slice.buffer][slice.offset..slice.offset + slice.words],
            element: slice.element,
            widened,
        });
        let outputs =
            written().zip(taken.iter_mut().zip(&mut widened)).map(|((binding, (slice, _)), both)| {
                let words = match slice.element {
                    Element::F32 => &mut both.0[slice.offset..slice.offset + slice.words],
                    _ => &mut both.1[..],
                };
                (binding.name.as_str(), words)
            });
        let mut call = Call {
            interface: &dispatch.interface,
            params: &dispatch.params,
            constants: &dispatch.constants,
            inputs: inputs.collect(),
            outputs: outputs.collect(),
        };
        (dispatch.entry.twin)(&mut call);
        for ((_, (slice, element)), (mut words, widened)) in written().zip(taken.into_iter().zip(&widened)) {
            if slice.element != Element::F32 {
                element.narrow(widened, &mut words[slice.offset..slice.offset + slice.words]);
            }
            buffers[slice.buffer] = words;
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
