//! Attention on matrix units against f64: rows and keys that end anywhere, heads of every size that the units take, and
//! scores that need their maximum.

use libtest_mimic::Trial;
use trm::Result;
use trm::ops::attention::{Core, MATRIX_KERNEL};
use trm::ops::rope::table;
use trm::plan::{Element, Matrices, Shape, Target};

use crate::attention::{compare, low, past_the_largest_half, steep};
use crate::check::roundings;
use crate::data::trials;
use crate::harness::{KernelTests, Lab, Mutant, Needs, Test};

/// Tests and mutants of `attention_matrix`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &MATRIX_KERNEL,
    needs: Needs::Cooperative,
    tests: &[
        ("steep_scores", |lab| on_units(lab, steep_scores)),
        ("low_scores", |lab| on_units(lab, low_scores)),
        ("turned", |lab| on_units(lab, turned)),
        ("on_other_subgroups", on_other_subgroups),
        ("past_the_largest_half", |lab| on_units(lab, past_the_largest_half)),
        ("by_pointers_to_scalars", |lab| {
            lab.cooperative.scalars = true;
            on_units(lab, turned)
        }),
        ("shapes", |lab| on_units(lab, shapes)),
        ("long_rows", |lab| on_units(lab, long_rows)),
    ],
    mutants: &[
        Mutant { name: "forgets_the_scale", from: "* params.scale, column", to: ", column" },
        Mutant {
            name: "keeps_columns_that_are_not_there",
            from: "column < vec4<u32>(params.length)",
            to: "column < vec4<u32>(params.length + 1u)",
        },
        Mutant {
            name: "mixes_the_heads",
            from: "* params.heads + group.y;\n}\n\nfn line_of_o",
            to: "* params.heads;\n}\n\nfn line_of_o",
        },
        Mutant { name: "takes_k_for_v", from: "const V: u32 = 2u", to: "const V: u32 = 1u" },
        Mutant {
            name: "forgets_to_shrink",
            from: "old.denominator * exp(old.highest - highest)",
            to: "old.denominator",
        },
        Mutant {
            name: "joins_parts_as_they_are",
            from: "own.denominator * exp(own.highest - highest)",
            to: "own.denominator",
        },
        Mutant { name: "repeats_its_first_columns", from: "SIZE * PITCH + k", to: "k" },
        Mutant {
            name: "repeats_its_first_features",
            from: "values(column, HALF + feature + SIZE)",
            to: "values(column, HALF + feature)",
        },
        Mutant {
            name: "sums_the_last_features_twice",
            from: "values(column, HALF + feature + 3u * SIZE)",
            to: "values(column, HALF + feature + 2u * SIZE)",
        },
        Mutant {
            name: "swaps_halves_of_eight_weights",
            from: "Pair(vec4<f16>(lo), vec4<f16>(hi)));\n    }\n}\n\n// lse",
            to: "Pair(vec4<f16>(hi), vec4<f16>(lo)));\n    }\n}\n\n// lse",
        },
        Mutant {
            name: "stores_a_strip_twice",
            from: "unpack(sum2, sum3, slot)",
            to: "unpack(sum0, sum1, slot)",
        },
        Mutant { name: "saves_no_maximum", from: "highest + log(", to: "log(" },
        Mutant {
            name: "stores_what_another_share_did",
            from: "row / SIZE - share < thread.subgroups && ",
            to: "",
        },
        Mutant {
            name: "keeps_delta_out_of_dq",
            from: "return vec4<f32>(sh_saved[row].delta)",
            to: "return vec4<f32>(0.0 * sh_saved[row].delta)",
        },
        Mutant {
            name: "takes_a_neighbours_delta_for_dk",
            from: "sh_saved[column + 2u].delta",
            to: "sh_saved[column + 1u].delta",
        },
        Mutant {
            name: "takes_a_neighbours_lse",
            from: "sh_saved[column + 3u].lse",
            to: "sh_saved[column + 2u].lse",
        },
        Mutant {
            name: "scales_no_gradient",
            from: "return Halves(first * params.scale, second * params.scale)",
            to: "return Halves(first, second)",
        },
        Mutant {
            name: "turns_on_instead_of_back",
            from: "first * cos + second * sin, second * cos - first * sin",
            to: "first * cos - second * sin, second * cos + first * sin",
        },
        Mutant {
            name: "turns_by_the_first_of_eight",
            from: "at, feature + 8u * eight + 4u",
            to: "at, feature + 8u * eight",
        },
        Mutant {
            name: "adds_dk_to_dv",
            from: "clear();\n            for (var first = 0u; first < params.length; first += COLUMNS) {\n                workgroupBarrier();\n                stage_saved(thread, first);\n                add",
            to: "for (var first = 0u; first < params.length; first += COLUMNS) {\n                workgroupBarrier();\n                stage_saved(thread, first);\n                add",
        },
        Mutant {
            name: "wraps_round_past_the_largest_half",
            from: "Pair(vec4<f16>(lo.first), vec4<f16>(hi.first))",
            to: "Pair(vec4<f16>(-clamp(lo.first, vec4<f32>(-65504.0), vec4<f32>(65504.0))), vec4<f16>(hi.first))",
        },
        Mutant { name: "gives_dv_to_k", from: "store_gradients(thread, V", to: "store_gradients(thread, K" },
    ],
};

/// Where everything is stored in f16, and shared memory holds heads of every size.
fn target(matrices: Matrices) -> Target {
    with_memory(matrices, 64 << 10)
}

fn with_memory(matrices: Matrices, shared_bytes: u32) -> Target {
    Target { precision: Element::F16, matrices: Some(matrices), shared_bytes, ..Target::default() }
}

/// Shared memory of the device, or of most with matrix units: enough for all but the reverse pass of the longest heads.
fn memory(lab: &Lab) -> u32 {
    lab.tape.target().shared_bytes.max(48 << 10)
}

/// Lays a test down for the matrices of the device.
fn on_units(lab: &mut Lab, test: Test) -> Result<()> {
    lab.target(with_memory(lab.cooperative, memory(lab)));
    test(lab)
}

/// Where subgroups are others than those that were counted on, there are four times as many, of which most are spare and
/// whose threads share rows; or one that has all shares.
fn on_other_subgroups(lab: &mut Lab) -> Result<()> {
    let own = lab.cooperative;
    let memory = memory(lab);
    for subgroup in [4 * own.subgroup, own.subgroup / 4] {
        let units = Matrices { subgroup, ..own };
        lab.variant(&format!("subgroups of {subgroup}"), with_memory(units, memory));
        for head_dim in [64, 128] {
            let shape = Shape { batch: 1, length: 70, width: head_dim };
            let qkv = steep(lab, shape, 1, 1.0);
            let turns = table(shape.length, head_dim, 100.0);
            let bound = roundings(70 + head_dim + 16) + lab.storing();
            compare(lab, shape, 1, (qkv, Some(turns)), bound)?;
        }
    }
    Ok(())
}

/// Attention that the units must take. Weights are rounded to f16, each by itself: as large an error of o as that of
/// storing it.
fn lay(lab: &mut Lab, shape: Shape, heads: usize, qkv: Vec<f32>, count: usize) -> Result<()> {
    takes_units(lab, shape.width / heads);
    compare(lab, shape, heads, (qkv, None), roundings(count) + lab.storing())
}

fn takes_units(lab: &Lab, head_dim: usize) {
    let sides = if head_dim == 128 { 1 } else { 2 };
    let core = Core::of(head_dim, sides, &[Element::F16; 4], &lab.tape.target());
    assert_eq!(core, Core::Matrix(lab.cooperative));
}

fn shapes(lab: &mut Lab) -> Result<()> {
    for length in [1, 7, 97, 130] {
        for (heads, head_dim) in [(1, 32), (3, 32), (1, 64), (3, 64), (1, 128), (3, 128)] {
            let shape = Shape { batch: 2, length, width: heads * head_dim };
            let qkv = steep(lab, shape, heads, 1.0);
            lay(lab, shape, heads, qkv, length + head_dim + 16)?;
        }
    }
    Ok(())
}

/// Angles that differ in every row and feature.
fn turned(lab: &mut Lab) -> Result<()> {
    for (length, heads, head_dim) in [(7, 3, 32), (70, 2, 64), (35, 1, 128)] {
        takes_units(lab, head_dim);
        let shape = Shape { batch: 2, length, width: heads * head_dim };
        let qkv = steep(lab, shape, heads, 1.0);
        let turns = table(length, head_dim, 100.0);
        let bound = roundings(length + head_dim + 16) + lab.storing();
        compare(lab, shape, heads, (qkv, Some(turns)), bound)?;
    }
    Ok(())
}

/// Scores of about a thousand, as in the test of the f32 kernel.
fn steep_scores(lab: &mut Lab) -> Result<()> {
    let shape = Shape { batch: 2, length: 67, width: 64 };
    let qkv = steep(lab, shape, 2, 20.0);
    lay(lab, shape, 2, qkv, 4_000)
}

fn low_scores(lab: &mut Lab) -> Result<()> {
    let shape = Shape { batch: 1, length: 67, width: 32 };
    let qkv = low(lab, shape);
    lay(lab, shape, 1, qkv, 4_000)
}

/// Sums over many blocks of keys, and maxima that lie in any.
fn long_rows(lab: &mut Lab) -> Result<()> {
    let shape = Shape { batch: 1, length: 977, width: 64 };
    let qkv = steep(lab, shape, 1, 1.0);
    lay(lab, shape, 1, qkv, 977 + 64 + 16)
}

/// Units take halves alone, heads that they fit, and what shared memory holds.
fn takes_what_fits() {
    let halves = [Element::F16; 2];
    let most = Matrices { subgroup: 64, ..Matrices::default() };
    let takes = |head_dim, sides, elements: &[Element], target: Target| {
        matches!(Core::of(head_dim, sides, elements, &target), Core::Matrix(_))
    };
    for units in [Matrices::APPLE, Matrices::default(), most] {
        assert!([32, 64, 128].iter().all(|&head_dim| takes(head_dim, 2, &halves, target(units))));
        assert!(![16, 48, 96, 256].iter().any(|&head_dim| takes(head_dim, 1, &halves, target(units))));
    }
    assert!(!takes(64, 1, &[Element::F16, Element::F32], target(most)));
    assert!(!takes(64, 1, &[Element::Bf16; 2], target(most)));
    assert!(!takes(64, 1, &halves, Target { matrices: None, ..target(most) }));
    let less = |kibibytes: u32| Target { shared_bytes: kibibytes << 10, ..target(most) };
    assert!(takes(128, 1, &halves, less(48)) && takes(64, 2, &halves, less(48)));
    assert!(!takes(128, 2, &halves, less(48)) && !takes(128, 1, &halves, less(32)));
}

/// Of the choice, which no device takes part in.
pub fn tests() -> Vec<Trial> {
    trials("attention_matrix", &[("takes_what_fits", takes_what_fits)])
}
