//! Operands rearranged for the innermost loop: panels of lines, a step in depth after the other.

use rayon::prelude::*;

use super::super::math::vectorised;
#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::source::{Matrix, Source, Words};
use super::{Chunk, Scratch, portable};
use crate::plan::{Stored, bf16_bits};

/// Words of a vector, and lines of a panel of one vector.
pub(super) const LANES: usize = 16;
/// Rows of A in a panel: as many as leave registers for two vectors of B.
pub(super) const ROWS: usize = 14;
/// Rows of the other panels: 64 features fill five of them but for a row.
pub(super) const ROWS_LESS: usize = 13;
/// Words of a line that are read at once.
const RUN: usize = 64;

/// One vector of a panel: f32, or pairs of bfloat16 that are neighbours in depth.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u32; LANES]);

/// Vectors of B in a panel.
const VECTORS: usize = 2;

/// B in panels, chunk by chunk.
#[derive(PartialEq)]
pub(super) struct Packed {
    pairs: bool,
    columns: usize,
    chunks: Vec<Chunk>,
    lines: Vec<Line>,
}

impl Packed {
    /// Lines that so many matrices take.
    pub(super) fn lines(sources: usize, columns: usize, depth: usize, pairs: bool) -> usize {
        let steps = Chunk::all(sources, depth).iter().map(|chunk| chunk.steps(pairs)).sum::<usize>();
        columns.div_ceil(LANES) * steps
    }

    /// Packs the sum over `sources` of matrices of `columns` columns, with all threads; `lines` is memory to reuse.
    pub(super) fn new(
        sources: &[impl Source],
        columns: usize,
        depth: usize,
        pairs: bool,
        mut lines: Vec<Line>,
    ) -> Packed {
        let chunks = Chunk::all(sources.len(), depth);
        let vectors = columns.div_ceil(LANES);
        let needed = Packed::lines(sources.len(), columns, depth, pairs);
        if lines.len() < needed {
            lines.resize(needed, Line([0; LANES]));
        }
        let mut rest = &mut lines[..needed];
        let mut panels = Vec::new();
        for chunk in &chunks {
            let (own, later) = rest.split_at_mut(vectors * chunk.steps(pairs));
            rest = later;
            panels
                .extend(own.chunks_mut(VECTORS * chunk.steps(pairs)).enumerate().map(|panel| (chunk, panel)));
        }
        let read: Vec<Option<Vec<f32>>> =
            sources.iter().map(|source| whole(source, columns, depth)).collect();
        panels.into_par_iter().for_each(|(chunk, (index, panel))| {
            let first = index * VECTORS * LANES;
            let (count, stride) = ((columns - first).min(VECTORS * LANES), panel.len() / chunk.steps(pairs));
            let (lines, depths) = ((first, count), (chunk.from, chunk.depth));
            match &read[chunk.source] {
                Some(words) => {
                    let source = Matrix::across(Stored::F32(words), columns);
                    pack(&source, lines, depths, pairs, panel, stride);
                }
                None => pack(&sources[chunk.source], lines, depths, pairs, panel, stride),
            }
        });
        Packed { pairs, columns, chunks, lines }
    }

    /// Gives the memory back, for the next one.
    pub(super) fn take_lines(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.lines)
    }

    /// Words from row to row of what [`Packed::multiply`] leaves in the block.
    pub(super) fn stride(&self) -> usize {
        self.columns.next_multiple_of(LANES)
    }

    /// Rows `first` to `first` + `rows` of the product, in `scratch.block`.
    pub(super) fn multiply(&self, a: &[impl Source], first: usize, rows: usize, scratch: &mut Scratch) {
        let (stride, vectors) = (self.stride(), self.columns.div_ceil(LANES));
        let panels = rows.div_ceil(ROWS);
        let Scratch { block, rows: lines } = scratch;
        block.resize(panels * ROWS * stride, 0.0);
        if self.chunks.is_empty() {
            block.fill(0.0);
        }
        let mut packed = &self.lines[..];
        for (index, chunk) in self.chunks.iter().enumerate() {
            let steps = chunk.steps(self.pairs);
            lines.resize(panels * steps, Line([0; LANES]));
            for (panel, lines) in lines.chunks_exact_mut(steps).enumerate() {
                // The last two of sixteen rows belong to the next panel: read all the same, a vector is a vector.
                let part = (first + panel * ROWS, (rows - panel * ROWS).min(LANES));
                pack(&a[chunk.source], part, (chunk.from, chunk.depth), self.pairs, lines, 1);
            }
            for (column, b) in packed[..vectors * steps].chunks(VECTORS * steps).enumerate() {
                for (panel, a) in lines.chunks_exact(steps).enumerate() {
                    let c = &mut block[panel * ROWS * stride + column * VECTORS * LANES..];
                    multiply_tile(self.pairs, ROWS, (a, b), c, stride, index > 0);
                }
            }
            packed = &packed[vectors * steps..];
        }
    }
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

/// Packs `lines` lines from `first` on, of which the panel holds `stride` vectors a step, between depths `from` and
/// `from` + `depth`. What the lines lack in the panel is zero.
pub(super) fn pack(
    source: &impl Source,
    (first, lines): (usize, usize),
    (from, depth): (usize, usize),
    pairs: bool,
    panel: &mut [Line],
    stride: usize,
) {
    let (last, in_words) = (first + lines, if pairs { 2 } else { 1 });
    if let Some(words) = source.words(pairs).filter(|_| depth % in_words == 0) {
        return pack_words(words, (first, last), from / in_words, panel, stride);
    }
    if source.along_depth() {
        for vector in 0..stride {
            let lines = lines.saturating_sub(vector * LANES).min(LANES);
            let first = first + vector * LANES;
            pack_along(source, (first, lines), (from, depth), pairs, &mut panel[vector..], stride);
        }
    } else if pairs {
        pack_pairs_across(source, (first, lines), (from, depth), panel, stride);
    } else {
        for (step, line) in panel.chunks_exact_mut(stride).enumerate() {
            let words: &mut [f32] = bytemuck::cast_slice_mut(line);
            let (read, rest) = words.split_at_mut(lines);
            source.read(from + step, first, read);
            rest.fill(0.0);
        }
    }
}

/// Words that need no change, from line `first` to `last` and from step `from` on.
fn pack_words(
    Words { words, line, depth }: Words<'_>,
    (first, last): (usize, usize),
    from: usize,
    panel: &mut [Line],
    stride: usize,
) {
    let steps = panel.len() / stride;
    for vector in 0..stride {
        let first = (first + vector * LANES).min(last);
        let count = (last - first).min(LANES);
        let panel = &mut panel[vector..];
        if depth != 1 {
            for (step, to) in panel.iter_mut().step_by(stride).enumerate() {
                let start = (from + step) * depth + first;
                match words[start..start + count].first_chunk::<LANES>() {
                    Some(sixteen) => to.0 = *sixteen,
                    None => {
                        to.0[..count].copy_from_slice(&words[start..start + count]);
                        to.0[count..].fill(0);
                    }
                }
            }
            continue;
        }
        let nothing = [0; LANES];
        let mut ends = [nothing; LANES];
        for at in (0..steps).step_by(LANES) {
            let left = (steps - at).min(LANES);
            for (index, end) in ends.iter_mut().enumerate().take(if left < LANES { count } else { 0 }) {
                let start = (first + index) * line + from + at;
                end[..left].copy_from_slice(&words[start..start + left]);
            }
            let rows: [&[u32; LANES]; LANES] = std::array::from_fn(|index| {
                let start = (first + index) * line + from + at;
                match words.get(start..).and_then(|words| words.first_chunk::<LANES>()) {
                    Some(row) if index < count && left == LANES => row,
                    _ => &ends[index],
                }
            });
            transpose(&rows, &mut panel[at * stride..], stride);
        }
    }
}

/// Lines that lie along the depth: sixteen of them are transposed, a run at a time.
fn pack_along(
    source: &impl Source,
    (first, lines): (usize, usize),
    (from, depth): (usize, usize),
    pairs: bool,
    panel: &mut [Line],
    stride: usize,
) {
    let mut rows = [[0u32; RUN]; LANES];
    let per_word = if pairs { 2 } else { 1 };
    for start in (0..depth).step_by(per_word * RUN) {
        let count = (depth - start).min(per_word * RUN);
        for (line, row) in rows.iter_mut().enumerate().take(lines) {
            if pairs {
                let mut values = [0.0f32; 2 * RUN];
                source.read(first + line, from + start, &mut values[..count]);
                join_neighbours(&values, row);
            } else {
                source.read(first + line, from + start, bytemuck::cast_slice_mut(&mut row[..count]));
            }
        }
        for at in (0..count.div_ceil(per_word)).step_by(LANES) {
            let sixteen: [&[u32; LANES]; LANES] =
                std::array::from_fn(|line| rows[line][at..].first_chunk().unwrap_or(&[0; LANES]));
            transpose(&sixteen, &mut panel[(start / per_word + at) * stride..], stride);
        }
    }
}

fn pack_pairs_across(
    source: &impl Source,
    (first, lines): (usize, usize),
    (from, depth): (usize, usize),
    panel: &mut [Line],
    stride: usize,
) {
    let mut values = [[0.0f32; 2 * LANES]; 2];
    for (step, line) in panel.chunks_exact_mut(stride).enumerate() {
        source.read(from + 2 * step, first, &mut values[0][..lines]);
        if 2 * step + 1 < depth {
            source.read(from + 2 * step + 1, first, &mut values[1][..lines]);
        } else {
            values[1].fill(0.0);
        }
        let words: &mut [u32] = bytemuck::cast_slice_mut(line);
        vectorised(|| {
            for (word, (low, high)) in words.iter_mut().zip(values[0].iter().zip(&values[1])) {
                *word = u32::from(bf16_bits(*low)) | u32::from(bf16_bits(*high)) << 16;
            }
        });
    }
}

fn join_neighbours(values: &[f32; 2 * RUN], words: &mut [u32; RUN]) {
    vectorised(|| {
        for (word, pair) in words.iter_mut().zip(values.chunks_exact(2)) {
            *word = u32::from(bf16_bits(pair[0])) | u32::from(bf16_bits(pair[1])) << 16;
        }
    });
}

/// A tile of `rows` rows of C, [`ROWS`] or [`ROWS_LESS`], from a panel of each operand, onto C where `add`.
pub(super) fn multiply_tile(
    pairs: bool,
    rows: usize,
    operands: (&[Line], &[Line]),
    c: &mut [f32],
    stride: usize,
    add: bool,
) {
    #[cfg(target_arch = "x86_64")]
    if avx512::multiplies() {
        return avx512::multiply_tile(pairs, rows, operands, c, stride, add);
    }
    debug_assert!(!pairs);
    portable::multiply_tile(rows, operands, c, stride, add);
}

/// Sixteen rows become the first sixteen lines of a panel, `stride` lines apart, as far as there are lines.
pub(super) fn transpose(rows: &[&[u32; LANES]; LANES], panel: &mut [Line], stride: usize) {
    #[cfg(target_arch = "x86_64")]
    if avx512::multiplies() {
        return avx512::transpose(rows, panel, stride);
    }
    for (word, line) in panel.iter_mut().step_by(stride).enumerate().take(LANES) {
        line.0 = std::array::from_fn(|row| rows[row][word]);
    }
}
