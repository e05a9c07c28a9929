//! RMS norm over D by 64-bit words: the f32 test of the other, extreme shapes of its own, and its own mutants.

use trm::Result;
use trm::ops::rms_norm::WORDS;
use trm::plan::GemmVariant::Broadcast;
use trm::plan::{Axis, Shape};

use crate::gemm::with;
use crate::harness::{KernelTests, Lab, Mutant, Needs};
use crate::rms_norm::{lay, over_width};

/// Tests and mutants of `rms_norm_words`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &WORDS,
    needs: Needs::Subgroups,
    tests: &[
        ("over_width", |lab| with(lab, Broadcast, over_width)),
        ("long_rows", |lab| with(lab, Broadcast, long_rows)),
        ("many_rows", |lab| with(lab, Broadcast, many_rows)),
    ],
    mutants: &[
        Mutant { name: "drops_eps", from: "mean_of(squares) + params.eps", to: "mean_of(squares)" },
        Mutant {
            name: "takes_fours_for_elements",
            from: "f32(4u * params.length)",
            to: "f32(params.length)",
        },
        Mutant { name: "forgets_the_last_of_four", from: "sums.z + sums.w", to: "sums.z" },
        Mutant {
            name: "keeps_the_mean",
            from: "as_floats(y_saved[base + i]) * mean)",
            to: "vec4<f32>(0.0))",
        },
        Mutant { name: "forgets_the_scale", from: "as_words(scale * (", to: "as_words((" },
        Mutant {
            name: "skips_the_last_squares",
            from: "i < params.length; i++) {\n        let values",
            to: "i + 1u < params.length; i++) {\n        let values",
        },
        Mutant { name: "swaps_words_of_a_pair", from: "vec2<u64>(words.xz) |", to: "vec2<u64>(words.zx) |" },
        Mutant { name: "forgets_the_fold", from: "workgroup.y * 65535u + workgroup.x", to: "workgroup.x" },
    ],
};

/// As many iterations (65,534) as a driver may let the loops of one invocation run. A bound of 32,790 roundings in one
/// direction is loose, yet rows that end one iteration early are off by eight times that.
fn long_rows(lab: &mut Lab) -> Result<()> {
    rows_of(lab, 3, 131_064)
}

/// Eight rows per workgroup, more of them than one grid dimension takes.
fn many_rows(lab: &mut Lab) -> Result<()> {
    rows_of(lab, 8 * 65_535 + 9, 4)
}

fn rows_of(lab: &mut Lab, length: usize, width: usize) -> Result<()> {
    lab.case(format!("{length} rows of {width}"));
    let shape = Shape { batch: 1, length, width };
    let x = lab.normal(shape.words());
    lay(lab, shape, Axis::Width, &x)
}
