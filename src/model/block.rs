//! One post-norm block, and the net that stacks them.
//!
//! Attention block: h = rms_norm(h + o(attention(qkv(h)))); h = rms_norm(h + SwiGLU(h)).
//! Mixer block (`mlp_t`): the first half is a SwiGLU over L with its norm over L. Data stays (B, L, D) throughout;
//! working over L is a matter of strides. Seven dispatches (attention) or six (mixer), recorded or not.

use super::config::ModelConfig;
use crate::Result;
use crate::ops::attention;
use crate::ops::linear::{After, linear};
use crate::ops::mlp::Mlp;
use crate::ops::rms_norm::RmsNorm;
use crate::ops::store_weight::Weight;
use crate::plan::{Axis, LinearForm, Shape, Tape, Tensor};

/// What blocks need besides their input.
pub struct Blocks<'a> {
    /// Sizes.
    pub config: &'a ModelConfig,
    /// (B, L, D).
    pub shape: Shape,
    /// cos and sin (L, d/2, 2), where positions are rotary.
    pub rope_table: Option<Tensor>,
    /// Finds a weight by its name.
    pub weight: &'a dyn Fn(&str) -> Result<Weight>,
}

impl Blocks<'_> {
    /// Lays down `layers` blocks called `net.layers.i` on `h` up to the last one's last norm; returns what that is to
    /// normalise over D.
    pub fn net(&self, tape: &mut Tape, net: &str, layers: usize, h: Tensor) -> Result<Tensor> {
        let mut sum = self.block(tape, &format!("{net}.layers.0"), h)?;
        for layer in 1..layers {
            let h = self.norm(Axis::Width).push(tape, sum, None)?;
            sum = self.block(tape, &format!("{net}.layers.{layer}"), h)?;
        }
        Ok(sum)
    }

    fn block(&self, tape: &mut Tape, name: &str, h: Tensor) -> Result<Tensor> {
        let (sum, axis) = match self.config.arch.mlp_t {
            true => (self.mlp(tape, &format!("{name}.mlp_t"), Axis::Length, h)?, Axis::Length),
            false => (self.attention(tape, &format!("{name}.self_attn"), h)?, Axis::Width),
        };
        let h = self.norm(axis).push(tape, sum, None)?;
        self.mlp(tape, &format!("{name}.mlp"), Axis::Width, h)
    }

    /// h + o(attention(qkv(h))).
    fn attention(&self, tape: &mut Tape, name: &str, h: Tensor) -> Result<Tensor> {
        let (width, heads) = (self.shape.width, self.config.arch.num_heads);
        // Less than D where heads do not divide it.
        let heads_shape = Shape { width: heads * self.config.arch.head_dim(), ..self.shape };
        tape.scope(format!("{name}.qkv_proj"));
        let weight = (self.weight)(&format!("{name}.qkv_proj.weight"))?;
        let form = LinearForm { axis: Axis::Width, input: self.shape, out: 3 * heads_shape.width };
        let after = self.rope_table.map_or(After::Nothing, |table| After::Turn { table, heads });
        let qkv = linear(tape, form, h, weight, after)?;
        tape.scope(name);
        let o = attention::attention(tape, heads_shape, heads, qkv, self.rope_table)?;
        tape.scope(format!("{name}.o_proj"));
        let weight = (self.weight)(&format!("{name}.o_proj.weight"))?;
        let form = LinearForm { input: heads_shape, out: width, ..form };
        linear(tape, form, o, weight, After::Residual(h))
    }

    /// h + down(silu(gate(h)) * up(h)), all over `axis`.
    fn mlp(&self, tape: &mut Tape, name: &str, axis: Axis, h: Tensor) -> Result<Tensor> {
        let features = if axis == Axis::Width { self.shape.width } else { self.shape.length };
        let mlp = Mlp {
            name: name.to_owned(),
            form: LinearForm { axis, input: self.shape, out: 2 * self.config.arch.inner(features) },
            gate_up: (self.weight)(&format!("{name}.gate_up_proj.weight"))?,
            down: (self.weight)(&format!("{name}.down_proj.weight"))?,
        };
        mlp.push(tape, h)
    }

    /// The norm after a half of a block that works over `axis`.
    pub fn norm(&self, axis: Axis) -> RmsNorm {
        RmsNorm { shape: self.shape, axis, eps: self.config.arch.rms_norm_eps as f32 }
    }
}
