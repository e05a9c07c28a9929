//! The innermost loops of a product for processors without 512-bit vectors, in whatever vectors they have.

use pulp::{Arch, Simd, WithSimd};

use super::line::{LANES, Line, ROWS, ROWS_LESS, prefetch};

/// Steps ahead at which the first rows of a tile ask for its panels, which lie in the second cache or the third.
const AHEAD: usize = 32;

/// One tile of C (`rows`, one or two vectors) = A B, onto C where `add`, from a panel of f32 of each operand.
pub(super) fn multiply_tile(
    rows: usize,
    (a, b): (&[Line], &[Line]),
    c: &mut [f32],
    stride: usize,
    add: bool,
) {
    // The sums of five rows, two vectors of B and a word of A fit into sixteen registers of eight words.
    let together = match rows {
        ROWS => [5, 5, 4],
        ROWS_LESS => [5, 4, 4],
        _ => unreachable!("panels have ROWS or ROWS_LESS rows"),
    };
    let arch = Arch::new();
    for vector in 0..b.len() / a.len().max(1) {
        let mut row = 0;
        for count in together {
            let c = &mut c[row * stride + vector * LANES..];
            let rows = Rows { a, b, row, vector, c, stride, add };
            match (count, row) {
                (5, 0) => arch.dispatch(Multiply::<5, true>(rows)),
                (5, _) => arch.dispatch(Multiply::<5, false>(rows)),
                _ => arch.dispatch(Multiply::<4, false>(rows)),
            }
            row += count;
        }
    }
}

/// Rows of A from `row` on times one of B's vectors, into C, which begins there.
struct Rows<'a> {
    a: &'a [Line],
    b: &'a [Line],
    row: usize,
    vector: usize,
    c: &'a mut [f32],
    stride: usize,
    add: bool,
}

/// The sums of N rows; those of the FIRST ask for the panels, which the tile's other rows then find in the cache.
struct Multiply<'a, const N: usize, const FIRST: bool>(Rows<'a>);

impl<const N: usize, const FIRST: bool> WithSimd for Multiply<'_, N, FIRST> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match LANES / S::F32_LANES {
            1 => self.in_vectors::<S, 1>(simd),
            2 => self.in_vectors::<S, 2>(simd),
            4 => self.in_vectors::<S, 4>(simd),
            _ => self.in_vectors::<S, LANES>(simd),
        }
    }
}

impl<const N: usize, const FIRST: bool> Multiply<'_, N, FIRST> {
    /// With V of the processor's vectors for one of the panel's.
    #[inline(always)]
    fn in_vectors<S: Simd, const V: usize>(self, simd: S) {
        let Rows { a, b, row, vector, c, stride, add } = self.0;
        let mut sums = [[simd.splat_f32s(0.0); V]; N];
        if add {
            for (sums, c) in sums.iter_mut().zip(c.chunks(stride)) {
                sums.copy_from_slice(S::as_simd_f32s(&c[..LANES]).0);
            }
        }
        let vectors = b.len() / a.len().max(1);
        for (step, (words, lines)) in a.iter().zip(b.chunks_exact(vectors)).enumerate() {
            if FIRST {
                prefetch(a, step + AHEAD);
                prefetch(b, (step + AHEAD) * vectors + vector);
            }
            let columns: &[f32; LANES] = bytemuck::cast_ref(&lines[vector].0);
            let columns = S::as_simd_f32s(columns).0;
            for (index, sums) in sums.iter_mut().enumerate() {
                // The remainder spares a check of the bound.
                let value = simd.splat_f32s(f32::from_bits(words.0[(row + index) % LANES]));
                for (sum, column) in sums.iter_mut().zip(columns) {
                    *sum = simd.mul_add_e_f32s(value, *column, *sum);
                }
            }
        }
        for (sums, c) in sums.iter().zip(c.chunks_mut(stride)) {
            S::as_mut_simd_f32s(&mut c[..LANES]).0.copy_from_slice(sums);
        }
    }
}
