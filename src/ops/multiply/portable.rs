//! The innermost loops of a product for processors without 512-bit vectors, in whatever vectors they have.

use pulp::{Arch, NullaryFnOnce};

use super::panels::{LANES, Line};

/// Rows whose sums are in registers at once.
const FEW: usize = 4;

/// One tile of C (`rows`, one or two vectors) = A B, onto C where `add`, from a panel of f32 of each operand.
pub(super) fn multiply_tile(
    rows: usize,
    (a, b): (&[Line], &[Line]),
    c: &mut [f32],
    stride: usize,
    add: bool,
) {
    let vectors = b.len() / a.len().max(1);
    for vector in 0..vectors {
        for row in (0..rows).step_by(FEW) {
            let count = FEW.min(rows - row);
            let at = |index: usize| (row + index) * stride + vector * LANES;
            let mut sums = [[0.0; LANES]; FEW];
            if add {
                for (index, sums) in sums.iter_mut().enumerate().take(count) {
                    sums.copy_from_slice(&c[at(index)..][..LANES]);
                }
            }
            let sums = match fuses() {
                true => Arch::new().dispatch(Few::<true> { a, b, row, vector, vectors, sums }),
                false => Arch::new().dispatch(Few::<false> { a, b, row, vector, vectors, sums }),
            };
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

/// Four rows of A from `row` on and one of `vectors` vectors of B, onto their sums.
struct Few<'a, const FUSED: bool> {
    a: &'a [Line],
    b: &'a [Line],
    row: usize,
    vector: usize,
    vectors: usize,
    sums: [[f32; LANES]; FEW],
}

impl<const FUSED: bool> NullaryFnOnce for Few<'_, FUSED> {
    type Output = [[f32; LANES]; FEW];

    #[inline(always)]
    fn call(self) -> [[f32; LANES]; FEW] {
        let Few { a, b, row, vector, vectors, mut sums } = self;
        for (a, b) in a.iter().zip(b.chunks_exact(vectors)) {
            for (index, sums) in sums.iter_mut().enumerate() {
                // The panel's last words belong to no row: what they sum up to is dropped.
                let value = f32::from_bits(a.0[(row + index) % LANES]);
                for (sum, column) in sums.iter_mut().zip(&b[vector].0) {
                    let column = f32::from_bits(*column);
                    *sum = if FUSED { value.mul_add(column, *sum) } else { value * column + *sum };
                }
            }
        }
        sums
    }
}
