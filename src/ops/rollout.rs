//! Rollouts: several ways to think about one puzzle, set apart by noise on the states, and how far a supervision step moves
//! a latent, by which the calmest of them is found.

use crate::Result;
use crate::plan::{Call, Entry, Kernel, Shape, Tape, Tensor};
use crate::rng::{gaussians, purpose};

/// `shaders/rollout.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "rollout",
    source: include_str!("../../shaders/rollout.wgsl"),
    entries: &[Entry { name: "disturb", twin: disturb }, Entry { name: "measure", twin: measure }],
};

/// What a slot's states become before a supervision step: `keep` times themselves, plus noise. One row of the tensor
/// `rollouts`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Disturbance {
    /// Of all draws.
    pub seed: u64,
    /// Which puzzle it is.
    pub example: u32,
    /// Which rollout of it, below 2^16.
    pub rollout: u32,
    /// Supervision steps done.
    pub step: u32,
    /// 1, or 0 where the states are drawn anew.
    pub keep: f32,
    /// Standard deviation of the noise on latents.
    pub latent: f32,
    /// The same of the answer, where it is no latent.
    pub answer: f32,
}

impl Disturbance {
    /// Words of a row.
    pub const WORDS: usize = 8;

    /// Changes nothing.
    pub const NONE: Disturbance =
        Disturbance { seed: 0, example: 0, rollout: 0, step: 0, keep: 1.0, latent: 0.0, answer: 0.0 };

    /// The device's form.
    pub fn words(&self) -> [u32; Disturbance::WORDS] {
        let Disturbance { seed, example, rollout, step, keep, latent, answer } = *self;
        let [keep, latent, answer] = [keep, latent, answer].map(f32::to_bits);
        [seed as u32, (seed >> 32) as u32, example, rollout, step, keep, latent, answer]
    }

    fn of_words(words: &[f32]) -> Disturbance {
        let bits = |at: usize| words[at].to_bits();
        Disturbance {
            seed: u64::from(bits(0)) | u64::from(bits(1)) << 32,
            example: bits(2),
            rollout: bits(3),
            step: bits(4),
            keep: words[5],
            latent: words[6],
            answer: words[7],
        }
    }
}

/// One of a model's states: its number, and whether it is a latent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateKind {
    /// Below 16.
    pub number: usize,
    /// Noise on latents is another than that on the answer.
    pub latent: bool,
}

/// Lays down: `state` (B, L, D) is disturbed as `rollouts` (B, [`Disturbance::WORDS`]) say.
pub fn disturb_state(
    tape: &mut Tape,
    shape: Shape,
    kind: StateKind,
    rollouts: Tensor,
    state: Tensor,
) -> Result<()> {
    let per_sample = shape.length * shape.width;
    let blocks = per_sample.div_ceil(4);
    tape.call(&KERNEL, "disturb")
        .bind("rollouts", rollouts)
        .bind("state", state)
        .count("count", shape.batch * blocks)
        .count("per_sample", per_sample)
        .count("blocks", blocks)
        .count("state", kind.number)
        .count("latent", usize::from(kind.latent))
        .threads(shape.batch * blocks)
        .push()
}

/// Lays down: `changes` (B) is the root mean square of what `state` (B, L, D) differs from `previous` by, which then holds
/// the state.
pub fn measure_change(
    tape: &mut Tape,
    shape: Shape,
    state: Tensor,
    previous: Tensor,
    changes: Tensor,
) -> Result<()> {
    tape.call(&KERNEL, "measure")
        .bind("now", state)
        .bind("previous", previous)
        .bind("changes", changes)
        .count("count", shape.elements())
        .count("per_sample", shape.length * shape.width)
        .count("blocks", 0)
        .count("state", 0)
        .count("latent", 0)
        .flops(3 * shape.elements())
        .groups([shape.batch, 1, 1])
        .push()
}

fn disturb(call: &mut Call<'_>) {
    let (per_sample, number) = (call.count("per_sample"), call.count("state") as u32);
    let latent = call.count("latent") != 0;
    let rows = call.input("rollouts").chunks_exact(Disturbance::WORDS);
    for (state, row) in call.output("state").chunks_exact_mut(per_sample).zip(rows) {
        let own = Disturbance::of_words(row);
        let scale = if latent { own.latent } else { own.answer };
        if own.keep == 1.0 && scale == 0.0 {
            continue;
        }
        let key = [own.seed as u32, (own.seed >> 32) as u32];
        for (block, four) in (0..).zip(state.chunks_mut(4)) {
            let counter = [number << 28 | block, own.example, own.step, purpose::ROLLOUT | own.rollout];
            let noise = gaussians(key, counter);
            four.iter_mut().zip(noise).for_each(|(value, e)| *value = own.keep * *value + scale * e);
        }
    }
}

fn measure(call: &mut Call<'_>) {
    let per_sample = call.count("per_sample");
    let now = call.input("now").chunks_exact(per_sample);
    let previous = call.output("previous").chunks_exact_mut(per_sample);
    for ((now, previous), change) in now.zip(previous).zip(call.output("changes")) {
        let differences = now.iter().zip(&*previous).map(|(now, before)| now - before);
        *change =
            (differences.map(|difference| difference * difference).sum::<f32>() / per_sample as f32).sqrt();
        previous.copy_from_slice(now);
    }
}
