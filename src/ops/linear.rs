//! A linear layer over D or over L, and the gradient of its weight.
//!
//! Over D: y (B, L, N) = x (B, L, K) W^T (+ addend). Over L: `y[b] (N, D) = W x[b] (K, D)` (+ addend), W (N, K).
//! Saved: x. Reverse: dx = dy W or W^T dy (+ what x's gradient already holds); dW = dy^T x or dy x^T, onto what earlier
//! uses of the weight came to.

use super::column_sums;
use super::gemm::{Addend, Gemm, Operand};
use super::narrow::narrow;
use super::pad_rows::pad_rows;
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

    fn reverse(&self, padding: usize) -> Gemm {
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
                reductions: (1, 1),
                a: Operand::rows_of(from),
                b: weight.transposed(),
                purpose: Purpose::default(),
            },
            Axis::Length => Gemm {
                m: to,
                n: width,
                k: from,
                batch,
                reductions: (1, 1),
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
                (self.input.rows(), (1, 1), dy, x)
            }
            Axis::Length => {
                let (dy, x) = (Operand::rows_of(width), Operand::rows_of(width).transposed());
                (width, (1, batch), dy.summed(0, n_out * width), x.summed(0, n_in * width))
            }
        };
        Gemm { m: n_out, n: n_in, k, batch: 1, reductions, a, b, purpose: Purpose::WeightGradient }
    }
}

impl LinearForm {
    /// Parts that the sum of the weight's gradient is divided into on `target`.
    pub fn parts_of_gradient(&self, target: &Target) -> usize {
        self.weight_gradient().parts(target)
    }

    /// Lays dW down in its parts, one after the other, each onto that of what is `known`.
    fn push_weight_gradient(
        &self,
        tape: &mut Tape,
        x: Tensor,
        dy: Tensor,
        known: Option<Addend>,
    ) -> Result<Tensor> {
        let gemm = self.weight_gradient();
        let parts = self.parts_of_gradient(&tape.target());
        let total = tape.tensor(Role::Gradient, parts * gemm.m * gemm.n);
        gemm.in_parts(parts).push(tape, dy, x, known, total)?;
        Ok(total)
    }

    /// Lays the one product for `purpose` down, without a reverse rule: y from x and W, dx from dy and W, or dW from
    /// x and dy. W is as a step stores it, with [`padding_of`] its rows behind each.
    pub fn product_for(
        &self,
        tape: &mut Tape,
        purpose: Purpose,
        [left, right]: [Tensor; 2],
        out: Tensor,
    ) -> Result<()> {
        let padding = padding_of(tape.target(), self.inputs());
        match purpose {
            Purpose::Forward => self.forward(padding).push_oriented(tape, self.axis, left, right, None, out),
            Purpose::Reverse => self.reverse(padding).push_oriented(tape, self.axis, left, right, None, out),
            Purpose::WeightGradient => {
                let total = self.push_weight_gradient(tape, left, right, None)?;
                add_parts(tape, total, out)
            }
        }
    }
}

/// Zeros behind each row of `k` elements of a weight that products on `target` read.
pub fn padding_of(target: Target, k: usize) -> usize {
    k.next_multiple_of(target.row_unit) - k
}

/// A weight, and the copy of it that products read.
#[derive(Clone, Copy, Debug)]
pub struct Weight {
    /// What is trained.
    pub master: Tensor,
    /// The same in the target's precision.
    pub stored: Tensor,
    /// Zeros behind each row of `stored`.
    pub padding: usize,
}

impl Weight {
    /// Lays down the copy of `master` (N, `k`) that products read: in the target's precision, its rows as long as the
    /// target's products like them; `master` itself where it is that.
    ///
    /// # Errors
    /// As [`narrow`].
    pub fn store(tape: &mut Tape, master: Tensor, k: usize) -> Result<Weight> {
        let padding = padding_of(tape.target(), k);
        let stored = match padding {
            0 => narrow(tape, master)?,
            _ => pad_rows(tape, master, k, k + padding)?,
        };
        Ok(Weight { master, stored, padding })
    }
}

impl From<Tensor> for Weight {
    fn from(master: Tensor) -> Weight {
        Weight { master, stored: master, padding: 0 }
    }
}

/// Lays down y = W x (+ addend) and its reverse rule. y is stored as the copy of W is, a sum as f32. A
/// [`Addend::Whole`] is a residual and gets y's gradient, and so does a [`Addend::Bias`], to be summed over rows.
pub fn linear(
    tape: &mut Tape,
    form: LinearForm,
    x: Tensor,
    weight: impl Into<Weight>,
    addend: Option<Addend>,
) -> Result<Tensor> {
    let weight = weight.into();
    let element = if addend.is_some() { Element::F32 } else { tape.element(weight.stored) };
    let y = tape.tensor_of(Role::Activation, form.output().words(), element);
    form.forward(weight.padding).push_oriented(tape, form.axis, x, weight.stored, addend, y)?;
    tape.rule(y, Linear { form, x, weight, addend, y });
    Ok(y)
}

impl Gemm {
    /// Activation and weight change sides between the two axes.
    fn push_oriented(
        &self,
        tape: &mut Tape,
        axis: Axis,
        activation: Tensor,
        weight: Tensor,
        addend: Option<Addend>,
        out: Tensor,
    ) -> Result<()> {
        match axis {
            Axis::Width => self.push(tape, activation, weight, addend, out),
            Axis::Length => self.push(tape, weight, activation, addend, out),
        }
    }
}

struct Linear {
    form: LinearForm,
    x: Tensor,
    weight: Weight,
    addend: Option<Addend>,
    y: Tensor,
}

impl Reverse for Linear {
    fn reverse(&self, tape: &mut Tape) -> Result<()> {
        let Some(dy) = gradient(tape, self.y)? else { return Ok(()) };
        self.add_weight_gradient(tape, dy)?;
        match self.addend {
            Some(Addend::Whole(residual)) => tape.contribute(residual, dy),
            Some(Addend::Bias(bias)) => tape.contribute(bias, dy),
            None => {}
        }
        if tape.needs_grad(self.x) {
            let dx = tape.tensor(Role::Gradient, self.form.input.words());
            let known = tape.take_contribution(self.x).map(Addend::Whole);
            let product = self.form.reverse(self.weight.padding);
            product.push_oriented(tape, self.form.axis, dy, self.weight.stored, known, dx)?;
            tape.contribute(self.x, dx);
        }
        Ok(())
    }
}

impl Linear {
    /// Lays down what this use contributes to the gradient of its weight, on top of what is known already: no operand is
    /// larger than one pass's, and neither x nor dy need be kept. Where the sum is divided into parts, each part of a
    /// use is added to that of the uses before.
    fn add_weight_gradient(&self, tape: &mut Tape, dy: Tensor) -> Result<()> {
        let weight = self.weight.master;
        if !tape.needs_grad(weight) {
            return Ok(());
        }
        let scope = tape.current_scope().to_owned();
        tape.scope(format!("{scope}.weight"));
        let known = tape.take_contribution(weight).map(Addend::Whole);
        let total = self.form.push_weight_gradient(tape, self.x, dy, known)?;
        tape.contribute(weight, total);
        tape.scope(scope);
        Ok(())
    }
}

/// Lays down the gradient of `weight` into `out`: what its uses, added up one by one, came to.
pub fn weight_gradient(tape: &mut Tape, weight: Tensor, out: Tensor) -> Result<()> {
    match tape.take_contribution(weight) {
        Some(total) => add_parts(tape, total, out),
        None => Ok(()),
    }
}

/// Has a sum written to `out`, its parts added in their order; a single part lands there by itself.
fn add_parts(tape: &mut Tape, total: Tensor, out: Tensor) -> Result<()> {
    let elements = tape.elements(out);
    match tape.elements(total) / elements.max(1) {
        0 | 1 => tape.settle(total, out),
        parts => column_sums::column_sums(tape, total, parts, elements, 1.0, out),
    }
}

/// Lays down the gradient of a bias of `width` elements into `out`: the column sums of what reached it.
pub fn bias_gradient(tape: &mut Tape, bias: Tensor, width: usize, out: Tensor) -> Result<()> {
    match gradient(tape, bias)? {
        Some(dy) => {
            let rows = tape.elements(dy) / width;
            column_sums::column_sums(tape, dy, rows, width, 1.0, out)
        }
        None => Ok(()),
    }
}
