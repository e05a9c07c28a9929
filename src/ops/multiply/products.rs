//! The twin of a product: C = the sum of A B over the reductions, and what is done to it line by line.

use std::sync::Arc;

use rayon::prelude::*;

use super::line::ROWS;
use super::{COLUMNS, Columns, Left, Matrix, Rows, Strip, block_rows, halves};
use crate::ops::gemm::Operand;
use crate::ops::rope;
use crate::plan::{Call, Stored, StoredMut};

/// C.
pub(in crate::ops) fn store(call: &mut Call<'_>) {
    multiply(call, After::Nothing);
}

/// C and an addend.
pub(in crate::ops) fn add(call: &mut Call<'_>) {
    let (row, batch) = (call.count("addend_row"), call.count("addend_batch"));
    multiply(call, After::Added { addend: call.stored("addend"), row, batch });
}

/// C, the first of its pairs turned by the angles of their positions.
pub(in crate::ops) fn turn(call: &mut Call<'_>) {
    let (length, half, rotated) = (call.count("length"), call.count("half"), call.count("rotated"));
    multiply(call, After::Turned { table: call.input("table"), length, half, rotated });
}

fn multiply(call: &mut Call<'_>, after: After<'_>) {
    let product = Product::of(call);
    let (c, size) = (call.output_stored("c"), product.m * product.n);
    let batches = c.len() / size;
    let whole = Whole { product, batches, after };
    let each = c.first(batches * size).chunks(size).into_par_iter().enumerate();
    match whole.way() {
        Way::SharedB => {
            let columns = whole.product.columns(call);
            each.for_each(|(batch, c)| whole.by_blocks(batch, &columns, c));
        }
        Way::SharedA => {
            let rows = whole.product.rows(call);
            each.for_each(|(batch, c)| whole.by_samples(batch, &rows, c));
        }
        Way::Strips => each.for_each(|(batch, c)| whole.by_strips(batch, c)),
    }
}

/// What is done to the sums before they are stored.
#[derive(Clone, Copy)]
enum After<'c> {
    Nothing,
    /// Something is added, with these strides from row to row and from batch to batch.
    Added {
        addend: Stored<'c>,
        row: usize,
        batch: usize,
    },
    /// The first `rotated` pairs of a row are turned, a head of 2 `half` at a time, by `table` (`length`, `half`, 2).
    Turned {
        table: &'c [f32],
        length: usize,
        half: usize,
        rotated: usize,
    },
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

/// Shape, strides and operands.
pub(super) struct Product<'c> {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    reductions: usize,
    a: (Stored<'c>, Operand),
    b: (Stored<'c>, Operand),
    pub(super) halves: bool,
}

impl<'c> Product<'c> {
    pub(super) fn of(call: &Call<'c>) -> Product<'c> {
        let (a, b) = (call.stored("a"), call.stored("b"));
        let operand = |[row, col, batch, step]: [&str; 4]| Operand {
            row: call.count(row),
            col: call.count(col),
            batch: call.count(batch),
            step: call.count(step),
        };
        Product {
            m: call.count("m"),
            n: call.count("n"),
            k: call.count("k"),
            reductions: call.count("reductions"),
            a: (a, operand(["a_row", "a_col", "a_batch", "a_step"])),
            b: (b, operand(["b_row", "b_col", "b_batch", "b_step"])),
            halves: halves(a) || halves(b),
        }
    }

    /// A by its rows, and B by its columns.
    pub(super) fn operands(&self, batch: usize, reduction: usize) -> [Matrix<'c>; 2] {
        let start = |s: &Operand| batch * s.batch + reduction * s.step;
        let (a, b) = (&self.a.1, &self.b.1);
        [
            Matrix { words: self.a.0, start: start(a), line: a.row, depth: a.col },
            Matrix { words: self.b.0, start: start(b), line: b.col, depth: b.row },
        ]
    }

    /// All of B, packed once until it changes.
    pub(super) fn columns(&self, call: &Call<'_>) -> Arc<Columns> {
        let [_, b] = self.operands(0, 0);
        Columns::kept(call, "b", &b, (self.n, self.k), self.halves)
    }

    /// All of A, packed once until it changes.
    pub(super) fn rows(&self, call: &Call<'_>) -> Arc<Rows> {
        let [a, _] = self.operands(0, 0);
        Rows::kept(call, "a", &a, (self.m, self.k), self.halves)
    }
}

/// A product whose lines are stored as they lie.
struct Whole<'c> {
    product: Product<'c>,
    batches: usize,
    after: After<'c>,
}

impl Whole<'_> {
    fn way(&self) -> Way {
        /// The most rows or columns that are few.
        const FEW: usize = 4 * ROWS;
        let Product { m, n, reductions, a, b, .. } = &self.product;
        if matches!(self.after, After::Turned { .. }) {
            return Way::SharedB;
        }
        if *reductions > 1 || *m.min(n) <= FEW {
            return Way::Strips;
        }
        match (self.batches == 1 || b.1.batch == 0, a.1.batch == 0) {
            (true, _) => Way::SharedB,
            (false, true) => Way::SharedA,
            (false, false) => Way::Strips,
        }
    }

    /// Does what there is to do to sums of a row from `column` on.
    fn alter(&self, batch: usize, row: usize, column: usize, sums: &mut [f32]) {
        match self.after {
            After::Nothing => {}
            After::Added { addend, row: by_row, batch: by_batch } => {
                addend.add_to(batch * by_batch + row * by_row + column, sums);
            }
            After::Turned { table, length, half, rotated } => {
                let turns = &table[row % length * half * 2..][..half * 2];
                let heads = sums[..2 * rotated].chunks_exact_mut(2 * half);
                heads.for_each(|head| rope::turn(head, turns, 1.0));
            }
        }
    }

    /// Finishes a block of rows from `first` on.
    fn store(&self, batch: usize, first: usize, (sums, stride): (&mut [f32], usize), c: &mut StoredMut<'_>) {
        let n = self.product.n;
        for (row, sums) in sums.chunks_exact_mut(stride).enumerate() {
            self.alter(batch, first + row, 0, &mut sums[..n]);
            c.write(row * n, &sums[..n]);
        }
    }

    fn by_blocks(&self, batch: usize, columns: &Columns, c: StoredMut<'_>) {
        let Product { m, n, .. } = self.product;
        let ([a, _], most) = (self.product.operands(batch, 0), block_rows(self.batches, m, n));
        c.chunks(most * n).into_par_iter().enumerate().for_each(|(block, mut c)| {
            let (first, rows) = (block * most, c.len() / n);
            columns.block(Left::Read(&a), first, rows, |sums, stride| {
                self.store(batch, first, (sums, stride), &mut c);
            });
        });
    }

    fn by_samples(&self, batch: usize, rows: &Rows, c: StoredMut<'_>) {
        let Product { m, n, .. } = self.product;
        let ([_, b], most) = (self.product.operands(batch, 0), block_rows(self.batches, m, n));
        let outs = c.chunks(most * n).into_par_iter();
        rows.blocks(&b, n, most, outs, |(block, mut c), sums, stride| {
            self.store(batch, block * most, (sums, stride), &mut c);
        });
    }

    /// Whichever operand has fewer lines is packed as a whole; strips are of the other one.
    fn by_strips(&self, batch: usize, c: StoredMut<'_>) {
        let Product { m, n, k, reductions, halves, .. } = self.product;
        let (turned, lines) = (n < m, m.min(n));
        let operands = (0..reductions).map(|reduction| self.product.operands(batch, reduction));
        let (whole, strips): (Vec<Matrix<'_>>, Vec<Matrix<'_>>) =
            operands.map(|[a, b]| if turned { (b, a) } else { (a, b) }).unzip();
        let rows: Vec<Rows> = whole.par_iter().map(|source| Rows::pack(source, lines, k, halves)).collect();
        let sum = StripSum { rows: &rows, strips: &strips, depth: k };
        let alter = |row: usize, column: usize, sums: &mut [f32]| self.alter(batch, row, column, sums);
        match turned {
            true => sum.store_columns(n, alter, c),
            false => sum.store_rows(n, span_count(self.batches, n), alter, c),
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

    /// C (rows, `n`), a strip being columns of it: pieces of its rows, given to `alter` and stored.
    fn store_rows(
        &self,
        n: usize,
        count: usize,
        alter: impl Fn(usize, usize, &mut [f32]) + Sync,
        c: StoredMut<'_>,
    ) {
        let span = n / count;
        let spans = spans(c, n, count).into_par_iter().enumerate();
        spans.for_each_init(Default::default, |work, (index, mut pieces)| {
            for at in (0..span).step_by(COLUMNS) {
                let sums = self.strip(work, index * span + at, COLUMNS.min(span - at));
                for (row, (piece, sums)) in pieces.iter_mut().zip(sums.rows()).enumerate() {
                    alter(row, index * span + at, sums);
                    piece.write(at, sums);
                }
            }
        });
    }

    /// C (rows, `n`), a strip being rows of it.
    fn store_columns(&self, n: usize, alter: impl Fn(usize, usize, &mut [f32]) + Sync, c: StoredMut<'_>) {
        let blocks = c.chunks(COLUMNS * n).into_par_iter().enumerate();
        blocks.for_each_init(Default::default, |work, (block, mut c)| {
            let sums = self.strip(work, block * COLUMNS, c.len() / n);
            sums.each_column(|column, line| {
                alter(block * COLUMNS + column, 0, line);
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
