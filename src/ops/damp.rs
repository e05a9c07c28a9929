//! The damped update of a state, with noise: state = a old + (1 - a) y + s e, y being what the net says.
//!
//! e is standard normal and drawn by counter, so nothing of it is saved. Reverse: dy = (1 - a) dstate, dold = a dstate.

use rayon::prelude::*;

use super::sum::gradient;
use crate::plan::{Call, Entry, Kernel, Reverse, Shape, Tape, Tensor};
use crate::{Error, Result, rng};

/// `shaders/damp.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "damp",
    source: include_str!("../../shaders/damp.wgsl"),
    entries: &[
        Entry { name: "damp", twin: damp },
        Entry { name: "damp_add", twin: damp_add },
        Entry { name: "scale", twin: scale },
    ],
};

/// A damped update of a state.
#[derive(Clone, Copy, Debug)]
pub struct Damp {
    /// (B, L, D).
    pub shape: Shape,
    /// a, the share of the old state that stays.
    pub damping: f32,
    /// s, the deviation of the noise.
    pub noise: f32,
    /// (B, 4): the key and two words of the counter that a sample's noise is drawn by.
    pub draws: Tensor,
    /// What tells this noise from other noise of the same step, see [`rng::purpose`].
    pub purpose: u32,
}

impl Damp {
    /// Lays down the update of `old` by `y` and its reverse rule, writing into `state` where the caller owns the place, and
    /// in the same dispatch the sum of the new state and up to two `others`, which no gradient flows through: that is
    /// for [`super::sum::hand_on`] to say. Returns the new state, and the sum where there are others.
    pub fn push(
        self,
        tape: &mut Tape,
        (old, y): (Tensor, Tensor),
        state: Option<Tensor>,
        others: &[Tensor],
    ) -> Result<(Tensor, Option<Tensor>)> {
        let elements = self.shape.elements();
        let state = state.unwrap_or_else(|| tape.activation(elements));
        // Without damping nothing of the old state is left, which need not be kept for that.
        let read = if self.damping > 0.0 { old } else { y };
        let bound = [("draws", self.draws), ("old", read), ("y", y), ("state", state)];
        let total = match *others {
            [] => None,
            [first, ..] => Some((first, others.last().copied().unwrap_or(first), tape.activation(elements))),
        };
        match total {
            None => self.lay(tape, "damp", 0, &bound)?,
            Some((first, second, total)) => {
                let more = [("first", first), ("second", second), ("total", total)];
                self.lay(tape, "damp_add", others.len(), &[&bound[..], &more].concat())?;
            }
        }
        tape.rule(state, Recorded { damp: self, old, y, state });
        Ok((state, total.map(|(.., total)| total)))
    }

    fn lay(
        &self,
        tape: &mut Tape,
        entry: &'static str,
        addends: usize,
        tensors: &[(&'static str, Tensor)],
    ) -> Result<()> {
        if addends > 2 {
            return Err(Error::kernel("damp", "adds at most two others"));
        }
        let Shape { batch, length, width } = self.shape;
        let count = batch * (length * width).div_ceil(4);
        let mut call = tape.call(&KERNEL, entry);
        for &(name, tensor) in tensors {
            call = call.bind(name, tensor);
        }
        call.count("count", count)
            .count("per_sample", length * width)
            .count("addends", addends)
            .count("purpose", self.purpose as usize)
            .float("damping", self.damping)
            .float("noise", self.noise)
            .flops(4 * self.shape.elements())
            .threads(count)
            .push()
    }
}

struct Recorded {
    damp: Damp,
    old: Tensor,
    y: Tensor,
    state: Tensor,
}

impl Reverse for Recorded {
    fn reverse(&self, tape: &mut Tape) -> Result<()> {
        let Some(dstate) = gradient(tape, self.state)? else { return Ok(()) };
        let kept = self.damp.damping;
        if kept == 0.0 {
            tape.contribute(self.y, dstate);
            return Ok(());
        }
        for (tensor, share) in [(self.y, 1.0 - kept), (self.old, kept)] {
            if tape.needs_grad(tensor) {
                let scaled = tape.gradient(self.damp.shape.elements());
                let by = Damp { damping: share, ..self.damp };
                by.lay(tape, "scale", 0, &[("y", dstate), ("state", scaled)])?;
                tape.contribute(tensor, scaled);
            }
        }
        Ok(())
    }
}

/// The words of a sample in `draws`, as the two parts of a counter that say which sample and which step, and the key.
fn drawn_by(draws: &[f32], sample: usize) -> ([u32; 2], [u32; 2]) {
    let word = |at: usize| draws[4 * sample + at].to_bits();
    ([word(0), word(1)], [word(2), word(3)])
}

/// Adds `deviation` times standard normal numbers to `values` (per sample): those that the purpose has at `sample`.
pub(super) fn add_noise(values: &mut [f32], deviation: f32, (draws, sample): (&[f32], usize), purpose: u32) {
    let (key, [number, step]) = drawn_by(draws, sample);
    for (index, four) in values.chunks_mut(4).enumerate() {
        let noise = rng::gaussians(key, [index as u32, number, step, purpose]);
        four.iter_mut().zip(noise).for_each(|(value, noise)| *value += deviation * noise);
    }
}

fn damp(call: &mut Call<'_>) {
    damped(call);
}

/// Writes the state; returns it, in f32.
fn damped<'c>(call: &mut Call<'c>) -> &'c [f32] {
    let (per_sample, purpose) = (call.count("per_sample"), call.count("purpose") as u32);
    let (kept, noise) = (call.float("damping"), call.float("noise"));
    let (old, y, draws) = (call.input("old"), call.input("y"), call.input("draws"));
    let state = call.output("state");
    state.par_chunks_exact_mut(per_sample).enumerate().for_each(|(sample, state)| {
        let start = sample * per_sample;
        let terms = old[start..].iter().zip(&y[start..]);
        state.iter_mut().zip(terms).for_each(|(state, (old, y))| *state = kept * old + (1.0 - kept) * y);
        if noise > 0.0 {
            add_noise(state, noise, (draws, sample), purpose);
        }
    });
    state
}

fn damp_add(call: &mut Call<'_>) {
    let (per_sample, addends, total) =
        (call.count("per_sample"), call.count("addends"), call.output("total"));
    let others = [call.input("first"), call.input("second")];
    let state = damped(call);
    total.par_chunks_exact_mut(per_sample).enumerate().for_each(|(sample, total)| {
        let start = sample * per_sample;
        total.copy_from_slice(&state[start..][..per_sample]);
        for other in &others[..addends] {
            total.iter_mut().zip(&other[start..]).for_each(|(sum, other)| *sum += other);
        }
    });
}

fn scale(call: &mut Call<'_>) {
    let (share, y) = (call.float("damping"), call.input("y"));
    call.output("state").par_iter_mut().zip(y).for_each(|(out, y)| *out = share * y);
}
