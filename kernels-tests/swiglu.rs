//! SwiGLU and its reverse pass against f64, over both axes.

use trm::Result;
use trm::ops::swiglu::{KERNEL, swiglu};
use trm::plan::{Axis, Shape};

use crate::check::roundings;
use crate::harness::{KernelTests, Lab, Mutant, Needs, in_bf16, in_f16};

/// Tests and mutants of `swiglu`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[
        ("over_width", over_width),
        ("over_width_in_bf16", |lab| in_bf16(lab, over_width)),
        ("over_width_in_f16", |lab| in_f16(lab, over_width)),
        ("over_length", over_length),
        ("over_length_in_bf16", |lab| in_bf16(lab, over_length)),
        ("saturated_gates", saturated_gates),
    ],
    mutants: &[
        Mutant {
            name: "swaps_gate_and_up",
            from: "return gate * sigmoid(gate) * gate_up_at(at + params.inner);",
            to: "let up = gate_up_at(at + params.inner); return up * sigmoid(up) * gate;",
        },
        Mutant { name: "drops_the_gate", from: "gate * sigmoid(gate) *", to: "sigmoid(gate) *" },
        Mutant { name: "forgets_the_slope", from: "(1.0 + gate * (1.0 - s))", to: "(1.0 + gate * s)" },
        Mutant { name: "forgets_the_upstream", from: "da[index] * gate * s", to: "gate * s" },
        Mutant {
            name: "swaps_neighbours_in_halves",
            from: "narrowed_pair(values, A_ELEMENT)",
            to: "narrowed_pair(values.yx, A_ELEMENT)",
        },
        Mutant {
            name: "keeps_gradients_in_f16",
            from: "narrowed_pair(vec2<f32>(first.y, next.y), BF16)",
            to: "narrowed_pair(vec2<f32>(first.y, next.y), GATE_UP_GRAD_ELEMENT)",
        },
        Mutant { name: "wrong_sigmoid", from: "min(-v, 80.0)", to: "min(v, 80.0)" },
    ],
};

/// e^-v and a quotient of a few ulp each, and the products; in the reverse pass 1 - s may cancel, beside a 1.
const BOUND: usize = 16;

/// WGSL's exp may be off by 3 + 2 |v| ulp, two roundings each, and gates go to 60 before sigmoid is 0.
const SATURATED_BOUND: usize = 2 * (3 + 2 * 60) + BOUND;

/// The release's definition: silu(gate) * up, and its derivatives with respect to gate and up.
fn reference(gate: f32, up: f32, da: f32) -> [f64; 3] {
    let (gate, up, da) = (f64::from(gate), f64::from(up), f64::from(da));
    let sigmoid = 1.0 / (1.0 + (-gate).exp());
    let slope = sigmoid + gate * sigmoid * (1.0 - sigmoid);
    [gate * sigmoid * up, da * up * slope, da * gate * sigmoid]
}

/// `outer` times gate, then up, of `inner` elements each.
fn lay(lab: &mut Lab, shape: Shape, axis: Axis, gate_up: &[f32], row: usize, bound: f64) -> Result<()> {
    let inner = if axis == Axis::Width { shape.width } else { shape.length * shape.width };
    let upstream = lab.normal(shape.words());
    let (mut a, mut reversed) = (Vec::new(), vec![0.0; gate_up.len()]);
    for (at, &da) in upstream.iter().enumerate() {
        let gate_at = at / inner * 2 * inner + at % inner;
        let values = reference(gate_up[gate_at], gate_up[gate_at + inner], da);
        a.push(values[0]);
        (reversed[gate_at], reversed[gate_at + inner]) = (values[1], values[2]);
    }
    let (x, dy) = (lab.activation("gate_up", gate_up), lab.floats("da", &upstream));
    let (y, dx) = lab.with_reverse(x, dy, |tape| swiglu(tape, shape, axis, x))?;
    lab.expect_rows("a", y, a, row, bound);
    lab.expect_rows("gate_up's gradient", dx, reversed, row, bound);
    Ok(())
}

fn over(lab: &mut Lab, axis: Axis) -> Result<()> {
    let shapes =
        [(1, 1, 1), (1, 1, 2), (3, 1, 65), (3, 1, 66), (2, 7, 64), (1, 64, 3), (2, 97, 31), (2, 97, 30)];
    for (batch, length, width) in shapes {
        if lab.halves() && width % 2 == 1 {
            continue;
        }
        lab.case(format!("B {batch} L {length} D {width}"));
        let shape = Shape { batch, length, width };
        let gate_up = lab.normal(2 * shape.words());
        let gate_up = lab.stored(&gate_up);
        lay(lab, shape, axis, &gate_up, 2 * shape.words(), roundings(BOUND))?;
    }
    Ok(())
}

/// Gate and up of one position side by side.
fn over_width(lab: &mut Lab) -> Result<()> {
    over(lab, Axis::Width)
}

/// All gates of a sample, then all of up.
fn over_length(lab: &mut Lab) -> Result<()> {
    over(lab, Axis::Length)
}

/// Gates far outside: silu is 0 or the identity there, and nothing overflows. Each value counts by itself.
fn saturated_gates(lab: &mut Lab) -> Result<()> {
    let gates = [0.0, 1e-3, -1e-3, 12.0, -12.0, 60.0, -60.0, 1e4, 3e37, 30.0, 1.0, -1.0];
    lab.case("saturated");
    let gate_up: Vec<f32> = gates.iter().copied().chain([0.5; 12]).collect();
    lay(
        lab,
        Shape { batch: 1, length: 1, width: gates.len() },
        Axis::Width,
        &gate_up,
        1,
        roundings(SATURATED_BOUND),
    )
}
