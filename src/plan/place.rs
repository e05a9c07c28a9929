//! From virtual tensors to places in buffers.
//!
//! Tensors whose lifetimes do not overlap share a buffer. Each shared place is a buffer of its own, because drivers
//! track hazards per buffer, and belongs to one tensor at a time.

use super::dispatch::Pending;
use super::lifetime::{Lifetime, Lifetimes};
use super::tape::{Home, Tape, Tensor};
use super::{Buffer, Cost, Dispatch, Plan, Role, Slice};
use crate::{Error, Result};

pub(super) fn place(mut tape: Tape) -> Result<Plan> {
    let lifetimes = Lifetimes::of(&tape)?;
    let lasting: usize = tape.buffers.iter().map(|buffer| buffer.words).sum();
    let least_bytes = 4 * (lasting + lifetimes.most_alive(&tape)) as u64;
    let chosen = choose_buffers(&mut tape, &lifetimes);
    let slice = |tensor: Tensor| slice_of(&tape, &chosen, tensor);
    let dispatches = tape.pending.iter().map(|pending| resolve(pending, slice)).collect::<Result<_>>()?;
    let view = |(name, tensor): &(String, Tensor)| Ok((name.clone(), slice(*tensor)?));
    let views = tape.names.iter().map(view).collect::<Result<_>>()?;
    Ok(Plan {
        dispatches,
        views,
        split: tape.split,
        buffers: tape.buffers,
        micro_batches: tape.micro_batches,
        body: tape.body,
        pause: tape.pause.unwrap_or(tape.pending.len()),
        least_bytes,
    })
}

/// The largest tensor first, of equals the one that is born first; each takes the smallest buffer that is free for
/// all of its life, or a new one of its own size: none ever grows. Returns the buffer of each planned tensor.
fn choose_buffers(tape: &mut Tape, lifetimes: &Lifetimes) -> Vec<Option<usize>> {
    let mut tensors = lifetimes.planned().to_vec();
    tensors.sort_by_key(|&(tensor, life)| (std::cmp::Reverse(tape.words(tensor)), life.first, tensor));
    let mut chosen = vec![None; tape.infos.len()];
    let mut places: Vec<(usize, Vec<Lifetime>)> = Vec::new();
    let mut counts = std::collections::BTreeMap::<Role, usize>::new();
    for (tensor, life) in tensors {
        let (words, role) = (tape.words(tensor), tape.infos[tensor.0].role);
        let free = |(_, taken): &&mut (usize, Vec<Lifetime>)| taken.iter().all(|other| other.is_apart(life));
        let smallest = places.iter_mut().filter(free).min_by_key(|(buffer, _)| tape.buffers[*buffer].words);
        chosen[tensor.0] = Some(match smallest {
            Some((buffer, taken)) => {
                taken.push(life);
                *buffer
            }
            None => {
                let count = counts.entry(role).or_default();
                tape.buffers.push(Buffer {
                    name: format!("{role}.{count}"),
                    role,
                    words,
                    shared: true,
                    part_words: None,
                });
                *count += 1;
                places.push((tape.buffers.len() - 1, vec![life]));
                tape.buffers.len() - 1
            }
        });
    }
    chosen
}

fn slice_of(tape: &Tape, chosen: &[Option<usize>], tensor: Tensor) -> Result<Slice> {
    let info = &tape.infos[tensor.0];
    let unwritten = || Error::kernel("plan", "names a tensor that nothing writes");
    let (buffer, offset) = match info.home {
        Home::Buffer { buffer, offset } => (buffer, offset),
        Home::Planned => (chosen[tensor.0].ok_or_else(unwritten)?, 0),
    };
    Ok(Slice { buffer, offset, words: tape.words(tensor), element: info.element })
}

/// Bytes of the slices, those that are bound more than once counted once.
fn bytes_of(slices: &[Slice]) -> u64 {
    let repeated = |at: usize| slices[..at].contains(&slices[at]);
    (0..slices.len()).filter(|&at| !repeated(at)).map(|at| slices[at].words as u64 * 4).sum()
}

fn resolve(pending: &Pending, slice: impl Fn(Tensor) -> Result<Slice>) -> Result<Dispatch> {
    let slices = pending.tensors.iter().map(|&tensor| slice(tensor)).collect::<Result<Vec<Slice>>>()?;
    let dispatch = Dispatch {
        kernel: pending.kernel,
        entry: pending.entry,
        constants: pending.constants.clone(),
        interface: pending.interface.clone(),
        params: pending.params.clone(),
        grid: pending.grid,
        cost: Cost { flops: pending.flops, bytes: bytes_of(&slices) },
        label: pending.label.clone(),
        pass: pending.pass,
        slices,
    };
    for (index, binding) in dispatch.interface.bindings.iter().enumerate() {
        let buffer = dispatch.slices[index].buffer;
        let shared =
            (0..dispatch.slices.len()).any(|other| other != index && dispatch.slices[other].buffer == buffer);
        if binding.writable && shared {
            let problem =
                format!("{} shares its buffer with another binding while being written", binding.name);
            return Err(Error::kernel(dispatch.name(), problem));
        }
    }
    Ok(dispatch)
}
