//! AdamATan2 with decoupled weight decay and the moving average of the weights, all trained tensors at once.
//!
//! The release's optimiser: no epsilon, the ratio goes through atan2, and the bias correction of the first
//! moment stands outside of it. Decay applies to every tensor, the bias of q_head included.

use rayon::prelude::*;

use super::math::{atan2_right, vectorised};
use crate::Result;
use crate::plan::{Call, Entry, Kernel, Tape, Tensor, ints};

/// `shaders/adam_atan2.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "adam_atan2",
    source: include_str!("../../shaders/adam_atan2.wgsl"),
    entries: &[Entry { name: "update", twin: update }],
};

/// Constants of the update; the learning rate and the bias corrections come from the clock.
#[derive(Clone, Copy, Debug)]
pub struct AdamAtan2 {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Decay of the moving average.
    pub ema_rate: f32,
}

/// The flat tensors of an update, all of one length.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// Gradients of loss / B.
    pub gradient: Tensor,
    /// Weights.
    pub weight: Tensor,
    /// m.
    pub first_moment: Tensor,
    /// v.
    pub second_moment: Tensor,
    /// Moving average of the weights.
    pub ema: Tensor,
}

impl Moments {
    /// Those of `words` weights from `offset` on.
    pub fn part(&self, tape: &mut Tape, offset: usize, words: usize) -> Result<Moments> {
        Ok(Moments {
            gradient: tape.part(self.gradient, offset, words)?,
            weight: tape.part(self.weight, offset, words)?,
            first_moment: tape.part(self.first_moment, offset, words)?,
            second_moment: tape.part(self.second_moment, offset, words)?,
            ema: tape.part(self.ema, offset, words)?,
        })
    }
}

impl AdamAtan2 {
    /// Lays the update down; where `skip` (1), an integer, is not 0, it changes nothing.
    pub fn push(&self, tape: &mut Tape, clock: Tensor, skip: Tensor, tensors: Moments) -> Result<()> {
        let count = tape.elements(tensors.weight);
        tape.call(&KERNEL, "update")
            .bind("clock", clock)
            .bind("gradient", tensors.gradient)
            .bind("weight", tensors.weight)
            .bind("first_moment", tensors.first_moment)
            .bind("second_moment", tensors.second_moment)
            .bind("ema", tensors.ema)
            .bind("skip", skip)
            .count("count", count)
            .float("beta1", self.beta1)
            .float("beta2", self.beta2)
            .float("weight_decay", self.weight_decay)
            .float("ema_rate", self.ema_rate)
            .flops(30 * count)
            .threads(count)
            .push()
    }
}

fn update(call: &mut Call<'_>) {
    if ints(call.input("skip"))[0] != 0 {
        return;
    }
    let constants = AdamAtan2 {
        beta1: call.float("beta1"),
        beta2: call.float("beta2"),
        weight_decay: call.float("weight_decay"),
        ema_rate: call.float("ema_rate"),
    };
    let clock = call.input("clock");
    let (lr, first_scale, second_scale) = (clock[1], clock[3], clock[4]);
    let gradient = call.input("gradient");
    let (weight, ema) = (call.output("weight"), call.output("ema"));
    let (first, second) = (call.output("first_moment"), call.output("second_moment"));
    const BLOCK: usize = 4096;
    let moments = first.par_chunks_mut(BLOCK).zip(second.par_chunks_mut(BLOCK));
    let weights = weight.par_chunks_mut(BLOCK).zip(ema.par_chunks_mut(BLOCK));
    let blocks = gradient.par_chunks(BLOCK).zip(moments).zip(weights);
    blocks.for_each(|((g, (m, v)), (w, ema))| {
        vectorised(|| {
            for ((g, (m, v)), (w, ema)) in g.iter().zip(m.iter_mut().zip(v)).zip(w.iter_mut().zip(ema)) {
                *m = constants.beta1 * *m + (1.0 - constants.beta1) * g;
                *v = constants.beta2 * *v + (1.0 - constants.beta2) * g * g;
                let direction = atan2_right(*m, v.sqrt() * second_scale);
                *w = *w * (1.0 - lr * constants.weight_decay) - lr * first_scale * direction;
                *ema = constants.ema_rate * *ema + (1.0 - constants.ema_rate) * *w;
            }
        });
    });
}
