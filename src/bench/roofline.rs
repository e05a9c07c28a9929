//! What a device can do at the most: multiply-adds, copied bytes and, where it has matrix units, their multiply-adds per
//! second, measured with kernels made for it.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Measurement, Origin, best};
use crate::Result;
use crate::engine::{Device, Run};
use crate::plan::{Call, Cost, Dispatch, Element, Entry, Kernel, Matrices, Plan, Role, Tape, Target, Tensor};

/// `roofline.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "roofline",
    source: include_str!("roofline.wgsl"),
    entries: &[Entry { name: "multiply_add", twin: multiply_add }, Entry { name: "copy", twin: copy }],
};

/// `matrices.wgsl`: apart, as only devices with matrix units take the text.
pub static MATRICES: Kernel = Kernel {
    name: "roofline_matrices",
    source: include_str!("matrices.wgsl"),
    entries: &[Entry { name: "matrices", twin: multiply_add_matrices }],
};

/// Words of each of the two buffers: 64 MiB, more than caches hold.
const WORDS: usize = 16 << 20;

/// Loop iterations of a thread; each makes 8 multiply-adds in 12 chains.
const ROUNDS: usize = 1024;

/// Blocks of sixteen sums in a workgroup of [`MATRICES`].
const BLOCKS: usize = 4;

/// The limits of a device.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Roofline {
    /// 10^9 floating-point operations per second, a multiply-add as two.
    pub gflops: f64,
    /// 10^9 bytes read or written per second.
    pub gbytes: f64,
    /// The same as `gflops` on matrix units; None where there are none.
    pub matrix_gflops: Option<f64>,
}

impl Roofline {
    /// The least seconds for the arithmetic of `dispatch` on the units that it uses, and for its traffic.
    pub fn parts(&self, dispatch: &Dispatch) -> [f64; 2] {
        let matrices = self.matrix_gflops.filter(|_| dispatch.interface.cooperative.is_some());
        let Cost { flops, bytes } = dispatch.cost;
        [flops as f64 / matrices.unwrap_or(self.gflops), bytes as f64 / self.gbytes].map(|time| time * 1e-9)
    }

    /// The least seconds for `dispatch`.
    pub fn seconds(&self, dispatch: &Dispatch) -> f64 {
        let [arithmetic, traffic] = self.parts(dispatch);
        arithmetic.max(traffic)
    }
}

/// The limits of a device, each as a measurement too, and why those of its matrix units are not among them, where it has
/// some that do not work.
#[derive(Debug)]
pub struct Limits {
    /// What can be reckoned with.
    pub roofline: Roofline,
    /// The same as it was measured.
    pub measured: Vec<Measurement>,
    /// What is wrong with the matrix units.
    pub units_fault: Option<String>,
}

/// Measures the limits of a device.
///
/// # Errors
/// Device failures, but for those of matrix units.
pub fn measure(device: &Device, repetitions: usize) -> Result<Limits> {
    let hardware = device.info().is_hardware();
    let mut measured = timed(device, plan(device.target(), hardware)?, Element::F32, repetitions)?;
    let units = device.cooperative().map(|units| {
        let plan = plan_of_units(device.target(), units, hardware)?;
        timed(device, plan, Element::F16, repetitions)
    });
    let units_fault = match units.transpose() {
        Ok(found) => {
            measured.extend(found.into_iter().flatten());
            None
        }
        Err(error) => Some(format!("matrix units: {error}")),
    };
    let of = |name: &str| measured.iter().find(|one| one.key.ends_with(name));
    let roofline = Roofline {
        gflops: of("/multiply_add").map_or(0.0, |one| one.gflops),
        gbytes: of("/copy").map_or(0.0, |one| one.gbytes),
        matrix_gflops: of("/matrices").map(|one| one.gflops),
    };
    Ok(Limits { roofline, measured, units_fault })
}

/// Every dispatch of a plan, whatever the device stores activations in.
fn timed(device: &Device, plan: Plan, precision: Element, repetitions: usize) -> Result<Vec<Measurement>> {
    let mut run = Run::new(device, plan)?;
    let origin = Origin { precision, ..Origin::of(device) };
    let count = run.plan.dispatches.len();
    let one = |index: usize| {
        let time = best::dispatches(&mut run, &[index], repetitions)?[0];
        let Dispatch { entry, cost, .. } = &run.plan.dispatches[index];
        Ok(Measurement::new(&origin, format!("roofline/{}", entry.name), time, *cost))
    };
    (0..count).map(one).collect()
}

/// The kernels of matrix units in a plan of their own: a driver that fails them does not take the others along.
fn plan_of_units(target: Target, matrices: Matrices, hardware: bool) -> Result<Plan> {
    let (groups, rounds) = if hardware { (8192, 256) } else { (16, 16) };
    let mut tape = Tape::new(target);
    add_products(&mut tape, matrices, groups, rounds)?;
    tape.finish()
}

/// The other kernels. On hardware they do so much that starting and ending is little beside it.
fn plan(target: Target, hardware: bool) -> Result<Plan> {
    let words = if hardware { 1 << 20 } else { 1 << 15 };
    let mut tape = Tape::new(target);
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
    tape.finish()
}

/// `groups` workgroups, each of whose [`BLOCKS`] blocks adds sixteen products of matrices up `rounds` times, 4096 at the
/// most: sums (groups, BLOCKS, size, size).
///
/// # Errors
/// [`crate::Error::Limit`] for counts past a grid's.
pub fn add_products(tape: &mut Tape, matrices: Matrices, groups: usize, rounds: usize) -> Result<Tensor> {
    let (size, subgroup) = (matrices.size as usize, matrices.subgroup as usize);
    let sums = tape.buffer("sums", Role::Activation, groups * BLOCKS * size * size);
    tape.call(&MATRICES, "matrices")
        .constant("SIZE", size)
        .constant("LANES", BLOCKS * subgroup)
        .constant("BLOCKS", BLOCKS)
        .bind("y", sums)
        .count("rounds", rounds)
        .groups([groups, 1, 1])
        .flops(2 * 16 * size.pow(3) * rounds * BLOCKS * groups)
        .push()?;
    Ok(sums)
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

/// The sum of all products of one A and one B is the product of their sums.
fn multiply_add_matrices(call: &mut Call<'_>) {
    let (size, rounds) = (call.constant("SIZE"), call.count("rounds"));
    let area = size * size;
    let operand = |at: usize| ((at * 3 % 7) as f32 - 3.0) / 8.0;
    let sum = |first: usize| -> Vec<f32> {
        (0..area).map(|at| (0..4).map(|matrix| operand((first + matrix) * area + at)).sum()).collect()
    };
    let (a, b) = (sum(0), sum(4));
    let element =
        |at: usize| (0..size).map(|k| a[at / size * size + k] * b[k * size + at % size]).sum::<f32>();
    let block: Vec<f32> = (0..area).map(|at| element(at) * rounds as f32).collect();
    call.output("y").par_chunks_exact_mut(area).for_each(|y| y.copy_from_slice(&block));
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
    fn the_limits_are_positive_and_bound_a_dispatch() {
        let Limits { roofline, measured, .. } =
            measure(&Device::cpu().in_precision(Element::Bf16), 1).unwrap();
        assert!(roofline.gflops > 0.0 && roofline.gbytes > 0.0, "{roofline:?}");
        assert_eq!((measured.len(), roofline.matrix_gflops), (2, None));
        assert!(measured.iter().all(|one| one.origin.precision == Element::F32), "{measured:?}");
        let roofline = Roofline { gflops: 100.0, gbytes: 10.0, matrix_gflops: Some(1000.0) };
        let plans =
            [plan(Target::default(), false), plan_of_units(Target::default(), Matrices::APPLE, false)];
        let plans = plans.map(|plan| plan.unwrap().dispatches[0].clone());
        let seconds = |which: usize, cost| roofline.seconds(&Dispatch { cost, ..plans[which].clone() });
        assert_eq!(seconds(0, Cost { flops: 100_000_000_000, bytes: 1 }), 1.0);
        assert_eq!(seconds(0, Cost { flops: 1, bytes: 20_000_000_000 }), 2.0);
        // What runs on matrix units is held against them.
        assert_eq!(seconds(1, Cost { flops: 100_000_000_000, bytes: 1 }), 0.1);
    }
}
