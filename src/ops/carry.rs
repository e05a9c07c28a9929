//! The carry: what one supervision step hands to the next, reset slot by slot where a sample has halted.

use rayon::prelude::*;

use super::damp::add_noise;
use crate::Result;
use crate::plan::{Call, DispatchBuilder, Entry, Kernel, Shape, Tape, Tensor, ints, ints_mut};

/// `shaders/carry.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "carry",
    source: include_str!("../../shaders/carry.wgsl"),
    entries: &[
        Entry { name: "reset_state", twin: reset_state },
        Entry { name: "draw_state", twin: draw_state },
        Entry { name: "take_samples", twin: take_samples },
    ],
};

/// Lays down: `state` (B, L, D) returns to `initial` (D) where `halted`.
pub fn reset_state_where(
    tape: &mut Tape,
    shape: Shape,
    halted: Tensor,
    initial: Tensor,
    state: Tensor,
) -> Result<()> {
    tape.call(&KERNEL, "reset_state")
        .bind("halted", halted)
        .bind("initial", initial)
        .bind("state", state)
        .count("count", shape.elements())
        .count("per_sample", shape.length * shape.width)
        .count("width", shape.width)
        .count("purpose", 0)
        .float("deviation", 0.0)
        .threads(shape.elements())
        .push()
}

/// Lays down: where `halted`, `state` (B, L, D) becomes `deviation` times standard normal numbers, drawn for `purpose` (see
/// [`crate::rng::purpose`]) by the words of `draws` (B, 4).
pub fn draw_state_where(
    tape: &mut Tape,
    shape: Shape,
    halted: Tensor,
    draws: Tensor,
    (deviation, purpose): (f32, u32),
    state: Tensor,
) -> Result<()> {
    let per_sample = shape.length * shape.width;
    let count = shape.batch * per_sample.div_ceil(4);
    tape.call(&KERNEL, "draw_state")
        .bind("halted", halted)
        .bind("draws", draws)
        .bind("state", state)
        .count("count", count)
        .count("per_sample", per_sample)
        .count("width", shape.width)
        .count("purpose", purpose as usize)
        .float("deviation", deviation)
        .threads(count)
        .push()
}

/// The data of a batch: of the running samples, or incoming.
#[derive(Clone, Copy, Debug)]
pub struct Samples {
    /// (B, S) tokens.
    pub inputs: Tensor,
    /// (B, S) labels, -100 where ignored.
    pub labels: Tensor,
    /// (B) puzzle identifiers.
    pub identifiers: Tensor,
}

/// The call with both samples bound, under the names that kernels which take samples have for them.
pub(super) fn bound(call: DispatchBuilder<'_>, incoming: Samples, running: Samples) -> DispatchBuilder<'_> {
    call.bind("incoming_inputs", incoming.inputs)
        .bind("incoming_labels", incoming.labels)
        .bind("incoming_identifiers", incoming.identifiers)
        .bind("inputs", running.inputs)
        .bind("labels", running.labels)
        .bind("identifiers", running.identifiers)
}

/// Lays down: slots that have halted take their sample from `incoming`.
pub fn take_samples_where(
    tape: &mut Tape,
    (batch, seq_len): (usize, usize),
    halted: Tensor,
    incoming: Samples,
    running: Samples,
) -> Result<()> {
    let call = tape.call(&KERNEL, "take_samples").bind("halted", halted);
    bound(call, incoming, running)
        .count("count", batch * seq_len)
        .count("per_sample", seq_len)
        .count("width", 1)
        .count("purpose", 0)
        .float("deviation", 0.0)
        .threads(batch * seq_len)
        .push()
}

fn reset_state(call: &mut Call<'_>) {
    let (per_sample, width) = (call.count("per_sample"), call.count("width"));
    let (halted, initial) = (ints(call.input("halted")), call.input("initial"));
    for (state, halted) in call.output("state").chunks_exact_mut(per_sample).zip(halted) {
        if *halted != 0 {
            state.chunks_exact_mut(width).for_each(|row| row.copy_from_slice(&initial[..width]));
        }
    }
}

fn draw_state(call: &mut Call<'_>) {
    let (per_sample, purpose) = (call.count("per_sample"), call.count("purpose") as u32);
    let (deviation, halted, draws) =
        (call.float("deviation"), ints(call.input("halted")), call.input("draws"));
    let slots = call.output("state").par_chunks_exact_mut(per_sample).zip(halted).enumerate();
    slots.filter(|(_, (_, halted))| **halted != 0).for_each(|(sample, (state, _))| {
        state.fill(0.0);
        add_noise(state, deviation, (draws, sample), purpose);
    });
}

fn take_samples(call: &mut Call<'_>) {
    let (per_sample, halted) = (call.count("per_sample"), ints(call.input("halted")));
    for (to, from) in [("inputs", "incoming_inputs"), ("labels", "incoming_labels")] {
        let (from, to) = (call.input(from), call.output(to));
        let slots = to.chunks_exact_mut(per_sample).zip(from.chunks_exact(per_sample)).zip(halted);
        slots.filter(|(_, halted)| **halted != 0).for_each(|((to, from), _)| to.copy_from_slice(from));
    }
    take_identifiers(call);
}

/// Where a slot has halted, it takes the incoming identifier.
pub(super) fn take_identifiers(call: &mut Call<'_>) {
    let (halted, incoming) = (ints(call.input("halted")), ints(call.input("incoming_identifiers")));
    let running = ints_mut(call.output("identifiers"));
    let slots = running.iter_mut().zip(incoming).zip(halted);
    slots.filter(|(_, halted)| **halted != 0).for_each(|((to, from), _)| *to = *from);
}
