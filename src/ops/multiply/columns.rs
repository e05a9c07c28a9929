//! The second operand of a product as a whole, in panels, for many blocks of rows.

use std::sync::Arc;

use rayon::prelude::*;

use super::line::{LANES, Line, ROWS, VECTORS};
use super::panels::{multiply_tile, pack};
use super::source::{Matrix, Source};
use super::{Rows, free_panels, keep_panels, multiplies_bf16, steps, with_scratch};
use crate::plan::{Call, Stored};

/// Steps in depth between which sums rest in the block: two panels of so many fit into the first two caches. An even
/// number, so that pairs of bfloat16 lie in one part.
pub(super) const DEPTH: usize = 512;
const _: () = assert!(DEPTH.is_multiple_of(2));

/// The first operand of a product.
pub(in crate::ops) enum Left<'a, S> {
    /// To be packed block by block.
    Read(&'a S),
    /// Packed before, in panels of [`ROWS`].
    Packed(&'a Rows),
}

/// The second operand of a product, packed: part by part in depth, panel by panel.
pub(in crate::ops) struct Columns {
    pairs: bool,
    columns: usize,
    depth: usize,
    lines: Vec<Line>,
}

impl Columns {
    /// Packs `source` (`depth`, `columns`) with all threads. Where `halves`, operands are rounded to bfloat16 if the
    /// processor multiplies those.
    pub(in crate::ops) fn pack(source: &impl Source, columns: usize, depth: usize, halves: bool) -> Columns {
        let pairs = halves && multiplies_bf16();
        let vectors = columns.div_ceil(LANES);
        let needed = vectors * steps(depth, pairs);
        let mut lines = free_panels(needed);
        let whole = whole(source, columns, depth);
        let (mut rest, mut panels) = (&mut lines[..needed], Vec::new());
        for (from, depth) in parts(depth) {
            let steps = steps(depth, pairs);
            let (own, later) = rest.split_at_mut(vectors * steps);
            rest = later;
            let of_part = own.chunks_mut(VECTORS * steps).enumerate();
            panels.extend(of_part.map(|(index, panel)| (index * VECTORS * LANES, (from, depth), panel)));
        }
        panels.into_par_iter().for_each(|(first, part, panel)| {
            let lines = (first, (columns - first).min(VECTORS * LANES));
            let stride = lines.1.div_ceil(LANES);
            match &whole {
                Some(words) => {
                    pack(&Matrix::across(Stored::F32(words), columns), lines, part, pairs, panel, stride);
                }
                None => pack(source, lines, part, pairs, panel, stride),
            }
        });
        Columns { pairs, columns, depth, lines }
    }

    /// [`Columns::pack`] of an operand that is bound as `name`, once until it changes if it is of weights.
    pub(super) fn kept(
        call: &Call<'_>,
        name: &str,
        source: &Matrix<'_>,
        (columns, depth): (usize, usize),
        halves: bool,
    ) -> Arc<Columns> {
        let what = [columns, depth, source.line, source.depth, usize::from(halves)];
        call.kept(name, &what, || Columns::pack(source, columns, depth, halves))
    }

    /// Rows `first` to `first` + `rows` (at most [`super::block_rows`]) of the product with `a`, given to `finish` with
    /// the words from row to row. `first` is a multiple of [`ROWS`]; what is packed is as deep as these columns.
    pub(in crate::ops) fn block<R>(
        &self,
        a: Left<'_, impl Source>,
        first: usize,
        rows: usize,
        finish: impl FnOnce(&mut [f32], usize) -> R,
    ) -> R {
        let stride = self.columns.next_multiple_of(LANES);
        with_scratch(|scratch| {
            let (block, lines) = (&mut scratch.block, &mut scratch.panels);
            block.resize(rows.next_multiple_of(ROWS) * stride, 0.0);
            if self.depth == 0 {
                block.fill(0.0);
            }
            let mut packed = &self.lines[..];
            for (from, depth) in parts(self.depth) {
                let steps = steps(depth, self.pairs);
                let (own, later) = packed.split_at(self.columns.div_ceil(LANES) * steps);
                packed = later;
                match &a {
                    Left::Packed(kept) => {
                        debug_assert_eq!((kept.per_panel, kept.pairs), (ROWS, self.pairs));
                        let panel = |panel| kept.panel(first / ROWS + panel, (from, depth));
                        self.add_part((0..rows.div_ceil(ROWS)).map(panel), own, block, from > 0);
                    }
                    Left::Read(source) => {
                        lines.resize(rows.div_ceil(ROWS) * steps, Line([0; LANES]));
                        for (panel, lines) in lines.chunks_exact_mut(steps).enumerate() {
                            // The last two of sixteen rows belong to the next panel: read all the same, a vector is a
                            // vector.
                            let rows = (first + panel * ROWS, (rows - panel * ROWS).min(LANES));
                            pack(*source, rows, (from, depth), self.pairs, lines, 1);
                        }
                        self.add_part(lines.chunks_exact(steps), own, block, from > 0);
                    }
                }
            }
            finish(&mut block[..rows * stride], stride)
        })
    }

    /// Panels of A times one part of B's, into the block or onto it where `add`.
    fn add_part<'l>(
        &self,
        rows: impl Iterator<Item = &'l [Line]> + Clone,
        columns: &[Line],
        block: &mut [f32],
        add: bool,
    ) {
        let stride = self.columns.next_multiple_of(LANES);
        let steps = columns.len() / self.columns.div_ceil(LANES);
        for (column, b) in columns.chunks(VECTORS * steps).enumerate() {
            for (panel, a) in rows.clone().enumerate() {
                let c = &mut block[panel * ROWS * stride + column * VECTORS * LANES..];
                multiply_tile(self.pairs, ROWS, (a, b), c, stride, add);
            }
        }
    }
}

#[cfg(test)]
impl Columns {
    /// Whether both have the same panels.
    pub(super) fn holds(&self, other: &Columns) -> bool {
        let needed = self.columns.div_ceil(LANES) * steps(self.depth, self.pairs);
        self.pairs == other.pairs && self.lines[..needed] == other.lines[..needed]
    }
}

impl Drop for Columns {
    fn drop(&mut self) {
        keep_panels(std::mem::take(&mut self.lines));
    }
}

/// Parts of so deep a product: where each begins and how deep it is.
fn parts(depth: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..depth).step_by(DEPTH).map(move |from| (from, DEPTH.min(depth - from)))
}

/// What is made while it is read, and read across lines: once as a whole, not in pieces of a panel's width.
fn whole(source: &impl Source, lines: usize, depth: usize) -> Option<Vec<f32>> {
    if source.along_depth() || source.words(false).is_some() {
        return None;
    }
    let mut words = vec![0.0; lines * depth];
    words
        .par_chunks_mut(lines)
        .enumerate()
        .with_min_len(32)
        .for_each(|(at, words)| source.read(at, 0, words));
    Some(words)
}
