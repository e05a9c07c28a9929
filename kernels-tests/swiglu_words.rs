//! SwiGLU by 64-bit words: all f32 tests of the other, and its own mutants.

use trm::ops::swiglu::WORDS;
use trm::plan::GemmVariant::Broadcast;

use crate::gemm::with;
use crate::harness::{KernelTests, Mutant, Needs};
use crate::swiglu::{over_length, over_width, saturated_gates};

/// Tests and mutants of `swiglu_words`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &WORDS,
    needs: Needs::Subgroups,
    tests: &[
        ("over_width", |lab| with(lab, Broadcast, over_width)),
        ("over_length", |lab| with(lab, Broadcast, over_length)),
        ("saturated_gates", |lab| with(lab, Broadcast, saturated_gates)),
    ],
    mutants: &[
        Mutant {
            name: "drops_the_gate",
            from: "as_words(gate * sigmoids(gate) *",
            to: "as_words(sigmoids(gate) *",
        },
        Mutant {
            name: "reads_one_outer_alone",
            from: "index + index / params.inner * params.inner;\n    let gate = as_floats(gate_up[at]);",
            to: "index;\n    let gate = as_floats(gate_up[at]);",
        },
        Mutant { name: "forgets_the_slope", from: "(1.0 + gate * (1.0 - s))", to: "(1.0 + gate * s)" },
        Mutant { name: "forgets_the_upstream", from: "above * gate * s)", to: "gate * s)" },
        Mutant { name: "swaps_words_of_a_pair", from: "vec2<u64>(words.xz) |", to: "vec2<u64>(words.zx) |" },
        Mutant { name: "wrong_sigmoid", from: "min(-v, vec4<f32>(80.0))", to: "min(v, vec4<f32>(80.0))" },
    ],
};
