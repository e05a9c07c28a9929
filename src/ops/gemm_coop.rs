//! The matrix product on cooperative matrices: operands rounded to f16, products and sums in f32.
//!
//! `C[b] = sum over r of f16(A[b, r]) f16(B[b, r]) (+ addend[b])`. Chosen only where less precision was asked for.

use half::f16;
use rayon::prelude::*;

use super::gemm::Gemm;
use super::multiply::multiply_operands;
use crate::plan::{Call, DispatchBuilder, Entry, Kernel, Matrices, Stored, Tape};

/// `shaders/gemm_coop.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "gemm_coop",
    source: include_str!("../../shaders/gemm_coop.wgsl"),
    entries: &[
        Entry { name: "product", twin: |call| multiply_rounded(call, false) },
        Entry { name: "product_add", twin: |call| multiply_rounded(call, true) },
    ],
};

/// Cooperative matrices of a block, down and across: eight sums need six operands in registers.
const BLOCK: [usize; 2] = [4, 2];
/// Workgroups with which any GPU is busy: as many large tiles are better than four times as many small ones.
const MANY: usize = 128;

/// Blocks of a workgroup's tile, down and across.
#[derive(Clone, Copy)]
struct Tile([usize; 2]);

impl Tile {
    const SMALL: Tile = Tile([1, 2]);
    const LARGE: Tile = Tile([2, 4]);

    fn blocks(self) -> usize {
        self.0[0] * self.0[1]
    }

    /// Rows and columns of C.
    fn extent(self, size: usize) -> [usize; 2] {
        [0, 1].map(|axis| self.0[axis] * BLOCK[axis] * size)
    }

    fn groups(self, gemm: &Gemm, size: usize) -> [usize; 3] {
        let [rows, columns] = self.extent(size);
        [gemm.n.div_ceil(columns), gemm.m.div_ceil(rows), gemm.batch]
    }
}

/// The dispatch of a product, its tensors and counts not yet bound.
pub(super) fn call<'t>(
    tape: &'t mut Tape,
    entry: &'static str,
    gemm: &Gemm,
    device: Matrices,
) -> DispatchBuilder<'t> {
    let size = device.size as usize;
    let many = Tile::LARGE.groups(gemm, size).iter().product::<usize>() >= MANY;
    let tile = if many { Tile::LARGE } else { Tile::SMALL };
    tape.call(&KERNEL, entry)
        .constant("SIZE", size)
        .constant("LANES", tile.blocks() * device.subgroup as usize)
        .constant("ROWS", tile.0[0])
        .constant("COLUMNS", tile.0[1])
        .constant("A_ALONG_K", usize::from(gemm.a.col == 1))
        .constant("B_ALONG_K", usize::from(gemm.b.row == 1))
        .groups(tile.groups(gemm, size))
}

/// The CPU twin: the plain product of rounded operands.
fn multiply_rounded(call: &mut Call<'_>, add: bool) {
    let [a, b] = ["a", "b"].map(|name| rounded(call.input(name)));
    multiply_operands(call, Some([Stored::F32(&a), Stored::F32(&b)]), add);
}

fn rounded(words: &[f32]) -> Vec<f32> {
    words.par_iter().map(|&word| f16::from_f32(word).to_f32()).collect()
}
