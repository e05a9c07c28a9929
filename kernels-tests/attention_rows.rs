//! Attention with four rows for each thread: all tests of the tiled one, and its own mutants.

use trm::ops::attention::ROWS;
use trm::plan::AttentionVariant::Rows;

use crate::attention::{long_rows, low_scores, shapes, steep_scores, with};
use crate::harness::{KernelTests, Mutant, Needs};

/// Tests and mutants of `attention_rows`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &ROWS,
    needs: Needs::Subgroups,
    tests: &[
        ("shapes", |lab| with(lab, Rows, shapes)),
        ("steep_scores", |lab| with(lab, Rows, steep_scores)),
        ("low_scores", |lab| with(lab, Rows, low_scores)),
        ("long_rows", |lab| with(lab, Rows, long_rows)),
    ],
    mutants: &[
        Mutant {
            name: "forgets_the_scale",
            from: "queries, i) * params.scale;\n    }\n    var highest",
            to: "queries, i);\n    }\n    var highest",
        },
        Mutant {
            name: "skips_the_last_keys",
            from: "first < params.length; first += 8u",
            to: "first + 8u < params.length; first += 8u",
        },
        Mutant {
            name: "keeps_keys_that_are_not_there",
            from: "select(other, columns[1], first + 1u < params.length)",
            to: "columns[1]",
        },
        Mutant {
            name: "takes_the_left_for_the_right",
            from: "kept(columns.right, first + 4u, otherwise)",
            to: "kept(columns.right, first, otherwise)",
        },
        Mutant {
            name: "broadcasts_a_neighbour",
            from: "subgroupBroadcast(features, 7u)",
            to: "subgroupBroadcast(features, 6u)",
        },
        Mutant { name: "forgets_to_shrink", from: "denominator * shrink +", to: "denominator +" },
        Mutant { name: "keeps_old_sums_large", from: "scaled(sum[i], shrink)", to: "sum[i]" },
        Mutant {
            name: "ignores_half_of_the_maxima",
            from: "max(highest, max(highest_of(scores.left), highest_of(scores.right)))",
            to: "max(highest, highest_of(scores.left))",
        },
        Mutant { name: "takes_k_for_v", from: "const V: u32 = 2u", to: "const V: u32 = 1u" },
        Mutant {
            name: "mixes_the_heads",
            from: "params.heads + group.y) * QUADS;\n}\n\nfn in_o",
            to: "params.heads + (group.y + 1u) % params.heads) * QUADS;\n}\n\nfn in_o",
        },
        Mutant {
            name: "owns_some_rows_twice",
            from: "vec4<u32>(0u, 8u, 16u, 24u)",
            to: "vec4<u32>(0u, 8u, 16u, 16u)",
        },
        Mutant {
            name: "keeps_the_last_row",
            from: "if positions.y < params.length { o[",
            to: "if positions.y + 1u < params.length { o[",
        },
        Mutant { name: "keeps_delta_out_of_dq", from: "dp.right, inner)", to: "dp.right, 0.0 * inner)" },
        Mutant { name: "keeps_delta_out_of_dk", from: "next_four(less))", to: "0.0 * next_four(less))" },
        Mutant {
            name: "gives_every_query_the_first_lse",
            from: "exp(columns[3] - logs.w)",
            to: "exp(columns[3] - logs.x)",
        },
        Mutant { name: "wrong_sign_of_dv", from: "dv[i] += weighed", to: "dv[i] -= weighed" },
        Mutant { name: "saves_no_maximum", from: "= highest + log(denominator)", to: "= log(denominator)" },
    ],
};
