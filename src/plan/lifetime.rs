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

/// From when to when each tensor is bound, by its own name: a stack as a whole, its members one by one.
pub(super) struct Lifetimes {
    lives: Vec<Option<Lifetime>>,
    /// Whether a tensor is a stack of others.
    is_stack: Vec<bool>,
}

impl Lifetimes {
    /// # Errors
    /// [`Error::Kernel`] where a tensor is read before anything wrote it.
    pub(super) fn of(tape: &Tape) -> Result<Lifetimes> {
        let mut lives: Vec<Option<Lifetime>> = vec![None; tape.infos.len()];
        let mut is_stack = vec![false; tape.infos.len()];
        for (index, pending) in tape.pending.iter().enumerate() {
            for (binding, &tensor) in pending.interface.bindings.iter().zip(&pending.tensors) {
                // A stack as a whole is read only after its members were written one by one.
                let written = lives[tensor.0].is_some() || is_stack[tensor.0];
                let home = tape.infos[tensor.0].home;
                if !binding.writable && !written && !matches!(home, Home::Buffer { .. }) {
                    let name = format!("{}.{}", pending.kernel.name, pending.entry.name);
                    let problem = format!("reads {} before anything wrote it", binding.name);
                    return Err(Error::kernel(name, problem));
                }
                if let Home::Stack { stack, .. } = home {
                    is_stack[stack.0] = true;
                }
                lives[tensor.0].get_or_insert(Lifetime { first: index, last: index }).last = index;
            }
        }
        for (_, tensor) in &tape.names {
            if let Some(life) = &mut lives[tensor.0] {
                life.last = tape.pending.len();
            }
        }
        Ok(Lifetimes { lives, is_stack })
    }

    /// What the plan has to find places for, and from when to when: tensors, and stacks from their first member on.
    pub(super) fn planned(&self, tape: &Tape) -> Vec<(Tensor, Lifetime)> {
        let mut lives = self.lives.clone();
        for (info, life) in tape.infos.iter().zip(&self.lives) {
            if let (Home::Stack { stack, .. }, Some(life)) = (info.home, *life) {
                lives[stack.0] = Some(lives[stack.0].map_or(life, |other| other.joined(life)));
            }
        }
        let place = |(index, life): (usize, Option<Lifetime>)| match tape.infos[index].home {
            Home::Planned => Some((Tensor(index), life?)),
            _ => None,
        };
        lives.into_iter().enumerate().filter_map(place).collect()
    }

    /// The most words that are alive at once of tensors that the plan finds places for. Members of a stack count one
    /// by one, each from its own first dispatch to the last that reads it or the whole.
    pub(super) fn most_alive(&self, tape: &Tape) -> usize {
        let mut born = vec![0; tape.pending.len() + 2];
        let mut gone = born.clone();
        for (index, life) in self.lives.iter().enumerate() {
            let Some(life) = *life else { continue };
            let life = match tape.infos[index].home {
                Home::Planned if !self.is_stack[index] => life,
                Home::Stack { stack, .. } => self.lives[stack.0].map_or(life, |whole| life.joined(whole)),
                _ => continue,
            };
            born[life.first] += tape.words(Tensor(index));
            gone[life.last + 1] += tape.words(Tensor(index));
        }
        let mut alive = 0;
        let after_each = born.iter().zip(gone).map(|(born, gone)| {
            alive = alive + born - gone;
            alive
        });
        after_each.max().unwrap_or(0)
    }
}
