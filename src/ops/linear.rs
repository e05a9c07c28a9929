//! A linear layer over D or over L, and the deferred gradients of its weight.
//!
//! Over D: y (B, L, N) = x (B, L, K) W^T (+ addend). Over L: `y[b] (N, D) = W x[b] (K, D)` (+ addend), W (N, K).
//! Saved: x. Reverse: dx = dy W or W^T dy (+ what x's gradient already holds). dW is not computed where it
//! arises: [`weight_gradient`] turns all uses of a weight into one product over the rows of all passes.

use super::column_sums;
use super::gemm::{Addend, Gemm, Operand};
use super::narrow::narrow;
use super::pad_rows::pad_rows;
use super::sum::gradient;
use crate::Result;
use crate::plan::{
    Axis, Element, LinearForm, Purpose, Reverse, Role, Shape, Tape, Target, Tensor, WeightUse,
};

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

    /// dW (N, K) = sum over `uses` stacked with these strides of dy^T x (over D) or dy x^T (over L).
    fn weight_gradient(&self, uses: usize, x_stride: usize, dy_stride: usize) -> Gemm {
        let (n_in, n_out) = (self.inputs(), self.out);
        let Shape { batch, width, .. } = self.input;
        match self.axis {
            Axis::Width => {
                let rows = self.input.rows();
                let contiguous = x_stride == rows * n_in && dy_stride == rows * n_out;
                let (uses, rows) = if contiguous { (1, uses * rows) } else { (uses, rows) };
                Gemm {
                    m: n_out,
                    n: n_in,
                    k: rows,
                    batch: 1,
                    reductions: (uses, 1),
                    a: Operand::rows_of(n_out).transposed().summed(dy_stride, 0),
                    b: Operand::rows_of(n_in).summed(x_stride, 0),
                    purpose: Purpose::WeightGradient,
                }
            }
            Axis::Length => Gemm {
                m: n_out,
                n: n_in,
                k: width,
                batch: 1,
                reductions: (uses, batch),
                a: Operand::rows_of(width).summed(dy_stride, n_out * width),
                b: Operand::rows_of(width).transposed().summed(x_stride, n_in * width),
                purpose: Purpose::WeightGradient,
            },
        }
    }
}

impl LinearForm {
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
            Purpose::WeightGradient => self.weight_gradient(1, 0, 0).push(tape, right, left, None, out),
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
/// [`Addend::Whole`] is a residual and gets y's gradient; the gradient of a [`Addend::Bias`] is a weight use like that
/// of W.
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
        let weight_use = WeightUse { weight: self.weight.master, x: self.x, dy, form: self.form };
        match tape.target().recompute {
            true => add_weight_gradient(tape, weight_use)?,
            false => tape.use_weight(weight_use),
        }
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

/// Lays down what one use contributes to the gradient of its weight, on top of what is known already: neither x nor
/// dy need be kept for a product over all uses.
fn add_weight_gradient(tape: &mut Tape, one: WeightUse) -> Result<()> {
    if !tape.needs_grad(one.weight) {
        return Ok(());
    }
    let scope = tape.current_scope().to_owned();
    tape.scope(format!("{scope}.weight"));
    let known = tape.take_contribution(one.weight).map(Addend::Whole);
    let total = tape.tensor(Role::Gradient, tape.elements(one.weight));
    one.form.weight_gradient(1, 0, 0).push(tape, one.dy, one.x, known, total)?;
    tape.contribute(one.weight, total);
    tape.scope(scope);
    Ok(())
}

/// Lays down the gradient of `weight` into `out`: one product over all of its uses, unless they were added up one by
/// one; then the last of those products goes there.
pub fn weight_gradient(tape: &mut Tape, weight: Tensor, out: Tensor) -> Result<()> {
    if let Some(total) = tape.take_contribution(weight) {
        return tape.settle(total, out);
    }
    let uses = tape.take_weight_uses(weight);
    let Some(first) = uses.first() else { return Ok(()) };
    let form = first.form;
    let (x, x_stride) = tape.stack(&uses.iter().map(|one| one.x).collect::<Vec<_>>())?;
    let (dy, dy_stride) = tape.stack(&uses.iter().map(|one| one.dy).collect::<Vec<_>>())?;
    form.weight_gradient(uses.len(), x_stride, dy_stride).push(tape, dy, x, None, out)
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
