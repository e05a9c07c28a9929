//! Attention with a thread for each row: all tests of the tiled one, and its own mutants.

use trm::ops::attention::ROWS;
use trm::plan::AttentionVariant::Rows;

use crate::attention::{long_rows, low_scores, shapes, steep_scores, with};
use crate::harness::{KernelTests, Mutant, Needs};

/// Tests and mutants of `attention_rows`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &ROWS,
    needs: Needs::Adapter,
    tests: &[
        ("shapes", |lab| with(lab, Rows, shapes)),
        ("steep_scores", |lab| with(lab, Rows, steep_scores)),
        ("low_scores", |lab| with(lab, Rows, low_scores)),
        ("long_rows", |lab| with(lab, Rows, long_rows)),
    ],
    mutants: &[
        Mutant {
            name: "forgets_the_scale",
            from: "+ i] * params.scale;\n    }\n    var highest",
            to: "+ i];\n    }\n    var highest",
        },
        Mutant {
            name: "skips_the_last_key",
            from: "key < params.length; key++",
            to: "key + 1u < params.length; key++",
        },
        Mutant { name: "forgets_to_shrink", from: "denominator * shrink + p", to: "denominator + p" },
        Mutant {
            name: "is_causal",
            from: "let p = exp(score - raised);",
            to: "let p = select(0.0, exp(score - raised), key <= query);",
        },
        Mutant { name: "takes_k_for_v", from: "const V: u32 = 2u", to: "const V: u32 = 1u" },
        Mutant {
            name: "mixes_the_heads",
            from: "params.heads + group.y) * PAIRS;\n}\n\nfn in_o",
            to: "params.heads + (group.y + 1u) % params.heads) * PAIRS;\n}\n\nfn in_o",
        },
        Mutant {
            name: "keeps_delta_out_of_dq",
            from: "(dps.x + dps.y - shared_term)",
            to: "(dps.x + dps.y)",
        },
        Mutant {
            name: "keeps_delta_out_of_dk",
            from: "(dps.x + dps.y - delta_saved[row])",
            to: "(dps.x + dps.y + 0.0 * delta_saved[row])",
        },
        Mutant { name: "wrong_sign_of_dv", from: "dv[i] += p", to: "dv[i] -= p" },
        Mutant { name: "saves_no_maximum", from: "= highest + log(denominator)", to: "= log(denominator)" },
    ],
};
