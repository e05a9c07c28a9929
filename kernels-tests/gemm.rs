//! The matrix product against f64: shapes around the tile, transposes, paddings, batches, reductions, addends.

use trm::Result;
use trm::ops::gemm::{Addend, Gemm, KERNEL, Operand};
use trm::plan::{Element, Purpose, Role, SHARED_BYTES, Tape, Target, Tile, Tiles};

use crate::check::roundings;
use crate::harness::{KernelTests, Lab, Mutant, Needs, Test, in_bf16, in_f16, in_tiles, on_tile};

/// Tests and mutants of `gemm`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[
        ("shapes", shapes),
        ("transposes_and_paddings", transposes_and_paddings),
        ("batches_and_reductions", batches_and_reductions),
        ("addends", addends),
        ("long_sums", long_sums),
        ("shapes_in_bf16", |lab| in_bf16(lab, shapes)),
        ("transposes_and_paddings_in_f16", |lab| in_f16(lab, transposes_and_paddings)),
        ("batches_and_reductions_in_bf16", |lab| in_bf16(lab, batches_and_reductions)),
        ("addends_in_f16", |lab| in_f16(lab, addends)),
        ("shapes_64x128", |lab| on_tile(lab, Tile::ALL[1], shapes)),
        ("shapes_128x64", |lab| on_tile(lab, Tile::ALL[2], shapes)),
        ("shapes_128x128", |lab| on_tile(lab, Tile::LARGE, shapes)),
        ("transposes_and_paddings_64x128", |lab| on_tile(lab, Tile::ALL[1], transposes_and_paddings)),
        ("transposes_and_paddings_128x64", |lab| on_tile(lab, Tile::ALL[2], transposes_and_paddings)),
        ("transposes_and_paddings_128x128", |lab| on_tile(lab, Tile::LARGE, transposes_and_paddings)),
        ("batches_and_reductions_128x128", |lab| on_tile(lab, Tile::LARGE, batches_and_reductions)),
        ("addends_128x128", |lab| on_tile(lab, Tile::LARGE, addends)),
        ("addends_128x128_in_f16", |lab| in_tiles(lab, Tile::LARGE, Element::F16, addends)),
        ("long_sums_128x128", |lab| on_tile(lab, Tile::LARGE, long_sums)),
        ("few_workgroups_take_the_small_tile", few_workgroups),
    ],
    mutants: &[
        Mutant { name: "skips_the_last_of_k", from: "value, k < params.k", to: "value, k + 1u < params.k" },
        Mutant {
            name: "skips_the_last_row",
            from: "min(first_row + line, params.m - 1u)",
            to: "min(first_row + line, params.m - 2u)",
        },
        Mutant {
            name: "skips_the_last_column",
            from: "min(first_column + line, params.n - 1u)",
            to: "min(first_column + line, params.n - 2u)",
        },
        IGNORES_THE_BATCH_OF_A,
        IGNORES_THE_BATCH_OF_B,
        SWAPS_THE_REDUCTIONS,
        Mutant {
            name: "reduces_once",
            from: "r < params.reductions; r++",
            to: "r < params.reductions; r += params.reductions",
        },
        Mutant {
            name: "subtracts_the_addend",
            from: "element(i, j + 1u)) + added",
            to: "element(i, j + 1u)) - added",
        },
        Mutant {
            name: "repeats_the_addend's_first_row",
            from: "+ min(row, params.m - 1u) * params.addend_row",
            to: "+ 0u * params.addend_row",
        },
        Mutant {
            name: "swaps_neighbours_in_halves",
            from: "narrowed_pair(values, C_ELEMENT)",
            to: "narrowed_pair(values.yx, C_ELEMENT)",
        },
        Mutant {
            name: "reads_half_its_tile",
            from: "depth * PITCH_A + tile_row(local)",
            to: "depth * PITCH_A + tile_row(local) / 2u",
        },
        Mutant {
            name: "multiplies_its_upper_rows_twice",
            from: "add_rows(4u, at_a + 4u,",
            to: "add_rows(4u, at_a,",
        },
        Mutant {
            name: "multiplies_its_left_columns_twice",
            from: "add_rows(ROWS, at_a, four_columns(at_b + 64u))",
            to: "add_rows(ROWS, at_a, four_columns(at_b))",
        },
        Mutant {
            name: "mixes_the_corner",
            from: "add_rows(ROWS + 4u, at_a + 4u, four_columns(at_b + 64u))",
            to: "add_rows(ROWS + 4u, at_a, four_columns(at_b + 64u))",
        },
        Mutant {
            name: "stages_half_of_a",
            from: "load_four_of_a(local + 1024u,",
            to: "load_four_of_a(local,",
        },
        Mutant {
            name: "stages_half_of_b",
            from: "load_four_of_b(local + 1024u,",
            to: "load_four_of_b(local,",
        },
    ],
};

/// Mistakes in what all variants share, `shaders/lib/strides.wgsl`.
pub const SWAPS_THE_REDUCTIONS: Mutant = Mutant {
    name: "swaps_the_reductions",
    from: "r % params.inner * params.a_inner",
    to: "r / params.inner * params.a_inner",
};
const IGNORES_THE_BATCH_OF_A: Mutant =
    Mutant { name: "ignores_the_batch_of_a", from: "batch * params.a_batch", to: "0u * params.a_batch" };
pub const IGNORES_THE_BATCH_OF_B: Mutant =
    Mutant { name: "ignores_the_batch_of_b", from: "batch * params.b_batch", to: "0u * params.b_batch" };

/// Lays a test of this file down for the cooperative matrices of the device.
pub fn on_matrices(lab: &mut Lab, test: Test) -> Result<()> {
    lab.target(Target { matrices: Some(lab.cooperative), ..Target::default() });
    test(lab)
}

/// The nearest numbers of 11 bits that f16 has, even ones where two are as near.
pub fn to_f16(words: &[f32]) -> Vec<f32> {
    let rounded = |&word: &f32| {
        let exponent = f64::from(word).abs().log2().floor().max(-14.0);
        let unit = (exponent - 10.0).exp2();
        ((f64::from(word) / unit).round_ties_even() * unit) as f32
    };
    words.iter().map(rounded).collect()
}

/// C[b][i][j] = sum over r and k of A B (+ addend), index by index.
fn reference(gemm: &Gemm, a: &[f32], b: &[f32], addend: impl Fn(usize, usize, usize) -> f64) -> Vec<f64> {
    let mut c = Vec::new();
    for batch in 0..gemm.batch {
        for i in 0..gemm.m {
            for j in 0..gemm.n {
                let mut total = addend(batch, i, j);
                for outer in 0..gemm.reductions.0 {
                    for inner in 0..gemm.reductions.1 {
                        let start = |s: &Operand| batch * s.batch + outer * s.outer + inner * s.inner;
                        for k in 0..gemm.k {
                            let at_a = start(&gemm.a) + i * gemm.a.row + k * gemm.a.col;
                            let at_b = start(&gemm.b) + k * gemm.b.row + j * gemm.b.col;
                            total += f64::from(a[at_a]) * f64::from(b[at_b]);
                        }
                    }
                }
                c.push(total);
            }
        }
    }
    c
}

/// Words that an operand of `rows` x `cols` reaches.
fn reach(gemm: &Gemm, operand: &Operand, rows: usize, cols: usize) -> usize {
    let last = |count: usize, stride: usize| (count - 1) * stride;
    let matrix = last(rows, operand.row) + last(cols, operand.col) + last(gemm.batch, operand.batch);
    matrix + last(gemm.reductions.0, operand.outer) + last(gemm.reductions.1, operand.inner) + 1
}

#[derive(Clone, Copy, PartialEq)]
pub enum Added {
    Nothing,
    Whole,
    Bias,
}

/// The words of A and B.
fn reaches(gemm: &Gemm) -> [usize; 2] {
    [reach(gemm, &gemm.a, gemm.m, gemm.k), reach(gemm, &gemm.b, gemm.k, gemm.n)]
}

pub fn lay(lab: &mut Lab, gemm: Gemm, added: Added) -> Result<()> {
    let [a, b] = reaches(&gemm).map(|words| lab.normal(words));
    let (words_of_c, n) = (gemm.batch * gemm.m * gemm.n, gemm.n);
    if lab.halves() && n % 2 == 1 {
        return Ok(());
    }
    let (a, b) = (lab.stored(&a), lab.stored(&b));
    let addend = lab.normal(if added == Added::Bias { n } else { words_of_c });
    let addend = lab.stored(&addend);
    let value = |batch: usize, i: usize, j: usize| match added {
        Added::Nothing => 0.0,
        Added::Whole => f64::from(addend[(batch * gemm.m + i) * n + j]),
        Added::Bias => f64::from(addend[j]),
    };
    let rounded = lab.tape.target().matrices.is_some();
    let seen = |words: &[f32]| if rounded { to_f16(words) } else { words.to_vec() };
    let expected = reference(&gemm, &seen(&a), &seen(&b), value);
    let (a, b, c) = (lab.activation("a", &a), lab.activation("b", &b), lab.tape.activation(words_of_c));
    let addend = match added {
        Added::Nothing => None,
        Added::Whole => Some(Addend::Whole(lab.activation("addend", &addend))),
        Added::Bias => Some(Addend::Bias(lab.activation("addend", &addend))),
    };
    gemm.push(&mut lab.tape, a, b, addend, c)?;
    // One rounding for each product and one for each sum; a lone result may be far smaller than its terms.
    let terms = gemm.k * gemm.reductions.0 * gemm.reductions.1;
    lab.expect("c", c, expected, roundings(2 * terms + 8));
    Ok(())
}

pub fn plain((m, n, k): (usize, usize, usize)) -> Gemm {
    let (a, b) = (Operand::rows_of(k), Operand::rows_of(n));
    Gemm { m, n, k, batch: 1, reductions: (1, 1), a, b, purpose: Purpose::Forward }
}

/// Around the tile of 64 x 64 x 16, primes, vectors.
pub fn shapes(lab: &mut Lab) -> Result<()> {
    for (m, n, k) in [
        (1, 1, 1),
        (1, 1, 517),
        (1, 7, 13),
        (13, 1, 5),
        (2, 3, 16),
        (64, 64, 16),
        (65, 63, 17),
        (63, 65, 15),
        (128, 64, 33),
        (3, 66, 31),
        (131, 127, 1),
        (5, 191, 97),
    ] {
        lab.case(format!("{m} x {n} x {k}"));
        lay(lab, plain((m, n, k)), Added::Nothing)?;
    }
    Ok(())
}

/// A product of four small workgroups, or of one large one, where a GPU is busy with two.
fn few_workgroups(lab: &mut Lab) -> Result<()> {
    for (small_below, width) in [(2, 64), (1, 128)] {
        let tiles = Tiles { small_below, ..Tiles::all(Tile::LARGE) };
        let mut tape = Tape::new(Target { tiles, shared_bytes: 2 * SHARED_BYTES, ..Target::default() });
        let [a, b, c] = ["a", "b", "c"].map(|name| tape.buffer(name, Role::Activation, 128 * 128));
        plain((128, 128, 128)).push(&mut tape, a, b, None, c)?;
        let grid = tape.finish()?.dispatches[0].grid;
        assert_eq!(grid, [128 / width, 128 / width, 1], "small below {small_below}");
    }
    lab.case("128 x 128, small below 2");
    let tiles = Tiles { small_below: 2, ..Tiles::all(Tile::LARGE) };
    lab.target(Target { tiles, shared_bytes: 2 * SHARED_BYTES, ..Target::default() });
    lay(lab, plain((128, 128, 3)), Added::Nothing)
}

/// A^T, B^T, and matrices whose rows lie further apart than their length.
pub fn transposes_and_paddings(lab: &mut Lab) -> Result<()> {
    for (m, n, k) in [(3, 2, 5), (67, 70, 19), (64, 1, 33)] {
        for (a_transposed, b_transposed) in [(true, false), (false, true), (true, true)] {
            for padding in [0, 3] {
                lab.case(format!("{m} x {n} x {k}, {a_transposed} {b_transposed}, padded {padding}"));
                let operand = |rows: usize, cols: usize, transposed: bool| match transposed {
                    true => Operand::rows_of(rows + padding).transposed(),
                    false => Operand::rows_of(cols + padding),
                };
                let (a, b) = (operand(m, k, a_transposed), operand(k, n, b_transposed));
                lay(lab, Gemm { a, b, ..plain((m, n, k)) }, Added::Nothing)?;
            }
        }
    }
    Ok(())
}

/// Several C, one shared operand, and sums over (outer, inner) with strides of their own.
pub fn batches_and_reductions(lab: &mut Lab) -> Result<()> {
    for (m, n, k) in [(1, 1, 1), (5, 7, 3), (65, 66, 18)] {
        let shape = (m, n, k);
        let (rows_a, rows_b) = (Operand::rows_of(k), Operand::rows_of(n));
        lab.case(format!("{m} x {n} x {k}, each of 3"));
        let each = Gemm { batch: 3, a: rows_a.each(m * k), b: rows_b.each(k * n), ..plain(shape) };
        lay(lab, each, Added::Nothing)?;
        lab.case(format!("{m} x {n} x {k}, A shared by 3"));
        lay(lab, Gemm { a: rows_a, ..each }, Added::Nothing)?;
        lab.case(format!("{m} x {n} x {k}, 2 x 3 summed, padded"));
        let a = rows_a.summed(4 * m * k + 5, m * k);
        let b = rows_b.summed(3 * k * n, k * n + 1);
        lay(lab, Gemm { reductions: (2, 3), a, b, ..plain(shape) }, Added::Nothing)?;
        lab.case(format!("{m} x {n} x {k}, 4 summed for each of 2"));
        let a = rows_a.summed(m * k, 0).each(4 * m * k);
        let b = rows_b.summed(k * n, 0).each(4 * k * n);
        lay(lab, Gemm { reductions: (4, 1), batch: 2, a, b, ..plain(shape) }, Added::Nothing)?;
    }
    let (m, n, k) = (131, 70, 33);
    let (a, b) = (Operand::rows_of(k), Operand::rows_of(n));
    for (name, a, b) in [("A", a, b.each(k * n)), ("B", a.each(m * k), b)] {
        lab.case(format!("{m} x {n} x {k}, {name} shared by 3, with an addend"));
        lay(lab, Gemm { batch: 3, a, b, ..plain((m, n, k)) }, Added::Whole)?;
    }
    Ok(())
}

/// A whole C is added, or a bias to each of its rows.
pub fn addends(lab: &mut Lab) -> Result<()> {
    for (m, n, k) in [(1, 1, 1), (9, 2, 11), (66, 65, 17), (5, 68, 33)] {
        for (name, added) in [("whole", Added::Whole), ("bias", Added::Bias)] {
            lab.case(format!("{m} x {n} x {k}, {name}"));
            let (a, b) = (Operand::rows_of(k).each(m * k), Operand::rows_of(n).each(k * n));
            lay(lab, Gemm { batch: 2, reductions: (1, 1), a, b, ..plain((m, n, k)) }, added)?;
        }
    }
    Ok(())
}

/// As long as the engine lets a sum be on a software adapter, which ends long loops silently: the end of a longer one
/// would be missing. Small integers, so that every sum is exact.
pub fn long_sums(lab: &mut Lab) -> Result<()> {
    let k = match lab.tape.target().matrices {
        None => 174_000,
        Some(_) => 12_400,
    };
    for (name, a) in [("A", Operand::rows_of(k)), ("A transposed", Operand::rows_of(3).transposed())] {
        lab.case(format!("3 x 2 x {k}, {name}"));
        let gemm = Gemm { a, ..plain((3, 2, k)) };
        let [a, b] = reaches(&gemm)
            .map(|words| lab.below(words, 5).iter().map(|&value| value as f32 - 2.0).collect::<Vec<f32>>());
        let expected = reference(&gemm, &a, &b, |_, _, _| 0.0);
        let (a, b, c) = (lab.floats("a", &a), lab.floats("b", &b), lab.output("c", 6));
        gemm.push(&mut lab.tape, a, b, None, c)?;
        lab.expect("c", c, expected, 0.0);
    }
    Ok(())
}
