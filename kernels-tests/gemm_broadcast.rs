//! The matrix product by subgroup broadcasts: all tests of the tiled one, and its own mutants.

use trm::ops::gemm::BROADCAST;
use trm::plan::GemmVariant::Broadcast;

use crate::gemm::{
    IGNORES_THE_BATCH_OF_A, SWAPS_THE_REDUCTIONS, addends, batches_and_reductions, long_sums, shapes,
    transposes_and_paddings, with,
};
use crate::harness::{KernelTests, Mutant, Needs};

/// Tests and mutants of `gemm_broadcast`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &BROADCAST,
    needs: Needs::Subgroups,
    tests: &[
        ("shapes", |lab| with(lab, Broadcast, shapes)),
        ("transposes_and_paddings", |lab| with(lab, Broadcast, transposes_and_paddings)),
        ("batches_and_reductions", |lab| with(lab, Broadcast, batches_and_reductions)),
        ("addends", |lab| with(lab, Broadcast, addends)),
        ("long_sums", |lab| with(lab, Broadcast, long_sums)),
    ],
    mutants: &[
        Mutant {
            name: "joins_one_word_late",
            from: "case 1u: { return vec4<f32>(first.yzw, next.x); }",
            to: "case 1u: { return vec4<f32>(first.zw, next.xy); }",
        },
        Mutant { name: "holds_the_first_vectors", from: "held = next;", to: "held = held;" },
        Mutant { name: "multiplies_past_k", from: "< vec4<u32>(rest)", to: "<= vec4<u32>(rest)" },
        Mutant {
            name: "transposes_its_step",
            from: "return values * columns",
            to: "return columns * values",
        },
        Mutant {
            name: "broadcasts_a_neighbour",
            from: "subgroupBroadcast(values, 7u)",
            to: "subgroupBroadcast(values, 6u)",
        },
        Mutant {
            name: "mixes_the_rows",
            from: "add_rows(3u, rows[3] * kept, columns)",
            to: "add_rows(3u, rows[2] * kept, columns)",
        },
        Mutant {
            name: "reads_the_first_column",
            from: "select(0u, column, column < params.n)",
            to: "select(0u, column, column < 8u)",
        },
        Mutant {
            name: "repeats_the_left_columns",
            from: "let last = min(first + 4u, ",
            to: "let last = min(first, ",
        },
        Mutant {
            name: "stores_all_but_the_last_column",
            from: "if column + j < params.n {",
            to: "if column + j + 1u < params.n {",
        },
        Mutant {
            name: "swaps_words_of_a_pair",
            from: "vec4<u32>(low.x, high.x, low.y, high.y)",
            to: "vec4<u32>(high.x, low.x, low.y, high.y)",
        },
        IGNORES_THE_BATCH_OF_A,
        SWAPS_THE_REDUCTIONS,
        Mutant {
            name: "subtracts_the_addend",
            from: "right[i] + addend_of_four",
            to: "right[i] - addend_of_four",
        },
    ],
};
