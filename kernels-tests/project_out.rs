//! Product, residual with pending norms, and sums of squares in one dispatch, against f64.

use trm::Result;
use trm::ops::project_in::qkv;
use trm::ops::project_out::{KERNEL, residual};
use trm::ops::terms::Term;
use trm::plan::{Axis, Shape, Tensor, Tile};

use crate::check::roundings;
use crate::harness::{KernelTests, Lab, Mutant, Needs, in_bf16, in_f16, on_tile};
use crate::project::{SHAPES, add_product, rstd, squares, sum_of, terms};

/// Tests and mutants of `project_out`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[
        ("over_width", over_width),
        ("over_length", over_length),
        ("over_width_in_bf16", |lab| in_bf16(lab, over_width)),
        ("over_length_in_f16", |lab| in_f16(lab, over_length)),
        ("over_width_64x128", |lab| on_tile(lab, Tile::ALL[1], over_width)),
        ("over_width_128x64", |lab| on_tile(lab, Tile::ALL[2], over_width)),
        ("over_width_128x128", |lab| on_tile(lab, Tile::LARGE, over_width)),
        ("over_length_64x128", |lab| on_tile(lab, Tile::ALL[1], over_length)),
        ("over_length_128x64", |lab| on_tile(lab, Tile::ALL[2], over_length)),
        ("over_length_128x128", |lab| on_tile(lab, Tile::LARGE, over_length)),
    ],
    mutants: &[
        Mutant {
            name: "drops_the_residual",
            from: "element(i, j) + sum_at(position, column, kept_at(row, column))",
            to: "element(i, j)",
        },
        Mutant {
            name: "adds_the_residual_of_the_first_sample",
            from: "let position = sample * params.length + row;\n                value",
            to: "let position = row;\n                value",
        },
        Mutant {
            name: "drops_the_last_k",
            from: "select(0.0, weight_at(at), k < params.k)",
            to: "select(0.0, weight_at(at), k + 1u < params.k)",
        },
        Mutant {
            name: "reads_x_as_bf16",
            from: "X_ELEMENT)], at, X_ELEMENT)",
            to: "X_ELEMENT)], at, min(X_ELEMENT, BF16))",
        },
        Mutant {
            name: "squares_half_a_row",
            from: "for (var i = 0u; i < 16u; i++) {\n            squares += sh_a",
            to: "for (var i = 0u; i < 8u; i++) {\n            squares += sh_a",
        },
        Mutant {
            name: "squares_half_a_column",
            from: "for (var i = 0u; i < 16u; i++) {\n            squares += sh_b",
            to: "for (var i = 0u; i < 8u; i++) {\n            squares += sh_b",
        },
        Mutant {
            name: "counts_what_is_outside",
            from: "            var value = 0.0;\n            if row",
            to: "            var value = element(i, j);\n            if row",
        },
    ],
};

fn over(lab: &mut Lab, over: Axis) -> Result<()> {
    for (batch, length, width) in SHAPES {
        // In halves, the product that reads out takes heads of a multiple of 4.
        if lab.halves() && width % 4 != 0 {
            continue;
        }
        let shape = Shape { batch, length, width };
        // The residual's pending norm is over D, or, in the second half of a mixer block, over L.
        let norms: &[Axis] = if over == Axis::Width { &[Axis::Width, Axis::Length] } else { &[Axis::Width] };
        for &norm in norms {
            for (count, k) in [(1, 1), (1, 35), (3, 18)] {
                lab.case(format!("B {batch} L {length} D {width}, K {k}, {count} terms, {norm:?}"));
                let (given, mut expected) = terms(lab, shape, norm, count, |index| index != 2);
                let x_shape = match over {
                    Axis::Width => Shape { width: k, ..shape },
                    Axis::Length => Shape { length: k, ..shape },
                };
                let n_out = if over == Axis::Width { width } else { length };
                let (x, weight) = (lab.normal(x_shape.words()), lab.normal(n_out * k));
                let (x, weight) = (lab.stored(&x), lab.stored(&weight));
                let wide: Vec<f64> = x.iter().map(|&value| f64::from(value)).collect();
                add_product(x_shape, over, &weight, &wide, &mut expected);
                let (x, weight) = (lab.activation("x", &x), lab.activation("weight", &weight));
                let out = residual(&mut lab.tape, sum_of(shape, over, &given), k, x, weight)?;
                let settled = read(lab, "as it is", shape, Term::settled(out.tensor))?;
                lab.expect("out", settled, thrice(shape, &expected), roundings(2 * k + 40));
                let pending = read(lab, "with its norm", shape, out)?;
                let expected = normalised(shape, over, &expected);
                lab.expect(
                    "normalised",
                    pending,
                    thrice(shape, &expected),
                    roundings(2 * k + width + length + 40),
                );
            }
        }
    }
    Ok(())
}

/// What a reader sees of a term: its product with three identities, (B L, 3 D).
fn read(lab: &mut Lab, name: &str, shape: Shape, term: Term) -> Result<Tensor> {
    let identities: Vec<f32> = (0..3 * shape.width * shape.width)
        .map(|at| if at / shape.width % shape.width == at % shape.width { 1.0 } else { 0.0 })
        .collect();
    let weight = lab.floats(name, &identities);
    qkv(&mut lab.tape, sum_of(shape, Axis::Width, &[term]), 1, None, weight)
}

fn thrice(shape: Shape, values: &[f64]) -> Vec<f64> {
    values.chunks_exact(shape.width).flat_map(|line| [line, line, line].concat()).collect()
}

fn normalised(shape: Shape, axis: Axis, values: &[f64]) -> Vec<f64> {
    let squares = squares(shape, axis, values);
    values.iter().enumerate().map(|(at, value)| value * rstd(&squares, shape, axis, at)).collect()
}

fn over_width(lab: &mut Lab) -> Result<()> {
    over(lab, Axis::Width)
}

fn over_length(lab: &mut Lab) -> Result<()> {
    over(lab, Axis::Length)
}
