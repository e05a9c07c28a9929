//! Rotary positions by 64-bit words: the f32 test of the other, and its own mutants.

use trm::ops::rope::WORDS;
use trm::plan::GemmVariant::Broadcast;

use crate::gemm::with;
use crate::harness::{KernelTests, Mutant, Needs};
use crate::rope::turns;

/// Tests and mutants of `rope_words`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &WORDS,
    needs: Needs::Subgroups,
    tests: &[("turns", |lab| with(lab, Broadcast, turns))],
    mutants: &[
        Mutant {
            name: "turns_four_by_the_angles_of_two",
            from: "let last = as_floats(table[at_turn + 1u])",
            to: "let last = as_floats(table[at_turn])",
        },
        Mutant {
            name: "turns_by_the_row",
            from: "row % params.length * params.half",
            to: "(row % params.length + 1u) % params.length * params.half",
        },
        Mutant {
            name: "turns_the_wrong_way",
            from: "params.sign * vec4<f32>",
            to: "-params.sign * vec4<f32>",
        },
        Mutant {
            name: "never_turns_back",
            from: "params.sign * vec4<f32>",
            to: "(1.0 + 0.0 * params.sign) * vec4<f32>",
        },
        Mutant {
            name: "leaves_k",
            from: "let head = index / params.half % (2u * params.heads)",
            to: "let head = index / params.half % params.heads",
        },
        Mutant { name: "swaps_words_of_a_pair", from: "vec2<u64>(words.xz) |", to: "vec2<u64>(words.zx) |" },
    ],
};
