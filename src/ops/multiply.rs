//! The matrix product on the CPU: the twin of the product kernels, and the strided products that attention is made of.

use gemm::Parallelism;
use rayon::prelude::*;

use super::gemm::Operand;
use crate::plan::Call;

/// The twin of a product: C = the sum of A B over the reductions, onto the addend where `add`.
pub(super) fn multiply_all(call: &mut Call<'_>, add: bool) {
    let (a, b) = (call.input("a"), call.input("b"));
    multiply_operands(call, a, b, add);
}

/// [`multiply_all`] with these words in place of A's and B's.
pub(super) fn multiply_operands(call: &mut Call<'_>, a: &[f32], b: &[f32], add: bool) {
    let (m, n, k) = (call.count("m"), call.count("n"), call.count("k"));
    let (reductions, inner) = (call.count("reductions"), call.count("inner"));
    let operand = |row: &str, col: &str, batch: &str, outer: &str, within: &str| Operand {
        row: call.count(row),
        col: call.count(col),
        batch: call.count(batch),
        outer: call.count(outer),
        inner: call.count(within),
    };
    let a_strides = operand("a_row", "a_col", "a_batch", "a_outer", "a_inner");
    let b_strides = operand("b_row", "b_col", "b_batch", "b_outer", "b_inner");
    let (addend_row, addend_batch) = (call.count("addend_row"), call.count("addend_batch"));
    let addend = add.then(|| call.input("addend"));
    let c = call.output("c");
    let threads = rayon::current_num_threads();
    let batches = c.len() / (m * n);
    let one = |(index, c): (usize, &mut [f32]), parallelism: Parallelism| {
        if let Some(addend) = addend {
            for (row, line) in c.chunks_exact_mut(n).enumerate() {
                let start = index * addend_batch + row * addend_row;
                line.copy_from_slice(&addend[start..start + n]);
            }
        }
        for r in 0..reductions {
            let start = |s: &Operand| index * s.batch + r / inner * s.outer + r % inner * s.inner;
            let a = Matrix { words: &a[start(&a_strides)..], row: a_strides.row, col: a_strides.col };
            let b = Matrix { words: &b[start(&b_strides)..], row: b_strides.row, col: b_strides.col };
            multiply_evenly((m, n, k), a, b, c, add || r > 0, parallelism);
        }
    };
    // Whole products side by side where there are enough of them, one product on all threads otherwise.
    if batches >= threads {
        c.par_chunks_exact_mut(m * n).enumerate().for_each(|item| one(item, Parallelism::None));
    } else {
        c.chunks_exact_mut(m * n).enumerate().for_each(|item| one(item, Parallelism::Rayon(0)));
    }
}

/// Most elements of a product for which the library may take inner products, which sum in another order.
const FEW_ELEMENTS: usize = 256;
/// Most columns for which it cuts long inner products elsewhere if there are few rows.
const FEW_COLUMNS: usize = 64;
/// The longest inner product that it never cuts.
const UNCUT: usize = 512;

/// c = a b (+ c where `accumulate`), c row-major. Every row is summed in the same order however many rows there
/// are, so that the results of a sample do not depend on the size of its batch: cuts and paths that the library
/// chooses by the number of rows are chosen here.
pub(super) fn multiply_evenly(
    (m, n, k): (usize, usize, usize),
    a: Matrix<'_>,
    b: Matrix<'_>,
    c: &mut [f32],
    accumulate: bool,
    parallelism: Parallelism,
) {
    let cut = if n <= FEW_COLUMNS { UNCUT } else { k.max(1) };
    for start in (0..k).step_by(cut) {
        let (length, accumulate) = (cut.min(k - start), accumulate || start > 0);
        let a = Matrix { words: &a.words[start * a.col..], ..a };
        let b = Matrix { words: &b.words[start * b.row..], ..b };
        if m * n <= FEW_ELEMENTS && a.col == 1 && b.row == 1 {
            let columns: Vec<f32> = (0..length * m).map(|at| a.words[at % m * a.row + at / m]).collect();
            let a = Matrix { words: &columns, row: 1, col: m };
            multiply((m, n, length), a, b, c, n, 1.0, accumulate, parallelism);
        } else {
            multiply((m, n, length), a, b, c, n, 1.0, accumulate, parallelism);
        }
    }
}

/// A strided view of a matrix.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    /// From its first element on.
    pub(super) words: &'a [f32],
    /// From one row to the next.
    pub(super) row: usize,
    /// From one column to the next.
    pub(super) col: usize,
}

impl Matrix<'_> {
    fn holds(&self, rows: usize, cols: usize) -> bool {
        rows == 0 || cols == 0 || (rows - 1) * self.row + (cols - 1) * self.col < self.words.len()
    }
}

/// c = factor a b (+ c where `accumulate`), c row-major with `c_row` words from row to row.
#[allow(unsafe_code, clippy::too_many_arguments)]
pub(super) fn multiply(
    (m, n, k): (usize, usize, usize),
    a: Matrix<'_>,
    b: Matrix<'_>,
    c: &mut [f32],
    c_row: usize,
    factor: f32,
    accumulate: bool,
    parallelism: Parallelism,
) {
    assert!(a.holds(m, k) && b.holds(k, n) && n <= c_row && m * c_row <= c.len() + c_row - n);
    // SAFETY: the assertion above keeps every element that the strides reach inside the three slices, and the
    // borrow of `c` is exclusive.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            c_row as isize,
            accumulate,
            a.words.as_ptr(),
            a.col as isize,
            a.row as isize,
            b.words.as_ptr(),
            b.col as isize,
            b.row as isize,
            1.0,
            factor,
            false,
            false,
            false,
            parallelism,
        );
    }
}
