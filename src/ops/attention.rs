//! Attention over all positions, not causal: o = softmax(q k^T / sqrt(d)) v, per sample and head.
//!
//! Saved: qkv, o, and the log of each softmax's denominator (lse); the probabilities are recomputed.
//! Reverse: delta = sum(do o); p = exp(s - lse); ds = p (do v^T - delta); dq = ds k / sqrt(d) in one dispatch,
//! dk = ds^T q / sqrt(d) and dv = p^T do in another, so that nothing is added atomically.

use std::ops::RangeInclusive;

use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use super::math::{exp, vectorised};
use super::multiply::{Columns, Matrix, block_rows, halves};
use super::rms_norm::dot;
use super::sum::gradient;
use crate::plan::{
    AttentionVariant, Call, DispatchBuilder, Element, Entry, Kernel, Reverse, Role, Shape, Stored, Tape,
    Tensor,
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

/// The d of the row variant, which keeps all features of four positions in registers and reads them by fours.
const ROW_HEAD_DIMS: RangeInclusive<usize> = 4..=64;

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
            Element::F32 if ROW_HEAD_DIMS.contains(&head_dim) && head_dim.is_multiple_of(4) => {
                tape.target().attention
            }
            _ => AttentionVariant::Tiled,
        };
        let mut call = match variant {
            AttentionVariant::Tiled => Tiles::of(head_dim).call(tape, entry, self.shape, self.heads),
            AttentionVariant::Rows => tape
                .call(&ROWS, entry)
                .groups([length.div_ceil(32), self.heads, batch])
                .trips(rows_trips(length, head_dim)),
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

/// Loop iterations of a thread of the row variant, of `reverse_queries`, which makes the most: even where a driver keeps
/// every loop over features.
fn rows_trips(length: usize, head_dim: usize) -> usize {
    let quads = head_dim / 4 + 1;
    length.div_ceil(8) * (2 * quads + 1) + 3 * quads + 6
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

    /// q (0), k (1) or v (2) of one head of a sample: a line for each position.
    fn part<'a>(&self, qkv: Stored<'a>, sample: usize, which: usize, head: usize) -> Matrix<'a> {
        let start = sample * 3 * self.width() * self.length + which * self.width() + head * self.head_dim;
        Matrix { words: qkv, start, line: 3 * self.width(), depth: 1 }
    }

    /// One head of a sample of o or its gradient: a line for each position.
    fn head<'a>(&self, o: Stored<'a>, sample: usize, head: usize) -> Matrix<'a> {
        let start = sample * self.width() * self.length + head * self.head_dim;
        Matrix { words: o, start, line: self.width(), depth: 1 }
    }

    /// Scores with every position: the columns of a product over features.
    fn over_features(&self, lines: Matrix<'_>, halves: bool) -> Columns {
        Columns::pack(&[lines], self.length, self.head_dim, halves)
    }

    /// Features, summed over every position: the columns of a product with scores.
    fn over_positions(&self, lines: Matrix<'_>, halves: bool) -> Columns {
        let columns = Matrix { line: lines.depth, depth: lines.line, ..lines };
        Columns::pack(&[columns], self.head_dim, self.length, halves)
    }
}

/// Rows of scores as an operand.
fn scores(rows: &[f32], stride: usize) -> [Matrix<'_>; 1] {
    [Matrix { words: Stored::F32(rows), start: 0, line: stride, depth: 1 }]
}

fn forward(call: &mut Call<'_>) {
    let sizes = Sizes::of(call);
    let Sizes { length, heads, head_dim, scale } = sizes;
    let (qkv, width) = (call.stored("qkv"), sizes.width());
    let halves = halves(qkv);
    let (o, lse) = (call.output_stored("o"), call.output("lse"));
    let samples = o.chunks(width * length).into_par_iter().enumerate();
    samples.zip(lse.par_chunks_exact_mut(heads * length)).for_each(|((sample, o), lse)| {
        let columns = |head| {
            let [k, v] = [1, 2].map(|which| sizes.part(qkv, sample, which, head));
            (sizes.over_features(k, halves), sizes.over_positions(v, halves))
        };
        let columns: Vec<(Columns, Columns)> = (0..heads).into_par_iter().map(columns).collect();
        let mut by_position = vec![0.0; length * heads];
        let most = block_rows(length, length);
        let blocks = o.chunks(most * width).into_par_iter().enumerate();
        blocks.zip(by_position.par_chunks_mut(most * heads)).for_each(|((block, mut o), lse)| {
            let (first, rows) = (block * most, o.len() / width);
            for (head, (k, v)) in columns.iter().enumerate() {
                let q = [sizes.part(qkv, sample, 0, head)];
                k.block(&q, first, rows, |p, stride| {
                    for (p, lse) in p.chunks_exact_mut(stride).zip(lse[head..].iter_mut().step_by(heads)) {
                        *lse = Arch::new().dispatch(Softmax { row: &mut p[..length], scale });
                    }
                    v.block(&scores(p, stride), 0, rows, |sums, stride| {
                        for (row, sums) in sums.chunks_exact(stride).enumerate() {
                            o.write(row * width + head * head_dim, &sums[..head_dim]);
                        }
                    });
                });
            }
        });
        for (at, lse) in lse.iter_mut().enumerate() {
            *lse = by_position[at % length * heads + at / length];
        }
    });
}

/// The softmax of the scaled row, in place; returns the log of the denominator.
struct Softmax<'a> {
    row: &'a mut [f32],
    scale: f32,
}

impl NullaryFnOnce for Softmax<'_> {
    type Output = f32;

    #[inline(always)]
    fn call(self) -> f32 {
        let Softmax { row, scale } = self;
        let highest = fold(row, f32::MIN, f32::max) * scale;
        for score in row.iter_mut() {
            *score = exp(*score * scale - highest);
        }
        let denominator = fold(row, 0.0, |sum, p| sum + p);
        let factor = 1.0 / denominator;
        for p in row.iter_mut() {
            *p *= factor;
        }
        highest + denominator.ln()
    }
}

/// Folds sixteen neighbours side by side, so that the compiler may use vector registers; the order is fixed.
#[inline(always)]
fn fold(row: &[f32], start: f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; 16];
    let blocks = row.chunks_exact(16);
    let rest = blocks.remainder().iter().fold(start, |folded, value| join(folded, *value));
    for block in blocks {
        for (lane, value) in lanes.iter_mut().zip(block) {
            *lane = join(*lane, *value);
        }
    }
    lanes.into_iter().fold(rest, join)
}

/// delta = sum over a head's features of do o, (heads, L) for one sample.
fn deltas(sizes: Sizes, sample: usize, o_grad: &[f32], o: Stored<'_>, delta: &mut [f32]) {
    let (head_dim, per_o) = (sizes.head_dim, sizes.width() * sizes.length);
    let mut buffer = vec![0.0; head_dim];
    for (at, delta) in delta.iter_mut().enumerate() {
        let (head, position) = (at / sizes.length, at % sizes.length);
        let start = sample * per_o + position * sizes.width() + head * head_dim;
        *delta = dot(&o_grad[start..start + head_dim], o.view(start, head_dim, &mut buffer));
    }
}

fn reverse_queries(call: &mut Call<'_>) {
    let sizes = Sizes::of(call);
    let Sizes { length, heads, head_dim, scale } = sizes;
    let (per_qkv, per_lse) = (3 * sizes.width() * length, heads * length);
    let (qkv, o_grad, o) = (call.stored("qkv"), call.input("o_grad"), call.stored("o_saved"));
    let halves = halves(qkv);
    let (lse, delta, grads) = (call.input("lse_saved"), call.output("delta"), call.output("qkv_grad"));
    let samples = grads.par_chunks_exact_mut(per_qkv).zip(delta.par_chunks_exact_mut(per_lse)).enumerate();
    samples.for_each(|(sample, (grad, delta))| {
        deltas(sizes, sample, o_grad, o, delta);
        let lse = &lse[sample * per_lse..][..per_lse];
        let columns = |head| {
            let [k, v] = [1, 2].map(|which| sizes.part(qkv, sample, which, head));
            (sizes.over_features(k, halves), sizes.over_features(v, halves), sizes.over_positions(k, halves))
        };
        let columns: Vec<(Columns, Columns, Columns)> = (0..heads).into_par_iter().map(columns).collect();
        let row_words = 3 * sizes.width();
        let most = block_rows(length, length);
        grad.par_chunks_mut(most * row_words).enumerate().for_each(|(block, grad)| {
            let (first, rows) = (block * most, grad.len() / row_words);
            for (head, (scored, weighed, summed)) in columns.iter().enumerate() {
                let [lse, delta] = [lse, &*delta].map(|all| &all[head * length + first..][..rows]);
                let q = [sizes.part(qkv, sample, 0, head)];
                let o_grad = [sizes.head(Stored::F32(o_grad), sample, head)];
                scored.block(&q, first, rows, |p, stride| {
                    weighed.block(&o_grad, first, rows, |ds, _| {
                        let lines = p.chunks_exact(stride).zip(ds.chunks_exact_mut(stride));
                        for ((p, ds), (lse, delta)) in lines.zip(lse.iter().zip(delta)) {
                            vectorised(|| {
                                for (p, ds) in p.iter().zip(ds) {
                                    *ds = exp(p * scale - lse) * (*ds - delta) * scale;
                                }
                            });
                        }
                        summed.block(&scores(ds, stride), 0, rows, |dq, stride| {
                            let lines = grad.chunks_exact_mut(row_words).zip(dq.chunks_exact(stride));
                            for (grad, dq) in lines {
                                grad[head * head_dim..][..head_dim].copy_from_slice(&dq[..head_dim]);
                            }
                        });
                    });
                });
            }
        });
    });
}

fn reverse_keys(call: &mut Call<'_>) {
    let sizes = Sizes::of(call);
    let Sizes { length, heads, head_dim, scale } = sizes;
    let (per_qkv, per_lse, width) = (3 * sizes.width() * length, heads * length, sizes.width());
    let (qkv, o_grad) = (call.stored("qkv"), Stored::F32(call.input("o_grad")));
    let (lse, delta, halves) = (call.input("lse_saved"), call.input("delta_saved"), halves(qkv));
    let samples = call.output("qkv_grad").par_chunks_exact_mut(per_qkv).enumerate();
    samples.for_each(|(sample, grad)| {
        let [lse, delta] = [lse, delta].map(|all| &all[sample * per_lse..][..per_lse]);
        let columns = |head| {
            let (q, o_grad) = (sizes.part(qkv, sample, 0, head), sizes.head(o_grad, sample, head));
            [q, o_grad].map(|lines| (sizes.over_features(lines, halves), sizes.over_positions(lines, halves)))
        };
        let columns: Vec<[(Columns, Columns); 2]> = (0..heads).into_par_iter().map(columns).collect();
        let most = block_rows(length, length);
        grad.par_chunks_mut(most * 3 * width).enumerate().for_each(|(block, grad)| {
            let (first, rows) = (block * most, grad.len() / (3 * width));
            let mut store = |which: usize, head: usize, sums: &[f32], stride: usize| {
                for (grad, sums) in grad.chunks_exact_mut(3 * width).zip(sums.chunks_exact(stride)) {
                    let start = which * width + head * head_dim;
                    grad[start..start + head_dim].copy_from_slice(&sums[..head_dim]);
                }
            };
            for (head, [(by_query, of_query), (by_grad, of_grad)]) in columns.iter().enumerate() {
                let [lse, delta] = [lse, delta].map(|all| &all[head * length..][..length]);
                let [k, v] = [1, 2].map(|which| [sizes.part(qkv, sample, which, head)]);
                by_query.block(&k, first, rows, |p, stride| {
                    by_grad.block(&v, first, rows, |ds, _| {
                        for (p, ds) in p.chunks_exact_mut(stride).zip(ds.chunks_exact_mut(stride)) {
                            vectorised(|| {
                                let saved = lse.iter().zip(delta);
                                for ((p, ds), (lse, delta)) in p.iter_mut().zip(ds).zip(saved) {
                                    *p = exp(*p * scale - lse);
                                    *ds = *p * (*ds - delta) * scale;
                                }
                            });
                        }
                        of_query.block(&scores(ds, stride), 0, rows, |dk, stride| store(1, head, dk, stride));
                    });
                    of_grad.block(&scores(p, stride), 0, rows, |dv, stride| store(2, head, dv, stride));
                });
            }
        });
    });
}
