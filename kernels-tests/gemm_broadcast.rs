//! The matrix product by subgroup broadcasts: all tests of the tiled one, whole vectors of eight, and its own mutants.

use trm::Result;
use trm::ops::gemm::{BROADCAST, Gemm, Operand};
use trm::plan::GemmVariant::Broadcast;

use crate::gemm::{
    Added, IGNORES_THE_BATCH_OF_A, SWAPS_THE_REDUCTIONS, addends, batches_and_reductions, lay, long_sums,
    plain, shapes, transposes_and_paddings, with,
};
use crate::harness::{KernelTests, Lab, Mutant, Needs};

/// Tests and mutants of `gemm_broadcast`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &BROADCAST,
    needs: Needs::Subgroups,
    tests: &[
        ("whole_vectors", |lab| with(lab, Broadcast, whole_vectors)),
        ("turned", |lab| with(lab, Broadcast, turned)),
        ("shapes", |lab| with(lab, Broadcast, shapes)),
        ("transposes_and_paddings", |lab| with(lab, Broadcast, transposes_and_paddings)),
        ("batches_and_reductions", |lab| with(lab, Broadcast, batches_and_reductions)),
        ("addends", |lab| with(lab, Broadcast, addends)),
        ("long_sums", |lab| with(lab, Broadcast, long_sums)),
        ("lines_across_vectors", |lab| with(lab, Broadcast, lines_across_vectors)),
    ],
    mutants: &[
        Mutant { name: "joins_one_word_late", from: "vec4<f32>(t.yzw, u)", to: "vec4<f32>(t.yzw, r.x)" },
        Mutant {
            name: "holds_the_first_vectors",
            from: "held_high[eighth] = next.high;",
            to: "held_high[eighth] = first.high;",
        },
        Mutant { name: "stores_turned_products_straight", from: "* params.c_col", to: "* 1u" },
        Mutant { name: "joins_two_words_late", from: "vec4<f32>(p.zw, q.xy)", to: "vec4<f32>(p.zw, q.zw)" },
        Mutant {
            name: "joins_four_words_early",
            from: "select(first.high, next.low, by.x)",
            to: "select(first.low, next.low, by.x)",
        },
        Mutant { name: "multiplies_past_k", from: "< vec4<u32>(steps))", to: "<= vec4<u32>(steps))" },
        Mutant {
            name: "cuts_its_second_four_late",
            from: "cut(values.high, 4u,",
            to: "cut(values.high, 3u,",
        },
        Mutant {
            name: "transposes_its_step",
            from: "return values * columns",
            to: "return columns * values",
        },
        Mutant {
            name: "exchanges_quarters_across_k",
            from: "return Columns(corner, late, high, last)",
            to: "return Columns(corner, high, late, last)",
        },
        Mutant {
            name: "broadcasts_a_neighbour",
            from: "subgroupBroadcast(values.low, 7u)",
            to: "subgroupBroadcast(values.low, 6u)",
        },
        Mutant {
            name: "broadcasts_the_first_half",
            from: "subgroupBroadcast(values, 3u), subgroupBroadcast(values, 7u)",
            to: "subgroupBroadcast(values, 3u), subgroupBroadcast(values, 3u)",
        },
        Mutant {
            name: "mixes_the_rows",
            from: "add_every_eighth(first + 7u, cut(high[3], step, steps), columns)",
            to: "add_every_eighth(first + 7u, cut(high[2], step, steps), columns)",
        },
        Mutant {
            name: "reads_its_first_32_rows_twice",
            from: "add_along_m(at, row, lane / 4u * 4u, 32u, steps, columns)",
            to: "add_along_m(at, row - 32u, lane / 4u * 4u, 32u, steps, columns)",
        },
        Mutant {
            name: "leaves_the_last_eight_rows_out",
            from: "add_along_k(at, row, 48u, steps, columns)",
            to: "add_along_k(at, row, 56u, steps, columns)",
        },
        Mutant {
            name: "reads_the_first_column",
            from: "select(0u, column, column < params.n)",
            to: "select(0u, column, column < 8u)",
        },
        Mutant {
            name: "repeats_the_last_column",
            from: "min(column, params.n - 1u)",
            to: "min(column, params.n - 2u)",
        },
        Mutant {
            name: "stores_all_but_the_eighth_column",
            from: "min(8u, params.n - column)",
            to: "min(7u, params.n - column)",
        },
        Mutant {
            name: "adds_the_other_half_of_a_word",
            from: "pair >> (at % 2u * 32u)",
            to: "pair >> ((1u - at % 2u) * 32u)",
        },
        Mutant {
            name: "stores_its_halves_exchanged",
            from: "vec4<u64>(as_words(left[i][j]), as_words(right[i][j]))",
            to: "vec4<u64>(as_words(right[i][j]), as_words(left[i][j]))",
        },
        Mutant {
            name: "swaps_words_of_a_pair",
            from: "vec4<u32>(low.x, high.x, low.y, high.y)",
            to: "vec4<u32>(high.x, low.x, low.y, high.y)",
        },
        IGNORES_THE_BATCH_OF_A,
        SWAPS_THE_REDUCTIONS,
        Mutant { name: "subtracts_the_addend", from: "right[i][j] += added", to: "right[i][j] -= added" },
    ],
};

/// Rows and columns of whole vectors, for every number of rows that a workgroup can have.
fn whole_vectors(lab: &mut Lab) -> Result<()> {
    for (m, n, k) in [(8, 8, 8), (9, 72, 16), (32, 64, 31), (97, 72, 40), (104, 136, 24), (128, 8, 48)] {
        for (a_transposed, b_transposed) in [(false, false), (false, true), (true, false)] {
            lab.case(format!("{m} x {n} x {k}, {a_transposed} {b_transposed}"));
            let operand = |rows: usize, cols: usize, transposed: bool| match transposed {
                true => Operand::rows_of(rows.next_multiple_of(8)).transposed(),
                false => Operand::rows_of(cols.next_multiple_of(8)),
            };
            let (a, b) = (operand(m, k, a_transposed), operand(k, n, b_transposed));
            lay(lab, Gemm { a, b, ..plain((m, n, k)) }, Added::Whole)?;
        }
    }
    Ok(())
}

/// Few columns, no multiple of eight, which are taken for rows: C is stored along its columns.
fn turned(lab: &mut Lab) -> Result<()> {
    for (m, n, k) in [(120, 11, 24), (70, 1, 5), (136, 97, 8)] {
        for batch in [1, 2] {
            lab.case(format!("{m} x {n} x {k}, each of {batch}"));
            let (a, b) = (Operand::rows_of(k).each(m * k), Operand::rows_of(k).transposed().each(k * n));
            lay(lab, Gemm { batch, a, b, ..plain((m, n, k)) }, Added::Nothing)?;
        }
    }
    Ok(())
}

/// A along m, its lines starting anywhere in a vector, in more rows than a workgroup has, summed over reductions.
fn lines_across_vectors(lab: &mut Lab) -> Result<()> {
    for (m, n, k) in [(65, 16, 3), (97, 9, 5), (131, 24, 11)] {
        lab.case(format!("{m} x {n} x {k}"));
        let a = Operand::rows_of(m).transposed().each(4 * m * k + 1).summed(2 * m * k, m * k);
        let b = Operand::rows_of(n).each(4 * n * k).summed(2 * n * k, n * k);
        lay(lab, Gemm { batch: 2, reductions: (2, 2), a, b, ..plain((m, n, k)) }, Added::Whole)?;
    }
    Ok(())
}
