//! One post-norm block, and the net that stacks them.
//!
//! Attention block: h = rms_norm(h + o(attention(qkv(h)))); h = rms_norm(h + SwiGLU(h)).
//! Mixer block (`mlp_t`): the first half is a SwiGLU over L with its norm over L. Data stays (B, L, D) throughout;
//! working over L is a matter of strides.

use super::config::ModelConfig;
use crate::Result;
use crate::ops::gemm::Addend;
use crate::ops::linear::Weight;
use crate::ops::terms::Term;
use crate::ops::{attention, linear, rms_norm, rope, swiglu};
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
    /// Lays down `layers` blocks called `net.layers.i` on `h`; the last one writes into `out`, if given.
    pub fn net(
        &self,
        tape: &mut Tape,
        net: &str,
        layers: usize,
        h: Tensor,
        out: Option<Tensor>,
    ) -> Result<Tensor> {
        let mut h = h;
        for layer in 0..layers {
            let out = out.filter(|_| layer + 1 == layers);
            h = self.block(tape, &format!("{net}.layers.{layer}"), h, out)?;
        }
        Ok(h)
    }

    fn block(&self, tape: &mut Tape, name: &str, h: Tensor, out: Option<Tensor>) -> Result<Tensor> {
        let h = match self.config.arch.mlp_t {
            true => self.mlp(tape, &format!("{name}.mlp_t"), Axis::Length, h, None)?,
            false => self.attention(tape, &format!("{name}.self_attn"), h)?,
        };
        self.mlp(tape, &format!("{name}.mlp"), Axis::Width, h, out)
    }

    /// rms_norm(h + o(attention(qkv(h)))).
    fn attention(&self, tape: &mut Tape, name: &str, h: Tensor) -> Result<Tensor> {
        let (width, heads) = (self.shape.width, self.config.arch.num_heads);
        let qkv = self.qkv(tape, name, h)?;
        tape.scope(name);
        let o = attention::attention(tape, self.shape, heads, qkv)?;
        tape.scope(format!("{name}.o_proj"));
        let weight = (self.weight)(&format!("{name}.o_proj.weight"))?;
        let form = LinearForm { axis: Axis::Width, input: self.shape, out: width };
        let sum = linear::linear(tape, form, o, weight, Some(Addend::Whole(h)))?;
        self.norm(tape, Axis::Width, sum, None)
    }

    /// q, k and v (B, L, 3, heads, d) of h, rotated where positions are.
    fn qkv(&self, tape: &mut Tape, name: &str, h: Tensor) -> Result<Tensor> {
        let heads = self.config.arch.num_heads;
        tape.scope(format!("{name}.qkv_proj"));
        let weight = (self.weight)(&format!("{name}.qkv_proj.weight"))?;
        let form = LinearForm { axis: Axis::Width, input: self.shape, out: 3 * self.shape.width };
        let Some(table) = self.rope_table else { return linear::linear(tape, form, h, weight, None) };
        let qkv = linear::linear(tape, form, h, weight, None)?;
        tape.scope(name);
        rope::rope(tape, self.shape, heads, table, qkv)?;
        Ok(qkv)
    }

    /// rms_norm(h + down(silu(gate(h)) * up(h))), all over `axis`.
    fn mlp(&self, tape: &mut Tape, name: &str, axis: Axis, h: Tensor, out: Option<Tensor>) -> Result<Tensor> {
        let (inner, start) = (self.inner(axis), tape.len());
        tape.scope(format!("{name}.gate_up_proj"));
        let form = LinearForm { axis, input: self.shape, out: 2 * inner };
        let inner_shape = LinearForm { out: inner, ..form }.output();
        let weight = (self.weight)(&format!("{name}.gate_up_proj.weight"))?;
        let gate_up = linear::linear(tape, form, h, weight, None)?;
        let a = swiglu::swiglu(tape, inner_shape, axis, gate_up)?;
        tape.scope(format!("{name}.down_proj"));
        let form = LinearForm { axis, input: inner_shape, out: self.features(axis) };
        let weight = (self.weight)(&format!("{name}.down_proj.weight"))?;
        let sum = linear::linear(tape, form, a, weight, Some(Addend::Whole(h)))?;
        if tape.target().recompute {
            tape.recompute(start, &[gate_up, a]);
        }
        self.norm(tape, axis, sum, out)
    }

    fn features(&self, axis: Axis) -> usize {
        match axis {
            Axis::Width => self.shape.width,
            Axis::Length => self.shape.length,
        }
    }

    /// Inner width of the MLP over `axis`.
    pub(super) fn inner(&self, axis: Axis) -> usize {
        self.config.arch.inner(self.features(axis))
    }

    /// Applies the norm that a state may still lack, writing into `out` where the caller owns the place. No gradient
    /// flows through it: what is pending comes from passes without.
    pub fn settled(&self, tape: &mut Tape, state: Term, out: Option<Tensor>) -> Result<Tensor> {
        let Some(norm) = state.norm else { return Ok(state.tensor) };
        let recording = tape.recording();
        tape.record(false);
        tape.scope("states");
        let settled = self.norm(tape, norm.axis, state.tensor, out);
        tape.record(recording);
        settled
    }

    fn norm(&self, tape: &mut Tape, axis: Axis, sum: Tensor, out: Option<Tensor>) -> Result<Tensor> {
        rms_norm::rms_norm(tape, self.shape, axis, self.config.arch.rms_norm_eps as f32, sum, out)
    }
}
