//! Matrix products on the CPU: what the twins of the product kernels and of attention are made of.
//!
//! Operands are packed into panels, which the innermost loops read from end to end. An operand that serves many times
//! is packed as a whole ([`Columns`], [`Rows`]), the other one part by part, just before it is multiplied. A block of
//! the product is handed over while it is in cache: whoever asked for it adds, activates, narrows and stores there.
//! Operands are read through [`Source`], so that sums, pending norms and conversions cost no pass of their own.
//!
//! Every element is summed in the order of depth, however many rows there are: the results of a sample do not depend on
//! the size of its batch.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod columns;
mod gated;
mod line;
mod pairs;
mod panels;
mod portable;
mod products;
mod rows;
mod source;
mod strips;

use std::cell::RefCell;
use std::sync::Mutex;

use line::Line;

use crate::plan::{Element, Stored};

pub(super) use columns::{Columns, Left};
pub(super) use gated::{gate, gate_kept, ungate};
pub(super) use line::LANES;
pub(super) use products::{add, store, turn};
pub(super) use rows::Rows;
pub(super) use source::Matrix;
pub(super) use strips::{COLUMNS, Lanes, Strip};

/// Most rows of a block.
const MOST_ROWS: usize = 8 * line::ROWS;

/// Rows of a block of each of `products` C (`rows`, `columns`): whole panels, few enough that all threads have the same
/// and that it stays in the second cache, or in the third where narrow vectors take longer than reading it does.
pub(super) fn block_rows(products: usize, rows: usize, columns: usize) -> usize {
    let words = if has_wide_vectors() { 96 << 10 } else { 384 << 10 };
    let most = (words / columns.max(1) / line::ROWS).clamp(1, MOST_ROWS / line::ROWS);
    let threads = rayon::current_num_threads().div_ceil(products.max(1));
    let panels = rows.div_ceil(line::ROWS);
    // The panels of the thread that has most of them, when blocks of so many are dealt out.
    let longest = |each: usize| {
        let dealt = |thread: usize| panels.min(thread * panels.div_ceil(each) / threads * each);
        (0..threads).map(|thread| dealt(thread + 1) - dealt(thread)).max().unwrap_or_default()
    };
    let fewest = (1..=most).map(longest).min().unwrap_or_default();
    // Large blocks read B less often, which is worth a panel in 32.
    let best = (1..=most).rev().find(|&each| longest(each) <= fewest + fewest / 32);
    line::ROWS * best.unwrap_or(1)
}

/// Vectors of a panel, for each vector of lines, in which so many steps in depth lie.
fn steps(depth: usize, pairs: bool) -> usize {
    if pairs { depth.div_ceil(2) } else { depth }
}

/// Memory that a thread keeps from one block to the next.
#[derive(Default)]
struct Scratch {
    block: Vec<f32>,
    panels: Vec<Line>,
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

/// Memory for so many lines or more: the smallest that is free, unless it is much too large.
fn free_panels(lines: usize) -> Vec<Line> {
    let reused = PANELS.lock().ok().and_then(|mut free| {
        let fits = (0..free.len()).filter(|&at| (lines..=2 * lines).contains(&free[at].len()));
        let best = fits.min_by_key(|&at| free[at].len())?;
        Some(free.swap_remove(best))
    });
    reused.unwrap_or_else(|| vec![Line([0; LANES]); lines])
}

fn keep_panels(lines: Vec<Line>) {
    if let Ok(mut free) = PANELS.lock() {
        free.push(lines);
    }
}

/// Whether products with this operand are of halves.
pub(super) fn halves(operand: Stored<'_>) -> bool {
    operand.element() == Element::Bf16
}

fn has_wide_vectors() -> bool {
    #[cfg(target_arch = "x86_64")]
    return avx512::multiplies();
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

fn multiplies_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return avx512::multiplies_bf16();
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rayon::prelude::*;

    use super::line::{ROWS, ROWS_LESS};
    use super::source::Source;
    use super::*;
    use crate::engine::Device;
    use crate::eval::golden::Golden;
    use crate::eval::verify::verify;
    use crate::plan::Target;
    use crate::rng::Rng;

    thread_local! {
        /// Set on threads that do without 512-bit vectors, whatever the processor has.
        pub(super) static PORTABLE: Cell<bool> = const { Cell::new(false) };
    }

    /// What `work` does on threads without 512-bit vectors.
    fn portably<R: Send>(work: impl FnOnce() -> R + Send) -> R {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).start_handler(|_| PORTABLE.set(true));
        pool.build().unwrap().install(work)
    }

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

    /// Products against sums in f64, of operands rounded to bfloat16 where `halves` are asked for and multiplied here.
    fn products_are_sums(halves: bool) {
        let rounds = halves && multiplies_bf16();
        let operand = |value: &f32| match rounds {
            true => half::bf16::from_f32(*value).to_f64(),
            false => f64::from(*value),
        };
        for ((m, n, k), stored) in SHAPES.into_iter().zip([Element::F32, Element::Bf16].into_iter().cycle()) {
            let [a, b] = [(m * k, 3), (n * k, 4)].map(|(count, seed)| {
                let mut words = vec![0.0; stored.words(count)];
                stored.narrow(&normal(count, seed), &mut words);
                words
            });
            let matrix = |words| Matrix::lines_of(Stored::of(words, stored), k);
            let columns = Columns::pack(&matrix(&b), n, k, halves);
            let c: Vec<f32> = columns.block(Left::Read(&matrix(&a)), 0, m, |sums, stride| {
                sums.chunks(stride).flat_map(|row| row[..n].to_vec()).collect()
            });
            let [a, b] = [&a, &b].map(|words| stored.widened(words));
            for (at, found) in c.iter().enumerate() {
                let lines = a[at / n * k..][..k].iter().zip(&b[at % n * k..][..k]);
                let terms = lines.map(|(a, b)| operand(a) * operand(b));
                let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                // Each of k sums rounds by half a unit in the last place.
                let error = (f64::from(*found) - sum).abs();
                assert!(
                    error <= k as f64 * 2f64.powi(-24) * size,
                    "{m} x {n} x {k} in {stored}, {at}: {error:e}"
                );
            }
        }
    }

    #[test]
    fn products_of_halves_are_sums_of_rounded_operands() {
        products_are_sums(true);
    }

    #[test]
    fn portable_products_are_sums_too() {
        portably(|| {
            assert!(!multiplies_bf16());
            products_are_sums(false);
            products_are_sums(true);
        });
    }

    #[test]
    fn golden_vectors_hold_without_wide_vectors() {
        for precision in [Element::F32, Element::Bf16] {
            let target = Target { precision, ..Target::default() };
            let golden = Golden::built_in().unwrap();
            let report = portably(|| verify(&Device::cpu(), target, &golden, |_| {})).unwrap();
            assert!(report.ok, "{report:?}");
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
                    for halves in [false, true] {
                        let quick = Columns::pack(&matrix, lines, depth, halves);
                        let slow = Columns::pack(&Slow(matrix), lines, depth, halves);
                        assert!(quick.holds(&slow), "{lines} x {depth} in {element}, halves {halves}");
                    }
                }
            }
        }
    }

    #[test]
    fn rows_do_not_depend_on_how_many_there_are() {
        let (m, n, k) = (120, 40, 1501);
        let (a, b) = (normal(m * k, 1), normal(n * k, 2));
        let [a, b] = [&a, &b].map(|words| Matrix::lines_of(Stored::F32(words), k));
        for halves in [false, true] {
            let columns = Columns::pack(&b, n, k, halves);
            let block = |a: Left<'_, Matrix<'_>>, first: usize, rows: usize| -> Vec<f32> {
                columns.block(a, first, rows, |sums, stride| {
                    sums.chunks(stride).flat_map(|row| row[..n].to_vec()).collect()
                })
            };
            let all = block(Left::Read(&a), 0, m);
            let packed = Rows::pack_for_blocks(&a, m, k, halves);
            for (first, rows) in [(0, 1), (14, 13), (42, 57), (112, 8)] {
                for left in [Left::Read(&a), Left::Packed(&packed)] {
                    assert!(
                        block(left, first, rows) == all[first * n..][..rows * n],
                        "{rows} rows from {first} on"
                    );
                }
            }
            for most in [14, 112, 126] {
                let mut by_blocks = vec![0.0; m * n];
                packed.blocks(&b, n, most, by_blocks.par_chunks_mut(most * n), |(_, out), sums, stride| {
                    out.chunks_mut(n)
                        .zip(sums.chunks(stride))
                        .for_each(|(out, row)| out.copy_from_slice(&row[..n]));
                });
                assert!(by_blocks == all, "blocks of {most} rows");
            }
        }
    }
}
