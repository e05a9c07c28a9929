//! The matrix product on matrix units against f64: every layout of the operands, edges that cut tiles, weights with zeros
//! behind their rows, batches, sums, and every epilogue; by both tiles.

use trm::Result;
use trm::ops::gemm::{Gemm, Operand};
use trm::ops::product::{Core, MATRIX_KERNEL, Product};
use trm::plan::{Axis, Element, Matrices, MatrixTile, PerPurpose, Target, Tiles};

use crate::check::roundings;
use crate::harness::{KernelTests, Lab, Mutant, Needs, Test};
use crate::product::{self, Added, lay_gates, lay_gradients, lay_product, lay_turns, plain, reaches};

/// Tests and mutants of `product_matrix`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &MATRIX_KERNEL,
    needs: Needs::Cooperative,
    tests: &[
        ("past_the_largest_half", |lab| on_both(lab, past_the_largest_half)),
        ("layouts", |lab| on_both(lab, layouts)),
        ("padded_weights", |lab| on_both(lab, padded_weights)),
        ("batches_and_reductions", |lab| on_both(lab, batches_and_reductions)),
        ("addends", |lab| on_both(lab, addends)),
        ("gates", |lab| on_both(lab, gates)),
        ("gradients_of_gates", |lab| on_both(lab, gradients_of_gates)),
        ("turns", |lab| on_both(lab, turns)),
        ("long_sums", |lab| on_both(lab, long_sums)),
        ("by_pointers_to_scalars", |lab| {
            let units = Matrices { scalars: true, ..lab.cooperative };
            on(lab, units, layouts)?;
            on(lab, units, gates)
        }),
        ("on_other_subgroups", on_other_subgroups),
    ],
    mutants: &[
        Mutant {
            name: "wraps_round_past_the_largest_half",
            from: "return pack2x16float(pair);",
            to: "return pack2x16float(select(pair, -pair, abs(pair) > vec2<f32>(65504.0)));",
        },
        Mutant { name: "skips_the_last_of_k", from: "if depth >= params.k", to: "if depth + 8u >= params.k" },
        Mutant {
            name: "skips_the_last_row",
            from: "min(line, params.m - 1u)",
            to: "min(line, params.m - 2u)",
        },
        Mutant { name: "repeats_its_first_column", from: "b2, c02)", to: "b0, c02)" },
        Mutant {
            name: "repeats_its_first_row",
            from: "let a3 = left(row + 3u * SIZE, depth);",
            to: "let a3 = left(row, depth);",
        },
        Mutant {
            name: "mixes_the_small_tile",
            from: "if DOWN == 2u {\n                        let a0 = left(row, depth)",
            to: "if DOWN == 2u {\n                        let a0 = left(row + SIZE, depth)",
        },
        Mutant {
            name: "takes_rows_for_columns",
            from: "share / 2u * DOWN * SIZE",
            to: "share % 2u * DOWN * SIZE",
        },
        Mutant {
            name: "stays_at_its_first_step",
            from: "base_b, k + DEPTH, local)",
            to: "base_b, k, local)",
        },
        Mutant { name: "ignores_the_batch_of_b", from: "batch * params.b_batch", to: "0u * params.b_batch" },
        Mutant { name: "repeats_a_reduction", from: "r * params.a_step", to: "0u * params.a_step" },
        Mutant {
            name: "stores_a_strip_twice",
            from: "case 2u: { unpack(c10, c11, slot); }",
            to: "case 2u: { unpack(c00, c01, slot); }",
        },
        Mutant {
            name: "skips_shares_that_no_subgroup_has",
            from: "first += subgroups",
            to: "first += SHARES",
        },
        Mutant { name: "meets_the_next_row", from: "(row ^ 2u) * STRIP", to: "(row ^ 1u) * STRIP" },
    ],
};

/// Lays a test down for the matrices of the device, by each tile.
fn on_both(lab: &mut Lab, test: Test) -> Result<()> {
    on(lab, lab.cooperative, test)
}

fn on(lab: &mut Lab, units: Matrices, test: Test) -> Result<()> {
    for (name, tile) in [("large", MatrixTile::Large), ("small", MatrixTile::Small)] {
        let tiles = Tiles { matrices: PerPurpose::all(tile, 0), ..Tiles::default() };
        let matrices = Some(units);
        let target =
            Target { precision: Element::F16, matrices, tiles, shared_bytes: 48 << 10, ..Target::default() };
        lab.variant(&format!("{name}, subgroups of {}", units.subgroup), target);
        test(lab)?;
    }
    Ok(())
}

/// Where subgroups are others than those that were counted on, most of four times as many are spare; or one has all
/// shares.
fn on_other_subgroups(lab: &mut Lab) -> Result<()> {
    let own = lab.cooperative;
    for subgroup in [4 * own.subgroup, own.subgroup / 4] {
        on(lab, Matrices { subgroup, ..own }, batches_and_reductions)?;
        on(lab, Matrices { subgroup, ..own }, addends)?;
        on(lab, Matrices { subgroup, ..own }, gates)?;
    }
    Ok(())
}

/// Every epilogue's.
fn past_the_largest_half(lab: &mut Lab) -> Result<()> {
    for (loudness, test) in
        [(60.0, addends as Test), (60.0, turns), (100.0, gates), (5.0, gates), (20.0, gradients_of_gates)]
    {
        lab.loud(loudness);
        test(lab)?;
    }
    lab.loud(1.0);
    Ok(())
}

/// A product that the matrix units must take.
fn lay(lab: &mut Lab, gemm: Gemm, added: Added) -> Result<()> {
    takes_matrices(lab, &gemm);
    let [a, b] = reaches(&gemm).map(|count| lab.normal(count));
    lay_product(lab, gemm, (&a, &b), added)
}

fn takes_matrices(lab: &Lab, gemm: &Gemm) {
    let core = Product::core(gemm, [Element::F16; 2], &lab.tape.target());
    assert!(matches!(core, Core::Matrix(_)), "{gemm:?} on {core:?}");
}

fn layouts(lab: &mut Lab) -> Result<()> {
    for (m, n, k) in [(16, 16, 8), (64, 64, 32), (136, 200, 72), (72, 24, 264)] {
        for (a_transposed, b_transposed) in [(false, false), (true, false), (false, true), (true, true)] {
            for padding in [0, 8] {
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

/// W (97, 40) or (40, 97) and its transpose with zeros behind each row, beside activations that end in the middle of a
/// step.
fn padded_weights(lab: &mut Lab) -> Result<()> {
    for (rows, columns) in [(40usize, 97usize), (97, 40), (33, 129)] {
        let pitch = columns.next_multiple_of(8);
        let mut weight = lab.normal(rows * pitch);
        weight.chunks_exact_mut(pitch).for_each(|row| row[columns..].fill(0.0));
        for transposed in [false, true] {
            let weight_is = Operand::rows_of(pitch);
            let (m, k, a) = match transposed {
                false => (rows, columns, weight_is),
                true => (columns, rows, weight_is.transposed()),
            };
            lab.case(format!("W {rows} x {columns}, transposed {transposed}"));
            let n = 72;
            let gemm = Gemm { batch: 3, a, b: Operand::rows_of(n).each(k * n), ..plain((m, n, k)) };
            takes_matrices(lab, &gemm);
            let b = lab.normal(3 * k * n);
            let a = &weight[..reaches(&gemm)[0]];
            lay_product(lab, gemm, (a, &b), Added::Nothing)?;
        }
    }
    Ok(())
}

fn batches_and_reductions(lab: &mut Lab) -> Result<()> {
    let (m, n, k) = (72, 136, 40);
    let (a, b) = (Operand::rows_of(k), Operand::rows_of(n));
    lab.case("each of 3");
    lay(lab, Gemm { batch: 3, a: a.each(m * k), b: b.each(k * n), ..plain((m, n, k)) }, Added::Nothing)?;
    lab.case("A shared by 3, with an addend");
    lay(lab, Gemm { batch: 3, b: b.each(k * n), ..plain((m, n, k)) }, Added::Whole)?;
    lab.case("3 summed for each of 2");
    let a = a.summed(m * k).each(3 * m * k);
    let b = b.summed(k * n).each(3 * k * n);
    lay(lab, Gemm { batch: 2, reductions: 3, a, b, ..plain((m, n, k)) }, Added::Nothing)
}

fn addends(lab: &mut Lab) -> Result<()> {
    for (m, n, k) in [(16, 16, 8), (97, 72, 104)] {
        for (name, added) in [("whole", Added::Whole), ("bias", Added::Bias)] {
            lab.case(format!("{m} x {n} x {k}, {name}"));
            lay(lab, plain((m, n, k)), added)?;
        }
    }
    Ok(())
}

/// Over D and over L, of as many pairs as fill tiles, and more.
fn gated_forms() -> [(Axis, Gemm); 4] {
    let over_d = |rows: usize, inner: usize, k: usize| Gemm {
        b: Operand::rows_of(k).transposed(),
        ..plain((rows, 2 * inner, k))
    };
    let over_l = |batch: usize, inner: usize, n: usize, k: usize| Gemm {
        batch,
        b: Operand::rows_of(n).each(k * n),
        ..plain((2 * inner, n, k))
    };
    [
        (Axis::Width, over_d(16, 8, 16)),
        (Axis::Width, over_d(97, 72, 72)),
        (Axis::Length, over_l(1, 8, 16, 16)),
        (Axis::Length, over_l(3, 40, 72, 104)),
    ]
}

fn gates(lab: &mut Lab) -> Result<()> {
    for (over, gemm) in gated_forms() {
        lab.case(format!("{over:?}, {} x {} x {}", gemm.m, gemm.n, gemm.k));
        takes_matrices(lab, &gemm);
        let [a, b] = reaches(&gemm).map(|count| lab.normal(count));
        let (a, b) = (lab.stored(&a), lab.stored(&b));
        lay_gates(lab, over, gemm, (&a, &b), None)?;
    }
    Ok(())
}

fn gradients_of_gates(lab: &mut Lab) -> Result<()> {
    for (over, form) in gated_forms() {
        let gemm = product::gradient_of(over, form);
        // One with as few lines as the smallest form has is none for the units.
        if gemm.m.min(gemm.n) < 16 {
            continue;
        }
        lab.case(format!("{over:?}, {} x {} x {}", gemm.m, gemm.n, gemm.k));
        takes_matrices(lab, &gemm);
        let [a, b] = reaches(&gemm).map(|count| lab.normal(count));
        let gate_up = lab.normal(2 * gemm.batch * gemm.m * gemm.n);
        let (a, b, gate_up) = (lab.stored(&a), lab.stored(&b), lab.stored(&gate_up));
        let bound = (gate_up.len(), roundings(2 * gemm.k + 40));
        lay_gradients(lab, over, gemm, (&a, &b, &gate_up), bound)?;
    }
    Ok(())
}

fn turns(lab: &mut Lab) -> Result<()> {
    for shape in [(1, 16, 1, 8), (2, 33, 3, 16), (3, 9, 2, 32)] {
        lay_turns(lab, shape)?;
    }
    Ok(())
}

/// Small integers, so that every sum is exact, as long as a software adapter lets loops be.
fn long_sums(lab: &mut Lab) -> Result<()> {
    let k = 12_400;
    lab.case(format!("16 x 16 x {k}"));
    let gemm = Gemm { a: Operand::rows_of(16).transposed(), ..plain((16, 16, k)) };
    takes_matrices(lab, &gemm);
    let [a, b] =
        reaches(&gemm).map(|count| lab.below(count, 3).iter().map(|&value| value as f32 - 1.0).collect());
    let (a, b): (Vec<f32>, Vec<f32>) = (a, b);
    lay_product(lab, gemm, (&a, &b), Added::Nothing)
}
