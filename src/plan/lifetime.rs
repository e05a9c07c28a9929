//! Lifetimes of tensors, and the least memory that they allow.

use super::tape::{Home, Tape, Tensor};
use crate::{Error, Result};

/// First and last dispatch that touch a tensor; of a named one, the last is the end of the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    pub(super) first: usize,
    pub(super) last: usize,
}

impl Lifetime {
    /// Whether no dispatch sees both.
    pub(super) fn is_apart(self, other: Lifetime) -> bool {
        self.last < other.first || other.last < self.first
    }

    fn joined(self, other: Lifetime) -> Lifetime {
        Lifetime { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// The lifetime of each tensor that dispatches bind, by its own name: a stack's is that of its uses as a whole.
pub(super) struct Lifetimes(Vec<Option<Lifetime>>);

impl Lifetimes {
    /// # Errors
    /// [`Error::Kernel`] where a tensor is read before anything wrote it.
    pub(super) fn of(tape: &Tape) -> Result<Lifetimes> {
        let mut lives: Vec<Option<Lifetime>> = vec![None; tape.infos.len()];
        let mut filled = vec![false; tape.infos.len()];
        for (index, pending) in tape.pending.iter().enumerate() {
            for (binding, &tensor) in pending.interface.bindings.iter().zip(&pending.tensors) {
                let home = tape.infos[tensor.0].home;
                // A stack as a whole is read only after its members were written one by one.
                let known =
                    lives[tensor.0].is_some() || filled[tensor.0] || matches!(home, Home::Buffer { .. });
                if !binding.writable && !known {
                    let name = format!("{}.{}", pending.kernel.name, pending.entry.name);
                    return Err(Error::kernel(
                        name,
                        format!("reads {} before anything wrote it", binding.name),
                    ));
                }
                if let Home::Stack { stack, .. } = home {
                    filled[stack.0] = true;
                }
                lives[tensor.0].get_or_insert(Lifetime { first: index, last: index }).last = index;
            }
        }
        for (_, tensor) in &tape.names {
            if let Some(life) = &mut lives[tensor.0] {
                life.last = tape.pending.len();
            }
        }
        Ok(Lifetimes(lives))
    }

    /// What the plan has to find places for, and from when to when: tensors, and stacks with all of their members.
    pub(super) fn planned(&self, tape: &Tape) -> impl Iterator<Item = (Tensor, Lifetime)> {
        let mut whole = self.0.clone();
        for (info, life) in tape.infos.iter().zip(&self.0) {
            if let (Home::Stack { stack, .. }, Some(life)) = (info.home, *life) {
                whole[stack.0] = Some(whole[stack.0].map_or(life, |other| other.joined(life)));
            }
        }
        let planned = |index: &usize| tape.infos[*index].home == Home::Planned;
        let planned: Vec<usize> = (0..whole.len()).filter(planned).collect();
        planned.into_iter().filter_map(move |index| Some((Tensor(index), whole[index]?)))
    }

    /// See [`super::Plan::least_bytes`]. The members of a stack count one by one, from their own first dispatch on.
    pub(super) fn least_bytes(&self, tape: &Tape) -> u64 {
        let mut changes = vec![0i64; tape.pending.len() + 2];
        let stacks = tape.infos.iter().filter_map(|info| match info.home {
            Home::Stack { stack, .. } => Some(stack),
            _ => None,
        });
        let stacks: std::collections::BTreeSet<Tensor> = stacks.collect();
        for (index, life) in self.0.iter().enumerate() {
            let Some(life) = *life else { continue };
            let life = match tape.infos[index].home {
                Home::Buffer { .. } => continue,
                Home::Planned if stacks.contains(&Tensor(index)) => continue,
                Home::Planned => life,
                Home::Stack { stack, .. } => self.0[stack.0].map_or(life, |whole| life.joined(whole)),
            };
            let bytes = 4 * tape.words(Tensor(index)) as i64;
            changes[life.first] += bytes;
            changes[life.last + 1] -= bytes;
        }
        let live = changes.iter().scan(0, |live, change| {
            *live += change;
            Some(*live)
        });
        let peak = live.max().unwrap_or(0) as u64;
        tape.buffers.iter().map(|buffer| buffer.words as u64 * 4).sum::<u64>() + peak
    }
}
