//! Whether a step may be applied: losses and gradients are looked at on the device, in the very step, because the host
//! sees the metric block only when the optimisers have long written.

use rayon::prelude::*;

use super::metrics::SKIPPED;
use crate::Result;
use crate::plan::{Call, Entry, Kernel, Role, Tape, Tensor, ints, ints_mut};

/// `shaders/finite.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "finite",
    source: include_str!("../../shaders/finite.wgsl"),
    entries: &[Entry { name: "look", twin: look }, Entry { name: "decide", twin: decide }],
};

/// Words that one workgroup looks at.
pub const CHUNK: usize = 4096;

/// The first number, by its bits without the sign, that cannot be used: 2^63, whose square is close to the largest.
/// Infinity and NaN have larger bits.
const UNUSABLE: u32 = 0x5f00_0000;

/// Lays down: `skip` (1), an integer, and the last word of `metrics` (9) = 1 where a number in one of `tensors`, flat and
/// of f32, is not finite or too large to be squared, else 0.
pub fn skip_unless_finite(tape: &mut Tape, tensors: &[Tensor], skip: Tensor, metrics: Tensor) -> Result<()> {
    for (index, &x) in tensors.iter().enumerate() {
        let count = tape.elements(x);
        let chunks = count.div_ceil(CHUNK);
        let flags = tape.tensor(Role::Gradient, chunks);
        tape.call(&KERNEL, "look")
            .bind("x", x)
            .bind("flags", flags)
            .count("count", count)
            .count("first", 0)
            .groups_1d(chunks)
            .push()?;
        tape.call(&KERNEL, "decide")
            .bind("found", flags)
            .bind("skip", skip)
            .bind("metrics", metrics)
            .count("count", chunks)
            .count("first", usize::from(index == 0))
            .groups_1d(1)
            .push()?;
    }
    Ok(())
}

/// Whether a number is not finite or too large to be squared.
pub(super) fn unusable(value: f32) -> bool {
    value.to_bits() & 0x7fff_ffff >= UNUSABLE
}

fn look(call: &mut Call<'_>) {
    let x = call.input("x");
    let flags = ints_mut(call.output("flags"));
    flags.par_iter_mut().zip(x.par_chunks(CHUNK)).for_each(|(flag, chunk)| {
        // Without a way out early, so that the loop is vectorised.
        *flag = i32::from(chunk.iter().fold(false, |any, &value| any | unusable(value)));
    });
}

fn decide(call: &mut Call<'_>) {
    let (first, found) = (call.count("first") != 0, ints(call.input("found")));
    let (skip, metrics) = (ints_mut(call.output("skip")), call.output("metrics"));
    let skips = found.iter().any(|&flag| flag != 0) || (!first && skip[0] != 0);
    skip[0] = i32::from(skips);
    metrics[SKIPPED] = if skips { 1.0 } else { 0.0 };
}
