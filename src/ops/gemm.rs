//! Shapes and strides of a matrix product, without a kernel: `C[b] = sum over r of A[b, r] B[b, r]`. Transposes and the
//! sums over samples that weight gradients need are a matter of strides and cost no copies.

use crate::plan::Purpose;

/// Strides of an operand, in elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operand {
    /// From one row to the next.
    pub row: usize,
    /// From one column to the next.
    pub col: usize,
    /// From one batch entry to the next.
    pub batch: usize,
    /// From one reduction to the next.
    pub step: usize,
}

impl Operand {
    /// A row-major matrix of `columns` columns.
    pub fn rows_of(columns: usize) -> Operand {
        Operand { row: columns, col: 1, ..Operand::default() }
    }

    /// The transpose: rows and columns exchanged.
    pub fn transposed(self) -> Operand {
        Operand { row: self.col, col: self.row, ..self }
    }

    /// One such matrix for each entry of the batch.
    pub fn each(self, elements: usize) -> Operand {
        Operand { batch: elements, ..self }
    }

    /// One such matrix for each reduction.
    pub fn summed(self, elements: usize) -> Operand {
        Operand { step: elements, ..self }
    }
}

/// Shape and strides of a product. C is row-major with `n` columns, one after the other over the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gemm {
    /// Rows of C.
    pub m: usize,
    /// Columns of C.
    pub n: usize,
    /// Length of one inner product.
    pub k: usize,
    /// How many C.
    pub batch: usize,
    /// How many products are summed into each C.
    pub reductions: usize,
    /// A (m, k).
    pub a: Operand,
    /// B (k, n).
    pub b: Operand,
    /// What the product is for.
    pub purpose: Purpose,
}

/// Products that a part of a divided sum has at the least: storing and adding shorter ones costs what they save.
const SHORTEST_PART: usize = 512;

impl Gemm {
    /// Multiplications and additions.
    pub(super) fn flops(&self) -> usize {
        2 * self.m * self.n * self.k * self.reductions * self.batch
    }

    /// Equal parts, at most `most`, that the sum of each element of a single C can be divided into.
    pub(super) fn parts(&self, most: usize) -> usize {
        let (steps, of_each) = self.steps();
        let most = most.min(steps * of_each / SHORTEST_PART).min(steps);
        (1..=most).rev().find(|&parts| steps.is_multiple_of(parts)).unwrap_or(1)
    }

    /// The same sum in `parts`, each a C of its own.
    pub(super) fn in_parts(self, parts: usize) -> Gemm {
        if parts == 1 {
            return self;
        }
        let (a, b, each) = (self.a, self.b, self.steps().0 / parts);
        let (k, reductions, a, b) = match self.reductions {
            1 => (each, 1, a.each(each * a.col), b.each(each * b.row)),
            _ => (self.k, each, a.each(each * a.step), b.each(each * b.step)),
        };
        Gemm { k, batch: parts, reductions, a, b, ..self }
    }

    /// What a sum can be divided by, and how many products each step of that has.
    fn steps(&self) -> (usize, usize) {
        if self.reductions == 1 { (self.k, 1) } else { (self.reductions, self.k) }
    }
}
