//! The first half of a sublayer in one dispatch, for passes without gradients: the sum of the inputs, their pending
//! norms, the product, and SwiGLU or the rotation of q and k.

use gemm::Parallelism;
use rayon::prelude::*;

use super::gemm::{TILE, tile_trips};
use super::math::{sigmoid, vectorised};
use super::multiply::{Matrix, multiply_evenly};
use super::terms::{CpuTerms, Terms};
use crate::Result;
use crate::plan::{Axis, Call, Entry, Kernel, LinearForm, Shape, Tape, Tensor};

/// `shaders/project_in.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "project_in",
    source: include_str!("../../shaders/project_in.wgsl"),
    entries: &[
        Entry { name: "swiglu", twin: swiglu_twin },
        Entry { name: "rope", twin: qkv_twin },
        Entry { name: "plain", twin: qkv_twin },
    ],
};

/// Lays down a = silu(g) * u, (g, u) = W h, W (2 `inner`, K): a (B, L, inner) over D, (B, inner, D) over L.
pub fn swiglu(tape: &mut Tape, h: Terms<'_>, inner: usize, weight: Tensor) -> Result<Tensor> {
    let shape = LinearForm { axis: h.over, input: h.shape, out: inner }.output();
    let out = tape.activation(shape.words());
    push(tape, "swiglu", h, Pairs { pairs: inner, half: inner, turned: None }, weight, out)?;
    Ok(out)
}

/// Lays down qkv = W h (B, L, 3, heads, d), q and k rotated by `table` where there is one.
pub fn qkv(
    tape: &mut Tape,
    h: Terms<'_>,
    heads: usize,
    table: Option<Tensor>,
    weight: Tensor,
) -> Result<Tensor> {
    let Shape { width, .. } = h.shape;
    let out = tape.activation(3 * h.shape.words());
    let entry = if table.is_some() { "rope" } else { "plain" };
    let turned = table.map(|table| (table, width));
    push(tape, entry, h, Pairs { pairs: 3 * width / 2, half: width / heads / 2, turned }, weight, out)?;
    Ok(out)
}

/// How the rows of W belong together.
struct Pairs {
    pairs: usize,
    half: usize,
    /// The table of angles, and how many pairs turn.
    turned: Option<(Tensor, usize)>,
}

fn push(
    tape: &mut Tape,
    entry: &'static str,
    h: Terms<'_>,
    pairs: Pairs,
    weight: Tensor,
    out: Tensor,
) -> Result<()> {
    let (length, width, batch) = (h.shape.length, h.shape.width, h.shape.batch);
    let of_pairs = pairs.pairs.div_ceil(TILE / 2);
    let (k, groups) = match h.over {
        Axis::Width => (width, [of_pairs, h.shape.rows().div_ceil(TILE), 1]),
        Axis::Length => (length, [width.div_ceil(TILE), of_pairs, batch]),
    };
    let mut call = h.bind(tape.call(&KERNEL, entry))?.bind("weight", weight).bind("out", out);
    if let Some((table, turned)) = pairs.turned {
        call = call.bind("table", table);
        call = call.count("rotated", turned);
    } else {
        call = call.count("rotated", 0);
    }
    call.count("pairs", pairs.pairs)
        .count("half", pairs.half)
        .groups(groups)
        .trips(h.trips() + tile_trips(k) + 22)
        .flops(4 * pairs.pairs * h.shape.words())
        .push()
}

fn swiglu_twin(call: &mut Call<'_>) {
    let h = CpuTerms::of(call);
    let (inner, weight, over_l) = (call.count("pairs"), call.input("weight"), call.constant("OVER_L") == 1);
    let out = call.output("out");
    match over_l {
        false => over_rows(&h, 2 * inner, weight, out, inner, |_, gate_up, a| {
            for (gate_up, a) in gate_up.chunks_exact(2 * inner).zip(a.chunks_exact_mut(inner)) {
                glu(gate_up, a);
            }
        }),
        true => {
            let sample = h.length * h.width;
            out.par_chunks_exact_mut(inner * h.width).enumerate().for_each(|(index, a)| {
                let mut sum = vec![0.0; sample];
                let mut gate_up = vec![0.0; 2 * inner * h.width];
                let x = h.as_they_are(index * h.length).unwrap_or_else(|| {
                    h.write(index * h.length, &mut sum);
                    &sum
                });
                let x = Matrix { words: x, row: h.width, col: 1 };
                let w = Matrix { words: weight, row: h.length, col: 1 };
                let shape = (2 * inner, h.width, h.length);
                multiply_evenly(shape, w, x, &mut gate_up, false, Parallelism::None);
                glu(&gate_up, a);
            });
        }
    }
}

/// a = silu(gate) * up, gate first in `gate_up`.
fn glu(gate_up: &[f32], a: &mut [f32]) {
    let (gate, up) = gate_up.split_at(a.len());
    let pairs = gate.iter().zip(up);
    vectorised(|| a.iter_mut().zip(pairs).for_each(|(a, (gate, up))| *a = gate * sigmoid(*gate) * up));
}

fn qkv_twin(call: &mut Call<'_>) {
    let h = CpuTerms::of(call);
    let (pairs, half, rotated) = (call.count("pairs"), call.count("half"), call.count("rotated"));
    let table = if rotated > 0 { call.input("table") } else { &[] };
    let (weight, out) = (call.input("weight"), call.output("out"));
    over_rows(&h, 2 * pairs, weight, out, 2 * pairs, |first, qkv, out| {
        out.copy_from_slice(qkv);
        for (row, line) in out.chunks_exact_mut(2 * pairs).enumerate().filter(|_| rotated > 0) {
            let turns = &table[(first + row) % h.length * half * 2..][..half * 2];
            for head in line[..2 * rotated].chunks_exact_mut(2 * half) {
                super::rope::turn(head, turns, 1.0);
            }
        }
    });
}

/// Products of blocks of rows, a block per thread: `finish(first row, W h, out)` gets `columns` and `n_out` words a row.
fn over_rows(
    h: &CpuTerms<'_>,
    columns: usize,
    weight: &[f32],
    out: &mut [f32],
    n_out: usize,
    finish: impl Fn(usize, &[f32], &mut [f32]) + Sync,
) {
    let rows = (out.len() / n_out).div_ceil(rayon::current_num_threads());
    out.par_chunks_mut(rows * n_out).enumerate().for_each(|(block, out)| {
        let (first, count) = (block * rows, out.len() / n_out);
        let mut sum = vec![0.0; count * h.width];
        let mut product = vec![0.0; count * columns];
        let x = h.as_they_are(first).unwrap_or_else(|| {
            h.write(first, &mut sum);
            &sum
        });
        let x = Matrix { words: x, row: h.width, col: 1 };
        let w = Matrix { words: weight, row: 1, col: h.width };
        multiply_evenly((count, columns, h.width), x, w, &mut product, false, Parallelism::None);
        finish(first, &product, out);
    });
}
