//! The second half of a sublayer in one dispatch, for passes without gradients: the product, the residual, and the
//! sums of squares from which whoever reads the result works out its norm.

use rayon::prelude::*;

use super::gemm::with_tile;
use super::math::vectorised;
use super::multiply::{Columns, Left, Matrix, Rows, block_rows};
use super::rms_norm::dot;
use super::terms::{CpuTerms, PendingNorm, Term, Terms, groups};
use crate::Result;
use crate::plan::{Axis, Call, Entry, Kernel, Role, Tape, Tensor};

/// `shaders/project_out.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "project_out",
    source: include_str!("../../shaders/project_out.wgsl"),
    entries: &[Entry { name: "residual", twin: residual_twin }],
};

/// Lays down W x + h, W (D, `k`) over D or (L, `k`) over L; its norm over the same axis is pending.
pub fn residual(tape: &mut Tape, h: Terms<'_>, k: usize, x: Tensor, weight: Tensor) -> Result<Term> {
    let (length, width, batch) = (h.shape.length, h.shape.width, h.shape.batch);
    let target = tape.target();
    let tile = target.tiles.fused;
    let across = width.div_ceil(tile.width());
    let (tiles, parts) = match h.over {
        Axis::Width => ([across, h.shape.rows().div_ceil(tile.height()), 1], across),
        Axis::Length => ([across, length.div_ceil(tile.height()), batch], length.div_ceil(tile.height())),
    };
    let out = tape.tensor(Role::Activation, h.squares_at() + groups(h.shape, h.over) * parts);
    h.bind(with_tile(tape.call(&KERNEL, "residual"), tile), target)?
        .bind("weight", weight)
        .bind("x", x)
        .bind("out", out)
        .count("k", k)
        .count("out_parts", parts)
        .groups(tiles)
        .flops(2 * k * h.shape.words())
        .push()?;
    Ok(Term { tensor: out, norm: Some(PendingNorm { axis: h.over, parts }) })
}

fn residual_twin(call: &mut Call<'_>) {
    let (squares_at, positions) = (call.count("squares_at"), call.count("positions"));
    let h = CpuTerms::of(call);
    let (values, squares) = call.output("out").split_at_mut(squares_at);
    // One part has the whole sum, the others none of it.
    squares.fill(0.0);
    let values = &mut values[..positions * h.width];
    match call.constant("OVER_L") == 1 {
        true => residual_over_l(call, &h, values, squares),
        false => residual_over_d(call, &h, values, squares),
    }
}

fn residual_over_d(call: &Call<'_>, h: &CpuTerms<'_>, values: &mut [f32], squares: &mut [f32]) {
    let (k, parts, width) = (call.count("k"), call.count("out_parts"), h.width);
    let x = call.stored("x");
    let columns = Columns::of_weight(call, ("weight", k), width, k);
    let a = Matrix::lines_of(x, k);
    let most = block_rows(1, values.len() / width, width);
    let values = values.par_chunks_mut(most * width);
    let blocks = values.zip(squares.par_chunks_mut(most * parts)).enumerate();
    blocks.for_each(|(block, (out, squares))| {
        let (first, rows) = (block * most, out.len() / width);
        columns.block(Left::Read(&a), first, rows, |sums, stride| {
            let lines = out.chunks_exact_mut(width).zip(sums.chunks_exact(stride));
            for (row, ((line, sums), parts)) in lines.zip(squares.chunks_exact_mut(parts)).enumerate() {
                h.read(first + row, 0, line);
                add(line, sums);
                parts[0] = vectorised(|| dot(line, line));
            }
        });
    });
}

fn residual_over_l(call: &Call<'_>, h: &CpuTerms<'_>, values: &mut [f32], squares: &mut [f32]) {
    let (k, parts, width) = (call.count("k"), call.count("out_parts"), h.width);
    let x = call.stored("x");
    let most = block_rows(values.len() / (h.length * width), h.length, width);
    let samples = values.par_chunks_exact_mut(h.length * width);
    let samples = samples.zip(squares.par_chunks_exact_mut(width * parts)).enumerate();
    let rows = Rows::of_weight(call, "weight", h.length, k);
    samples.for_each(|(sample, (out, squares))| {
        let x = Matrix::across(x, width).from(sample * k * width);
        rows.blocks(&x, width, most, out.par_chunks_mut(most * width), |(block, out), sums, stride| {
            let lines = out.chunks_exact_mut(width).zip(sums.chunks_exact(stride));
            for (row, (line, sums)) in lines.enumerate() {
                h.read(sample * h.length + block * most + row, 0, line);
                add(line, sums);
            }
        });
        let mut sums = vec![0.0f32; width];
        vectorised(|| {
            for line in out.chunks_exact(width) {
                sums.iter_mut().zip(line).for_each(|(sum, value)| *sum += value * value);
            }
        });
        squares.chunks_exact_mut(parts).zip(sums).for_each(|(parts, sum)| parts[0] = sum);
    });
}

fn add(line: &mut [f32], terms: &[f32]) {
    vectorised(|| line.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term));
}
