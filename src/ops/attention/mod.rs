//! Attention over all positions, not causal: o = softmax(q k^T / sqrt(d)) v, per sample and head.
//!
//! Saved: qkv, o, and the log of each softmax's denominator (lse); the probabilities are recomputed.
//! Reverse: delta = sum(do o); p = exp(s - lse); ds = p (do v^T - delta); dq = ds k / sqrt(d) in one dispatch,
//! dk = ds^T q / sqrt(d) and dv = p^T do in another, so that nothing is added atomically. The CPU engine, where a head
//! is one thread's, makes p and ds once for all three ([`AttentionVariant::Joined`]).

mod twins;

use std::ops::RangeInclusive;

use super::sum::gradient;
use crate::plan::{
    AttentionVariant, DispatchBuilder, Element, Entry, Kernel, Reverse, Role, Shape, Tape, Tensor,
};
use crate::{Error, Result};

/// `shaders/attention.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "attention",
    source: include_str!("../../../shaders/attention.wgsl"),
    entries: &[
        Entry { name: "forward", twin: twins::forward },
        Entry { name: "reverse_queries", twin: twins::reverse },
        Entry { name: "reverse_keys", twin: twins::reversed },
    ],
};

/// `shaders/attention_rows.wgsl`.
pub static ROWS: Kernel = Kernel {
    name: "attention_rows",
    source: include_str!("../../../shaders/attention_rows.wgsl"),
    entries: &[
        Entry { name: "forward", twin: twins::forward },
        Entry { name: "reverse_queries", twin: twins::reverse },
        Entry { name: "reverse_keys", twin: twins::reversed },
    ],
};

/// The largest d: what the tiled variant's shared memory holds of one position.
const MAX_HEAD_DIM: usize = 2048;

/// The d of the row variant, which keeps all features of four positions in registers and reads them by fours.
const ROW_HEAD_DIMS: RangeInclusive<usize> = 4..=64;

/// Lays down attention over `qkv` (B, L, 3, heads, d) into o (B, L, D), `shape` being o's, and its reverse rule.
/// Kernels read two features at a time: d is even.
pub fn attention(tape: &mut Tape, shape: Shape, heads: usize, qkv: Tensor) -> Result<Tensor> {
    let head_dim = shape.width / heads;
    if head_dim > MAX_HEAD_DIM {
        let problem = format!("{heads} heads of {head_dim} features exceed {MAX_HEAD_DIM} each");
        return Err(Error::recipe("arch.num_heads", problem, "choose more heads"));
    }
    if !head_dim.is_multiple_of(2) {
        let problem = format!("{heads} heads have {head_dim} features each, an odd number");
        return Err(Error::recipe("arch.num_heads", problem, "choose heads of an even size"));
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
        let by_fours = ROW_HEAD_DIMS.contains(&head_dim) && head_dim.is_multiple_of(4);
        let in_rows = by_fours && tape.element(self.qkv) == Element::F32;
        let mut call = match tape.target().attention {
            AttentionVariant::Rows if in_rows => tape
                .call(&ROWS, entry)
                .groups([length.div_ceil(32), self.heads, batch])
                .trips(rows_trips(length, head_dim)),
            _ => Tiles::of(head_dim).call(tape, entry, self.shape, self.heads),
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

/// Loop iterations of a thread of the row variant, of `reverse_queries`, which makes the most: even where a driver
/// keeps every loop over features.
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
        let joined = tape.target().attention == AttentionVariant::Joined;
        let with_o = [&common[..], &[("o_saved", o), ("delta", delta)]].concat();
        self.push(tape, "reverse_queries", if joined { 5 } else { 3 }, &with_o)?;
        if !joined {
            self.push(tape, "reverse_keys", 4, &[&common[..], &[("delta_saved", delta)]].concat())?;
        }
        tape.contribute(self.qkv, qkv_grad);
        Ok(())
    }
}
