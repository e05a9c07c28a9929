//! Rotary positions: q and k turned in place by an angle that grows with the position.
//!
//! Pairs are (i, i + d/2) of a head, the angle is position * theta^(-2i/d), over all L positions, the puzzle
//! embedding's included. The reverse rule turns the gradient back.

use rayon::prelude::*;

use super::sum::gradient;
use crate::Result;
use crate::plan::{Call, Element, Entry, Kernel, Reverse, Shape, Tape, Tensor};

/// `shaders/rope.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "rope",
    source: include_str!("../../shaders/rope.wgsl"),
    entries: &[Entry { name: "rotate", twin: rotate }],
};

/// cos and sin of every angle, (L, d/2, 2), computed in f64.
pub fn table(length: usize, head_dim: usize, theta: f64) -> Vec<f32> {
    let half = head_dim / 2;
    let angle = |position: usize, i: usize| position as f64 * theta.powf(-2.0 * i as f64 / head_dim as f64);
    let angles = (0..length).flat_map(|position| (0..half).map(move |i| angle(position, i)));
    angles.flat_map(|angle| [angle.cos() as f32, angle.sin() as f32]).collect()
}

/// Lays down the rotation of q and k in `qkv` (B, L, 3, heads, d). The result is `qkv` itself: its gradient is
/// turned back in place before the product that made it sees it.
pub fn rope(tape: &mut Tape, shape: Shape, heads: usize, table: Tensor, qkv: Tensor) -> Result<()> {
    let op = Rope { shape, heads, table, qkv };
    op.push(tape, qkv, 1.0)?;
    tape.rule(qkv, op);
    Ok(())
}

struct Rope {
    shape: Shape,
    heads: usize,
    table: Tensor,
    qkv: Tensor,
}

impl Rope {
    fn push(&self, tape: &mut Tape, qkv: Tensor, sign: f32) -> Result<()> {
        let half = self.shape.width / self.heads / 2;
        let pairs = self.shape.rows() * 2 * self.heads * half;
        let whole = tape.element(qkv) == Element::F32;
        tape.call(&KERNEL, "rotate")
            .bind("table", self.table)
            .bind("qkv", qkv)
            .count("pairs", pairs)
            .count("length", self.shape.length)
            .count("heads", self.heads)
            .count("half", half)
            .float("sign", sign)
            .flops(6 * pairs)
            .threads(if whole { pairs } else { pairs / 2 })
            .push()
    }
}

impl Reverse for Rope {
    fn reverse(&self, tape: &mut Tape) -> Result<()> {
        let Some(dqkv) = gradient(tape, self.qkv)? else { return Ok(()) };
        self.push(tape, dqkv, -1.0)?;
        tape.contribute(self.qkv, dqkv);
        Ok(())
    }
}

fn rotate(call: &mut Call<'_>) {
    let (length, heads, half) = (call.count("length"), call.count("heads"), call.count("half"));
    let (sign, table) = (call.float("sign"), call.input("table"));
    let row_words = 3 * heads * 2 * half;
    call.output("qkv").par_chunks_exact_mut(row_words).enumerate().with_min_len(16).for_each(|(row, qkv)| {
        let turns = &table[row % length * half * 2..][..half * 2];
        for head in qkv[..4 * heads * half].chunks_exact_mut(2 * half) {
            turn(head, turns, sign);
        }
    });
}

/// Rotates one head by the angles of its position.
pub(super) fn turn(head: &mut [f32], turns: &[f32], sign: f32) {
    let (u, v) = head.split_at_mut(head.len() / 2);
    for ((u, v), turn) in u.iter_mut().zip(v).zip(turns.chunks_exact(2)) {
        let (cos, sin) = (turn[0], sign * turn[1]);
        (*u, *v) = (*u * cos - *v * sin, *v * cos + *u * sin);
    }
}
