//! The innermost loops of a product for processors without 512-bit vectors, in whatever vectors they have.

use pulp::{Arch, NullaryFnOnce};

use super::panels::{LANES, Line, ROWS, ROWS_LESS};

/// One tile of C (`rows`, one or two vectors) = A B, onto C where `add`, from a panel of f32 of each operand.
pub(super) fn multiply_tile(
    rows: usize,
    operands: (&[Line], &[Line]),
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
    let vectors = operands.1.len() / operands.0.len().max(1);
    for vector in 0..vectors {
        let mut row = 0;
        for count in together {
            let c = &mut c[row * stride + vector * LANES..];
            match count {
                5 => multiply_few::<5>(operands, (row, vector), c, stride, add),
                _ => multiply_few::<4>(operands, (row, vector), c, stride, add),
            }
            row += count;
        }
    }
}

/// N rows from `row` on of one of the tile's vectors; `c` begins there.
fn multiply_few<const N: usize>(
    (a, b): (&[Line], &[Line]),
    (row, vector): (usize, usize),
    c: &mut [f32],
    stride: usize,
    add: bool,
) {
    let mut sums = [[0.0; LANES]; N];
    if add {
        for (index, sums) in sums.iter_mut().enumerate() {
            sums.copy_from_slice(&c[index * stride..][..LANES]);
        }
    }
    let vectors = b.len() / a.len().max(1);
    let sums = match fuses() {
        true => Arch::new().dispatch(Few::<N, true> { a, b, row, vector, vectors, sums }),
        false => Arch::new().dispatch(Few::<N, false> { a, b, row, vector, vectors, sums }),
    };
    for (index, sums) in sums.iter().enumerate() {
        c[index * stride..][..LANES].copy_from_slice(sums);
    }
}

/// Whether a multiply-add is one instruction here: elsewhere it would be a call.
fn fuses() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
}

/// N rows of A from `row` on and one of `vectors` vectors of B, onto their sums.
struct Few<'a, const N: usize, const FUSED: bool> {
    a: &'a [Line],
    b: &'a [Line],
    row: usize,
    vector: usize,
    vectors: usize,
    sums: [[f32; LANES]; N],
}

impl<const N: usize, const FUSED: bool> NullaryFnOnce for Few<'_, N, FUSED> {
    type Output = [[f32; LANES]; N];

    #[inline(always)]
    fn call(self) -> Self::Output {
        let Few { a, b, row, vector, vectors, mut sums } = self;
        for (a, b) in a.iter().zip(b.chunks_exact(vectors)) {
            for (index, sums) in sums.iter_mut().enumerate() {
                // The remainder spares a check of the bound.
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
