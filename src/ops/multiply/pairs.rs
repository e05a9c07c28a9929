//! Words of panels that are pairs of bfloat16: neighbours in depth, the first one in the lower half.

use half::bf16;
use pulp::{Arch, NullaryFnOnce};

use super::line::{AHEAD, LANES, Line, prefetch};
use super::source::{Matrix, Source};
use crate::ops::math::vectorised;
use crate::plan::{Stored, bf16_bits};

/// What rounds to a bfloat16, or is one.
trait Half: Copy + Default {
    fn bits(self) -> u32;
}

impl Half for f32 {
    #[inline(always)]
    fn bits(self) -> u32 {
        bf16_bits(self).into()
    }
}

impl Half for bf16 {
    #[inline(always)]
    fn bits(self) -> u32 {
        self.to_bits().into()
    }
}

/// Pairs of neighbours.
pub(super) fn join_neighbours(values: &[f32], words: &mut [u32]) {
    vectorised(|| {
        for (word, pair) in words.iter_mut().zip(values.chunks_exact(2)) {
            *word = pair[0].bits() | pair[1].bits() << 16;
        }
    });
}

/// Packs lines as [`super::panels::pack`] does, where neighbouring lines lie side by side.
pub(super) fn pack_across(
    source: &impl Source,
    (first, lines): (usize, usize),
    (from, depth): (usize, usize),
    panel: &mut [Line],
    stride: usize,
) {
    if let Some(Matrix { words, start, depth: row, .. }) = source.across() {
        let place = Place { start: start + from * row + first, row, lines, depth };
        match words {
            Stored::F32(values) => return place.join(values, panel, stride),
            Stored::Bf16(halves) => return place.join(halves, panel, stride),
            Stored::F16(_) => {}
        }
    }
    let mut values = [0.0; 4 * LANES];
    let values = &mut values[..2 * lines];
    for (step, line) in panel.chunks_exact_mut(stride).enumerate() {
        let (low, high) = values.split_at_mut(lines);
        source.read(from + 2 * step, first, low);
        match 2 * step + 1 < depth {
            true => source.read(from + 2 * step + 1, first, high),
            false => high.fill(0.0),
        }
        let place = Place { start: 0, row: lines, lines, depth: 2 };
        place.join(values, line, stride);
    }
}

/// Where lines lie, at each depth side by side.
#[derive(Clone, Copy)]
struct Place {
    start: usize,
    /// Elements from one depth to the next.
    row: usize,
    lines: usize,
    depth: usize,
}

impl Place {
    fn join<T: Half>(self, elements: &[T], panel: &mut [Line], stride: usize) {
        for vector in 0..stride {
            let lines = self.lines.saturating_sub(vector * LANES).min(LANES);
            let place = Place { start: self.start + vector * LANES, lines, ..self };
            Arch::new().dispatch(JoinAcross { elements, place, panel: &mut panel[vector..], stride });
        }
    }
}

/// One vector of lines.
struct JoinAcross<'a, T> {
    elements: &'a [T],
    place: Place,
    panel: &'a mut [Line],
    stride: usize,
}

impl<T: Half> NullaryFnOnce for JoinAcross<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let JoinAcross { elements, place: Place { start, row, lines, depth }, panel, stride } = self;
        let mask: [u32; LANES] = std::array::from_fn(|line| if line < lines { u32::MAX } else { 0 });
        for (step, to) in panel.iter_mut().step_by(stride).enumerate() {
            let at = start + 2 * step * row;
            prefetch(elements, at + AHEAD * row);
            prefetch(elements, at + (AHEAD + 1) * row);
            let low = sixteen(elements, at, lines);
            let high =
                if 2 * step + 1 < depth { sixteen(elements, at + row, lines) } else { Default::default() };
            to.0 = std::array::from_fn(|line| (low[line].bits() | high[line].bits() << 16) & mask[line]);
        }
    }
}

/// Sixteen elements from `at` on, of which `lines` count.
#[inline(always)]
fn sixteen<T: Half>(elements: &[T], at: usize, lines: usize) -> [T; LANES] {
    if let Some(sixteen) = elements.get(at..).and_then(|rest| rest.first_chunk()) {
        return *sixteen;
    }
    std::array::from_fn(|line| if line < lines { elements[at + line] } else { T::default() })
}

/// Pairs of steps of `vectors` vectors of f32; the last one may lack its second.
pub(super) struct JoinSteps<'a> {
    pub(super) lines: &'a [Line],
    pub(super) vectors: usize,
    pub(super) joined: &'a mut [Line],
}

impl NullaryFnOnce for JoinSteps<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let JoinSteps { lines, vectors, joined } = self;
        let half = |word: &u32| f32::from_bits(*word).bits();
        for (two, joined) in lines.chunks(2 * vectors).zip(joined.chunks_exact_mut(vectors)) {
            for (vector, joined) in joined.iter_mut().enumerate() {
                let (low, high) = (&two[vector], two.get(vectors + vector).unwrap_or(&Line([0; LANES])));
                for (word, (low, high)) in joined.0.iter_mut().zip(low.0.iter().zip(&high.0)) {
                    *word = half(low) | half(high) << 16;
                }
            }
        }
    }
}
