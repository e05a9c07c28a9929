//! SwiGLU: a = silu(gate) * up, gate and up the two halves of one product.
//!
//! Over D: gate_up (B, L, 2 I), a (B, L, I). Over L: gate_up (B, 2 I, D), a (B, I, D). Gate first.
//! Saved: gate_up. Reverse: it is overwritten with its own gradient, so the largest activation is held once.

use rayon::prelude::*;

use super::math::{sigmoid, vectorised};
use super::sum::gradient;
use crate::Result;
use crate::plan::{Axis, Call, DispatchBuilder, Element, Entry, Kernel, Reverse, Shape, Tape, Tensor};

/// `shaders/swiglu.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "swiglu",
    source: include_str!("../../shaders/swiglu.wgsl"),
    entries: &[Entry { name: "forward", twin: forward }, Entry { name: "reverse", twin: reverse }],
};

/// Lays down a = silu(gate) * up and its reverse rule; `shape` is that of a, `axis` the one that gate_up doubles.
pub fn swiglu(tape: &mut Tape, shape: Shape, axis: Axis, gate_up: Tensor) -> Result<Tensor> {
    let a = tape.activation(shape.words());
    let inner = match axis {
        Axis::Width => shape.width,
        Axis::Length => shape.length * shape.width,
    };
    let op = SwiGlu { count: shape.words(), inner, gate_up, a };
    op.push(tape, "forward", |call| call.bind("gate_up", gate_up).bind("a", a))?;
    tape.rule(a, op);
    Ok(a)
}

struct SwiGlu {
    count: usize,
    inner: usize,
    gate_up: Tensor,
    a: Tensor,
}

impl SwiGlu {
    fn push(
        &self,
        tape: &mut Tape,
        entry: &'static str,
        bind: impl FnOnce(DispatchBuilder<'_>) -> DispatchBuilder<'_>,
    ) -> Result<()> {
        let call = bind(tape.call(&KERNEL, entry)).count("count", self.count).count("inner", self.inner);
        call.flops(6 * self.count).threads(self.count.div_ceil(2)).push()
    }
}

impl Reverse for SwiGlu {
    fn reverse(&self, tape: &mut Tape) -> Result<()> {
        let Some(da) = gradient(tape, self.a)? else { return Ok(()) };
        // Halves become BF16, whatever they were: gradients need its range.
        let after = match tape.element(self.gate_up) {
            Element::F32 => Element::F32,
            Element::Bf16 | Element::F16 => Element::Bf16,
        };
        self.push(tape, "reverse", |call| {
            call.bind("da", da).bind_rewritten("gate_up_grad", self.gate_up, after)
        })?;
        tape.contribute(self.gate_up, self.gate_up);
        Ok(())
    }
}

/// Elements that one task works on at the most.
const BLOCK: usize = 4096;
/// Elements of them that are widened at once.
const RUN: usize = 1024;

fn forward(call: &mut Call<'_>) {
    let inner = call.count("inner");
    let gate_up = call.stored("gate_up");
    let a = call.output_stored("a").first(gate_up.len() / (2 * inner) * inner);
    a.chunks(inner).into_par_iter().enumerate().for_each(|(line, a)| {
        a.chunks(BLOCK).into_par_iter().enumerate().for_each(|(block, mut a)| {
            let [mut gates, mut ups, mut product] = [[0.0; RUN]; 3];
            for from in (0..a.len()).step_by(RUN) {
                let (count, at) = (RUN.min(a.len() - from), 2 * line * inner + block * BLOCK + from);
                let gates = gate_up.view(at, count, &mut gates);
                let ups = gate_up.view(at + inner, count, &mut ups);
                let terms = gates.iter().zip(ups);
                vectorised(|| {
                    let each = product.iter_mut().zip(terms);
                    each.for_each(|(a, (gate, up))| *a = gate * sigmoid(*gate) * up);
                });
                a.write(from, &product[..count]);
            }
        });
    });
}

fn reverse(call: &mut Call<'_>) {
    let inner = call.count("inner");
    let da = call.input("da");
    let gate_up = call.output("gate_up_grad");
    gate_up.par_chunks_mut(2 * inner).zip(da.par_chunks(inner)).for_each(|(gate_up, da)| {
        let (gate, up) = gate_up.split_at_mut(inner);
        let blocks = gate.par_chunks_mut(BLOCK).zip(up.par_chunks_mut(BLOCK)).zip(da.par_chunks(BLOCK));
        blocks.for_each(|((gate, up), da)| {
            vectorised(|| {
                for ((gate, up), da) in gate.iter_mut().zip(up).zip(da) {
                    let s = sigmoid(*gate);
                    (*gate, *up) = (da * *up * s * (1.0 + *gate * (1.0 - s)), da * *gate * s);
                }
            });
        });
    });
}
