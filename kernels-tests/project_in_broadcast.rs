//! Product and SwiGLU or rotation in one dispatch, by broadcasts, against f64.

use trm::ops::linear::Weight;
use trm::ops::project_in_broadcast::{KERNEL, qkv, swiglu};
use trm::ops::rope;
use trm::plan::GemmVariant::{self, Broadcast};
use trm::plan::{Axis, Element, LinearForm, Shape, Tape, Target, Tensor};
use trm::{Error, Result};

use crate::gemm::with;
use crate::harness::{KernelTests, Lab, Mutant, Needs};
use crate::project::add_product;
use crate::project_in::{activated, bound, rotate};

/// Tests and mutants of `project_in_broadcast`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Subgroups,
    tests: &[
        ("swiglu_over_width", |lab| with(lab, Broadcast, swiglu_over_width)),
        ("swiglu_over_length", |lab| with(lab, Broadcast, swiglu_over_length)),
        ("rotated", |lab| with(lab, Broadcast, rotated)),
        ("other_shapes_are_left_alone", |lab| with(lab, Broadcast, other_shapes)),
    ],
    mutants: &[
        Mutant {
            name: "takes_the_wrong_row_of_a_pair",
            from: "row / 8u % 2u * HALF",
            to: "row / 8u % 2u * (HALF - 1u)",
        },
        Mutant {
            name: "takes_the_wrong_column_of_a_pair",
            from: "column / 4u % 2u * HALF",
            to: "column / 4u % 2u * (HALF - 1u)",
        },
        Mutant { name: "mixes_heads", from: "there / HALF * 2u * HALF", to: "there / HALF * HALF" },
        Mutant {
            name: "repeats_the_pair_before_the_last",
            from: "min(pair, pairs - 1u)",
            to: "min(pair, max(pairs, 2u) - 2u)",
        },
        Mutant {
            name: "swaps_gate_and_up_over_width",
            from: "gated(left[i][j], right[i][j])",
            to: "gated(right[i][j], left[i][j])",
        },
        Mutant {
            name: "swaps_gate_and_up_over_length",
            from: "gated(right[firsts][j], right[firsts + 1u][j])",
            to: "gated(right[firsts + 1u][j], right[firsts][j])",
        },
        Mutant {
            name: "forgets_the_last_pairs",
            from: "store_eight_pairs(group, column, 6u)",
            to: "store_eight_pairs(group, column, 4u)",
        },
        Mutant {
            name: "forgets_the_sample",
            from: "group.z * params.c_batch + pair",
            to: "0u * params.c_batch + pair",
        },
        Mutant {
            name: "turns_each_workgroup_as_the_first",
            from: "let pair = column / 2u;",
            to: "let pair = (column - group.x * LANES * 8u) / 2u;",
        },
        Mutant { name: "turns_backwards", from: "u * cosine - v * sine", to: "u * cosine + v * sine" },
        Mutant { name: "turns_all_alike", from: "row % LENGTH * HALF", to: "row % LENGTH * 0u" },
        Mutant { name: "turns_values", from: "if pair < ROTATED", to: "if pair < ROTATED + 4u" },
        Mutant {
            name: "swaps_cos_and_sin",
            from: "vec4<f32>(first.xz, last.xz)",
            to: "vec4<f32>(first.yw, last.yw)",
        },
    ],
};

/// What an op laid down, where it had to.
fn laid(out: Option<Tensor>) -> Result<Tensor> {
    out.ok_or_else(|| Error::kernel("project_in_broadcast", "was not laid down"))
}

/// Shapes (B, L, D) with as many pairs as a few threads or workgroups have; each number of pairs is a shader of its
/// own.
fn over(lab: &mut Lab, axis: Axis, shapes: &[(usize, usize, usize, usize)]) -> Result<()> {
    for &(batch, length, width, inner) in shapes {
        lab.case(format!("B {batch} L {length} D {width}, I {inner}"));
        let input = Shape { batch, length, width };
        let k = if axis == Axis::Width { width } else { length };
        let (h, weight) = (lab.normal(input.words()), lab.normal(2 * inner * k));
        let wide: Vec<f64> = h.iter().map(|&value| f64::from(value)).collect();
        let mut gate_up = vec![0.0; input.words() / k * 2 * inner];
        add_product(input, axis, &weight, &wide, &mut gate_up);
        let half = if axis == Axis::Width { inner } else { inner * width };
        let expected = activated(&gate_up, half, |g, u| g / (1.0 + (-g).exp()) * u);
        let (h, weight) = (lab.floats("h", &h), lab.floats("weight", &weight));
        let weight = Weight::store(&mut lab.tape, weight, k)?;
        let form = LinearForm { axis, input, out: 2 * inner };
        let a = laid(swiglu(&mut lab.tape, form, h, weight)?)?;
        lab.expect("a", a, expected, bound(k));
    }
    Ok(())
}

fn swiglu_over_width(lab: &mut Lab) -> Result<()> {
    over(lab, Axis::Width, &[(1, 1, 2, 4), (3, 1, 6, 36), (2, 33, 16, 260), (3, 33, 66, 36)])
}

fn swiglu_over_length(lab: &mut Lab) -> Result<()> {
    over(lab, Axis::Length, &[(1, 1, 8, 4), (2, 7, 72, 64), (2, 16, 520, 36), (3, 97, 136, 68)])
}

fn rotated(lab: &mut Lab) -> Result<()> {
    for (batch, length, heads, half) in
        [(1, 1, 1, 4), (1, 67, 3, 16), (3, 9, 2, 36), (1, 9, 4, 24), (2, 57, 8, 32)]
    {
        lab.case(format!("B {batch} L {length} heads {heads} d {}", 2 * half));
        let width = 2 * heads * half;
        let input = Shape { batch, length, width };
        let (h, weight) = (lab.normal(input.words()), lab.normal(3 * width * width));
        let wide: Vec<f64> = h.iter().map(|&value| f64::from(value)).collect();
        let mut expected = vec![0.0; 3 * input.words()];
        add_product(input, Axis::Width, &weight, &wide, &mut expected);
        rotate(input, heads, &mut expected);
        let table = lab.floats("table", &rope::table(length, 2 * half, 100.0));
        let (h, weight) = (lab.floats("h", &h), lab.floats("weight", &weight));
        let weight = Weight::store(&mut lab.tape, weight, width)?;
        let form = LinearForm { axis: Axis::Width, input, out: 3 * width };
        let out = laid(qkv(&mut lab.tape, form, heads, table, h, weight)?)?;
        lab.expect("qkv", out, expected, bound(width));
    }
    Ok(())
}

/// What is recorded, and what cannot be stored by vectors, takes one op at a time.
fn other_shapes(lab: &mut Lab) -> Result<()> {
    lab.case("none");
    let given = lab.output("given", 4096);
    let weight = Weight::from(given);
    let tape = &mut lab.tape;
    let left_alone = |out: Option<Tensor>| match out {
        Some(_) => Err(Error::kernel("project_in_broadcast", "was laid down")),
        None => Ok(()),
    };
    let input = Shape { batch: 1, length: 4, width: 12 };
    left_alone(swiglu(tape, LinearForm { axis: Axis::Length, input, out: 16 }, given, weight)?)?;
    left_alone(swiglu(tape, LinearForm { axis: Axis::Width, input, out: 12 }, given, weight)?)?;
    left_alone(qkv(tape, LinearForm { axis: Axis::Width, input, out: 36 }, 1, given, given, weight)?)?;
    let wide = Shape { width: 16, ..input };
    left_alone(swiglu(tape, LinearForm { axis: Axis::Length, input: wide, out: 12 }, given, weight)?)?;
    left_alone(qkv(tape, LinearForm { axis: Axis::Width, input: wide, out: 48 }, 4, given, given, weight)?)?;
    let odd_heads = Shape { width: 72, ..input };
    let form = LinearForm { axis: Axis::Width, input: odd_heads, out: 216 };
    left_alone(qkv(tape, form, 8, given, given, weight)?)?;
    let narrow = Shape { width: 1, ..input };
    left_alone(swiglu(tape, LinearForm { axis: Axis::Width, input: narrow, out: 16 }, given, weight)?)?;
    let suiting = LinearForm { axis: Axis::Width, input, out: 16 };
    let target = tape.target();
    for other in [
        Target { gemm: GemmVariant::Tiled, ..target },
        Target { precision: Element::Bf16, ..target },
        Target { fused: false, ..target },
    ] {
        left_alone(swiglu(&mut Tape::new(other), suiting, given, weight)?)?;
    }
    tape.record(true);
    left_alone(swiglu(tape, suiting, given, weight)?)
}
