//! From virtual tensors to places in buffers.
//!
//! A planned tensor lives from the dispatch that first writes it to the last one that uses it (a named one to
//! the end of the step). Tensors whose lifetimes do not overlap share a buffer, within one role, when their
//! sizes are close. Each shared place is a buffer of its own, because drivers track hazards per buffer.

use super::dispatch::Pending;
use super::tape::{Home, Tape, Tensor};
use super::{Buffer, Cost, Dispatch, Plan, Role, Slice};
use crate::{Error, Result};

/// First and last dispatch that touch a tensor.
#[derive(Clone, Copy)]
struct Lifetime {
    first: usize,
    last: usize,
}

pub(super) fn place(mut tape: Tape) -> Result<Plan> {
    let lifetimes = lifetimes(&tape)?;
    let chosen = choose_buffers(&mut tape, &lifetimes);
    let slice = |tensor: Tensor| slice_of(&tape, &chosen, tensor);
    let dispatches = tape.pending.iter().map(|pending| resolve(pending, slice)).collect::<Result<_>>()?;
    let view = |(name, tensor): &(String, Tensor)| Ok((name.clone(), slice(*tensor)?));
    let views = tape.names.iter().map(view).collect::<Result<_>>()?;
    Ok(Plan { dispatches, views, split: tape.split, buffers: tape.buffers })
}

/// The planned tensor that holds `tensor`, or None where it lives in a named buffer.
fn holder(tape: &Tape, tensor: Tensor) -> Option<Tensor> {
    match tape.infos[tensor.0].home {
        Home::Planned => Some(tensor),
        Home::Stack { stack, .. } => Some(stack),
        Home::Buffer { .. } => None,
    }
}

fn lifetimes(tape: &Tape) -> Result<Vec<Option<Lifetime>>> {
    let mut lifetimes: Vec<Option<Lifetime>> = vec![None; tape.infos.len()];
    let mut written = vec![false; tape.infos.len()];
    for (index, pending) in tape.pending.iter().enumerate() {
        for (binding, &tensor) in pending.interface.bindings.iter().zip(&pending.tensors) {
            let Some(holder) = holder(tape, tensor) else { continue };
            // A stack as a whole is read only after its members were written one by one.
            let known = written[tensor.0] || (tensor == holder && lifetimes[holder.0].is_some());
            if !binding.writable && !known {
                let name = format!("{}.{}", pending.kernel.name, pending.entry.name);
                return Err(Error::kernel(name, format!("reads {} before anything wrote it", binding.name)));
            }
            written[tensor.0] |= binding.writable;
            lifetimes[holder.0].get_or_insert(Lifetime { first: index, last: index }).last = index;
        }
    }
    for (_, tensor) in &tape.names {
        if let Some(lifetime) = holder(tape, *tensor).and_then(|holder| lifetimes[holder.0].as_mut()) {
            lifetime.last = tape.pending.len();
        }
    }
    Ok(lifetimes)
}

/// Walks the dispatches in order; a tensor takes the smallest free buffer of its role that is large enough
/// but not more than twice too large, or a new one. Returns the buffer of each planned tensor.
fn choose_buffers(tape: &mut Tape, lifetimes: &[Option<Lifetime>]) -> Vec<Option<usize>> {
    let mut born: Vec<(usize, usize)> = (0..lifetimes.len())
        .filter(|&tensor| tape.infos[tensor].home == Home::Planned)
        .filter_map(|tensor| lifetimes[tensor].map(|lifetime| (lifetime.first, tensor)))
        .collect();
    born.sort_unstable();
    let mut chosen = vec![None; lifetimes.len()];
    let mut occupied_until: Vec<(usize, usize)> = Vec::new();
    let mut counts = std::collections::BTreeMap::<Role, usize>::new();
    for (first, tensor) in born {
        let (words, role) = (tape.words(Tensor(tensor)), tape.infos[tensor].role);
        let fits = |&(buffer, last): &(usize, usize)| {
            let candidate: &Buffer = &tape.buffers[buffer];
            last < first && candidate.role == role && (words..=2 * words).contains(&candidate.words)
        };
        let best = (0..occupied_until.len())
            .filter(|&index| fits(&occupied_until[index]))
            .min_by_key(|&index| tape.buffers[occupied_until[index].0].words);
        let last = lifetimes[tensor].map_or(first, |lifetime| lifetime.last);
        let buffer = match best {
            Some(index) => {
                occupied_until[index].1 = last;
                occupied_until[index].0
            }
            None => {
                let count = counts.entry(role).or_default();
                tape.buffers.push(Buffer { name: format!("{role}.{count}"), role, words });
                *count += 1;
                occupied_until.push((tape.buffers.len() - 1, last));
                tape.buffers.len() - 1
            }
        };
        chosen[tensor] = Some(buffer);
    }
    chosen
}

fn slice_of(tape: &Tape, chosen: &[Option<usize>], tensor: Tensor) -> Result<Slice> {
    let info = &tape.infos[tensor.0];
    let unwritten = || Error::kernel("plan", "names a tensor that nothing writes");
    let place = |tensor: Tensor| chosen[tensor.0].ok_or_else(unwritten);
    let (buffer, offset) = match info.home {
        Home::Buffer { buffer, offset } => (buffer, offset),
        Home::Planned => (place(tensor)?, 0),
        Home::Stack { stack, offset } => (place(stack)?, offset),
    };
    Ok(Slice { buffer, offset, words: tape.words(tensor), element: info.element })
}

/// Bytes of the slices, those that are bound more than once counted once.
fn bytes_of(slices: &[Slice]) -> u64 {
    let repeated = |at: usize| slices[..at].contains(&slices[at]);
    (0..slices.len()).filter(|&at| !repeated(at)).map(|at| slices[at].words as u64 * 4).sum()
}

fn resolve(pending: &Pending, slice: impl Fn(Tensor) -> Result<Slice>) -> Result<Dispatch> {
    let placed = pending.tensors.iter().zip(&pending.elements);
    let slices = placed.map(|(&tensor, &(element, _))| Ok(Slice { element, ..slice(tensor)? }));
    let slices = slices.collect::<Result<Vec<Slice>>>()?;
    let dispatch = Dispatch {
        kernel: pending.kernel,
        entry: pending.entry,
        constants: pending.constants.clone(),
        interface: pending.interface.clone(),
        params: pending.params.clone(),
        grid: pending.grid,
        trips: pending.trips,
        cost: Cost { flops: pending.flops, bytes: bytes_of(&slices) },
        label: pending.label.clone(),
        pass: pending.pass,
        written: pending.elements.iter().map(|&(_, after)| after).collect(),
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
