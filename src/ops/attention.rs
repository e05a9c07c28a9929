//! Attention over all positions, not causal: o = softmax(q k^T / sqrt(d)) v, per sample and head.
//!
//! Saved: qkv, o, and the log of each softmax's denominator (lse); the probabilities are recomputed.
//! Reverse: delta = sum(do o); p = exp(s - lse); ds = p (do v^T - delta); dq = ds k / sqrt(d) in one dispatch,
//! dk = ds^T q / sqrt(d) and dv = p^T do in another, so that nothing is added atomically.

use gemm::Parallelism;
use rayon::prelude::*;

use super::math::{exp, vectorised};
use super::multiply::{Matrix, multiply};
use super::sum::gradient;
use crate::plan::{
    AttentionVariant, Call, DispatchBuilder, Element, Entry, Kernel, Reverse, Role, Shape, Tape, Tensor,
};
use crate::{Error, Result};

/// `shaders/attention.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "attention",
    source: include_str!("../../shaders/attention.wgsl"),
    entries: &[
        Entry { name: "forward", twin: forward },
        Entry { name: "reverse_queries", twin: reverse_queries },
        Entry { name: "reverse_keys", twin: reverse_keys },
    ],
};

/// `shaders/attention_rows.wgsl`.
pub static ROWS: Kernel = Kernel {
    name: "attention_rows",
    source: include_str!("../../shaders/attention_rows.wgsl"),
    entries: &[
        Entry { name: "forward", twin: forward },
        Entry { name: "reverse_queries", twin: reverse_queries },
        Entry { name: "reverse_keys", twin: reverse_keys },
    ],
};

/// The largest d: what the tiled variant's shared memory holds of one position.
const MAX_HEAD_DIM: usize = 2048;

/// Lays down attention over `qkv` (B, L, 3, heads, d) into o (B, L, D), `shape` being o's, and its reverse rule.
pub fn attention(tape: &mut Tape, shape: Shape, heads: usize, qkv: Tensor) -> Result<Tensor> {
    let head_dim = shape.width / heads;
    if head_dim > MAX_HEAD_DIM {
        let problem = format!("{heads} heads of {head_dim} features exceed {MAX_HEAD_DIM} each");
        return Err(Error::recipe("arch.num_heads", problem, "choose more heads"));
    }
    let o = tape.activation(shape.words());
    let lse = tape.tensor(Role::Activation, shape.rows() * heads);
    let op = Attention { shape, heads, qkv, o, lse };
    op.push(tape, "forward", 2, &[("qkv", qkv), ("o", o), ("lse", lse)])?;
    tape.rule(o, op);
    Ok(o)
}

struct Attention {
    shape: Shape,
    heads: usize,
    qkv: Tensor,
    o: Tensor,
    lse: Tensor,
}

impl Attention {
    /// `products` counts the multiply-adds of one (query, key) pair per feature.
    fn push(
        &self,
        tape: &mut Tape,
        entry: &'static str,
        products: usize,
        tensors: &[(&'static str, Tensor)],
    ) -> Result<()> {
        let Shape { batch, length, width } = self.shape;
        let head_dim = width / self.heads;
        let variant = match tape.element(self.qkv) {
            Element::F32 => tape.target().attention,
            Element::Bf16 | Element::F16 => AttentionVariant::Tiled,
        };
        let mut call = match variant {
            AttentionVariant::Tiled => Tiles::of(head_dim).call(tape, entry, self.shape, self.heads),
            AttentionVariant::Rows => tape
                .call(&ROWS, entry)
                .groups([length.div_ceil(64), self.heads, batch])
                .trips((length + 1) * (head_dim + 3)),
        };
        for &(name, tensor) in tensors {
            call = call.bind(name, tensor);
        }
        call.constant("HEAD_DIM", head_dim)
            .count("length", length)
            .count("heads", self.heads)
            .float("scale", 1.0 / (head_dim as f32).sqrt())
            .flops(2 * products * batch * length * length * width)
            .push()
    }
}

/// Threads of a workgroup of the tiled variant.
const THREADS: usize = 128;

/// How the tiled variant cuts the scores of a head.
struct Tiles {
    head_dim: usize,
    /// Threads that share four rows: with more features more of them, so that their sums stay in registers.
    lanes: usize,
}

impl Tiles {
    fn of(head_dim: usize) -> Tiles {
        let lanes = match head_dim {
            ..=64 => 8,
            65..=128 => 16,
            _ => 32,
        };
        Tiles { head_dim, lanes }
    }

    fn rows(&self) -> usize {
        4 * THREADS / self.lanes
    }

    fn call<'t>(
        &self,
        tape: &'t mut Tape,
        entry: &'static str,
        Shape { batch, length, .. }: Shape,
        heads: usize,
    ) -> DispatchBuilder<'t> {
        tape.call(&KERNEL, entry)
            .constant("LANES", self.lanes)
            .groups([length.div_ceil(self.rows()), heads, batch])
            .trips(self.trips(length))
    }

    /// Of `reverse_keys`, which makes the most, every loop with its last check.
    fn trips(&self, length: usize) -> usize {
        let (vectors, columns) = (self.head_dim.div_ceil(4), 4 * self.lanes);
        let (share, depth) = (vectors.div_ceil(self.lanes), vectors.min(64 / self.lanes));
        let staging = |vectors: usize| vectors.div_ceil(THREADS) + 1;
        let score_step = staging(self.rows() * depth) + staging(columns * depth) + depth + 2;
        let scores = vectors.div_ceil(depth) * score_step + 1;
        // Half of shared memory at the least holds values.
        let pieces = (columns * share * self.lanes).div_ceil(256);
        let sums = columns * (share + 2) + pieces * (staging(512) + 2) + 1;
        let tile = 2 * scores + 2 * sums + 2 * 5 + share + self.lanes + 2;
        let ends = 2 * (share + 1) * (4 * 6 + 1) + 2 * (self.lanes + 1) + 3 * 5;
        (length.div_ceil(columns) + 1) * tile + ends
    }
}

impl Reverse for Attention {
    fn reverse(&self, tape: &mut Tape) -> Result<()> {
        let Some(o_grad) = gradient(tape, self.o)? else { return Ok(()) };
        let words = tape.elements(self.qkv);
        let qkv_grad = tape.tensor(Role::Gradient, words);
        let rows = self.shape.rows() * self.heads;
        let delta = tape.tensor(Role::Gradient, rows);
        let (qkv, o, lse) = (self.qkv, self.o, self.lse);
        let common = [("qkv", qkv), ("o_grad", o_grad), ("lse_saved", lse), ("qkv_grad", qkv_grad)];
        self.push(tape, "reverse_queries", 3, &[&common[..], &[("o_saved", o), ("delta", delta)]].concat())?;
        self.push(tape, "reverse_keys", 4, &[&common[..], &[("delta_saved", delta)]].concat())?;
        tape.contribute(self.qkv, qkv_grad);
        Ok(())
    }
}

/// Sizes that the twins share.
#[derive(Clone, Copy)]
struct Sizes {
    length: usize,
    heads: usize,
    head_dim: usize,
    scale: f32,
}

impl Sizes {
    fn of(call: &Call<'_>) -> Sizes {
        let head_dim = call.constant("HEAD_DIM");
        Sizes {
            length: call.count("length"),
            heads: call.count("heads"),
            head_dim,
            scale: call.float("scale"),
        }
    }

    fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// q (0), k (1) or v (2) of one head in a sample's part of qkv, as an (L, d) matrix.
    fn part<'a>(&self, qkv: &'a [f32], which: usize, head: usize) -> Matrix<'a> {
        let start = which * self.width() + head * self.head_dim;
        Matrix { words: &qkv[start..], row: 3 * self.width(), col: 1 }
    }

    /// One head of o or its gradient, as an (L, d) matrix.
    fn head<'a>(&self, o: &'a [f32], head: usize) -> Matrix<'a> {
        Matrix { words: &o[head * self.head_dim..], row: self.width(), col: 1 }
    }

    /// An (L, L) matrix.
    fn square<'a>(&self, words: &'a [f32]) -> Matrix<'a> {
        Matrix { words, row: self.length, col: 1 }
    }
}

/// The transpose of a matrix.
fn transposed(matrix: Matrix<'_>) -> Matrix<'_> {
    Matrix { row: matrix.col, col: matrix.row, ..matrix }
}

fn forward(call: &mut Call<'_>) {
    let sizes = Sizes::of(call);
    let Sizes { length, heads, head_dim, scale } = sizes;
    let (qkv, width) = (call.input("qkv"), sizes.width());
    let (o, lse) = (call.output("o"), call.output("lse"));
    let samples = qkv.par_chunks_exact(3 * width * length).zip(o.par_chunks_exact_mut(width * length));
    samples.zip(lse.par_chunks_exact_mut(heads * length)).for_each(|((qkv, o), lse)| {
        let mut p = vec![0.0f32; length * length];
        for (head, lse) in lse.chunks_exact_mut(length).enumerate() {
            let (q, k) = (sizes.part(qkv, 0, head), sizes.part(qkv, 1, head));
            let shape = (length, length, head_dim);
            multiply(shape, q, transposed(k), &mut p, length, scale, false, Parallelism::None);
            for (row, lse) in p.chunks_exact_mut(length).zip(lse) {
                *lse = softmax(row);
            }
            let out = &mut o[head * head_dim..];
            let shape = (length, head_dim, length);
            multiply(
                shape,
                sizes.square(&p),
                sizes.part(qkv, 2, head),
                out,
                width,
                1.0,
                false,
                Parallelism::None,
            );
        }
    });
}

/// In place; returns the log of the denominator.
fn softmax(row: &mut [f32]) -> f32 {
    vectorised(|| {
        let highest = row.iter().copied().fold(f32::MIN, f32::max);
        row.iter_mut().for_each(|score| *score = exp(*score - highest));
        let denominator: f32 = row.iter().sum();
        row.iter_mut().for_each(|p| *p /= denominator);
        highest + denominator.ln()
    })
}

/// delta = sum over a head's features of do o, (heads, L) for one sample.
fn deltas(sizes: Sizes, o_grad: &[f32], o: &[f32], delta: &mut [f32]) {
    let Sizes { length, head_dim, .. } = sizes;
    for (head, line) in delta.chunks_exact_mut(length).enumerate() {
        for (position, delta) in line.iter_mut().enumerate() {
            let at = position * sizes.width() + head * head_dim;
            *delta = o_grad[at..at + head_dim].iter().zip(&o[at..at + head_dim]).map(|(a, b)| a * b).sum();
        }
    }
}

/// p and ds of one head from what was saved: p = exp(s - lse), ds = p (do v^T - delta) / sqrt(d).
fn probabilities(
    sizes: Sizes,
    (qkv, o_grad): (&[f32], &[f32]),
    head: usize,
    (lse, delta): (&[f32], &[f32]),
    (p, ds): (&mut [f32], &mut [f32]),
) {
    let Sizes { length, head_dim, scale, .. } = sizes;
    let shape = (length, length, head_dim);
    let (q, k, v) = (sizes.part(qkv, 0, head), sizes.part(qkv, 1, head), sizes.part(qkv, 2, head));
    multiply(shape, q, transposed(k), p, length, scale, false, Parallelism::None);
    multiply(shape, sizes.head(o_grad, head), transposed(v), ds, length, 1.0, false, Parallelism::None);
    let rows = p.chunks_exact_mut(length).zip(ds.chunks_exact_mut(length)).zip(lse.iter().zip(delta));
    for ((p, ds), (lse, delta)) in rows {
        vectorised(|| {
            for (p, ds) in p.iter_mut().zip(ds) {
                *p = exp(*p - lse);
                *ds = *p * (*ds - delta) * scale;
            }
        });
    }
}

fn reverse_queries(call: &mut Call<'_>) {
    let sizes = Sizes::of(call);
    let Sizes { length, heads, head_dim, .. } = sizes;
    let (per_qkv, per_o, per_lse) = (3 * sizes.width() * length, sizes.width() * length, heads * length);
    let (qkv, o_grad, o) = (call.input("qkv"), call.input("o_grad"), call.input("o_saved"));
    let (lse, delta, grads) = (call.input("lse_saved"), call.output("delta"), call.output("qkv_grad"));
    let samples = grads.par_chunks_exact_mut(per_qkv).zip(delta.par_chunks_exact_mut(per_lse)).enumerate();
    samples.for_each(|(sample, (grad, delta))| {
        let qkv = &qkv[sample * per_qkv..][..per_qkv];
        let o_grad = &o_grad[sample * per_o..][..per_o];
        deltas(sizes, o_grad, &o[sample * per_o..][..per_o], delta);
        let (mut p, mut ds) = (vec![0.0; length * length], vec![0.0; length * length]);
        for head in 0..heads {
            let lse = &lse[sample * per_lse + head * length..][..length];
            let delta = &delta[head * length..][..length];
            probabilities(sizes, (qkv, o_grad), head, (lse, delta), (&mut p, &mut ds));
            let (shape, dq) = ((length, head_dim, length), &mut grad[head * head_dim..]);
            let k = sizes.part(qkv, 1, head);
            multiply(shape, sizes.square(&ds), k, dq, 3 * sizes.width(), 1.0, false, Parallelism::None);
        }
    });
}

fn reverse_keys(call: &mut Call<'_>) {
    let sizes = Sizes::of(call);
    let Sizes { length, heads, head_dim, .. } = sizes;
    let (per_qkv, per_o, per_lse) = (3 * sizes.width() * length, sizes.width() * length, heads * length);
    let (qkv, o_grad) = (call.input("qkv"), call.input("o_grad"));
    let (lse, delta) = (call.input("lse_saved"), call.input("delta_saved"));
    let samples = call.output("qkv_grad").par_chunks_exact_mut(per_qkv).enumerate();
    samples.for_each(|(sample, grad)| {
        let qkv = &qkv[sample * per_qkv..][..per_qkv];
        let o_grad = &o_grad[sample * per_o..][..per_o];
        let (mut p, mut ds) = (vec![0.0; length * length], vec![0.0; length * length]);
        for head in 0..heads {
            let rows = sample * per_lse + head * length..sample * per_lse + (head + 1) * length;
            let saved = (&lse[rows.clone()], &delta[rows]);
            probabilities(sizes, (qkv, o_grad), head, saved, (&mut p, &mut ds));
            let (shape, row) = ((length, head_dim, length), 3 * sizes.width());
            let products = [(1, &ds, sizes.part(qkv, 0, head)), (2, &p, sizes.head(o_grad, head))];
            for (which, weights, values) in products {
                let out = &mut grad[which * sizes.width() + head * head_dim..];
                multiply(
                    shape,
                    transposed(sizes.square(weights)),
                    values,
                    out,
                    row,
                    1.0,
                    false,
                    Parallelism::None,
                );
            }
        }
    });
}
