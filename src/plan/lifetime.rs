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
}

/// The tensors that the plan has to find places for, and from when to when.
pub(super) struct Lifetimes(Vec<(Tensor, Lifetime)>);

impl Lifetimes {
    /// # Errors
    /// [`Error::Kernel`] where a tensor is read before anything wrote it.
    pub(super) fn of(tape: &Tape) -> Result<Lifetimes> {
        let mut lives: Vec<Option<Lifetime>> = vec![None; tape.infos.len()];
        for (index, pending) in tape.pending.iter().enumerate() {
            for (binding, &tensor) in pending.interface.bindings.iter().zip(&pending.tensors) {
                let planned = tape.infos[tensor.0].home == Home::Planned;
                if planned && !binding.writable && lives[tensor.0].is_none() {
                    let name = format!("{}.{}", pending.kernel.name, pending.entry.name);
                    let problem = format!("reads {} before anything wrote it", binding.name);
                    return Err(Error::kernel(name, problem));
                }
                lives[tensor.0].get_or_insert(Lifetime { first: index, last: index }).last = index;
            }
        }
        for life in lives.iter_mut().flatten() {
            // The next micro-batch reads it again.
            if life.first < tape.body.start && tape.body.contains(&life.last) {
                life.last = tape.body.end - 1;
            }
        }
        for (_, tensor) in &tape.names {
            if let Some(life) = &mut lives[tensor.0] {
                life.last = tape.pending.len();
            }
        }
        let planned = |&(index, _): &(usize, Option<Lifetime>)| tape.infos[index].home == Home::Planned;
        let lives = lives.into_iter().enumerate().filter(planned);
        Ok(Lifetimes(lives.filter_map(|(index, life)| Some((Tensor(index), life?))).collect()))
    }

    /// Each tensor with its life.
    pub(super) fn planned(&self) -> &[(Tensor, Lifetime)] {
        &self.0
    }

    /// The most words that are alive at once.
    pub(super) fn most_alive(&self, tape: &Tape) -> usize {
        let mut born = vec![0; tape.pending.len() + 2];
        let mut gone = born.clone();
        for &(tensor, life) in &self.0 {
            born[life.first] += tape.words(tensor);
            gone[life.last + 1] += tape.words(tensor);
        }
        let mut alive = 0;
        let after_each = born.iter().zip(gone).map(|(born, gone)| {
            alive = alive + born - gone;
            alive
        });
        after_each.max().unwrap_or(0)
    }
}
