//! The twin of a product: C = the sum of A B over the reductions, onto the addend if there is one.

use std::sync::Arc;

use rayon::prelude::*;

use super::line::ROWS;
use super::{COLUMNS, Columns, Left, Matrix, Rows, Strip, block_rows, halves};
use crate::ops::gemm::Operand;
use crate::plan::{Call, Stored, StoredMut};

/// C (m, n) of each batch from the operands as they are bound, onto the addend where `add`.
pub(in crate::ops) fn multiply_all(call: &mut Call<'_>, add: bool) {
    multiply_operands(call, None, add);
}

/// [`multiply_all`], with these elements in `place` of A's and B's if there are any.
pub(in crate::ops) fn multiply_operands(call: &mut Call<'_>, place: Option<[Stored<'_>; 2]>, add: bool) {
    let (c, size) = (call.output_stored("c"), call.count("m") * call.count("n"));
    let batches = c.len() / size;
    let product = Product::of(call, place, batches, add);
    let each = c.first(batches * size).chunks(size).into_par_iter().enumerate();
    match product.way() {
        Way::SharedB => {
            let columns = product.columns(call);
            each.for_each(|(batch, c)| product.by_blocks(batch, &columns, c));
        }
        Way::SharedA => {
            let rows = product.rows(call);
            each.for_each(|(batch, c)| product.by_samples(batch, &rows, c));
        }
        Way::Strips => each.for_each(|(batch, c)| product.by_strips(batch, c)),
    }
}

/// How products are made.
enum Way {
    /// By blocks of rows, with one B for all batches.
    SharedB,
    /// With one A for all batches.
    SharedA,
    /// By strips: few rows or columns, or a sum of many products.
    Strips,
}

/// What a dispatch asks for.
struct Product<'c> {
    m: usize,
    n: usize,
    k: usize,
    batches: usize,
    reductions: usize,
    inner: usize,
    a: (Stored<'c>, Operand),
    b: (Stored<'c>, Operand),
    /// The addend, with the words from row to row and from batch to batch.
    addend: Option<(Stored<'c>, usize, usize)>,
    halves: bool,
    /// What A and B are bound as, if they are what is bound, which may be of weights.
    bound: Option<[&'static str; 2]>,
}

impl<'c> Product<'c> {
    fn of(call: &Call<'c>, place: Option<[Stored<'c>; 2]>, batches: usize, add: bool) -> Product<'c> {
        let [a, b] = place.unwrap_or([call.stored("a"), call.stored("b")]);
        let operand = |[row, col, batch, outer, inner]: [&str; 5]| Operand {
            row: call.count(row),
            col: call.count(col),
            batch: call.count(batch),
            outer: call.count(outer),
            inner: call.count(inner),
        };
        Product {
            m: call.count("m"),
            n: call.count("n"),
            k: call.count("k"),
            batches,
            reductions: call.count("reductions"),
            inner: call.count("inner"),
            a: (a, operand(["a_row", "a_col", "a_batch", "a_outer", "a_inner"])),
            b: (b, operand(["b_row", "b_col", "b_batch", "b_outer", "b_inner"])),
            addend: add
                .then(|| (call.stored("addend"), call.count("addend_row"), call.count("addend_batch"))),
            halves: halves(a) || halves(b),
            bound: place.is_none().then_some(["a", "b"]),
        }
    }

    fn way(&self) -> Way {
        /// The most rows or columns that are few.
        const FEW: usize = 4 * ROWS;
        if self.reductions > 1 || self.m.min(self.n) <= FEW {
            return Way::Strips;
        }
        match (self.batches == 1 || self.b.1.batch == 0, self.a.1.batch == 0) {
            (true, _) => Way::SharedB,
            (false, true) => Way::SharedA,
            (false, false) => Way::Strips,
        }
    }

    /// A by its rows, and B by its columns.
    fn operands(&self, batch: usize, reduction: usize) -> [Matrix<'c>; 2] {
        let (outer, inner) = (reduction / self.inner, reduction % self.inner);
        let start = |s: &Operand| batch * s.batch + outer * s.outer + inner * s.inner;
        let (a, b) = (&self.a.1, &self.b.1);
        [
            Matrix { words: self.a.0, start: start(a), line: a.row, depth: a.col },
            Matrix { words: self.b.0, start: start(b), line: b.col, depth: b.row },
        ]
    }

    fn columns(&self, call: &Call<'_>) -> Arc<Columns> {
        let [_, b] = self.operands(0, 0);
        match self.bound {
            Some([_, name]) => Columns::kept(call, name, &b, (self.n, self.k), self.halves),
            None => Arc::new(Columns::pack(&b, self.n, self.k, self.halves)),
        }
    }

    fn rows(&self, call: &Call<'_>) -> Arc<Rows> {
        let [a, _] = self.operands(0, 0);
        match self.bound {
            Some([name, _]) => Rows::kept(call, name, &a, (self.m, self.k), self.halves),
            None => Arc::new(Rows::pack_for_blocks(&a, self.m, self.k, self.halves)),
        }
    }

    /// Adds what there is to add to sums of a row from `column` on.
    fn add(&self, batch: usize, row: usize, column: usize, sums: &mut [f32]) {
        if let Some((addend, by_row, by_batch)) = self.addend {
            addend.add_to(batch * by_batch + row * by_row + column, sums);
        }
    }

    /// Finishes a block of rows from `first` on.
    fn store(&self, batch: usize, first: usize, (sums, stride): (&mut [f32], usize), c: &mut StoredMut<'_>) {
        for (row, sums) in sums.chunks_exact_mut(stride).enumerate() {
            self.add(batch, first + row, 0, &mut sums[..self.n]);
            c.write(row * self.n, &sums[..self.n]);
        }
    }

    fn by_blocks(&self, batch: usize, columns: &Columns, c: StoredMut<'_>) {
        let ([a, _], most) = (self.operands(batch, 0), block_rows(self.batches, self.m, self.n));
        c.chunks(most * self.n).into_par_iter().enumerate().for_each(|(block, mut c)| {
            let (first, rows) = (block * most, c.len() / self.n);
            columns.block(Left::Read(&a), first, rows, |sums, stride| {
                self.store(batch, first, (sums, stride), &mut c);
            });
        });
    }

    fn by_samples(&self, batch: usize, rows: &Rows, c: StoredMut<'_>) {
        let ([_, b], most) = (self.operands(batch, 0), block_rows(self.batches, self.m, self.n));
        let outs = c.chunks(most * self.n).into_par_iter();
        rows.blocks(&b, self.n, most, outs, |(block, mut c), sums, stride| {
            self.store(batch, block * most, (sums, stride), &mut c);
        });
    }

    /// Whichever operand has fewer lines is packed as a whole; strips are of the other one.
    fn by_strips(&self, batch: usize, c: StoredMut<'_>) {
        let (turned, lines) = (self.n < self.m, self.m.min(self.n));
        let operands = (0..self.reductions).map(|reduction| self.operands(batch, reduction));
        let (whole, strips): (Vec<Matrix<'_>>, Vec<Matrix<'_>>) =
            operands.map(|[a, b]| if turned { (b, a) } else { (a, b) }).unzip();
        let rows: Vec<Rows> =
            whole.par_iter().map(|source| Rows::pack(source, lines, self.k, self.halves)).collect();
        let sum = StripSum { rows: &rows, strips: &strips, depth: self.k };
        let add = |row: usize, column: usize, sums: &mut [f32]| self.add(batch, row, column, sums);
        match turned {
            true => sum.store_columns(self.n, add, c),
            false => sum.store_rows(self.n, span_count(self.batches, self.n), add, c),
        }
    }
}

/// A sum of products, added up in their order.
struct StripSum<'a> {
    rows: &'a [Rows],
    /// The other operands, of whose lines strips are made.
    strips: &'a [Matrix<'a>],
    depth: usize,
}

impl StripSum<'_> {
    /// The strip of so many columns from `first` on, as the second of the work's strips.
    fn strip<'w>(&self, [strip, sums]: &'w mut [Strip; 2], first: usize, columns: usize) -> &'w mut Strip {
        sums.clear();
        for (rows, source) in self.rows.iter().zip(self.strips) {
            strip.load(source, first, columns, self.depth);
            sums.add_product(rows, strip);
        }
        sums
    }

    /// C (rows, `n`), a strip being columns of it: pieces of its rows, given to `add` and stored.
    fn store_rows(
        &self,
        n: usize,
        count: usize,
        add: impl Fn(usize, usize, &mut [f32]) + Sync,
        c: StoredMut<'_>,
    ) {
        let span = n / count;
        let spans = spans(c, n, count).into_par_iter().enumerate();
        spans.for_each_init(Default::default, |work, (index, mut pieces)| {
            for at in (0..span).step_by(COLUMNS) {
                let sums = self.strip(work, index * span + at, COLUMNS.min(span - at));
                for (row, (piece, sums)) in pieces.iter_mut().zip(sums.rows()).enumerate() {
                    add(row, index * span + at, sums);
                    piece.write(at, sums);
                }
            }
        });
    }

    /// C (rows, `n`), a strip being rows of it.
    fn store_columns(&self, n: usize, add: impl Fn(usize, usize, &mut [f32]) + Sync, c: StoredMut<'_>) {
        let blocks = c.chunks(COLUMNS * n).into_par_iter().enumerate();
        blocks.for_each_init(Default::default, |work, (block, mut c)| {
            let sums = self.strip(work, block * COLUMNS, c.len() / n);
            sums.each_column(|column, line| {
                add(block * COLUMNS + column, 0, line);
                c.write(column * n, line);
            });
        });
    }
}

/// Spans of columns, all of as many whole strips, into which each of `products` matrices is divided so that all threads
/// have some.
fn span_count(products: usize, columns: usize) -> usize {
    let wanted = (2 * rayon::current_num_threads()).div_ceil(products.max(1));
    let strips = if columns.is_multiple_of(COLUMNS) { columns / COLUMNS } else { 1 };
    (1..=wanted.min(strips)).rev().find(|count| strips.is_multiple_of(*count)).unwrap_or(1)
}

/// `count` spans of the columns of C (rows, `columns`): of each, the rows' pieces.
fn spans(c: StoredMut<'_>, columns: usize, count: usize) -> Vec<Vec<StoredMut<'_>>> {
    let rows = c.len() / columns;
    let mut spans: Vec<Vec<StoredMut<'_>>> = (0..count).map(|_| Vec::with_capacity(rows)).collect();
    for (index, piece) in c.chunks(columns / count).into_iter().enumerate() {
        spans[index % count].push(piece);
    }
    spans
}
