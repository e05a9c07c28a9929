//! Matrix products on the CPU: what the twins of the product kernels and of attention are made of.
//!
//! B is packed once, into panels of columns. Then every block of rows packs its part of A, multiplies, and hands its
//! rows over while they are in cache: whoever asked for the product adds, activates, narrows and stores them there.
//! Operands are read through [`Source`], so that sums, pending norms and conversions cost no pass of their own.
//!
//! Every row is summed in the same order however many rows there are: the results of a sample do not depend on the
//! size of its batch.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod panels;
mod portable;
mod source;
mod strips;

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use panels::{Line, Packed};
use rayon::prelude::*;

use super::gemm::Operand;
use super::math::vectorised;
use crate::plan::{Call, Element, Stored, StoredMut};

pub(super) use source::{Matrix, Source};
pub(super) use strips::{COLUMNS, Lanes, Rows, Strip};

/// Most rows of a block.
const MOST_ROWS: usize = 4 * panels::ROWS;

/// Rows of a block of C (`rows`, `columns`): whole panels, few enough that it stays in the second cache and that all
/// threads have some.
pub(super) fn block_rows(rows: usize, columns: usize) -> usize {
    const WORDS: usize = 96 << 10;
    let cached = WORDS / columns.max(1) / panels::ROWS;
    let shared = rows.div_ceil(2 * rayon::current_num_threads()).div_ceil(panels::ROWS);
    panels::ROWS * cached.min(shared).clamp(1, MOST_ROWS / panels::ROWS)
}

/// Steps in depth between which sums rest in the block: two panels of so many fit into the first two caches.
const DEPTH: usize = 1024;

/// Steps in depth of one source that are multiplied at once.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Chunk {
    source: usize,
    from: usize,
    depth: usize,
}

impl Chunk {
    fn all(sources: usize, depth: usize) -> Vec<Chunk> {
        let of = |source| {
            let starts = (0..depth).step_by(DEPTH);
            starts.map(move |from| Chunk { source, from, depth: DEPTH.min(depth - from) })
        };
        (0..sources).flat_map(of).collect()
    }

    /// Vectors that it takes in a panel, for each vector of lines.
    fn steps(&self, pairs: bool) -> usize {
        if pairs { self.depth.div_ceil(2) } else { self.depth }
    }
}

/// Memory that a thread keeps from one block to the next.
#[derive(Default)]
struct Scratch {
    block: Vec<f32>,
    rows: Vec<Line>,
}

thread_local! {
    /// One for each block that is being worked on: finishing one may take another.
    static SCRATCH: RefCell<Vec<Scratch>> = const { RefCell::new(Vec::new()) };
}

fn with_scratch<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    let mut scratch = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or_default();
    let result = work(&mut scratch);
    SCRATCH.with_borrow_mut(|free| free.push(scratch));
    result
}

/// Memory of packed operands that are done with, for those that follow.
static PANELS: Mutex<Vec<Vec<Line>>> = Mutex::new(Vec::new());

/// The smallest free memory for so many lines, unless it is much too large.
fn free_panels(lines: usize) -> Vec<Line> {
    let Ok(mut free) = PANELS.lock() else { return Vec::new() };
    let fits = (0..free.len()).filter(|&at| (lines..=2 * lines).contains(&free[at].len()));
    let best = fits.min_by_key(|&at| free[at].len());
    best.map(|at| free.swap_remove(at)).unwrap_or_default()
}

fn keep_panels(lines: Vec<Line>) {
    if let Ok(mut free) = PANELS.lock() {
        free.push(lines);
    }
}

/// The second operand of a product, packed.
pub(super) struct Columns(Packed);

impl Columns {
    /// Packs the matrices of `sources` (depth, `columns`), over which products are summed. Where `halves`, operands are
    /// rounded to bfloat16 if the processor multiplies those.
    pub(super) fn pack(sources: &[impl Source], columns: usize, depth: usize, halves: bool) -> Columns {
        let pairs = halves && multiplies_bf16();
        let lines = free_panels(Packed::lines(sources.len(), columns, depth, pairs));
        Columns(Packed::new(sources, columns, depth, pairs, lines))
    }

    /// Packs the lines of `weight`, a matrix (`columns`, `depth`) that is bound as `name`, once until it changes.
    pub(super) fn of_weight(call: &Call<'_>, name: &str, columns: usize, depth: usize) -> Arc<Columns> {
        let weight = call.stored(name);
        let pack = || Columns::pack(&[Matrix::lines_of(weight, depth)], columns, depth, halves(weight));
        call.kept(name, &[columns, depth, depth, 1, usize::from(halves(weight))], pack)
    }

    /// Rows `first` to `first` + `rows` (at most [`block_rows`]) of the product with `a`, given to `finish` with the
    /// words from row to row.
    pub(super) fn block<R>(
        &self,
        a: &[impl Source],
        first: usize,
        rows: usize,
        finish: impl FnOnce(&mut [f32], usize) -> R,
    ) -> R {
        with_scratch(|scratch| {
            self.0.multiply(a, first, rows, scratch);
            let stride = self.0.stride();
            finish(&mut scratch.block[..rows * stride], stride)
        })
    }
}

impl Drop for Columns {
    fn drop(&mut self) {
        keep_panels(self.0.take_lines());
    }
}

/// Whether products with this operand are of halves.
pub(super) fn halves(operand: Stored<'_>) -> bool {
    operand.element() == Element::Bf16
}

fn multiplies_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return avx512::multiplies_bf16();
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// The twin of a product: C = the sum of A B over the reductions, onto the addend where `add`.
pub(super) fn multiply_all(call: &mut Call<'_>, add: bool) {
    multiply_operands(call, None, add);
}

/// [`multiply_all`], with these elements in `place` of A's and B's if there are any.
pub(super) fn multiply_operands(call: &mut Call<'_>, place: Option<[Stored<'_>; 2]>, add: bool) {
    let [a, b] = place.unwrap_or([call.stored("a"), call.stored("b")]);
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
    let addend = add.then(|| call.stored("addend"));
    let halves = halves(a) || halves(b);
    let b_at = |start| Matrix { words: b, start, line: b_strides.col, depth: b_strides.row };
    let turns = padded(n, m) < padded(m, n);
    // One B for all: packed once, or not at all if it is of weights and was packed before.
    let pack = || Columns::pack(&[b_at(0)], n, k, halves);
    let what = [n, k, b_strides.col, b_strides.row, usize::from(halves)];
    let shared = (b_strides.batch == 0 && reductions == 1 && !turns).then(|| match place {
        Some(_) => Arc::new(pack()),
        None => call.kept("b", &what, pack),
    });
    let c = call.output_stored("c");
    let batches = c.len() / (m * n);
    c.first(batches * m * n).chunks(m * n).into_par_iter().enumerate().for_each(|(batch, c)| {
        let starts = |s: &Operand| -> Vec<usize> {
            (0..reductions).map(|r| batch * s.batch + r / inner * s.outer + r % inner * s.inner).collect()
        };
        let a_at = |start| Matrix { words: a, start, line: a_strides.row, depth: a_strides.col };
        let a: Vec<Matrix<'_>> = starts(&a_strides).into_iter().map(a_at).collect();
        let b: Vec<Matrix<'_>> = starts(&b_strides).into_iter().map(b_at).collect();
        let add = |row: usize, sums: &mut [f32]| {
            if let Some(addend) = addend {
                addend.add_to(batch * addend_batch + row * addend_row, sums);
            }
        };
        match &shared {
            Some(columns) => multiply_blocks((m, n), &a, columns, add, c),
            None if reductions > 1 => multiply_parts((m, n, k), (&a, &b), halves, add, c),
            None if turns => multiply_turned((m, n, k), (&a, &b), halves, add, c),
            None => multiply_blocks((m, n), &a, &Columns::pack(&b, n, k, halves), add, c),
        }
    });
}

/// Products of whole tiles that it takes, in vectors.
fn padded(rows: usize, columns: usize) -> usize {
    rows.next_multiple_of(panels::ROWS) * columns.next_multiple_of(panels::LANES)
}

/// C = A B, each row handed to `add` before it is stored.
fn multiply_blocks(
    (m, n): (usize, usize),
    a: &[impl Source],
    columns: &Columns,
    add: impl Fn(usize, &mut [f32]) + Sync,
    c: StoredMut<'_>,
) {
    let most = block_rows(m, n);
    c.chunks(most * n).into_par_iter().enumerate().for_each(|(block, mut c)| {
        let (first, rows) = (block * most, c.len() / n);
        columns.block(a, first, rows, |sums, stride| {
            for (row, sums) in sums.chunks_exact_mut(stride).enumerate() {
                add(first + row, &mut sums[..n]);
                c.write(row * n, &sums[..n]);
            }
        });
    });
}

/// The same by way of the transpose, for shapes of which that fills more of its tiles.
fn multiply_turned(
    (m, n, k): (usize, usize, usize),
    (a, b): (&[impl Source], &[impl Source]),
    halves: bool,
    add: impl Fn(usize, &mut [f32]) + Sync,
    c: StoredMut<'_>,
) {
    let mut turned = vec![0.0; n * m];
    multiply_blocks((n, m), b, &Columns::pack(a, m, k, halves), |_, _| {}, StoredMut::F32(&mut turned));
    c.chunks(n).into_par_iter().enumerate().with_min_len(8).for_each(|(row, mut c)| {
        let mut line: Vec<f32> = turned[row..].iter().step_by(m).copied().collect();
        add(row, &mut line);
        c.write(0, &line);
    });
}

/// C = the sum over many A and B: by parts of them that are packed into the second cache, whose products are added up
/// in their order.
fn multiply_parts(
    (m, n, k): (usize, usize, usize),
    (a, b): (&[impl Source], &[impl Source]),
    halves: bool,
    add: impl Fn(usize, &mut [f32]) + Sync,
    mut c: StoredMut<'_>,
) {
    const WORDS: usize = 128 << 10;
    let each = (WORDS / (k * m.max(n)).max(1)).max(1);
    let part = |(a, b)| {
        let mut part = vec![0.0; m * n];
        let c = StoredMut::F32(&mut part);
        match padded(n, m) < padded(m, n) {
            true => multiply_turned((m, n, k), (a, b), halves, |_, _| {}, c),
            false => multiply_blocks((m, n), a, &Columns::pack(b, n, k, halves), |_, _| {}, c),
        }
        part
    };
    // As many at once as keep the threads busy: a part has the size of C.
    let (at_once, mut sums) = (2 * rayon::current_num_threads(), vec![0.0; m * n]);
    for (a, b) in a.chunks(each * at_once).zip(b.chunks(each * at_once)) {
        let parts: Vec<Vec<f32>> = a.par_chunks(each).zip(b.par_chunks(each)).map(part).collect();
        sums.par_chunks_mut(n).enumerate().with_min_len(8).for_each(|(row, sums)| {
            for part in &parts {
                let terms = &part[row * n..][..n];
                vectorised(|| sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term));
            }
        });
    }
    for (row, sums) in sums.chunks_exact_mut(n).enumerate() {
        add(row, sums);
        c.write(row * n, sums);
    }
}

#[cfg(test)]
mod tests {
    use super::panels::{LANES, ROWS, ROWS_LESS};
    use super::*;
    use crate::rng::Rng;

    /// Rows, columns and depths around panels, blocks and chunks.
    const SHAPES: [(usize, usize, usize); 5] =
        [(1, 1, 1), (13, 17, 3), (57, 33, 65), (29, 48, 1025), (15, 16, 130)];

    fn normal(count: usize, seed: u64) -> Vec<f32> {
        let mut rng = Rng::new(seed, 0);
        (0..count).map(|_| rng.normal() as f32).collect()
    }

    #[test]
    fn the_tiles_of_all_processors_agree() {
        for (vectors, rows) in [(1, ROWS), (2, ROWS), (1, ROWS_LESS), (2, ROWS_LESS)] {
            let [a, b] = [37, 37 * vectors].map(|lines| {
                let words = normal(lines * LANES, lines as u64);
                words
                    .chunks_exact(LANES)
                    .map(|line| Line(std::array::from_fn(|at| line[at].to_bits())))
                    .collect()
            });
            let [a, b]: [Vec<Line>; 2] = [a, b];
            for add in [false, true] {
                let mut plain = vec![0.5; rows * LANES * vectors];
                let mut quick = plain.clone();
                portable::multiply_tile(rows, (&a, &b), &mut plain, LANES * vectors, add);
                panels::multiply_tile(false, rows, (&a, &b), &mut quick, LANES * vectors, add);
                for (plain, quick) in plain.iter().zip(&quick) {
                    assert!(
                        (plain - quick).abs() <= 1e-4,
                        "{plain} {quick}, {rows} rows, {vectors} vectors, add {add}"
                    );
                }
            }
        }
    }

    /// Every way to read an operand gives the panels that reading it element by element gives.
    #[test]
    fn panels_hold_what_the_source_holds() {
        struct Slow<'a>(Matrix<'a>);
        impl Source for Slow<'_> {
            fn along_depth(&self) -> bool {
                self.0.along_depth()
            }

            fn read(&self, fixed: usize, from: usize, out: &mut [f32]) {
                self.0.read(fixed, from, out);
            }
        }
        for (lines, _, depth) in SHAPES {
            for element in [Element::F32, Element::Bf16, Element::F16] {
                let mut words = vec![0.0; element.words(lines * depth)];
                element.narrow(&normal(lines * depth, 7), &mut words);
                let stored = Stored::of(&words, element);
                for matrix in [Matrix::lines_of(stored, depth), Matrix::across(stored, lines)] {
                    for pairs in [false, multiplies_bf16()] {
                        let quick = Packed::new(&[matrix], lines, depth, pairs, Vec::new());
                        let slow = Packed::new(&[Slow(matrix)], lines, depth, pairs, Vec::new());
                        assert!(quick == slow, "{lines} x {depth} in {element}, pairs {pairs}");
                    }
                }
            }
        }
    }

    #[test]
    fn rows_do_not_depend_on_how_many_there_are() {
        let (m, n, k) = (120, 40, 1500);
        let (a, b) = (normal(m * k, 1), normal(n * k, 2));
        let [a, b] = [&a, &b].map(|words| [Matrix::lines_of(Stored::F32(words), k)]);
        let columns = Columns::pack(&b, n, k, false);
        let mut all = vec![0.0; m * n];
        multiply_blocks((m, n), &a, &columns, |_, _| {}, StoredMut::F32(&mut all));
        for rows in [1, 13, 57] {
            let mut some = vec![0.0; rows * n];
            multiply_blocks((rows, n), &a, &columns, |_, _| {}, StoredMut::F32(&mut some));
            assert!(some == all[..rows * n], "{rows} rows");
        }
    }
}
