//! Operands rearranged for the innermost loop: panels of lines, a step in depth after the other.

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::line::{AHEAD, LANES, Line, prefetch};
use super::pairs;
use super::portable;
use super::source::{Source, Words};

/// Words of a line that are read at once.
const RUN: usize = 64;
/// [`AHEAD`] along a line, in words.
const AHEAD_ALONG: usize = 64;

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
        pairs::pack_across(source, (first, lines), (from, depth), panel, stride);
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
            // A copy of a count that only the run knows would be a call.
            let mask: [u32; LANES] = std::array::from_fn(|line| if line < count { u32::MAX } else { 0 });
            for (step, to) in panel.iter_mut().step_by(stride).enumerate() {
                let start = (from + step) * depth + first;
                prefetch(words, start + AHEAD * depth);
                match words.get(start..).and_then(|words| words.first_chunk::<LANES>()) {
                    Some(sixteen) => {
                        to.0 = std::array::from_fn(|line| sixteen[line] & mask[line]);
                    }
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
            for index in 0..count {
                prefetch(words, (first + index) * line + from + at + AHEAD_ALONG);
            }
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
    let (mut rows, mut values) = ([[0u32; RUN]; LANES], [0.0f32; 2 * RUN]);
    let per_word = if pairs { 2 } else { 1 };
    for start in (0..depth).step_by(per_word * RUN) {
        let count = (depth - start).min(per_word * RUN);
        for (line, row) in rows.iter_mut().enumerate().take(lines) {
            if pairs {
                let values = &mut values[..count.next_multiple_of(2)];
                // An odd depth ends in half a word.
                values[count - 1..].fill(0.0);
                source.read(first + line, from + start, &mut values[..count]);
                pairs::join_neighbours(values, row);
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

/// A tile of `rows` rows of C, [`ROWS`](super::line::ROWS) or [`ROWS_LESS`](super::line::ROWS_LESS), from a panel of each operand, onto C where `add`.
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
