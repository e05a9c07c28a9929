//! The matrix product: every product of the model, forward and reverse, is one [`Gemm`].
//!
//! `C[b] = sum over r of A[b, r] B[b, r] (+ addend[b])`. Operands are described by strides, so transposes and the
//! sums over batch entries and recursion passes that weight gradients need cost no copies.

use super::gemm_coop;
use super::multiply::multiply_all;
use crate::Result;
use crate::plan::{DispatchBuilder, Element, Entry, Kernel, Purpose, Tape, Target, Tensor, Tile, Tiles};

/// `shaders/gemm.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "gemm",
    source: include_str!("../../shaders/gemm.wgsl"),
    entries: &[
        Entry { name: "product", twin: |call| multiply_all(call, false) },
        Entry { name: "product_add", twin: |call| multiply_all(call, true) },
    ],
};

/// Specialises `shaders/lib/tile.wgsl`, whose own constants are those of the small tile.
pub(super) fn with_tile(call: DispatchBuilder<'_>, tile: Tile) -> DispatchBuilder<'_> {
    match tile {
        Tile::SMALL => call,
        _ => call.constant("ROWS", tile.rows()).constant("FOURS", tile.fours()),
    }
}

/// Strides of an operand, in elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operand {
    /// From one row to the next.
    pub row: usize,
    /// From one column to the next.
    pub col: usize,
    /// From one batch entry to the next.
    pub batch: usize,
    /// From one outer reduction step to the next.
    pub outer: usize,
    /// From one inner reduction step to the next.
    pub inner: usize,
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
    pub fn each(self, words: usize) -> Operand {
        Operand { batch: words, ..self }
    }

    /// One such matrix for each reduction step.
    pub fn summed(self, outer: usize, inner: usize) -> Operand {
        Operand { outer, inner, ..self }
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
    /// How many products are summed into each C: (outer, inner).
    pub reductions: (usize, usize),
    /// A (m, k).
    pub a: Operand,
    /// B (k, n).
    pub b: Operand,
    /// Which of the target's tiles it takes.
    pub purpose: Purpose,
}

/// Products that a part of a divided sum has at the least: storing and adding shorter ones costs what they save.
const SHORTEST_PART: usize = 512;

/// What is added to a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addend {
    /// A tensor of C's shape.
    Whole(Tensor),
    /// A vector of n, added to every row.
    Bias(Tensor),
}

impl Addend {
    fn tensor(self) -> Tensor {
        match self {
            Addend::Whole(tensor) | Addend::Bias(tensor) => tensor,
        }
    }
}

impl Gemm {
    /// Lays the product down.
    pub fn push(
        &self,
        tape: &mut Tape,
        a: Tensor,
        b: Tensor,
        addend: Option<Addend>,
        c: Tensor,
    ) -> Result<()> {
        let entry = if addend.is_some() { "product_add" } else { "product" };
        let operands = [a, b, c].into_iter().chain(addend.map(Addend::tensor));
        let whole = operands.into_iter().all(|operand| tape.element(operand) == Element::F32);
        let call = match tape.target().matrices {
            Some(device) if whole => gemm_coop::call(tape, entry, self, device),
            _ => self.tiled_call(tape, entry),
        };
        let (addend_row, addend_batch) = match addend {
            Some(Addend::Whole(_)) => (self.n, self.m * self.n),
            _ => (0, 0),
        };
        let call = self.with_operands(call).bind("a", a).bind("b", b).bind("c", c);
        let mut call = call
            .count("c_row", self.n)
            .count("c_batch", self.m * self.n)
            .count("addend_row", addend_row)
            .count("addend_batch", addend_batch);
        if let Some(Addend::Whole(tensor) | Addend::Bias(tensor)) = addend {
            call = call.bind("addend", tensor);
        }
        call.flops(self.flops()).push()
    }

    /// Parts that the sum of each element is divided into so that `target` is busy: few workgroups with long sums would
    /// leave most of a GPU idle. Parts are equal. Of a single C (batch 1, one outer reduction).
    pub(super) fn parts(&self, target: &Target) -> usize {
        let groups = self.groups(self.tile(target.tiles)).iter().product::<usize>();
        let (steps, of_each) = self.steps();
        let most = (target.split_below / groups.max(1)).min(steps * of_each / SHORTEST_PART).min(steps);
        (1..=most).rev().find(|&parts| steps.is_multiple_of(parts)).unwrap_or(1)
    }

    /// The same sum in `parts`, each a C of its own.
    pub(super) fn in_parts(self, parts: usize) -> Gemm {
        if parts == 1 {
            return self;
        }
        let (a, b, each) = (self.a, self.b, self.steps().0 / parts);
        let (k, inner, a, b) = match self.reductions.1 {
            1 => (each, 1, a.each(each * a.col), b.each(each * b.row)),
            _ => (self.k, each, a.each(each * a.inner), b.each(each * b.inner)),
        };
        Gemm { k, batch: parts, reductions: (1, inner), a, b, ..self }
    }

    /// What a sum can be divided by, and how many products each step of that has.
    fn steps(&self) -> (usize, usize) {
        if self.reductions.1 == 1 { (self.k, 1) } else { (self.reductions.1, self.k) }
    }

    /// Multiplications and additions.
    fn flops(&self) -> usize {
        2 * self.m * self.n * self.k * self.reductions.0 * self.reductions.1 * self.batch
    }

    /// Sizes, and the strides of A and B.
    fn with_operands<'t>(&self, call: DispatchBuilder<'t>) -> DispatchBuilder<'t> {
        call.count("m", self.m)
            .count("n", self.n)
            .count("k", self.k)
            .count("reductions", self.reductions.0 * self.reductions.1)
            .count("inner", self.reductions.1)
            .count("a_row", self.a.row)
            .count("a_col", self.a.col)
            .count("a_batch", self.a.batch)
            .count("a_outer", self.a.outer)
            .count("a_inner", self.a.inner)
            .count("b_row", self.b.row)
            .count("b_col", self.b.col)
            .count("b_batch", self.b.batch)
            .count("b_outer", self.b.outer)
            .count("b_inner", self.b.inner)
    }

    /// Workgroups of a tiled product.
    fn groups(&self, tile: Tile) -> [usize; 3] {
        [self.n.div_ceil(tile.width()), self.m.div_ceil(tile.height()), self.batch]
    }

    fn tile(&self, tiles: Tiles) -> Tile {
        let wanted = tiles.of(self.purpose);
        let many = self.groups(wanted).iter().product::<usize>() >= tiles.small_below;
        if many { wanted } else { Tile::SMALL }
    }

    fn tiled_call<'t>(&self, tape: &'t mut Tape, entry: &'static str) -> DispatchBuilder<'t> {
        let tile = self.tile(tape.target().tiles);
        with_tile(tape.call(&KERNEL, entry), tile)
            .constant("A_ALONG_K", usize::from(self.a.col == 1))
            .constant("B_ALONG_K", usize::from(self.b.row == 1))
            .groups(self.groups(tile))
    }
}
