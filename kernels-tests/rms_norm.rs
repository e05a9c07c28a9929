//! RMS norm and its reverse pass against f64, over D (`rows`) and over L (`columns`).

use trm::Result;
use trm::ops::rms_norm::{KERNEL, RmsNorm};
use trm::plan::{Axis, Shape, Target};

use crate::check::roundings;
use crate::harness::{KernelTests, Lab, Mutant, Needs, in_bf16, in_f16, loud_in_f16};

/// Tests and mutants of `rms_norm`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[
        ("past_the_largest_half", past_the_largest_half),
        ("over_width", over_width),
        ("over_length", over_length),
        ("over_width_in_bf16", |lab| in_bf16(lab, over_width)),
        ("over_length_in_f16", |lab| in_f16(lab, over_length)),
        ("with_sums", with_sums),
        ("with_sums_in_f16", |lab| in_f16(lab, with_sums)),
        ("many_rows", many_rows),
        ("long_columns", long_columns),
    ],
    mutants: &[
        Mutant {
            name: "wraps_round_past_the_largest_half",
            from: "return pack2x16float(pair);",
            to: "return pack2x16float(select(pair, -pair, abs(pair) > vec2<f32>(65504.0)));",
        },
        Mutant { name: "rows_drop_eps", from: "f32(params.length) + params.eps", to: "f32(params.length)" },
        Mutant {
            name: "columns_drop_eps",
            from: "squares / f32(params.length) + params.eps",
            to: "squares / f32(params.length)",
        },
        Mutant {
            name: "sums_for_the_mean",
            from: "workgroup_sum(squares, local) / f32(params.length)",
            to: "workgroup_sum(squares, local)",
        },
        Mutant {
            name: "rows_keep_the_mean",
            from: "two_of_y(at, both) * mean",
            to: "two_of_y(at, both) * -mean",
        },
        Mutant { name: "columns_keep_the_mean", from: "two_of_y(at, mine.both) * means", to: "0.0 * means" },
        Mutant { name: "forgets_the_second", from: "params.addends > 1u", to: "params.addends > 2u" },
        Mutant { name: "subtracts_the_second", from: "one + second_at(at)", to: "one - second_at(at)" },
        Mutant {
            name: "rows_skip_the_last",
            from: "live && i < params.length; i += 64u) {\n        squares",
            to: "live && i + 1u < params.length; i += 64u) {\n        squares",
        },
        Mutant {
            name: "swaps_neighbours_in_halves",
            from: "narrowed_pair(values, Y_ELEMENT)",
            to: "narrowed_pair(values.yx, Y_ELEMENT)",
        },
        Mutant { name: "sums_half_a_workgroup", from: "var half = 32u", to: "var half = 16u" },
    ],
};

const EPS: f32 = 1e-5;

/// Over one group: y, rstd, and dx as the Jacobian of h / sqrt(mean(h^2) + eps) applied to dy, written out.
fn reference(x: &[f64], dy: &[f64]) -> (Vec<f64>, f64, Vec<f64>) {
    let count = x.len() as f64;
    let root = (x.iter().map(|x| x * x).sum::<f64>() / count + f64::from(EPS)).sqrt();
    let inner: f64 = x.iter().zip(dy).map(|(x, dy)| x * dy).sum();
    let y = x.iter().map(|x| x / root).collect();
    let dx = x.iter().zip(dy).map(|(x, dy)| dy / root - x * inner / (count * root.powi(3))).collect();
    (y, 1.0 / root, dx)
}

fn squares<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values.into_iter().map(|value| value * value).sum()
}

/// The norm of x over an axis and its reverse pass, both expected of the plan.
fn lay(lab: &mut Lab, shape: Shape, axis: Axis, x: &[f32]) -> Result<()> {
    let dy = lab.normal(shape.elements());
    let (mut y_expected, mut dx_expected) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let mut terms = 0.0;
    let (length, stride, chain) = match axis {
        Axis::Width => (shape.width, 1, shape.width.min(shape.width / 4 + 16)),
        Axis::Length => (shape.length, shape.width, shape.length),
    };
    for group in 0..shape.elements() / length {
        let start = group / stride * length * stride + group % stride;
        let places: Vec<usize> = (0..length).map(|i| start + i * stride).collect();
        let taken = |from: &[f32]| places.iter().map(|&at| f64::from(from[at])).collect::<Vec<f64>>();
        let (y, rstd, dx) = reference(&taken(x), &taken(&dy));
        terms += rstd * rstd * squares(&taken(&dy));
        for (index, &at) in places.iter().enumerate() {
            (y_expected[at], dx_expected[at]) = (y[index], dx[index]);
        }
    }
    let (input, upstream) = (lab.floats("x", x), lab.floats("dy", &dy));
    let (y, dx) =
        lab.with_reverse(input, upstream, |tape| RmsNorm { shape, axis, eps: EPS }.push(tape, input, None))?;
    // A sum of `length` squares or products, of a row in four parts or more, and a few roundings more. Where a
    // group is short, the two terms of dx nearly cancel (one value's norm is its sign): the error stays as large as
    // they.
    let (bound, grown) = (roundings(chain + 8), terms / squares(&dx_expected));
    lab.expect("y", y, y_expected, bound);
    // The reverse pass sees y as it was stored, in both of its terms.
    lab.expect("dx", dx, dx_expected, (bound + 4.0 * lab.storing()) * grown.max(1.0));
    Ok(())
}

/// At 1e-3 the mean square is a tenth of eps; at 0 only eps is left.
fn over(lab: &mut Lab, axis: Axis) -> Result<()> {
    let shapes = [
        (1, 1, 1),
        (1, 1, 2),
        (1, 2, 1),
        (3, 5, 7),
        (2, 63, 65),
        (1, 64, 64),
        (1, 131, 300),
        (5, 1, 129),
        (3, 3, 4),
    ];
    for (batch, length, width) in shapes {
        if lab.halves() && width % 2 == 1 {
            continue;
        }
        let shape = Shape { batch, length, width };
        for scale in [1.0, 1e-3, 1e4, 0.0] {
            lab.case(format!("B {batch} L {length} D {width}, about {scale}"));
            let x: Vec<f32> = lab.normal(shape.elements()).iter().map(|x| x * scale).collect();
            lay(lab, shape, axis, &x)?;
        }
    }
    Ok(())
}

/// Each row by itself, of odd widths and of widths in fours.
fn over_width(lab: &mut Lab) -> Result<()> {
    over(lab, Axis::Width)
}

fn over_length(lab: &mut Lab) -> Result<()> {
    over(lab, Axis::Length)
}

/// The norm, and its sum with one or two others.
fn with_sums(lab: &mut Lab) -> Result<()> {
    for (batch, length, width) in [(1, 1, 2), (3, 5, 66), (2, 7, 129)] {
        for count in [1, 2] {
            let shape = Shape { batch, length, width };
            if lab.halves() && width % 2 == 1 {
                continue;
            }
            lab.case(format!("B {batch} L {length} D {width}, {count} others"));
            let x = lab.normal(shape.elements());
            let others: Vec<Vec<f32>> = (0..count).map(|_| lab.normal(shape.elements())).collect();
            let others: Vec<Vec<f32>> = others.iter().map(|other| lab.stored(other)).collect();
            let rows =
                x.chunks_exact(width).map(|row| row.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>());
            let y: Vec<f64> = rows.flat_map(|row| reference(&row, &row).0).collect();
            let sums =
                (0..y.len()).map(|at| y[at] + others.iter().map(|one| f64::from(one[at])).sum::<f64>());
            let sums = sums.collect();
            let x = lab.floats("x", &x);
            let others = others.iter().enumerate();
            let others: Vec<_> =
                others.map(|(at, other)| lab.activation(&format!("other {at}"), other)).collect();
            let norm = RmsNorm { shape, axis: Axis::Width, eps: EPS };
            let (normed, total) = norm.push_with_sum(&mut lab.tape, x, None, &others)?;
            lab.expect("y", normed, y, roundings(width + 8));
            lab.expect("total", total, sums, roundings(width + 10));
        }
    }
    Ok(())
}

/// Sums of what is large already, and gradients, where those are halves too, of what is next to nothing.
fn past_the_largest_half(lab: &mut Lab) -> Result<()> {
    loud_in_f16(lab, 5e4, with_sums)?;
    lab.tape.set_target(Target { matrices: Some(lab.cooperative), ..lab.tape.target() });
    over_width(lab)?;
    lab.loud(4e4);
    over_length(lab)
}

/// One workgroup per row, more of them than one grid dimension takes.
fn many_rows(lab: &mut Lab) -> Result<()> {
    let shape = Shape { batch: 1, length: 65_537, width: 2 };
    lab.case("65,537 rows of 2");
    let x = lab.normal(shape.elements());
    lay(lab, shape, Axis::Width, &x)
}

/// As many iterations (65,534) as a driver may let the loops of one invocation run. A bound of 32,766 roundings in
/// one direction is loose, yet a column that ends early is off by more than a hundred times that.
fn long_columns(lab: &mut Lab) -> Result<()> {
    let shape = Shape { batch: 1, length: 32_766, width: 3 };
    lab.case("3 columns of 32,766");
    let x = lab.normal(shape.elements());
    lay(lab, shape, Axis::Length, &x)
}
