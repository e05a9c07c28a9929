//! What a device can do at the most: multiply-adds and copied bytes per second, measured with two kernels made for it.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Measurement, Origin, best};
use crate::Result;
use crate::engine::{Device, Run};
use crate::plan::{Call, Cost, Element, Entry, Kernel, Role, Tape};

/// `roofline.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "roofline",
    source: include_str!("roofline.wgsl"),
    entries: &[Entry { name: "multiply_add", twin: multiply_add }, Entry { name: "copy", twin: copy }],
};

/// Words of each of the two buffers: 64 MiB, more than caches hold.
const WORDS: usize = 16 << 20;

/// Loop iterations of a thread; each makes 8 multiply-adds in 12 chains.
const ROUNDS: usize = 1024;

/// The limits of a device.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Roofline {
    /// 10^9 floating-point operations per second, a multiply-add as two.
    pub gflops: f64,
    /// 10^9 bytes read or written per second.
    pub gbytes: f64,
}

impl Roofline {
    /// The least time for this much work and traffic.
    pub fn seconds(&self, cost: Cost) -> f64 {
        (cost.flops as f64 / self.gflops).max(cost.bytes as f64 / self.gbytes) * 1e-9
    }
}

/// Measures the limits of a device: the peak and the bandwidth, as two measurements too.
///
/// # Errors
/// Device failures.
pub fn measure(device: &Device, repetitions: usize) -> Result<(Roofline, Vec<Measurement>)> {
    let hardware = device.info().kind != "cpu" && device.info().kind != "software";
    let mut run = load(device, if hardware { 1 << 20 } else { 1 << 15 })?;
    // Both kernels are in f32 on every device.
    let origin = Origin { precision: Element::F32, ..Origin::of(device) };
    let mut measured = Vec::new();
    for index in 0..run.plan.dispatches.len() {
        let dispatch = &run.plan.dispatches[index];
        let (key, cost) = (format!("roofline/{}", dispatch.entry.name), dispatch.cost);
        let time = best::dispatches(&mut run, &[index], repetitions)?[0];
        measured.push(Measurement::new(&origin, key, time, cost));
    }
    let highest = |rate: fn(&Measurement) -> f64| measured.iter().map(rate).fold(0.0, f64::max);
    Ok((Roofline { gflops: highest(|one| one.gflops), gbytes: highest(|one| one.gbytes) }, measured))
}

/// Both kernels in a plan; the first runs over `words` of its buffer.
fn load(device: &Device, words: usize) -> Result<Run> {
    let mut tape = Tape::new(device.target());
    let few = tape.buffer("few", Role::Activation, words);
    let (x, y) = (tape.buffer("x", Role::Batch, WORDS), tape.buffer("y", Role::Activation, WORDS));
    tape.call(&KERNEL, "multiply_add")
        .bind("y", few)
        .count("count", words / 4)
        .count("rounds", ROUNDS)
        .float("factor", 0.5)
        .float("addend", 0.5)
        .threads(words / 4)
        .flops(2 * 3 * 8 * ROUNDS * words)
        .push()?;
    tape.call(&KERNEL, "copy")
        .bind("x", x)
        .bind("y", y)
        .count("count", WORDS / 4)
        .count("rounds", 0)
        .float("factor", 0.0)
        .float("addend", 0.0)
        .threads(WORDS / 4)
        .push()?;
    Run::new(device, tape.finish()?)
}

/// Twelve chains of a vector register each.
struct Chains {
    rounds: usize,
    factor: f32,
    addend: f32,
    start: f32,
}

impl WithSimd for Chains {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let (factor, addend) = (simd.splat_f32s(self.factor), simd.splat_f32s(self.addend));
        let mut chains: [S::f32s; 12] =
            std::array::from_fn(|chain| simd.splat_f32s(self.start + chain as f32));
        for _ in 0..self.rounds {
            for chain in &mut chains {
                *chain = simd.mul_add_f32s(*chain, factor, addend);
            }
        }
        chains.iter().map(|chain| simd.reduce_sum_f32s(*chain)).sum()
    }
}

/// As many multiply-adds as the shader makes: three for each word and round, four registers of words at a time.
fn multiply_add(call: &mut Call<'_>) {
    let (rounds, factor, addend) = (call.count("rounds"), call.float("factor"), call.float("addend"));
    let lanes = Arch::new().dispatch(Lanes);
    call.output("y").par_chunks_exact_mut(4 * lanes).enumerate().with_min_len(8).for_each(
        |(index, words)| {
            let chains = Chains { rounds: 8 * rounds, factor, addend, start: index as f32 };
            words.fill(Arch::new().dispatch(chains) / (4 * lanes) as f32);
        },
    );
}

/// How many f32 a vector register holds.
struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

fn copy(call: &mut Call<'_>) {
    let x = call.input("x");
    let blocks = call.output("y").par_chunks_mut(1 << 16).zip(x.par_chunks(1 << 16));
    blocks.for_each(|(y, x)| y.copy_from_slice(x));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_positive_and_bound_a_cost() {
        let (roofline, measured) = measure(&Device::cpu().in_precision(Element::Bf16), 1).unwrap();
        assert!(roofline.gflops > 0.0 && roofline.gbytes > 0.0, "{roofline:?}");
        assert_eq!(measured.len(), 2);
        assert!(measured.iter().all(|one| one.origin.precision == Element::F32), "{measured:?}");
        let roofline = Roofline { gflops: 100.0, gbytes: 10.0 };
        assert_eq!(roofline.seconds(Cost { flops: 100_000_000_000, bytes: 1 }), 1.0);
        assert_eq!(roofline.seconds(Cost { flops: 1, bytes: 20_000_000_000 }), 2.0);
    }
}
