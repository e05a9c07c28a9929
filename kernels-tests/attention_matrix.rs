//! Attention on matrix units against f64: rows and keys that end anywhere, heads of every size that the units take, and
//! scores that need their maximum.

use libtest_mimic::Trial;
use trm::Result;
use trm::ops::attention::{Core, MATRIX_KERNEL};
use trm::plan::{Element, Matrices, Shape, Target};

use crate::attention::{compare, low, steep};
use crate::check::roundings;
use crate::data::trials;
use crate::harness::{KernelTests, Lab, Mutant, Needs, Test};

/// Tests and mutants of `attention_matrix`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &MATRIX_KERNEL,
    needs: Needs::Cooperative,
    tests: &[
        ("shapes", |lab| on_units(lab, shapes)),
        ("steep_scores", |lab| on_units(lab, steep_scores)),
        ("low_scores", |lab| on_units(lab, low_scores)),
        ("long_rows", |lab| on_units(lab, long_rows)),
    ],
    mutants: &[
        Mutant { name: "forgets_the_scale", from: "* params.scale, column", to: ", column" },
        Mutant {
            name: "keeps_keys_that_are_not_there",
            from: "column < vec4<u32>(params.length)",
            to: "column < vec4<u32>(params.length + 1u)",
        },
        Mutant {
            name: "mixes_the_heads",
            from: "params.heads + group.y) * VECTORS",
            to: "params.heads) * VECTORS",
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
        Mutant { name: "repeats_its_first_keys", from: "(column + SIZE) * PITCH", to: "column * PITCH" },
        Mutant {
            name: "repeats_its_first_features",
            from: "values(column, feature + 3u * SIZE)",
            to: "values(column, feature + 2u * SIZE)",
        },
        Mutant {
            name: "swaps_halves_of_eight_weights",
            from: "Pair(vec4<f16>(lo), vec4<f16>(hi))",
            to: "Pair(vec4<f16>(hi), vec4<f16>(lo))",
        },
        Mutant { name: "stores_a_strip_twice", from: "unpack(o2, o3, slot)", to: "unpack(o0, o1, slot)" },
        Mutant { name: "saves_no_maximum", from: "highest + log(", to: "log(" },
    ],
};

/// Where everything is stored in f16, and shared memory is what GPUs with matrix units have.
fn target(matrices: Matrices) -> Target {
    Target { precision: Element::F16, matrices: Some(matrices), shared_bytes: 48 << 10, ..Target::default() }
}

/// Lays a test down for the matrices of the device.
fn on_units(lab: &mut Lab, test: Test) -> Result<()> {
    lab.target(target(lab.cooperative));
    test(lab)
}

/// Attention that the units must take. Weights are rounded to f16, each by itself: as large an error of o as that of
/// storing it.
fn lay(lab: &mut Lab, shape: Shape, heads: usize, qkv: Vec<f32>, count: usize) -> Result<()> {
    let core = Core::forward(shape.width / heads, [Element::F16; 2], &lab.tape.target());
    assert_eq!(core, Core::Matrix(lab.cooperative));
    compare(lab, shape, heads, (qkv, None), roundings(count) + lab.storing())
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
    let most = Matrices { size: 16, subgroup: 64 };
    let takes = |head_dim, elements, target: Target| {
        matches!(Core::forward(head_dim, elements, &target), Core::Matrix(_))
    };
    for units in [Matrices { size: 8, subgroup: 32 }, Matrices::default(), most] {
        assert!([32, 64, 128].iter().all(|&head_dim| takes(head_dim, halves, target(units))));
        assert!(![16, 48, 96, 256].iter().any(|&head_dim| takes(head_dim, halves, target(units))));
    }
    assert!(!takes(64, [Element::F16, Element::F32], target(most)));
    assert!(!takes(64, [Element::Bf16; 2], target(most)));
    assert!(!takes(64, halves, Target { precision: Element::Bf16, ..target(most) }));
    assert!(!takes(64, halves, Target { matrices: None, ..target(most) }));
    assert!(!takes(128, halves, Target { shared_bytes: 32 << 10, ..target(most) }));
}

/// Of the choice, which no device takes part in.
pub fn tests() -> Vec<Trial> {
    trials("attention_matrix", &[("takes_what_fits", takes_what_fits)])
}
