//! Muon: a matrix moves along the nearest orthogonal matrix to its momentum, so that every direction of it learns alike.
//!
//! m = b m + (1 - b) g; U = (1 - b) g + b m; X = U / |U|. Five times, with A = X X^T (X^T X where X has more rows than
//! columns): X <- a X + (b A + c A A) X, which brings all singular values near 1. Then
//! w = w (1 - lr wd) - lr 0.2 sqrt(the longer side) X, whose elements are about as large as steps of Adam are, so that
//! one learning rate serves both. Source: K. Jordan et al., "Muon" (2024); the factor: J. Liu et al., "Muon is scalable
//! for LLM training" (2025).

use rayon::prelude::*;

use super::adam_atan2::Moments;
use super::gemm::{Gemm, Operand};
use super::product::{Epilogue, Product};
use super::rms_norm::dot;
use crate::Result;
use crate::plan::{Axis, Call, DispatchBuilder, Entry, Kernel, Purpose, Role, Tape, Tensor, ints};

/// `shaders/muon.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "muon",
    source: include_str!("../../shaders/muon.wgsl"),
    entries: &[
        Entry { name: "momentum", twin: momentum },
        Entry { name: "normalise", twin: normalise },
        Entry { name: "blend", twin: blend },
        Entry { name: "update", twin: update },
    ],
};

/// Elements of a block, as in the shader.
const BLOCK: usize = 4096;

/// b: decay of the momentum.
const MOMENTUM: f32 = 0.95;

/// Iterations of Newton and Schulz, and their polynomial's coefficients a, b and c.
const ITERATIONS: i32 = 5;
const COEFFICIENTS: [f64; 3] = [3.4445, -4.7750, 2.0315];

/// The update of a weight.
#[derive(Clone, Copy, Debug)]
pub struct Muon {
    /// Its rows.
    pub rows: usize,
    /// Its columns.
    pub columns: usize,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Decay of the moving average.
    pub ema_rate: f32,
}

impl Muon {
    /// Lays the update of one weight down, which leaves its second moment alone; where `skip` (1), an integer, is not 0, it
    /// changes nothing.
    pub fn push(&self, tape: &mut Tape, clock: Tensor, skip: Tensor, tensors: Moments) -> Result<()> {
        let mut x = self.direction(tape, skip, tensors)?;
        let (short, long) = (self.rows.min(self.columns), self.rows.max(self.columns));
        // X is kept divided by `scale`, by which a product's epilogue need not multiply.
        let [a, b, c] = COEFFICIENTS;
        let mut scale = 1.0f64;
        for _ in 0..ITERATIONS {
            let square = scratch(tape, short * short);
            self.gram().push(tape, x, x, square)?;
            let fourth = scratch(tape, short * short);
            let rows = Operand::rows_of(short);
            product([short; 3], [rows; 2], Epilogue::Store).push(tape, square, square, fourth)?;
            let factor = scratch(tape, short * short);
            let (p, q) = (b * scale.powi(2) / a, c * scale.powi(4) / a);
            self.call(tape, "blend", short * short, (p as f32, q as f32))
                .bind("one", square)
                .bind("other", fourth)
                .bind("out", factor)
                .threads(short * short)
                .push()?;
            let next = scratch(tape, short * long);
            self.refine(tape, factor, x, next)?;
            (x, scale) = (next, scale * a);
        }
        let step = 0.2 * (long as f64).sqrt() * scale;
        let count = self.rows * self.columns;
        self.call(tape, "update", count, (self.ema_rate, step as f32))
            .bind("clock", clock)
            .bind("skip", skip)
            .bind("one", x)
            .bind("weight", tensors.weight)
            .bind("ema", tensors.ema)
            .threads(count)
            .push()
    }
    /// U / |U|.
    fn direction(&self, tape: &mut Tape, skip: Tensor, tensors: Moments) -> Result<Tensor> {
        let count = self.rows * self.columns;
        let blocks = count.div_ceil(BLOCK);
        let (ahead, x) = (scratch(tape, count), scratch(tape, count));
        let squares = scratch(tape, blocks);
        self.call(tape, "momentum", count, (MOMENTUM, 0.0))
            .bind("skip", skip)
            .bind("gradient", tensors.gradient)
            .bind("moment", tensors.first_moment)
            .bind("squares", squares)
            .bind("out", ahead)
            .groups_1d(blocks)
            .push()?;
        self.call(tape, "normalise", count, (0.0, 0.0))
            .bind("one", ahead)
            .bind("all_squares", squares)
            .bind("out", x)
            .groups_1d(blocks)
            .push()?;
        Ok(x)
    }

    fn call<'t>(
        &self,
        tape: &'t mut Tape,
        entry: &'static str,
        count: usize,
        (p, q): (f32, f32),
    ) -> DispatchBuilder<'t> {
        tape.call(&KERNEL, entry)
            .count("count", count)
            .count("blocks", count.div_ceil(BLOCK))
            .float("weight_decay", self.weight_decay)
            .float("p", p)
            .float("q", q)
            .flops(4 * count)
    }

    /// A = X X^T or X^T X, whichever is smaller.
    fn gram(&self) -> Product {
        let (short, long) = (self.rows.min(self.columns), self.rows.max(self.columns));
        let x = Operand::rows_of(self.columns);
        let operands = if self.rows <= self.columns { [x, x.transposed()] } else { [x.transposed(), x] };
        product([short, short, long], operands, Epilogue::Store)
    }

    /// next = X + F X or X + X F, F (`factor`) being symmetric.
    fn refine(&self, tape: &mut Tape, factor: Tensor, x: Tensor, next: Tensor) -> Result<()> {
        let (by_rows, short) = (self.rows <= self.columns, self.rows.min(self.columns));
        let (of_x, of_factor) = (Operand::rows_of(self.columns), Operand::rows_of(short));
        let operands = if by_rows { [of_factor, of_x] } else { [of_x, of_factor] };
        let (left, right) = if by_rows { (factor, x) } else { (x, factor) };
        product([self.rows, self.columns, short], operands, Epilogue::Add(x)).push(tape, left, right, next)
    }
}

/// A tensor for a moment of the update.
fn scratch(tape: &mut Tape, elements: usize) -> Tensor {
    tape.tensor(Role::Gradient, elements)
}

fn product([m, n, k]: [usize; 3], [a, b]: [Operand; 2], epilogue: Epilogue) -> Product {
    let gemm = Gemm { m, n, k, batch: 1, reductions: 1, a, b, purpose: Purpose::Forward };
    Product { gemm, over: Axis::Width, epilogue }
}

fn momentum(call: &mut Call<'_>) {
    let (decay, skipped) = (call.float("p"), ints(call.input("skip"))[0] != 0);
    let gradient = call.input("gradient");
    let (moment, squares, out) = (call.output("moment"), call.output("squares"), call.output("out"));
    let blocks = moment.par_chunks_mut(BLOCK).zip(out.par_chunks_mut(BLOCK)).zip(gradient.par_chunks(BLOCK));
    blocks.zip(squares).for_each(|(((moment, out), gradient), square)| {
        for ((moment, out), gradient) in moment.iter_mut().zip(&mut *out).zip(gradient) {
            let g = (1.0 - decay) * gradient;
            let m = decay * *moment + g;
            *out = g + decay * m;
            if !skipped {
                *moment = m;
            }
        }
        *square = dot(out, out);
    });
}

fn normalise(call: &mut Call<'_>) {
    let total: f32 = call.input("all_squares")[..call.count("blocks")].iter().sum();
    let scale = if total > 0.0 { 1.0 / total.sqrt() } else { 0.0 };
    let one = call.input("one");
    call.output("out").par_iter_mut().zip(one).for_each(|(out, one)| *out = scale * one);
}

fn blend(call: &mut Call<'_>) {
    let (p, q, one, other) = (call.float("p"), call.float("q"), call.input("one"), call.input("other"));
    let terms = one.par_iter().zip(other);
    call.output("out").par_iter_mut().zip(terms).for_each(|(out, (one, other))| *out = p * one + q * other);
}

fn update(call: &mut Call<'_>) {
    if ints(call.input("skip"))[0] != 0 {
        return;
    }
    let (lr, step, rate) = (call.input("clock")[1], call.float("q"), call.float("p"));
    let kept = 1.0 - lr * call.float("weight_decay");
    let one = call.input("one");
    let weights = call.output("weight").par_iter_mut().zip(call.output("ema")).zip(one);
    weights.for_each(|((weight, ema), one)| {
        *weight = *weight * kept - lr * step * one;
        *ema = rate * *ema + (1.0 - rate) * *weight;
    });
}
