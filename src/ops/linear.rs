//! A linear layer over D or over L, and the gradient of its weight.
//!
//! Over D: y (B, L, N) = x (B, L, K) W^T, then an [`After`]. Over L: `y[b] (N, D) = W x[b] (K, D)`, W (N, K).
//! Saved: x. Reverse: dx = dy W or W^T dy (+ what x's gradient already holds); dW = dy^T x or dy x^T, onto what earlier
//! uses of the weight came to.

use super::column_sums;
use super::gemm::{Gemm, Operand};
use super::product::{Epilogue, Product};
use super::store_weight::Weight;
use super::sum::gradient;
use crate::Result;
use crate::plan::{Axis, Element, LinearForm, Purpose, Reverse, Role, Shape, Tape, Target, Tensor};

impl LinearForm {
    /// Shape of y.
    pub fn output(&self) -> Shape {
        match self.axis {
            Axis::Width => Shape { width: self.out, ..self.input },
            Axis::Length => Shape { length: self.out, ..self.input },
        }
    }

    /// K: length of the contracted axis in x.
    pub fn inputs(&self) -> usize {
        match self.axis {
            Axis::Width => self.input.width,
            Axis::Length => self.input.length,
        }
    }

    /// y of x and a weight with this padding.
    pub(super) fn forward(&self, padding: usize) -> Gemm {
        let weight = Operand::rows_of(self.inputs() + padding);
        Gemm { purpose: Purpose::Forward, ..self.product(self.out, self.inputs(), weight) }
    }

    pub(super) fn reverse(&self, padding: usize) -> Gemm {
        let weight = Operand::rows_of(self.inputs() + padding).transposed();
        Gemm { purpose: Purpose::Reverse, ..self.product(self.inputs(), self.out, weight) }
    }

    /// The product with `weight` (n_out, n_in) from an activation with `from` to one with `to` on the axis.
    fn product(&self, to: usize, from: usize, weight: Operand) -> Gemm {
        let Shape { batch, width, .. } = self.input;
        match self.axis {
            Axis::Width => Gemm {
                m: self.input.rows(),
                n: to,
                k: from,
                batch: 1,
                reductions: 1,
                a: Operand::rows_of(from),
                b: weight.transposed(),
                purpose: Purpose::default(),
            },
            Axis::Length => Gemm {
                m: to,
                n: width,
                k: from,
                batch,
                reductions: 1,
                a: weight,
                b: Operand::rows_of(width).each(from * width),
                purpose: Purpose::default(),
            },
        }
    }

    /// dW (N, K) = dy^T x (over D) or the sum over samples of dy x^T (over L).
    fn weight_gradient(&self) -> Gemm {
        let (n_in, n_out) = (self.inputs(), self.out);
        let Shape { batch, width, .. } = self.input;
        let (k, reductions, a, b) = match self.axis {
            Axis::Width => {
                let (dy, x) = (Operand::rows_of(n_out).transposed(), Operand::rows_of(n_in));
                (self.input.rows(), 1, dy, x)
            }
            Axis::Length => {
                let (dy, x) = (Operand::rows_of(width), Operand::rows_of(width).transposed());
                (width, batch, dy.summed(n_out * width), x.summed(n_in * width))
            }
        };
        Gemm { m: n_out, n: n_in, k, batch: 1, reductions, a, b, purpose: Purpose::WeightGradient }
    }
}

impl LinearForm {
    /// Lays `gemm` down, whose operands change sides between the two axes, and what it ends in.
    pub(super) fn push(
        &self,
        tape: &mut Tape,
        gemm: Gemm,
        epilogue: Epilogue,
        [activation, weight]: [Tensor; 2],
        out: Tensor,
    ) -> Result<()> {
        let product = Product { gemm, over: self.axis, epilogue };
        match self.axis {
            Axis::Width => product.push(tape, activation, weight, out),
            Axis::Length => product.push(tape, weight, activation, out),
        }
    }

    /// Parts that the sum of the weight's gradient is divided into on `target`, of operands in these elements.
    pub fn parts_of_gradient(&self, elements: [Element; 2], target: &Target) -> usize {
        Product::parts(&self.weight_gradient(), elements, target)
    }

    /// Lays dW down in its parts, one after the other, each onto that of what is `known`.
    fn push_weight_gradient(
        &self,
        tape: &mut Tape,
        x: Tensor,
        dy: Tensor,
        known: Option<Tensor>,
    ) -> Result<Tensor> {
        let gemm = self.weight_gradient();
        let parts = self.parts_of_gradient([tape.element(dy), tape.element(x)], &tape.target());
        let total = tape.tensor(Role::Gradient, parts * gemm.m * gemm.n);
        let epilogue = known.map_or(Epilogue::Store, Epilogue::Add);
        Product { gemm: gemm.in_parts(parts), over: Axis::Width, epilogue }.push(tape, dy, x, total)?;
        Ok(total)
    }

    /// Lays down what one use of `weight` contributes to its gradient, on top of what is known already: no operand is
    /// larger than one pass's, and neither x nor dy need be kept. Where the sum is divided into parts, each part of a
    /// use is added to that of the uses before.
    pub(super) fn add_weight_gradient(
        &self,
        tape: &mut Tape,
        x: Tensor,
        dy: Tensor,
        weight: Tensor,
    ) -> Result<()> {
        if !tape.needs_grad(weight) {
            return Ok(());
        }
        let scope = tape.current_scope().to_owned();
        tape.scope(format!("{scope}.weight"));
        let known = tape.take_contribution(weight);
        let total = self.push_weight_gradient(tape, x, dy, known)?;
        tape.contribute(weight, total);
        tape.scope(scope);
        Ok(())
    }

    /// Lays the one product for `purpose` down, without a reverse rule: y from x and W, dx from dy and W, or dW from
    /// x and dy. W is as a step stores it.
    pub fn product_for(
        &self,
        tape: &mut Tape,
        purpose: Purpose,
        [left, right]: [Tensor; 2],
        out: Tensor,
    ) -> Result<()> {
        let padding = Weight::padding(&tape.target(), self.inputs());
        match purpose {
            Purpose::Forward => self.push(tape, self.forward(padding), Epilogue::Store, [left, right], out),
            Purpose::Reverse => self.push(tape, self.reverse(padding), Epilogue::Store, [left, right], out),
            Purpose::WeightGradient => {
                let total = self.push_weight_gradient(tape, left, right, None)?;
                add_parts(tape, total, 1.0, out)
            }
        }
    }
}

/// What follows a linear layer in the same dispatch.
#[derive(Clone, Copy, Debug)]
pub enum After {
    /// Nothing: y is stored in the target's precision.
    Nothing,
    /// A residual of y's shape is added; it gets y's gradient too. y is f32.
    Residual(Tensor),
    /// A bias of N is added to every row, its gradient y's, to be summed over rows. y is f32.
    Bias(Tensor),
    /// y is (q, k, v), q and k turned by the angles of `table` (L, d/2, 2), `heads` of them. The gradient that comes
    /// back is that of what was not turned yet.
    Turn {
        /// cos and sin.
        table: Tensor,
        /// Heads of q, of k and of v.
        heads: usize,
    },
}

impl After {
    fn epilogue(self, form: &LinearForm) -> Epilogue {
        match self {
            After::Nothing => Epilogue::Store,
            After::Residual(residual) => Epilogue::Add(residual),
            After::Bias(bias) => Epilogue::Bias(bias),
            After::Turn { table, heads } => {
                Epilogue::Turn { table, length: form.input.length, half: form.out / 3 / heads / 2 }
            }
        }
    }
}

/// Lays down y = W x with what comes `after`, and its reverse rule.
pub fn linear(
    tape: &mut Tape,
    form: LinearForm,
    x: Tensor,
    weight: impl Into<Weight>,
    after: After,
) -> Result<Tensor> {
    let weight = weight.into();
    let element = match after {
        After::Residual(_) | After::Bias(_) => Element::F32,
        After::Nothing | After::Turn { .. } => tape.element(weight.stored),
    };
    let y = tape.tensor_of(Role::Activation, form.output().elements(), element);
    form.push(tape, form.forward(weight.padding), after.epilogue(&form), [x, weight.stored], y)?;
    tape.rule(y, Linear { form, x, weight, after, y });
    Ok(y)
}

struct Linear {
    form: LinearForm,
    x: Tensor,
    weight: Weight,
    after: After,
    y: Tensor,
}

impl Reverse for Linear {
    fn reverse(&self, tape: &mut Tape) -> Result<()> {
        let Some(dy) = gradient(tape, self.y)? else { return Ok(()) };
        self.form.add_weight_gradient(tape, self.x, dy, self.weight.master)?;
        match self.after {
            After::Residual(addend) | After::Bias(addend) => tape.contribute(addend, dy),
            After::Nothing | After::Turn { .. } => {}
        }
        let known = tape.take_contribution(self.x);
        self.form.push_input_gradient(tape, self.x, dy, &self.weight, known)
    }
}

impl LinearForm {
    /// Lays down the gradient that `x` gets from dy, onto what is `known` of it.
    pub(super) fn push_input_gradient(
        &self,
        tape: &mut Tape,
        x: Tensor,
        dy: Tensor,
        weight: &Weight,
        known: Option<Tensor>,
    ) -> Result<()> {
        if !tape.needs_grad(x) {
            return Ok(());
        }
        let dx = tape.gradient(self.input.elements());
        let epilogue = known.map_or(Epilogue::Store, Epilogue::Add);
        self.push(tape, self.reverse(weight.padding), epilogue, [dy, weight.stored], dx)?;
        tape.contribute(x, dx);
        Ok(())
    }
}

/// Lays down the gradient of `weight` into `out`: what its uses, added up one by one, came to, times `scale`.
pub fn weight_gradient(tape: &mut Tape, weight: Tensor, scale: f32, out: Tensor) -> Result<()> {
    match tape.take_contribution(weight) {
        Some(total) => add_parts(tape, total, scale, out),
        None => Ok(()),
    }
}

/// Has a sum written to `out`, its parts added in their order, times `scale`. A single part lands there by itself, unless
/// micro-batches add up there.
fn add_parts(tape: &mut Tape, total: Tensor, scale: f32, out: Tensor) -> Result<()> {
    let elements = tape.elements(out);
    match tape.elements(total) / elements.max(1) {
        0 | 1 if scale == 1.0 && tape.micro_batches() == 1 => tape.settle(total, out),
        parts => column_sums::column_sums(tape, total, parts, elements, scale, out),
    }
}

/// Lays down the gradient of a bias of `width` elements into `out`: the column sums of what reached it, times `scale`.
pub fn bias_gradient(tape: &mut Tape, bias: Tensor, width: usize, scale: f32, out: Tensor) -> Result<()> {
    match gradient(tape, bias)? {
        Some(dy) => {
            let rows = tape.elements(dy) / width;
            column_sums::column_sums(tape, dy, rows, width, scale, out)
        }
        None => Ok(()),
    }
}
