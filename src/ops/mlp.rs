//! The SwiGLU MLP with its residual, over D or over L: y = h + W_down (silu(g) * u), (g, u) = W_gate_up h.
//!
//! Over D: h, y (B, L, D), g and u (B, L, I). Over L: g and u (B, I, D). W_gate_up (2 I, K), W_down (K, I), K being D or L.
//! Saved: h, (g, u) and a = silu(g) * u; with [`crate::plan::Target::recompute`] only h, and the first product is made
//! once more. Reverse: d(g, u) in the epilogue of W_down^T dy, then dh = W_gate_up^T d(g, u) + dy.

use super::product::Epilogue;
use super::store_weight::Weight;
use super::sum::gradient;
use crate::Result;
use crate::plan::{Element, LinearForm, Reverse, Role, Tape, Tensor};

/// One MLP: what it is called, and its weights.
#[derive(Clone, Debug)]
pub struct Mlp {
    /// Labels dispatches: `L_level.layers.0.mlp`.
    pub name: String,
    /// From h to (g, u): `out` is 2 I.
    pub form: LinearForm,
    /// (2 I, K), gates first.
    pub gate_up: Weight,
    /// (K, I).
    pub down: Weight,
}

impl Mlp {
    /// Lays down y, in f32, and its reverse rule.
    pub fn push(self, tape: &mut Tape, h: Tensor) -> Result<Tensor> {
        let keep = tape.recording() && !tape.target().recompute;
        let kept = keep.then(|| self.both(tape));
        let a = self.open(tape, h, kept)?;
        tape.scope(format!("{}.down_proj", self.name));
        let down = self.down_form();
        let y = tape.tensor(Role::Activation, down.output().elements());
        let gemm = down.forward(self.down.padding);
        down.push(tape, gemm, Epilogue::Add(h), [a, self.down.stored], y)?;
        tape.rule(y, Recorded { mlp: self, h, y, inner: kept.map(|kept| (a, kept)) });
        Ok(y)
    }

    fn down_form(&self) -> LinearForm {
        let input = LinearForm { out: self.form.out / 2, ..self.form }.output();
        LinearForm { axis: self.form.axis, input, out: self.form.inputs() }
    }

    /// Room for g and u.
    fn both(&self, tape: &mut Tape) -> Tensor {
        tape.activation(self.form.output().elements())
    }

    /// Lays down a = silu(g) * u, and g and u where they are `kept`.
    fn open(&self, tape: &mut Tape, h: Tensor, kept: Option<Tensor>) -> Result<Tensor> {
        tape.scope(format!("{}.gate_up_proj", self.name));
        let a = tape.activation(self.form.output().elements() / 2);
        let gemm = self.form.forward(self.gate_up.padding);
        self.form.push(tape, gemm, Epilogue::Gate { kept }, [h, self.gate_up.stored], a)?;
        Ok(a)
    }
}

struct Recorded {
    mlp: Mlp,
    h: Tensor,
    y: Tensor,
    /// a, then g and u; None where they are made once more.
    inner: Option<(Tensor, Tensor)>,
}

impl Reverse for Recorded {
    fn reverse(&self, tape: &mut Tape) -> Result<()> {
        let Some(dy) = gradient(tape, self.y)? else { return Ok(()) };
        let Mlp { name, form, gate_up, down } = &self.mlp;
        let (a, kept) = match self.inner {
            Some(inner) => inner,
            None => {
                let kept = self.mlp.both(tape);
                (self.mlp.open(tape, self.h, Some(kept))?, kept)
            }
        };
        tape.scope(format!("{name}.down_proj"));
        let down_form = self.mlp.down_form();
        down_form.add_weight_gradient(tape, a, dy, down.master)?;
        // In halves, the range that gradients need is bfloat16's, unless they are scaled to f16's.
        let element = match (tape.element(kept), tape.target().gradient()) {
            (Element::F32, _) => Element::F32,
            (_, Element::F32) => Element::Bf16,
            (_, gradient) => gradient,
        };
        let both = tape.tensor_of(Role::Gradient, form.output().elements(), element);
        let epilogue = Epilogue::Ungate { gate_up: kept };
        down_form.push(tape, down_form.reverse(down.padding), epilogue, [dy, down.stored], both)?;
        tape.scope(format!("{name}.gate_up_proj"));
        form.add_weight_gradient(tape, self.h, both, gate_up.master)?;
        form.push_input_gradient(tape, self.h, both, gate_up, Some(dy))
    }
}
