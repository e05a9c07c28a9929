//! The second half of a sublayer in one dispatch, for passes without gradients: the product, the residual, and the
//! sums of squares from which whoever reads the result works out its norm.

use gemm::Parallelism;
use rayon::prelude::*;

use super::gemm::{TILE, tile_trips};
use super::math::vectorised;
use super::multiply::{Matrix, multiply_evenly};
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
    let (tiles, parts) = match h.over {
        Axis::Width => ([width.div_ceil(TILE), h.shape.rows().div_ceil(TILE), 1], width.div_ceil(TILE)),
        Axis::Length => ([width.div_ceil(TILE), length.div_ceil(TILE), batch], length.div_ceil(TILE)),
    };
    let out = tape.tensor(Role::Activation, h.squares_at() + groups(h.shape, h.over) * parts);
    h.bind(tape.call(&KERNEL, "residual"))?
        .bind("weight", weight)
        .bind("x", x)
        .bind("out", out)
        .count("k", k)
        .count("out_parts", parts)
        .groups(tiles)
        .trips(h.trips() + tile_trips(k) + 45)
        .flops(2 * k * h.shape.words())
        .push()?;
    Ok(Term { tensor: out, norm: Some(PendingNorm { axis: h.over, parts }) })
}

fn residual_twin(call: &mut Call<'_>) {
    let h = CpuTerms::of(call);
    let (k, parts) = (call.count("k"), call.count("out_parts"));
    let (weight, x) = (call.input("weight"), call.input("x"));
    let (positions, over_l) = (call.count("positions"), call.constant("OVER_L") == 1);
    let (values, squares) = call.output("out").split_at_mut(call.count("squares_at"));
    let values = &mut values[..positions * h.width];
    // One part has the whole sum, the others none of it.
    squares.fill(0.0);
    if over_l {
        let samples = values.par_chunks_exact_mut(h.length * h.width).enumerate();
        samples.zip(squares.par_chunks_exact_mut(h.width * parts)).for_each(|((sample, out), squares)| {
            h.write(sample * h.length, out);
            let w = Matrix { words: weight, row: k, col: 1 };
            let x = Matrix { words: &x[sample * k * h.width..], row: h.width, col: 1 };
            multiply_evenly((h.length, h.width, k), w, x, out, true, Parallelism::None);
            let mut sums = vec![0.0f32; h.width];
            vectorised(|| {
                for line in out.chunks_exact(h.width) {
                    sums.iter_mut().zip(line).for_each(|(sum, value)| *sum += value * value);
                }
            });
            squares.chunks_exact_mut(parts).zip(sums).for_each(|(parts, sum)| parts[0] = sum);
        });
        return;
    }
    let rows = positions.div_ceil(rayon::current_num_threads());
    let blocks = values.par_chunks_mut(rows * h.width).enumerate().zip(squares.par_chunks_mut(rows * parts));
    blocks.for_each(|((block, out), squares)| {
        let first = block * rows;
        h.write(first, out);
        let x = Matrix { words: &x[first * k..], row: k, col: 1 };
        let w = Matrix { words: weight, row: 1, col: k };
        multiply_evenly((out.len() / h.width, h.width, k), x, w, out, true, Parallelism::None);
        for (line, parts) in out.chunks_exact(h.width).zip(squares.chunks_exact_mut(parts)) {
            parts[0] = vectorised(|| dot(line, line));
        }
    });
}
