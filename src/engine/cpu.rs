//! The CPU engine: the same plan, dispatch by dispatch, through each kernel's native twin.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;

use super::memory::{Room, room, taken};
use super::{Counts, Engine, GiveUp, Times};
use crate::plan::{Call, Element, Half, Input, Kept, Output, Plan, Pool, Role, Slice, StoredMut};
use crate::{Error, Result};

/// Buffers in memory and the plan that works on them.
#[derive(Debug)]
pub struct CpuEngine {
    plan: Arc<Plan>,
    buffers: Vec<Vec<f32>>,
    metrics_at: Option<Slice>,
    metrics: VecDeque<Vec<f32>>,
    pool: Pool,
    kept: Kept,
}

impl CpuEngine {
    /// Allocates the plan's buffers, all zero.
    ///
    /// # Errors
    /// [`Error::Memory`] where the system gives no more.
    pub fn new(plan: Arc<Plan>) -> Result<CpuEngine> {
        let refused = |_| Error::Memory { device: "CPU engine".into(), needed: plan.bytes() };
        let allocate = |words: usize| {
            let mut buffer = Vec::new();
            buffer.try_reserve_exact(words).map_err(refused)?;
            buffer.resize(words, 0.0);
            Ok(buffer)
        };
        let buffers = plan.buffers.iter().map(|buffer| allocate(buffer.words)).collect::<Result<_>>()?;
        let metrics_at = plan.view("metrics").ok();
        Ok(CpuEngine {
            plan,
            buffers,
            metrics_at,
            metrics: VecDeque::new(),
            pool: Pool::default(),
            kept: Kept::default(),
        })
    }

    /// Written buffers are taken out of the list for the time of the call: a plan never binds them twice.
    fn run(&mut self, (index, micro_batch): (usize, usize)) {
        let (buffers, roles) = (&mut self.buffers, &self.plan.buffers);
        let dispatch = &self.plan.dispatches[index];
        let bindings = || dispatch.interface.bindings.iter().zip(self.plan.slices(index, micro_batch));
        let written = || bindings().filter(|(binding, _)| binding.writable);
        let mut taken: Vec<Vec<f32>> =
            written().map(|(_, slice)| std::mem::take(&mut buffers[slice.buffer])).collect();
        let mut narrowed: Vec<Vec<f32>> = taken.iter().map(|_| Vec::new()).collect();
        let widened: Vec<OnceCell<Vec<f32>>> = bindings().map(|_| OnceCell::new()).collect();
        let read = bindings().zip(&widened).filter(|((binding, _), _)| !binding.writable);
        let inputs = read.map(|((binding, slice), widened)| Input {
            name: &binding.name,
            words: &buffers[slice.buffer][slice.offset..slice.offset + slice.words],
            element: slice.element,
            lasting: (roles[slice.buffer].role == Role::Weights).then_some((slice.buffer, slice.offset)),
            widened,
        });
        let memory = taken.iter_mut().zip(&mut narrowed);
        let outputs = written().zip(memory).map(|((binding, slice), (words, widened))| Output {
            name: &binding.name,
            words: &mut words[slice.offset..slice.offset + slice.words],
            element: slice.element,
            widened,
        });
        let mut call = Call {
            interface: &dispatch.interface,
            params: &dispatch.params,
            constants: &dispatch.constants,
            inputs: inputs.collect(),
            outputs: outputs.collect(),
            pool: &self.pool,
            kept: &self.kept,
        };
        (dispatch.entry.twin)(&mut call);
        for ((_, slice), (words, narrowed)) in written().zip(taken.iter_mut().zip(&narrowed)) {
            if !narrowed.is_empty() {
                narrow(slice.element, narrowed, &mut words[slice.offset..slice.offset + slice.words]);
            }
            buffers[slice.buffer] = std::mem::take(words);
            forget(&mut self.kept, slice.buffer);
        }
        let widened = widened.into_iter().filter_map(OnceCell::into_inner).chain(narrowed);
        self.pool.get_mut().extend(widened.filter(|elements| elements.capacity() > 0));
    }

    fn run_half(&mut self, half: Half, give_up: GiveUp<'_>) -> bool {
        let plan = self.plan.clone();
        let mut sequence = plan.half(half);
        sequence.all(|dispatch| {
            let goes_on = !give_up();
            if goes_on {
                self.run(dispatch);
            }
            goes_on
        })
    }

    fn words(&mut self, slice: Slice) -> &mut [f32] {
        &mut self.buffers[slice.buffer][slice.offset..slice.offset + slice.words]
    }
}

/// Drops what was made of a buffer that has changed.
fn forget(kept: &mut Kept, buffer: usize) {
    kept.get_mut().retain(|(made_of, ..), _| *made_of != buffer);
}

/// Halves from what a twin left in f32.
fn narrow(element: Element, elements: &[f32], words: &mut [f32]) {
    const BLOCK: usize = 1 << 14;
    let pieces = StoredMut::of(words, element).chunks(BLOCK).into_par_iter().zip(elements.par_chunks(BLOCK));
    pieces.for_each(|(mut halves, elements)| halves.write(0, elements));
}

/// Refuses a plan that exceeds the memory that this process may take, its part where there are `sharers`, where the
/// system tells (Linux): allocating it would end the program; or one with which the process would take more than `most`
/// bytes. Beside its buffers, products keep weights packed for the forward and the reverse pass, and pack
/// one operand, and the host holds a copy of all that a checkpoint keeps.
pub(super) fn check_memory(plan: &Plan, others: u64, sharers: u64, most: Option<u64>) -> Result<()> {
    let weights = plan.buffers.iter().filter(|buffer| buffer.role == Role::Weights);
    let packed = 2 * 4 * weights.map(|buffer| buffer.words as u64).sum::<u64>() + plan.largest_binding().0;
    let is_kept = |role| matches!(role, Role::Weights | Role::Optimiser | Role::Carry);
    let kept = plan.buffers.iter().filter(|buffer| is_kept(buffer.role));
    let needed = plan.bytes() + others + packed + 4 * kept.map(|buffer| buffer.words as u64).sum::<u64>();
    let of_machine = room().map(|room| Room { bytes: room.bytes / sharers, ..room });
    let granted = most.map(|bytes| Room {
        bytes: bytes.saturating_sub(taken().unwrap_or(0)),
        within: " within what it may take",
    });
    match of_machine.into_iter().chain(granted).min_by_key(|room| room.bytes) {
        Some(Room { bytes: limit, within }) if needed > limit => {
            let fix = "use a smaller batch".into();
            Err(Error::Limit { what: format!("the CPU engine{within}"), needed, limit, unit: "bytes", fix })
        }
        _ => Ok(()),
    }
}

impl Engine for CpuEngine {
    fn write(&mut self, slice: Slice, words: &[u32]) -> Result<()> {
        self.words(slice).copy_from_slice(bytemuck::cast_slice(words));
        forget(&mut self.kept, slice.buffer);
        Ok(())
    }

    fn read(&mut self, slice: Slice) -> Result<Vec<u32>> {
        Ok(bytemuck::cast_slice(self.words(slice)).to_vec())
    }

    fn submit(&mut self, half: Half, give_up: GiveUp<'_>) -> Result<bool> {
        let done = self.run_half(half, give_up);
        if let (Some(slice), true) = (self.metrics_at, done && half != Half::First) {
            let block = self.words(slice).to_vec();
            self.metrics.push_back(block);
        }
        Ok(done)
    }

    fn timed_submit(&mut self) -> Result<Times> {
        let start = Instant::now();
        self.run_half(Half::Whole, &|| false);
        Ok(Times { whole: start.elapsed(), ..Times::default() })
    }

    fn repeat(&mut self, index: usize, times: u32) -> Result<Times> {
        let start = Instant::now();
        (0..times).for_each(|_| self.run((index, 0)));
        Ok(Times { whole: start.elapsed(), ..Times::default() })
    }

    fn counts(&self) -> Counts {
        Counts::default()
    }

    fn metrics(&mut self, _wait: bool) -> Result<Option<Vec<f32>>> {
        Ok(self.metrics.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::linear::{After, linear};
    use crate::ops::store_weight::Weight;
    use crate::plan::{Axis, LinearForm, Shape, Tape, Target};

    /// y = W x, W being a buffer of weights or a copy of it in halves that is made anew in every step.
    fn product(precision: Element) -> CpuEngine {
        let mut tape = Tape::new(Target { precision, ..Target::default() });
        let master = tape.buffer("weights", Role::Weights, 6 * 4);
        let x = tape.buffer("x", Role::Batch, 5 * 4);
        let weight = Weight::store(&mut tape, master, 4).unwrap();
        let form = LinearForm { axis: Axis::Width, input: Shape { batch: 1, length: 5, width: 4 }, out: 6 };
        let y = linear(&mut tape, form, x, weight, After::Nothing).unwrap();
        tape.name("y", y);
        CpuEngine::new(Arc::new(tape.finish().unwrap())).unwrap()
    }

    fn run(engine: &mut CpuEngine, weight: f32) -> Vec<u32> {
        let view = |name: &str| engine.plan.view(name).unwrap();
        let (weights, x, y) = (view("weights"), view("x"), view("y"));
        engine.write(x, &[1.0f32.to_bits(); 20]).unwrap();
        engine.write(weights, &[weight.to_bits(); 24]).unwrap();
        assert!(engine.submit(Half::Whole, &|| false).unwrap());
        engine.read(y).unwrap()
    }

    #[test]
    fn what_was_packed_of_weights_is_forgotten_when_they_change() {
        for precision in [Element::F32, Element::Bf16, Element::F16] {
            let mut engine = product(precision);
            let first = run(&mut engine, 1.0);
            let second = run(&mut engine, 2.0);
            assert_ne!(first, second, "{precision}");
            assert_eq!(second, run(&mut product(precision), 2.0), "{precision}");
            assert_eq!(first, run(&mut engine, 1.0), "{precision}");
        }
    }
}
