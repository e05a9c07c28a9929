//! The first half of a sublayer in one dispatch, for passes without gradients: the sum of the inputs, their pending
//! norms, the product, and SwiGLU or the rotation of q and k.

use rayon::prelude::*;

use super::gemm::with_tile;
use super::math::{sigmoid, vectorised};
use super::multiply::{Columns, Left, Matrix, Rows, Source, block_rows, halves};
use super::terms::{CpuTerms, SampleTerms, Terms};
use crate::Result;
use crate::plan::{Axis, Call, Entry, Kernel, LinearForm, Shape, Stored, StoredMut, Tape, Tensor};

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
    let (width, batch) = (h.shape.width, h.shape.batch);
    let (target, lines) = (tape.target(), 2 * pairs.pairs);
    let tile = target.tiles.fused;
    let groups = match h.over {
        Axis::Width => [lines.div_ceil(tile.width()), h.shape.rows().div_ceil(tile.height()), 1],
        Axis::Length => [width.div_ceil(tile.width()), lines.div_ceil(tile.height()), batch],
    };
    let mut call =
        h.bind(with_tile(tape.call(&KERNEL, entry), tile), target)?.bind("weight", weight).bind("out", out);
    if let Some((table, turned)) = pairs.turned {
        call = call.bind("table", table);
        call = call.count("rotated", turned);
    } else {
        call = call.count("rotated", 0);
    }
    call.count("pairs", pairs.pairs)
        .count("half", pairs.half)
        .groups(groups)
        .flops(4 * pairs.pairs * h.shape.words())
        .push()
}

fn swiglu_twin(call: &mut Call<'_>) {
    let (out, h, inner) = (call.output_stored("out"), CpuTerms::of(call), call.count("pairs"));
    let lines = call.count("positions") * inner;
    match call.constant("OVER_L") == 1 {
        true => {
            let sample = |sample| SampleTerms { terms: &h, sample };
            let out = out.first(lines / h.length * h.width);
            swiglu_over_l(call, ("weight", h.length), (inner, h.length, h.width), sample, out);
        }
        false => swiglu_over_d(call, ("weight", h.width), (inner, h.width), &h, out.first(lines)),
    }
}

/// What W is bound as, and the elements from one of its rows to the next.
pub(super) type WeightRows = (&'static str, usize);

/// silu(g) * u of the lines of `h`, which are positions, with (g, u) = W h; W (2 `inner`, `k`).
pub(super) fn swiglu_over_d(
    call: &Call<'_>,
    weight: WeightRows,
    (inner, k): (usize, usize),
    h: &impl Source,
    out: StoredMut<'_>,
) {
    let columns = Columns::of_weight(call, weight, 2 * inner, k);
    let most = block_rows(1, out.len() / inner, 2 * inner);
    out.chunks(most * inner).into_par_iter().enumerate().for_each(|(block, mut a)| {
        let rows = a.len() / inner;
        columns.block(Left::Read(h), block * most, rows, |gate_up, stride| {
            for (row, gate_up) in gate_up.chunks_exact_mut(stride).enumerate() {
                let (gate, up) = gate_up[..2 * inner].split_at_mut(inner);
                glu(gate, up);
                a.write(row * inner, gate);
            }
        });
    });
}

/// The same over L: W (2 `inner`, L), `sample` gives the features of one as lines. Rows of a block are the gates of its
/// pairs, then what they open.
pub(super) fn swiglu_over_l<S: Source>(
    call: &Call<'_>,
    (name, row): WeightRows,
    (inner, length, width): (usize, usize, usize),
    sample: impl Fn(usize) -> S + Sync,
    out: StoredMut<'_>,
) {
    let weight = call.stored(name);
    let most = block_rows(out.len() / (inner * width), 2 * inner, width) / 2;
    let rows = call.kept(name, &[most, length, row], || {
        let blocks = by_block((weight, row), inner, length, most);
        let lines = Matrix::lines_of(Stored::F32(&blocks), length);
        Rows::pack_for_blocks(&lines, 2 * inner, length, halves(weight))
    });
    out.chunks(inner * width).into_par_iter().enumerate().for_each(|(at, a)| {
        let outs = a.chunks(most * width).into_par_iter();
        rows.blocks(&sample(at), width, 2 * most, outs, |(_, mut a), gate_up, stride| {
            let (gates, ups) = gate_up.split_at_mut(gate_up.len() / 2);
            let lines = gates.chunks_exact_mut(stride).zip(ups.chunks_exact(stride)).enumerate();
            for (row, (gate, up)) in lines {
                glu(&mut gate[..width], &up[..width]);
                a.write(row * width, &gate[..width]);
            }
        });
    });
}

/// The rows of W in blocks of at most `most` pairs: gates, then what they open.
fn by_block((weight, row): (Stored<'_>, usize), inner: usize, depth: usize, most: usize) -> Vec<f32> {
    let mut rows = vec![0.0; 2 * inner * depth];
    for (block, rows) in rows.chunks_mut(2 * most * depth).enumerate() {
        let (gates, ups) = rows.split_at_mut(rows.len() / 2);
        for (lines, first) in [(gates, block * most), (ups, inner + block * most)] {
            let lines = lines.chunks_exact_mut(depth).enumerate();
            lines.for_each(|(line, out)| weight.read((first + line) * row, out));
        }
    }
    rows
}

/// gate = silu(gate) * up.
fn glu(gate: &mut [f32], up: &[f32]) {
    vectorised(|| gate.iter_mut().zip(up).for_each(|(gate, up)| *gate = *gate * sigmoid(*gate) * up));
}

fn qkv_twin(call: &mut Call<'_>) {
    let h = CpuTerms::of(call);
    let (pairs, half, rotated) = (call.count("pairs"), call.count("half"), call.count("rotated"));
    let table = if rotated > 0 { call.input("table") } else { &[] };
    let turns = Turns { table, length: h.length, half, rotated };
    let out = call.output_stored("out");
    qkv_over_d(call, ("weight", h.width), (2 * pairs, h.width), &h, &turns, out);
}

/// Which of q, k and v turn, and by what.
pub(super) struct Turns<'a> {
    /// cos and sin (`length`, `half`, 2).
    pub(super) table: &'a [f32],
    /// L.
    pub(super) length: usize,
    /// Half the size of a head.
    pub(super) half: usize,
    /// Pairs of a position that turn.
    pub(super) rotated: usize,
}

/// W h of the lines of `h`, which are positions, turned; W (`lines`, `k`).
pub(super) fn qkv_over_d(
    call: &Call<'_>,
    weight: WeightRows,
    (lines, k): (usize, usize),
    h: &impl Source,
    turns: &Turns<'_>,
    out: StoredMut<'_>,
) {
    let columns = Columns::of_weight(call, weight, lines, k);
    let most = block_rows(1, out.len() / lines, lines);
    out.chunks(most * lines).into_par_iter().enumerate().for_each(|(block, mut out)| {
        let (first, rows) = (block * most, out.len() / lines);
        columns.block(Left::Read(h), first, rows, |qkv, stride| {
            for (row, line) in qkv.chunks_exact_mut(stride).enumerate() {
                let Turns { table, length, half, rotated } = *turns;
                if rotated > 0 {
                    let turns = &table[(first + row) % length * half * 2..][..half * 2];
                    for head in line[..2 * rotated].chunks_exact_mut(2 * half) {
                        super::rope::turn(head, turns, 1.0);
                    }
                }
                out.write(row * lines, &line[..lines]);
            }
        });
    });
}
