//! The first operand of a product as a whole, in panels: for strips, and for samples that share it.

use std::sync::Arc;

use rayon::prelude::*;

use super::columns::{Columns, Left};
use super::line::{LANES, Line, ROWS, ROWS_LESS, VECTORS};
use super::panels::{multiply_tile, pack};
use super::source::{Matrix, Source};
use super::{free_panels, keep_panels, multiplies_bf16, steps, with_scratch};
use crate::plan::Call;

/// The first operand, packed.
pub(in crate::ops) struct Rows {
    pub(super) pairs: bool,
    pub(super) rows: usize,
    pub(super) per_panel: usize,
    depth: usize,
    lines: Vec<Line>,
}

impl Rows {
    /// Packs `rows` lines of `source`, each `depth` deep, in panels that they fill best. Where `halves`, operands are
    /// rounded to bfloat16 if the processor multiplies those.
    pub(in crate::ops) fn pack(source: &impl Source, rows: usize, depth: usize, halves: bool) -> Rows {
        let less = rows.next_multiple_of(ROWS_LESS) < rows.next_multiple_of(ROWS);
        Rows::in_panels(source, rows, depth, halves, if less { ROWS_LESS } else { ROWS })
    }

    /// The same in panels of [`ROWS`].
    pub(in crate::ops) fn pack_for_blocks(
        source: &impl Source,
        rows: usize,
        depth: usize,
        halves: bool,
    ) -> Rows {
        Rows::in_panels(source, rows, depth, halves, ROWS)
    }

    fn in_panels(source: &impl Source, rows: usize, depth: usize, halves: bool, per_panel: usize) -> Rows {
        let pairs = halves && multiplies_bf16();
        let steps = steps(depth, pairs);
        let needed = rows.div_ceil(per_panel) * steps;
        let mut lines = free_panels(needed);
        let panels = lines[..needed].par_chunks_exact_mut(steps.max(1)).enumerate().with_min_len(8);
        panels.for_each(|(panel, lines)| {
            let first = panel * per_panel;
            pack(source, (first, (rows - first).min(LANES)), (0, depth), pairs, lines, 1);
        });
        Rows { pairs, rows, per_panel, depth, lines }
    }

    /// [`Rows::pack_for_blocks`] of an operand that is bound as `name`, once until it changes if it is of weights.
    pub(super) fn kept(
        call: &Call<'_>,
        name: &str,
        source: &Matrix<'_>,
        (rows, depth): (usize, usize),
        halves: bool,
    ) -> Arc<Rows> {
        let what = [rows, depth, source.line, source.depth, usize::from(halves)];
        call.kept(name, &what, || Rows::pack_for_blocks(source, rows, depth, halves))
    }

    /// A part of a panel in depth, which begins at an even one.
    pub(super) fn panel(&self, panel: usize, (from, depth): (usize, usize)) -> &[Line] {
        let start = panel * steps(self.depth, self.pairs) + steps(from, self.pairs);
        &self.lines[start..start + steps(depth, self.pairs)]
    }

    /// All panels.
    pub(super) fn panels(&self) -> impl Iterator<Item = &[Line]> {
        (0..self.rows.div_ceil(self.per_panel)).map(|panel| self.panel(panel, (0, self.depth)))
    }

    /// The product of rows packed for blocks with `b` (depth, `columns`), by blocks of `most` rows (of
    /// [`super::block_rows`]): `finish` has the block's number with its part of `outs`, its sums, and the words from
    /// row to row.
    pub(in crate::ops) fn blocks<T: Send>(
        &self,
        b: &impl Source,
        columns: usize,
        most: usize,
        outs: impl IndexedParallelIterator<Item = T>,
        finish: impl Fn((usize, T), &mut [f32], usize) + Sync,
    ) {
        if self.rows <= most {
            let finish = |out| self.times(b, columns, |sums, stride| finish(out, sums, stride));
            return outs.enumerate().for_each(finish);
        }
        let packed = Columns::pack(b, columns, self.depth, self.pairs);
        outs.enumerate().for_each(|(block, out)| {
            let (first, a) = (block * most, Left::<Matrix<'_>>::Packed(self));
            let rows = most.min(self.rows - first);
            packed.block(a, first, rows, |sums, stride| finish((block, out), sums, stride));
        });
    }

    /// All rows at once: B is packed panel by panel, each multiplied while it is in cache.
    fn times<R>(&self, b: &impl Source, columns: usize, finish: impl FnOnce(&mut [f32], usize) -> R) -> R {
        let stride = columns.next_multiple_of(LANES);
        with_scratch(|scratch| {
            let (block, lines) = (&mut scratch.block, &mut scratch.panels);
            block.resize(self.rows.next_multiple_of(self.per_panel) * stride, 0.0);
            if self.depth == 0 {
                block.fill(0.0);
            }
            for first in (0..columns).step_by(VECTORS * LANES) {
                let count = (columns - first).min(VECTORS * LANES);
                let vectors = count.div_ceil(LANES);
                lines.resize(steps(self.depth, self.pairs) * vectors, Line([0; LANES]));
                pack(b, (first, count), (0, self.depth), self.pairs, lines, vectors);
                for (a, c) in self.panels().zip(block.chunks_exact_mut(self.per_panel * stride)) {
                    multiply_tile(self.pairs, self.per_panel, (a, lines), &mut c[first..], stride, false);
                }
            }
            finish(&mut block[..self.rows * stride], stride)
        })
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        keep_panels(std::mem::take(&mut self.lines));
    }
}
