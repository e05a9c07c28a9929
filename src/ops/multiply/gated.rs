//! The twins of products that end in SwiGLU or in its reverse: whole lines of gates meet those that they open.

use rayon::prelude::*;

use super::products::Product;
use super::{Left, Matrix, Rows, block_rows};
use crate::ops::math::{sigmoid, vectorised};
use crate::plan::{Call, Stored, StoredMut};

/// A line of gates with the line that they open, wherever they lie.
type Both<'a> = [StoredMut<'a>; 2];

/// silu(g) * u of C = (g, u).
pub(in crate::ops) fn gate(call: &mut Call<'_>) {
    multiply(call, None);
}

/// The same, and C itself.
pub(in crate::ops) fn gate_kept(call: &mut Call<'_>) {
    let kept = call.output_stored("kept");
    multiply(call, Some(kept));
}

fn multiply(call: &mut Call<'_>, kept: Option<StoredMut<'_>>) {
    let (product, over_l) = (Product::of(call), call.constant("OVER_L") == 1);
    let Product { m, n, k, halves, .. } = product;
    let out = call.output_stored("c");
    let batches = out.len() / (m * n / 2);
    let out = out.first(batches * m * n / 2);
    if !over_l {
        let inner = n / 2;
        let (mut a, mut kept) =
            (out.chunks(inner), kept.map_or(Vec::new(), |kept| pairs_of_rows(kept, inner)));
        let (most, columns) = (block_rows(1, m, n), product.columns(call));
        let [rows_of_a, _] = product.operands(0, 0);
        let blocks = a.chunks_mut(most).zip(in_blocks(&mut kept, most)).enumerate();
        let blocks: Vec<_> = blocks.collect();
        blocks.into_par_iter().for_each(|(block, (a, kept))| {
            columns.block(Left::Read(&rows_of_a), block * most, a.len(), |sums, stride| {
                let rows = sums.chunks_exact_mut(stride).map(|row| row[..n].split_at_mut(inner));
                store_gated(rows, a, kept);
            });
        });
        return;
    }
    let inner = m / 2;
    let most = block_rows(batches, m, n) / 2;
    let [weight, _] = product.operands(0, 0);
    let rows = call.kept("a", &[most, k, weight.line], || {
        let blocks = by_block(&weight, inner, k, most);
        Rows::pack_for_blocks(&Matrix::lines_of(Stored::F32(&blocks), k), m, k, halves)
    });
    let kept = kept.map_or(Vec::new(), |kept| kept.first(batches * m * n).chunks(m * n));
    let kept = kept.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
    let samples: Vec<_> = out.chunks(inner * n).into_iter().zip(kept).enumerate().collect();
    samples.into_par_iter().for_each(|(sample, (a, kept))| {
        let [_, b] = product.operands(sample, 0);
        let (mut a, mut kept) = (a.chunks(n), kept.map_or(Vec::new(), |kept| halves_of(kept, n)));
        let outs: Vec<_> = a.chunks_mut(most).zip(in_blocks(&mut kept, most)).collect();
        rows.blocks(&b, n, 2 * most, outs.into_par_iter(), |(_, (a, kept)), gate_up, stride| {
            let (gates, ups) = gate_up.split_at_mut(gate_up.len() / 2);
            let lines = gates.chunks_exact_mut(stride).zip(ups.chunks_exact_mut(stride));
            store_gated(lines.map(|(gate, up)| (&mut gate[..n], &mut up[..n])), a, kept);
        });
    });
}

/// Stores lines of silu(g) * u, and g and u where they are kept.
fn store_gated<'s>(
    lines: impl Iterator<Item = (&'s mut [f32], &'s mut [f32])>,
    a: &mut [StoredMut<'_>],
    kept: &mut [Both<'_>],
) {
    for (line, ((gate, up), a)) in lines.zip(a).enumerate() {
        if let Some([gates, ups]) = kept.get_mut(line) {
            gates.write(0, gate);
            ups.write(0, up);
        }
        vectorised(|| gate.iter_mut().zip(&*up).for_each(|(gate, up)| *gate = *gate * sigmoid(*gate) * up));
        a.write(0, gate);
    }
}

/// The gradients of g and u, C being that of silu(g) * u.
pub(in crate::ops) fn ungate(call: &mut Call<'_>) {
    let (product, over_l) = (Product::of(call), call.constant("OVER_L") == 1);
    let (gate_up, out) = (call.stored("gate_up"), call.output_stored("c"));
    let Product { m, n, .. } = product;
    let batches = out.len() / (2 * m * n);
    let out = out.first(2 * batches * m * n);
    // Where a line of gates starts, and how far behind it the line that they open.
    let place = |batch: usize, row: usize| match over_l {
        true => (2 * batch * m * n + row * n, m * n),
        false => (2 * row * n, n),
    };
    let store = |batch: usize, first: usize, (sums, stride): (&[f32], usize), both: &mut [Both<'_>]| {
        let [mut gate, mut up] = [(); 2].map(|()| vec![0.0; n]);
        for (row, (da, [gates, ups])) in sums.chunks_exact(stride).zip(both).enumerate() {
            let (at, apart) = place(batch, first + row);
            gate_up.read(at, &mut gate);
            gate_up.read(at + apart, &mut up);
            vectorised(|| differentiate(&da[..n], &mut gate, &mut up));
            gates.write(0, &gate);
            ups.write(0, &up);
        }
    };
    let most = block_rows(batches, m, n);
    if !over_l {
        let ([a, _], columns) = (product.operands(0, 0), product.columns(call));
        let mut both = pairs_of_rows(out, n);
        both.par_chunks_mut(most).enumerate().for_each(|(block, both)| {
            let first = block * most;
            columns.block(Left::Read(&a), first, both.len(), |sums, stride| {
                store(0, first, (sums, stride), both)
            });
        });
        return;
    }
    let rows = product.rows(call);
    out.chunks(2 * m * n).into_par_iter().enumerate().for_each(|(sample, out)| {
        let [_, b] = product.operands(sample, 0);
        let mut both = halves_of(out, n);
        rows.blocks(&b, n, most, both.par_chunks_mut(most), |(block, both), sums, stride| {
            store(sample, block * most, (sums, stride), both);
        });
    });
}

/// g and u become their gradients.
#[inline(always)]
fn differentiate(da: &[f32], gate: &mut [f32], up: &mut [f32]) {
    for ((gate, up), da) in gate.iter_mut().zip(up).zip(da) {
        let s = sigmoid(*gate);
        (*gate, *up) = (da * *up * s * (1.0 + *gate * (1.0 - s)), da * *gate * s);
    }
}

/// Lines of `width` elements, each second one paired with the one before.
fn pairs_of_rows(elements: StoredMut<'_>, width: usize) -> Vec<Both<'_>> {
    let mut lines = elements.chunks(width).into_iter();
    std::iter::from_fn(|| Some([lines.next()?, lines.next()?])).collect()
}

/// Lines of `width` elements, those of the first half paired with those of the second.
fn halves_of(elements: StoredMut<'_>, width: usize) -> Vec<Both<'_>> {
    let mut gates = elements.chunks(width);
    let ups = gates.split_off(gates.len() / 2);
    gates.into_iter().zip(ups).map(|(gate, up)| [gate, up]).collect()
}

/// Pieces of `size`; of nothing, as many empty ones as anybody asks for.
fn in_blocks<T>(lines: &mut [T], size: usize) -> impl Iterator<Item = &mut [T]> {
    lines.chunks_mut(size).chain(std::iter::repeat_with(<&mut [T]>::default))
}

/// The rows of W in blocks of at most `most` pairs: gates, then what they open.
fn by_block(weight: &Matrix<'_>, inner: usize, depth: usize, most: usize) -> Vec<f32> {
    let mut rows = vec![0.0; 2 * inner * depth];
    for (block, rows) in rows.chunks_mut(2 * most * depth).enumerate() {
        let (gates, ups) = rows.split_at_mut(rows.len() / 2);
        for (lines, first) in [(gates, block * most), (ups, inner + block * most)] {
            let lines = lines.chunks_exact_mut(depth).enumerate();
            lines.for_each(|(line, out)| weight.words.read(weight.start + (first + line) * weight.line, out));
        }
    }
    rows
}
