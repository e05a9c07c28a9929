//! The matrix product: every product of the model, forward and reverse, is one [`Gemm`].
//!
//! `C[b] = sum over r of A[b, r] B[b, r] (+ addend[b])`. Operands are described by strides, so transposes and the
//! sums over batch entries and recursion passes that weight gradients need cost no copies.

use super::gemm_coop;
use super::multiply::multiply_all;
use crate::Result;
use crate::plan::{DispatchBuilder, Element, Entry, GemmVariant, Kernel, Purpose, Tape, Tensor, Tile, Tiles};

/// `shaders/gemm.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "gemm",
    source: include_str!("../../shaders/gemm.wgsl"),
    entries: &[
        Entry { name: "product", twin: |call| multiply_all(call, "c", false) },
        Entry { name: "product_add", twin: |call| multiply_all(call, "c", true) },
    ],
};

/// `shaders/gemm_broadcast.wgsl`.
pub static BROADCAST: Kernel = Kernel {
    name: "gemm_broadcast",
    source: include_str!("../../shaders/gemm_broadcast.wgsl"),
    entries: &[
        Entry { name: "product", twin: |call| multiply_all(call, "c", false) },
        Entry { name: "product_add", twin: |call| multiply_all(call, "c", true) },
        Entry { name: "product_words", twin: |call| multiply_all(call, "c_words", false) },
        Entry { name: "product_add_words", twin: |call| multiply_all(call, "c_words", true) },
    ],
};

/// Specialises `shaders/lib/tile.wgsl`, whose own constants are those of the small tile.
pub(super) fn with_tile(call: DispatchBuilder<'_>, tile: Tile) -> DispatchBuilder<'_> {
    match tile {
        Tile::SMALL => call,
        _ => call.constant("ROWS", tile.rows()).constant("FOURS", tile.fours()),
    }
}

/// Loop iterations of `add_product` in `shaders/lib/tile.wgsl`, in steps of 16.
pub(super) fn tile_trips(k: usize) -> usize {
    1 + k.div_ceil(16) * (1 + 5)
}

/// Loop iterations in which a thread stores its elements two at a time, or fewer.
pub(super) fn store_trips(tile: Tile) -> usize {
    1 + tile.rows() * (2 + 2 * tile.fours())
}

/// Strides of C from row to row, from column to column and from batch to batch, and of the addend's rows and batches.
pub(super) fn with_result<'t>(
    call: DispatchBuilder<'t>,
    (c_row, c_col, c_batch): (usize, usize, usize),
    (addend_row, addend_batch): (usize, usize),
) -> DispatchBuilder<'t> {
    call.count("c_row", c_row)
        .count("c_col", c_col)
        .count("c_batch", c_batch)
        .count("addend_row", addend_row)
        .count("addend_batch", addend_batch)
}

/// Strides of an operand, in words.
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
        let broadcasts = tape.target().gemm == GemmVariant::Broadcast && whole && self.suits_broadcast();
        let turns = broadcasts && addend.is_none() && self.gains_by_turning();
        let (own, a, b) = if turns { (self.turned(), b, a) } else { (*self, a, b) };
        let (call, output) = match tape.target().gemm {
            GemmVariant::Cooperative(device) if whole => (gemm_coop::call(tape, entry, self, device), "c"),
            _ if broadcasts => own.broadcast_call(tape, entry, turns),
            _ => (self.tiled_call(tape, entry), "c"),
        };
        let (c_row, c_col) = if turns { (1, self.n) } else { (self.n, 1) };
        let (addend_row, addend_batch) = match addend {
            Some(Addend::Whole(_)) => (self.n, self.m * self.n),
            _ => (0, 0),
        };
        let call = own.with_operands(call).bind("a", a).bind("b", b).bind(output, c);
        let mut call = with_result(call, (c_row, c_col, self.m * self.n), (addend_row, addend_batch));
        if let Some(Addend::Whole(tensor) | Addend::Bias(tensor)) = addend {
            call = call.bind("addend", tensor);
        } else if output == "c_words" {
            // Bound by every entry that stores words, read by those that add.
            call = call.bind("addend", a);
        }
        call.flops(self.flops()).push()
    }

    /// Multiplications and additions.
    pub(super) fn flops(&self) -> usize {
        2 * self.m * self.n * self.k * self.reductions.0 * self.reductions.1 * self.batch
    }

    /// Sizes, and the strides of A and B.
    pub(super) fn with_operands<'t>(&self, call: DispatchBuilder<'t>) -> DispatchBuilder<'t> {
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
        let reductions = self.reductions.0 * self.reductions.1;
        let tile = self.tile(tape.target().tiles);
        with_tile(tape.call(&KERNEL, entry), tile)
            .constant("A_ALONG_K", usize::from(self.a.col == 1))
            .constant("B_ALONG_K", usize::from(self.b.row == 1))
            .groups(self.groups(tile))
            .trips(1 + reductions * (1 + tile_trips(self.k)) + store_trips(tile))
    }

    /// The broadcast kernel reads eight neighbours at a time, along k or across it, but not both across.
    fn suits_broadcast(&self) -> bool {
        self.a.col == 1 || (self.a.row == 1 && self.b.col == 1)
    }

    /// The product of the transposes: the transpose of C.
    fn turned(&self) -> Gemm {
        Gemm { m: self.n, n: self.m, a: self.b.transposed(), b: self.a.transposed(), ..*self }
    }

    /// Whether the broadcast kernel has less to do for the transpose of C, which it stores word by word: not where it
    /// could store C by vectors.
    fn gains_by_turning(&self) -> bool {
        let turned = self.turned();
        let unaligned = !self.n.is_multiple_of(8) && turned.suits_broadcast();
        unaligned && 10 * turned.broadcast_elements() < 9 * self.broadcast_elements()
    }

    /// Elements of whole subgroups.
    fn broadcast_elements(&self) -> usize {
        self.m.next_multiple_of(self.broadcast_rows()) * self.n.next_multiple_of(64)
    }

    /// The call, and what its output is called; one that is `turned` stores words.
    fn broadcast_call<'t>(
        &self,
        tape: &'t mut Tape,
        entry: &'static str,
        turned: bool,
    ) -> (DispatchBuilder<'t>, &'static str) {
        let (entry, output) = match (entry, self.n.is_multiple_of(8) && !turned) {
            (_, true) => (entry, "c"),
            ("product", false) => ("product_words", "c_words"),
            (_, false) => ("product_add_words", "c_words"),
        };
        let rows = self.broadcast_rows();
        // Each of up to 64 rows stores its words in a loop of eight. Vectors take fewer: an addend is added, and the
        // result stored, in eight loops of eight.
        let call = self.by_broadcasts(tape.call(&BROADCAST, entry), rows, 64 * (8 + 1));
        (call, output)
    }

    /// Specialises `shaders/lib/broadcast.wgsl` for workgroups of so many rows, and deals out C; then each thread
    /// stores in `store_trips` loop iterations.
    pub(super) fn by_broadcasts<'t>(
        &self,
        call: DispatchBuilder<'t>,
        rows: usize,
        store_trips: usize,
    ) -> DispatchBuilder<'t> {
        let (a_along_k, b_along_k) = (self.a.col == 1, self.b.col != 1);
        let in_eights = |line: usize, operand: &Operand| {
            let strides = [line, operand.batch, operand.outer, operand.inner];
            strides.iter().all(|stride| stride.is_multiple_of(8))
        };
        let a_aligned = match a_along_k {
            true => in_eights(self.a.row, &self.a),
            false => rows.is_multiple_of(8) && in_eights(self.a.col, &self.a),
        };
        let b_aligned = in_eights(if b_along_k { self.b.col } else { self.b.row }, &self.b);
        let columns = self.n.div_ceil(8);
        // At least one eight, though there be nothing to deal out.
        let lanes = columns.div_ceil(columns.div_ceil(64).max(1)).next_multiple_of(8).max(8);
        let steps = 2 + self.k.div_ceil(8);
        call.constant("LANES", lanes)
            .constant("ROWS", rows)
            .constant("A_ALONG_K", usize::from(a_along_k))
            .constant("A_ALIGNED", usize::from(a_aligned))
            .constant("B_ALONG_K", usize::from(b_along_k))
            .constant("B_ALIGNED", usize::from(b_aligned))
            .groups([columns.div_ceil(lanes), self.m.div_ceil(rows), self.batch])
            .trips(1 + self.reductions.0 * self.reductions.1 * steps + store_trips)
    }

    /// Rows of a workgroup of the broadcast kernel: those with the least work for all rows. What does not depend on
    /// them, most of it loads of B, takes as long as 15 rows. More than 56 do not fit into the fastest cache beside
    /// what is loaded, but where A runs along m, 32 are loaded at once; if its lines start at whole vectors, so should
    /// the workgroups.
    pub(super) fn broadcast_rows(&self) -> usize {
        let choices = match (self.a.col == 1, self.a.col.is_multiple_of(8)) {
            (true, _) => [8, 16, 32, 49, 56],
            (false, true) => [8, 16, 32, 56, 64],
            (false, false) => [8, 16, 32, 49, 64],
        };
        let work = |rows: &usize| self.m.div_ceil(*rows) * (*rows + 15);
        choices.into_iter().min_by_key(work).unwrap_or(1)
    }
}
