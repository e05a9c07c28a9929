//! The blocks of passes without gradients: four (mixer) or five (attention) dispatches each.
//!
//! What `block.rs` lays down one op at a time is folded into the products: the first half of a sublayer sums its inputs
//! and applies their pending norms while it reads them, the second half adds the residual and leaves the sums of
//! squares for the norm of whoever reads its result.

use super::block::Blocks;
use crate::Result;
use crate::ops::terms::{Term, Terms};
use crate::ops::{attention, project_in, project_out};
use crate::plan::{Axis, Tape};

impl Blocks<'_> {
    /// Whether nets that start from the sum of `inputs` states can be laid down fused.
    pub fn fuses(&self, tape: &Tape, inputs: usize) -> bool {
        let target = tape.target();
        let fit = |over, terms, pending| Terms::fit(&target, self.shape, over, terms, Some(pending));
        let first = if self.config.arch.mlp_t { Axis::Length } else { Axis::Width };
        !tape.recording() && target.fuses() && fit(first, inputs, Axis::Width) && fit(Axis::Width, 1, first)
    }

    /// Lays down `layers` blocks called `net.layers.i` on the sum of `inputs`; the norm of the result is pending.
    pub fn fused_net(&self, tape: &mut Tape, net: &str, layers: usize, inputs: &[Term]) -> Result<Term> {
        let mut h = self.fused_block(tape, &format!("{net}.layers.0"), inputs)?;
        for layer in 1..layers {
            h = self.fused_block(tape, &format!("{net}.layers.{layer}"), &[h])?;
        }
        Ok(h)
    }

    fn fused_block(&self, tape: &mut Tape, name: &str, inputs: &[Term]) -> Result<Term> {
        let h = match self.config.arch.mlp_t {
            true => self.fused_mlp(tape, &format!("{name}.mlp_t"), Axis::Length, inputs)?,
            false => self.fused_attention(tape, &format!("{name}.self_attn"), inputs)?,
        };
        self.fused_mlp(tape, &format!("{name}.mlp"), Axis::Width, &[h])
    }

    fn terms<'t>(&self, over: Axis, terms: &'t [Term]) -> Terms<'t> {
        Terms { shape: self.shape, over, eps: self.config.arch.rms_norm_eps as f32, terms }
    }

    /// h + o(attention(qkv(h))).
    fn fused_attention(&self, tape: &mut Tape, name: &str, inputs: &[Term]) -> Result<Term> {
        let heads = self.config.arch.num_heads;
        let h = self.terms(Axis::Width, inputs);
        tape.scope(format!("{name}.qkv_proj"));
        let weight = (self.weight)(&format!("{name}.qkv_proj.weight"))?;
        let qkv = project_in::qkv(tape, h, heads, self.rope_table, weight.stored)?;
        tape.scope(name);
        let o = attention::attention(tape, self.shape, heads, qkv)?;
        tape.scope(format!("{name}.o_proj"));
        let weight = (self.weight)(&format!("{name}.o_proj.weight"))?;
        project_out::residual(tape, h, self.shape.width, o, weight.stored)
    }

    /// h + down(silu(gate(h)) * up(h)), all over `over`.
    fn fused_mlp(&self, tape: &mut Tape, name: &str, over: Axis, inputs: &[Term]) -> Result<Term> {
        let inner = self.inner(over);
        let h = self.terms(over, inputs);
        tape.scope(format!("{name}.gate_up_proj"));
        let weight = (self.weight)(&format!("{name}.gate_up_proj.weight"))?;
        let a = project_in::swiglu(tape, h, inner, weight.stored)?;
        tape.scope(format!("{name}.down_proj"));
        let weight = (self.weight)(&format!("{name}.down_proj.weight"))?;
        project_out::residual(tape, h, inner, a, weight.stored)
    }
}
