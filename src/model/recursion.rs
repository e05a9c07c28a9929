//! The recursion as data: which net maps which sum of states to which state, and where gradients start.
//!
//! TRM, its ablations, HRM and the plain transformer differ only in this list (spec: "Recursion, as data").
//! The release calls the answer y `H`, the latent z `L`; tensors are named after it.

use super::config::{Arch, ArchName};
use crate::plan::Tensor;

/// One of the summed inputs of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The question: the input embedding.
    X,
    /// A state, by its index in [`Recursion::states`].
    State(usize),
}

impl Input {
    /// Its tensor, of the states and the question.
    pub(super) fn tensor(self, states: &[Tensor], x: Tensor) -> Tensor {
        match self {
            Input::X => x,
            Input::State(state) => states[state],
        }
    }
}

/// `states[write] <- nets[net](sum of inputs)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Index into [`Recursion::nets`].
    pub net: usize,
    /// What is summed, in this order.
    pub inputs: Vec<Input>,
    /// The state that is overwritten.
    pub write: usize,
}

impl Update {
    /// What it sums besides the state `written`, if that is once among its inputs and the others are one or two: so much
    /// the dispatch that writes the state can add.
    pub(super) fn besides(&self, written: usize) -> Option<Vec<Input>> {
        let others: Vec<Input> =
            self.inputs.iter().copied().filter(|input| *input != Input::State(written)).collect();
        let once = self.inputs.len() == others.len() + 1;
        (once && (1..=2).contains(&others.len())).then_some(others)
    }
}

/// A stack of blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net {
    /// Prefix of its tensors' names.
    pub name: &'static str,
    /// Blocks.
    pub layers: usize,
}

/// One supervision step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recursion {
    /// The release's names: H for y, L for z.
    pub states: Vec<String>,
    /// One net, or two for hrm.
    pub nets: Vec<Net>,
    /// In order.
    pub updates: Vec<Update>,
    /// Gradients flow through the updates from this index on.
    pub grad_from: usize,
    /// The state that the heads read.
    pub answer: usize,
}

impl Recursion {
    /// The update list of an architecture.
    pub fn of(arch: &Arch) -> Recursion {
        let l_net = Net { name: "L_level", layers: arch.L_layers };
        let h_net = Net { name: "H_level", layers: arch.H_layers };
        match arch.name {
            ArchName::Trm | ArchName::TrmOneStep => cycles(arch, &["H", "L"], vec![l_net]),
            ArchName::TrmSinglez => cycles(arch, &["L"], vec![l_net]),
            ArchName::TrmHier6 => cycles(arch, &["H", "L1", "L2", "L3", "L4", "L5", "L6"], vec![l_net]),
            ArchName::Hrm => cycles(arch, &["H", "L"], vec![l_net, h_net]),
            ArchName::Transformer => Recursion {
                states: vec!["H".into()],
                nets: vec![h_net],
                updates: vec![Update { net: 0, inputs: vec![Input::State(0), Input::X], write: 0 }],
                grad_from: 0,
                answer: 0,
            },
        }
    }

    /// The states that are latents: all but the answer, or the answer where there is no other.
    pub fn latents(&self) -> impl Iterator<Item = usize> + '_ {
        let alone = self.states.len() == 1;
        (0..self.states.len()).filter(move |state| alone || *state != self.answer)
    }
}

/// T times: n latent updates, then one of the answer. The first state is the answer; further ones are latents,
/// written in turn, or the answer itself where there is no other. The last net maps to the answer.
fn cycles(arch: &Arch, states: &[&str], nets: Vec<Net>) -> Recursion {
    let latents: Vec<usize> = if states.len() == 1 { vec![0] } else { (1..states.len()).collect() };
    let answer_inputs: Vec<Input> = match states.len() {
        1 => vec![Input::State(0)],
        _ => std::iter::once(0).chain(latents.iter().copied()).map(Input::State).collect(),
    };
    let mut latent_inputs: Vec<Input> = latents.iter().copied().map(Input::State).collect();
    if states.len() > 1 {
        latent_inputs.push(Input::State(0));
    }
    latent_inputs.push(Input::X);
    let mut updates = Vec::new();
    for _ in 0..arch.H_cycles {
        for cycle in 0..arch.L_cycles {
            let write = latents[cycle % latents.len()];
            updates.push(Update { net: 0, inputs: latent_inputs.clone(), write });
        }
        updates.push(Update { net: nets.len() - 1, inputs: answer_inputs.clone(), write: 0 });
    }
    // HRM's one-step gradient: the last update of each state. TRM: the whole last recursion.
    let one_step = matches!(arch.name, ArchName::Hrm | ArchName::TrmOneStep);
    let with_gradient = if one_step { 2 } else { arch.L_cycles + 1 };
    Recursion {
        states: states.iter().map(|name| (*name).to_owned()).collect(),
        grad_from: updates.len() - with_gradient,
        nets,
        updates,
        answer: 0,
    }
}
