//! The innermost loops of a product for processors without 512-bit vectors, in whatever vectors they have.

use super::super::math::vectorised;
use super::panels::{LANES, Line, ROWS};

/// Rows whose sums are in registers at once.
const FEW: usize = 4;

/// One tile of C (ROWS, one or two vectors) = A B, onto C where `add`, from a panel of f32 of each operand.
pub(super) fn multiply_tile(a: &[Line], b: &[Line], c: &mut [f32], stride: usize, add: bool) {
    let vectors = b.len() / a.len().max(1);
    for vector in 0..vectors {
        for row in (0..ROWS).step_by(FEW) {
            let mut sums = [[0.0; LANES]; FEW];
            let count = FEW.min(ROWS - row);
            let at = |index: usize| (row + index) * stride + vector * LANES;
            if add {
                for (index, sums) in sums.iter_mut().enumerate().take(count) {
                    sums.copy_from_slice(&c[at(index)..][..LANES]);
                }
            }
            if fuses() {
                vectorised(|| sum_few(a, (row, b), (vector, vectors), &mut sums, f32::mul_add));
            } else {
                vectorised(|| sum_few(a, (row, b), (vector, vectors), &mut sums, |a, b, sum| a * b + sum));
            }
            for (index, sums) in sums.iter().enumerate().take(count) {
                c[at(index)..][..LANES].copy_from_slice(sums);
            }
        }
    }
}

/// Whether a multiply-add is one instruction here: elsewhere it would be a call.
fn fuses() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
}

/// Adds the products of four rows of A from `row` on and one vector of B to their sums.
#[inline(always)]
fn sum_few(
    a: &[Line],
    (row, b): (usize, &[Line]),
    (vector, vectors): (usize, usize),
    sums: &mut [[f32; LANES]; FEW],
    multiply_add: impl Fn(f32, f32, f32) -> f32,
) {
    for (a, b) in a.iter().zip(b.chunks_exact(vectors)) {
        let columns = b[vector].0.map(f32::from_bits);
        for (index, sums) in sums.iter_mut().enumerate() {
            // The panel's last words belong to no row: what they sum up to is dropped.
            let value = f32::from_bits(a.0[(row + index) % LANES]);
            (0..LANES).for_each(|lane| sums[lane] = multiply_add(value, columns[lane], sums[lane]));
        }
    }
}
