//! Sum of terms, pending norms, product, and SwiGLU or rotation in one dispatch, against f64.

use trm::Result;
use trm::ops::project_in::{KERNEL, qkv, swiglu};
use trm::ops::rope;
use trm::plan::{Axis, Element, Shape, Tile};

use crate::check::roundings;
use crate::harness::{KernelTests, Lab, Mutant, Needs, in_bf16, in_f16, in_tiles, on_tile};
use crate::project::{SHAPES, add_product, sum_of, terms};

/// Tests and mutants of `project_in`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[
        ("swiglu_over_width", swiglu_over_width),
        ("swiglu_over_length", swiglu_over_length),
        ("swiglu_over_width_in_bf16", |lab| in_bf16(lab, swiglu_over_width)),
        ("swiglu_over_length_in_f16", |lab| in_f16(lab, swiglu_over_length)),
        ("rotated", rotated),
        ("rotated_in_f16", |lab| in_f16(lab, rotated)),
        ("unrotated", unrotated),
        ("swiglu_over_width_64x128", |lab| on_tile(lab, Tile::ALL[1], swiglu_over_width)),
        ("swiglu_over_width_128x64", |lab| on_tile(lab, Tile::ALL[2], swiglu_over_width)),
        ("swiglu_over_width_128x128", |lab| on_tile(lab, Tile::LARGE, swiglu_over_width)),
        ("swiglu_over_length_64x128", |lab| on_tile(lab, Tile::ALL[1], swiglu_over_length)),
        ("swiglu_over_length_128x64", |lab| on_tile(lab, Tile::ALL[2], swiglu_over_length)),
        ("swiglu_over_length_128x128_in_f16", |lab| {
            in_tiles(lab, Tile::LARGE, Element::F16, swiglu_over_length)
        }),
        ("rotated_64x128", |lab| on_tile(lab, Tile::ALL[1], rotated)),
        ("rotated_128x128", |lab| on_tile(lab, Tile::LARGE, rotated)),
    ],
    mutants: &[
        Mutant { name: "drops_eps", from: "f32(normed) + params.eps", to: "f32(normed)" },
        Mutant {
            name: "forgets_a_part",
            from: "part < params.parts; part++",
            to: "part + 1u < params.parts; part++",
        },
        Mutant {
            name: "normalises_over_the_other_axis",
            from: "select(params.width, params.length, NORM_OVER_L == 1u)",
            to: "select(params.length, params.width, NORM_OVER_L == 1u)",
        },
        Mutant {
            name: "scales_all_terms_like_the_first",
            from: "sh_scale[2u * KEPT + kept]",
            to: "sh_scale[kept]",
        },
        Mutant {
            name: "normalises_what_is_normal",
            from: "params.pending >> term & 1u",
            to: "params.pending & 1u",
        },
        Mutant {
            name: "scales_like_the_first_row",
            from: "sh_kept[row] + feature",
            to: "sh_kept[0] + feature",
        },
        Mutant {
            name: "swaps_gate_and_up",
            from: "silu_times(element(i, j), element(i, j + 2u))",
            to: "silu_times(element(i, j + 2u), element(i, j))",
        },
        Mutant {
            name: "swaps_gate_and_up_over_length",
            from: "silu_times(element(gate, j), element(gate + 2u, j))",
            to: "silu_times(element(gate + 2u, j), element(gate, j))",
        },
        Mutant {
            name: "takes_the_wrong_partner",
            from: "line / 2u % 2u * params.half",
            to: "line / 2u % 2u * (params.half + 1u)",
        },
        Mutant { name: "turns_backwards", from: "u * cosine - v * sine", to: "u * cosine + v * sine" },
        Mutant {
            name: "swaps_neighbours_in_halves",
            from: "narrowed_pair(values, OUT_ELEMENT)",
            to: "narrowed_pair(values.yx, OUT_ELEMENT)",
        },
        Mutant { name: "turns_values", from: "pair < params.rotated", to: "pair < params.rotated + 1u" },
        Mutant {
            name: "forgets_the_sample",
            from: "sum_at(sample * params.length + row",
            to: "sum_at(0u * params.length + row",
        },
    ],
};

/// A product over `k` terms of a few roundings each, then exp and two products.
pub fn bound(k: usize) -> f64 {
    roundings(2 * k + 40)
}

/// Which terms lack their norm.
type Which = fn(usize) -> bool;

/// One term, pending or not, and three of which some are pending; with each norm that is met on this axis.
fn cases(over: Axis) -> Vec<(usize, Axis, Which)> {
    let none: Which = |_| false;
    let norms = if over == Axis::Width { vec![Axis::Width, Axis::Length] } else { vec![Axis::Width] };
    let mut cases = vec![(1, Axis::Width, none), (2, Axis::Width, none)];
    for axis in norms {
        cases.push((1, axis, |_| true));
        cases.push((2, axis, |index| index == 1));
        cases.push((3, axis, |index| index != 2));
    }
    cases
}

fn over(lab: &mut Lab, axis: Axis) -> Result<()> {
    for (batch, length, width) in SHAPES {
        let shape = Shape { batch, length, width };
        for (count, norm, pending) in cases(axis) {
            // Halves come in lines of even length.
            for inner in if lab.halves() { [2, 36] } else { [1, 35] } {
                let which: Vec<bool> = (0..count).map(pending).collect();
                lab.case(format!("B {batch} L {length} D {width}, I {inner}, pending {norm:?} {which:?}"));
                lay_swiglu(lab, shape, axis, norm, (count, pending), inner)?;
            }
        }
    }
    Ok(())
}

fn lay_swiglu(
    lab: &mut Lab,
    shape: Shape,
    axis: Axis,
    norm: Axis,
    (count, pending): (usize, Which),
    inner: usize,
) -> Result<()> {
    let k = if axis == Axis::Width { shape.width } else { shape.length };
    let (given, h) = terms(lab, shape, norm, count, pending);
    let weight = lab.normal(2 * inner * k);
    let weight = lab.stored(&weight);
    let positions = shape.words() / k;
    let mut gate_up = vec![0.0; positions * 2 * inner];
    add_product(shape, axis, &weight, &h, &mut gate_up);
    let half = if axis == Axis::Width { inner } else { inner * shape.width };
    let expected: Vec<f64> = activated(&gate_up, half, |g, u| g / (1.0 + (-g).exp()) * u);
    let rounded = match lab.in_bf16() {
        true => rounding_h(shape, axis, &weight, &h, &gate_up, half) / energy(&expected),
        false => 0.0,
    };
    let weight = lab.activation("weight", &weight);
    let a = swiglu(&mut lab.tape, sum_of(shape, axis, &given), inner, weight)?;
    lab.expect("a", a, expected, bound(k) + rounded);
    Ok(())
}

/// Of gates and ups that lie `half` words apart.
pub fn activated(gate_up: &[f64], half: usize, of: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let pairs = gate_up.chunks_exact(2 * half).flat_map(|both| both[..half].iter().zip(&both[half..]));
    pairs.map(|(gate, up)| of(*gate, *up)).collect()
}

fn energy(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

/// The largest sum of squared errors that comes of rounding h to bfloat16, as a processor does that multiplies those:
/// every gate and up is off by at most half a unit in the last of 8 bits of all its terms, however they cancel.
fn rounding_h(shape: Shape, axis: Axis, weight: &[f32], h: &[f64], gate_up: &[f64], half: usize) -> f64 {
    let magnitudes: Vec<f32> = weight.iter().map(|value| value.abs()).collect();
    let mut terms = vec![0.0; gate_up.len()];
    add_product(shape, axis, &magnitudes, &h.iter().map(|value| value.abs()).collect::<Vec<_>>(), &mut terms);
    let silu = |g: f64| g / (1.0 + (-g).exp());
    let slope = |g: f64| (1.0 + silu(-g).abs()) / (1.0 + (-g).exp());
    let by_gate = activated(gate_up, half, |g, u| slope(g) * u.abs());
    let by_up = activated(gate_up, half, |g, _| silu(g).abs());
    let [gates, ups] = [activated(&terms, half, |g, _| g), activated(&terms, half, |_, u| u)];
    let errors = (0..gates.len()).map(|at| 2f64.powi(-9) * (by_gate[at] * gates[at] + by_up[at] * ups[at]));
    energy(&errors.collect::<Vec<_>>())
}

fn swiglu_over_width(lab: &mut Lab) -> Result<()> {
    over(lab, Axis::Width)
}

fn swiglu_over_length(lab: &mut Lab) -> Result<()> {
    over(lab, Axis::Length)
}

fn lay_qkv(lab: &mut Lab, rotary: bool) -> Result<()> {
    for (batch, length, heads, half) in
        [(1, 1, 1, 1), (2, 5, 3, 2), (1, 67, 2, 16), (2, 33, 1, 32), (3, 9, 2, 35)]
    {
        if lab.halves() && half % 2 == 1 {
            continue;
        }
        let width = 2 * heads * half;
        let shape = Shape { batch, length, width };
        for count in [1, 3] {
            lab.case(format!("B {batch} L {length} heads {heads} d {}, {count} terms", 2 * half));
            let (given, h) = terms(lab, shape, Axis::Width, count, |index| index != 2);
            let weight = lab.normal(3 * width * width);
            let weight = lab.stored(&weight);
            let mut expected = vec![0.0; 3 * shape.words()];
            add_product(shape, Axis::Width, &weight, &h, &mut expected);
            if rotary {
                rotate(shape, heads, &mut expected);
            }
            let angles = rope::table(length, 2 * half, 100.0);
            let table = rotary.then(|| lab.floats("table", &angles));
            let weight = lab.activation("weight", &weight);
            let out = qkv(&mut lab.tape, sum_of(shape, Axis::Width, &given), heads, table, weight)?;
            lab.expect("qkv", out, expected, bound(width));
        }
    }
    Ok(())
}

/// Turns q and k of (B L, 3, heads, d) by position * theta^(-2i/d).
pub fn rotate(shape: Shape, heads: usize, qkv: &mut [f64]) {
    let d = shape.width / heads;
    for (row, line) in qkv.chunks_exact_mut(3 * shape.width).enumerate() {
        for head in line[..2 * shape.width].chunks_exact_mut(d) {
            for i in 0..d / 2 {
                let angle = (row % shape.length) as f64 * 100f64.powf(-2.0 * i as f64 / d as f64);
                let (u, v) = (head[i], head[i + d / 2]);
                head[i] = u * angle.cos() - v * angle.sin();
                head[i + d / 2] = v * angle.cos() + u * angle.sin();
            }
        }
    }
}

fn rotated(lab: &mut Lab) -> Result<()> {
    lay_qkv(lab, true)
}

fn unrotated(lab: &mut Lab) -> Result<()> {
    lay_qkv(lab, false)
}
