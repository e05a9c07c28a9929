//! A linear layer and its reverse pass against f64, over both axes, with each addend.

use libtest_mimic::Trial;
use trm::Result;
use trm::ops::linear::{After, bias_gradient, linear, weight_gradient};
use trm::ops::store_weight::Weight;
use trm::ops::sum::{gradient, sum};
use trm::plan::{Axis, Element, LinearForm, Shape, Target};

use crate::check::roundings;
use crate::harness::{Lab, Needs, Test, in_f16, lab_trials};

/// Tests of this file; its kernel is `product`.
pub fn tests() -> Vec<Trial> {
    const TESTS: &[(&str, Test)] = &[
        ("over_width", over_width),
        ("over_length", over_length),
        ("over_width_in_f16", |lab| in_f16(lab, over_width)),
        ("over_length_in_f16", |lab| in_f16(lab, over_length)),
        ("sums_in_parts", sums_in_parts),
    ];
    lab_trials("linear", Needs::Adapter, TESTS)
}

/// Weight gradients whose sums are divided: over rows, and over samples.
fn sums_in_parts(lab: &mut Lab) -> Result<()> {
    lab.target(Target { split_below: 64, ..Target::default() });
    for (axis, (batch, length, width, out), parts) in [
        (Axis::Width, (2, 768, 5, 3), 3),
        (Axis::Width, (1, 1033, 5, 3), 1),
        (Axis::Width, (7, 1024, 66, 65), 14),
        (Axis::Length, (6, 5, 300, 3), 3),
        (Axis::Length, (5, 4, 520, 70), 5),
    ] {
        lab.case(format!("B {batch} L {length} D {width} to {out} over {axis:?}, {parts} parts"));
        let form = LinearForm { axis, input: Shape { batch, length, width }, out };
        assert_eq!(form.parts_of_gradient([Element::F32; 2], &lab.tape.target()), parts, "{form:?}");
        lay(lab, form, "twice")?;
    }
    Ok(())
}

/// Elements of x (or y) that share a weight row: `lines` of `count` elements, `stride` apart.
struct Lines {
    starts: Vec<usize>,
    stride: usize,
}

fn lines(shape: Shape, axis: Axis) -> Lines {
    match axis {
        Axis::Width => Lines { starts: (0..shape.rows()).map(|row| row * shape.width).collect(), stride: 1 },
        Axis::Length => {
            let columns = (0..shape.batch * shape.width)
                .map(|c| c / shape.width * shape.length * shape.width + c % shape.width);
            Lines { starts: columns.collect(), stride: shape.width }
        }
    }
}

/// y, dx and dW: along each line, y = W x, dx = W^T dy, dW = sum over lines of dy x^T.
fn reference(form: LinearForm, x: &[f32], w: &[f32], dy: &[f32]) -> [Vec<f64>; 3] {
    let (from, to) = (lines(form.input, form.axis), lines(form.output(), form.axis));
    let n_in = w.len() / form.out;
    let mut results = [vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; w.len()]];
    for (&start_in, &start_out) in from.starts.iter().zip(&to.starts) {
        for o in 0..form.out {
            for i in 0..n_in {
                let (at_x, at_y, at_w) =
                    (start_in + i * from.stride, start_out + o * to.stride, o * n_in + i);
                let (x, w, dy) = (f64::from(x[at_x]), f64::from(w[at_w]), f64::from(dy[at_y]));
                results[0][at_y] += w * x;
                results[1][at_x] += w * dy;
                results[2][at_w] += dy * x;
            }
        }
    }
    results
}

fn over(lab: &mut Lab, axis: Axis) -> Result<()> {
    for (batch, length, width, out) in [
        (1, 1, 2, 1),
        (1, 3, 1, 2),
        (2, 5, 7, 3),
        (2, 5, 8, 4),
        (3, 67, 33, 65),
        (3, 67, 34, 66),
        (2, 64, 64, 128),
    ] {
        if lab.halves() && (width % 2 == 1 || out % 2 == 1) {
            continue;
        }
        for addend in ["none", "none, stored", "whole", "bias"] {
            // A bias belongs to the columns of y, so only a layer over D can have one.
            if addend != "bias" || axis == Axis::Width {
                lab.case(format!("B {batch} L {length} D {width} to {out}, addend {addend}"));
                let form = LinearForm { axis, input: Shape { batch, length, width }, out };
                lay(lab, form, addend)?;
            }
        }
    }
    Ok(())
}

fn lay(lab: &mut Lab, form: LinearForm, kind: &str) -> Result<()> {
    let n_in = if form.axis == Axis::Width { form.input.width } else { form.input.length };
    let lines = form.output().elements() / form.out;
    let (x, w) = (lab.normal(form.input.elements()), lab.normal(form.out * n_in));
    let w = lab.stored(&w);
    let (dy, added) = (lab.normal(form.output().elements()), lab.normal(form.output().elements()));
    let mut expected = reference(form, &x, &w, &dy);
    if kind == "twice" {
        expected.iter_mut().flatten().for_each(|value| *value *= 2.0);
    }
    let [mut y_expected, dx_expected, dw_expected] = expected;
    let (x, w, dy_in) = (lab.floats("x", &x), lab.floats("w", &w), lab.floats("dy", &dy));
    let after = match kind {
        "whole" => After::Residual(lab.floats("residual", &added)),
        "bias" => After::Bias(lab.floats("bias", &added[..form.out])),
        _ => After::Nothing,
    };
    if let After::Residual(tensor) | After::Bias(tensor) = after {
        lab.tape.require_grad(tensor);
        let period = if kind == "bias" { form.out } else { y_expected.len() };
        y_expected.iter_mut().enumerate().for_each(|(at, y)| *y += f64::from(added[at % period]));
    }
    lab.tape.require_grad(w);
    // As a step stores it, or as it is.
    let weight =
        if kind == "none, stored" { Weight::store(&mut lab.tape, w, n_in)? } else { Weight::from(w) };
    let (y, dx) = lab.with_reverse(x, dy_in, |tape| {
        let y = linear(tape, form, x, weight, after)?;
        // A second use, whose gradient is added to that of the first.
        let ys = if kind == "twice" { vec![y, linear(tape, form, x, weight, after)?] } else { vec![y] };
        sum(tape, &ys)
    })?;
    let dw = lab.output("dw", form.out * n_in);
    weight_gradient(&mut lab.tape, w, 1.0, dw)?;
    // Products and sums of each length, with the addend; a lone result may be far smaller than its terms.
    let bound = |terms: usize| roundings(2 * terms + 8);
    lab.expect("y", y, y_expected, bound(n_in));
    lab.expect("dx", dx, dx_expected, bound(form.out));
    lab.expect("dw", dw, dw_expected, bound(lines));
    let dy = dy.iter().map(|&dy| f64::from(dy));
    match after {
        After::Residual(residual) => {
            let passed = gradient(&mut lab.tape, residual)?.expect("the residual's gradient");
            lab.expect("residual's gradient", passed, dy.collect(), 0.0);
        }
        After::Bias(bias) => {
            let out = lab.output("bias's gradient", form.out);
            bias_gradient(&mut lab.tape, bias, form.out, 1.0, out)?;
            let mut sums = vec![0.0; form.out];
            dy.enumerate().for_each(|(at, dy)| sums[at % form.out] += dy);
            lab.expect("bias's gradient", out, sums, bound(lines));
        }
        After::Nothing | After::Turn { .. } => {}
    }
    Ok(())
}

fn over_width(lab: &mut Lab) -> Result<()> {
    over(lab, Axis::Width)
}

fn over_length(lab: &mut Lab) -> Result<()> {
    over(lab, Axis::Length)
}
