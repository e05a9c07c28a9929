//! The innermost loops of a product in 512-bit vectors: a tile of C stays in registers while k runs.
//!
//! A panel holds one [`Line`] for each step of k and vector of C's columns (B) or for each step of k (A, of which as
//! many words count as C has rows). A step of f32 is one k; a step of bfloat16 is two, side by side in a word.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_dpbf16_ps, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_shuffle_i32x4,
    _mm512_storeu_ps, _mm512_storeu_si512, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::line::{LANES, Line, ROWS, ROWS_LESS, prefetch};

/// Steps ahead at which a tile asks for its panels, which lie in the second cache: not every processor foresees the
/// next lines from there.
const AHEAD: usize = 32;

/// Whether this processor has vectors of 512 bits.
pub(super) fn multiplies() -> bool {
    #[cfg(test)]
    if super::tests::PORTABLE.get() {
        return false;
    }
    is_x86_feature_detected!("avx512f")
}

/// Whether it multiplies pairs of bfloat16.
pub(super) fn multiplies_bf16() -> bool {
    multiplies() && is_x86_feature_detected!("avx512bf16")
}

/// Both tile functions, which differ in one instruction: (sum, two words of A all over, a line of B).
macro_rules! tile {
    ($name:ident, $features:literal, $step:expr) => {
        /// C (R, 16 V) = A B, onto C where `add`; C has `stride` words from row to row.
        ///
        /// # Safety
        /// The processor must have the features.
        #[target_feature(enable = $features)]
        unsafe fn $name<const R: usize, const V: usize>(
            a: &[Line],
            b: &[Line],
            c: &mut [f32],
            stride: usize,
            add: bool,
        ) {
            assert!(c.len() >= (R - 1) * stride + V * LANES && b.len() == V * a.len());
            let at = |row: usize, vector: usize| row * stride + vector * LANES;
            let mut sums = [[_mm512_setzero_ps(); V]; R];
            if add {
                for row in 0..R {
                    for vector in 0..V {
                        // SAFETY: the assertion keeps the 16 words inside of `c`.
                        sums[row][vector] = unsafe { _mm512_loadu_ps(c.as_ptr().add(at(row, vector))) };
                    }
                }
            }
            for (step, (words, lines)) in a.iter().zip(b.chunks_exact(V)).enumerate() {
                prefetch(a, step + AHEAD);
                (0..V).for_each(|vector| prefetch(b, (step + AHEAD) * V + vector));
                // SAFETY: a line has 16 words.
                let columns: [__m512i; V] = std::array::from_fn(|vector| unsafe {
                    _mm512_loadu_si512(lines[vector].0.as_ptr().cast())
                });
                for row in 0..R {
                    let words = _mm512_set1_epi32(words.0[row] as i32);
                    for vector in 0..V {
                        sums[row][vector] = $step(sums[row][vector], words, columns[vector]);
                    }
                }
            }
            for row in 0..R {
                for vector in 0..V {
                    // SAFETY: as above.
                    unsafe { _mm512_storeu_ps(c.as_mut_ptr().add(at(row, vector)), sums[row][vector]) };
                }
            }
        }
    };
}

tile!(tile_f32, "avx512f", |sum: __m512, a: __m512i, b: __m512i| {
    _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum)
});
tile!(tile_bf16, "avx512f,avx512bf16", |sum: __m512, a: __m512i, b: __m512i| {
    // SAFETY: vectors of one size, of which every bit pattern is a value.
    let pairs = |words: __m512i| unsafe { std::mem::transmute::<__m512i, __m512bh>(words) };
    _mm512_dpbf16_ps(sum, pairs(a), pairs(b))
});

/// A tile of `rows` rows of C, [`ROWS`] or [`ROWS_LESS`], from a panel of each operand; a panel of B has one or two
/// vectors a step. `pairs`: of bfloat16.
pub(super) fn multiply_tile(
    pairs: bool,
    rows: usize,
    (a, b): (&[Line], &[Line]),
    c: &mut [f32],
    stride: usize,
    add: bool,
) {
    assert!(if pairs { multiplies_bf16() } else { multiplies() });
    let tile = match (pairs, rows, b.len() > a.len()) {
        (false, ROWS, true) => tile_f32::<ROWS, 2>,
        (false, ROWS, false) => tile_f32::<ROWS, 1>,
        (false, ROWS_LESS, true) => tile_f32::<ROWS_LESS, 2>,
        (false, ROWS_LESS, false) => tile_f32::<ROWS_LESS, 1>,
        (true, ROWS, true) => tile_bf16::<ROWS, 2>,
        (true, ROWS, false) => tile_bf16::<ROWS, 1>,
        (true, ROWS_LESS, true) => tile_bf16::<ROWS_LESS, 2>,
        (true, ROWS_LESS, false) => tile_bf16::<ROWS_LESS, 1>,
        _ => unreachable!("panels have ROWS or ROWS_LESS rows"),
    };
    // SAFETY: the assertion has just asked the processor.
    unsafe { tile(a, b, c, stride, add) }
}

/// Sixteen rows become the first sixteen lines of a panel, `stride` lines apart, as far as there are lines.
pub(super) fn transpose(rows: &[&[u32; LANES]; LANES], panel: &mut [Line], stride: usize) {
    assert!(multiplies());
    // SAFETY: the assertion has just asked the processor.
    unsafe { transpose_words(rows, panel, stride) }
}

/// # Safety
/// The processor must have the feature.
#[target_feature(enable = "avx512f")]
unsafe fn transpose_words(rows: &[&[u32; LANES]; LANES], panel: &mut [Line], stride: usize) {
    // SAFETY: a row has 16 words.
    let r: [__m512i; LANES] =
        std::array::from_fn(|row| unsafe { _mm512_loadu_si512(rows[row].as_ptr().cast()) });
    // Neighbouring rows word by word, then pairs of rows two words at a time: each vector then holds, in each of its
    // quarters q, the words 4 q + j of four rows.
    let mut fours = [[_mm512_castps_si512(_mm512_setzero_ps()); 4]; 4];
    for (four, fours) in fours.iter_mut().enumerate() {
        let row = |index: usize| r[4 * four + index];
        let (low, high) = (_mm512_unpacklo_epi32(row(0), row(1)), _mm512_unpackhi_epi32(row(0), row(1)));
        let (low_next, high_next) =
            (_mm512_unpacklo_epi32(row(2), row(3)), _mm512_unpackhi_epi32(row(2), row(3)));
        *fours = [
            _mm512_unpacklo_epi64(low, low_next),
            _mm512_unpackhi_epi64(low, low_next),
            _mm512_unpacklo_epi64(high, high_next),
            _mm512_unpackhi_epi64(high, high_next),
        ];
    }
    for j in 0..4 {
        let [a, b, c, d] = fours.map(|four| four[j]);
        // Quarters 0 and 2, then 1 and 3, of two vectors each.
        let (even_ab, odd_ab) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
        let (even_cd, odd_cd) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
        let columns = [
            _mm512_shuffle_i32x4::<0x88>(even_ab, even_cd),
            _mm512_shuffle_i32x4::<0x88>(odd_ab, odd_cd),
            _mm512_shuffle_i32x4::<0xdd>(even_ab, even_cd),
            _mm512_shuffle_i32x4::<0xdd>(odd_ab, odd_cd),
        ];
        for (quarter, column) in columns.into_iter().enumerate() {
            if let Some(line) = panel.get_mut((4 * quarter + j) * stride) {
                // SAFETY: a line has 16 words.
                unsafe { _mm512_storeu_si512(line.0.as_mut_ptr().cast(), column) };
            }
        }
    }
}
