//! The samples in the slots of a batch: what each draws by, how it changes, and when it is done.

use super::stream::Terms;
use crate::data::Batch;
use crate::model::Draw;
use crate::ops::rollout::Disturbance;

/// Steps that a residual is the mean of.
const WINDOW: usize = 3;

/// A sample in a slot.
#[derive(Clone, Copy)]
pub(super) struct Running {
    /// Its place in the stream.
    pub index: usize,
    /// Supervision steps done.
    pub step: usize,
    /// Those that it runs at the most.
    pub steps: usize,
    /// How it is thought about.
    pub terms: Terms,
    /// What tells its draws from those of others: a checksum of its tokens.
    example: u32,
    /// Steps since its answer changed.
    unchanged: usize,
    /// By how much its last steps moved its latents.
    changes: [f32; WINDOW],
}

/// What the device knows of all slots after a step.
pub(super) struct Answers {
    /// (B, S) tokens.
    pub predictions: Vec<i32>,
    /// (B, L, 2) logits.
    pub q: Vec<f32>,
    /// Statistics, a row for each slot.
    pub stats: Vec<f32>,
    /// (B) for each latent.
    pub changes: Vec<Vec<f32>>,
}

/// Tells a sample from others, wherever it is asked: its tokens and its identifier.
pub(super) fn checksum(inputs: &[i32], identifier: &[i32]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(bytemuck::cast_slice(inputs));
    checksum.update(bytemuck::cast_slice(identifier));
    checksum.finalize()
}

impl Running {
    /// A sample that a slot takes, of a model that runs `most` steps.
    pub fn new(index: usize, sample: &Batch, terms: Terms, most: usize) -> Running {
        let example = checksum(&sample.inputs, &sample.puzzle_identifiers);
        let steps = terms.breadth.steps_of(most);
        Running { index, step: 0, steps, terms, example, unchanged: 0, changes: [f32::INFINITY; WINDOW] }
    }

    /// Whether its answer is of use before its last step.
    pub fn is_watched(&self) -> bool {
        let Terms { breadth, every_step, .. } = self.terms;
        every_step || breadth.halt || breadth.settle > 0 || self.has_residual()
    }

    /// Whether no step follows, if its halt logit is `q_halt`.
    pub fn is_done(&self, q_halt: f32) -> bool {
        let breadth = &self.terms.breadth;
        let settled = breadth.settle > 0 && self.unchanged >= breadth.settle;
        self.step == self.steps || (breadth.halt && q_halt > 0.0) || settled
    }

    /// The mean of the changes that are known.
    pub fn residual(&self) -> f32 {
        let known = self.step.saturating_sub(1).min(WINDOW);
        let sum: f32 = (0..known).map(|back| self.changes[(self.step - back) % WINDOW]).sum();
        if known == 0 { f32::INFINITY } else { sum / known as f32 }
    }

    fn has_residual(&self) -> bool {
        self.terms.breadth.needs().changes
    }

    /// What a model that draws at random itself draws by in the next step.
    pub fn draw(&self) -> Draw {
        let sample = self.example.wrapping_add(self.terms.rollout as u32);
        Draw { seed: self.terms.breadth.seed, sample, step: self.step as u32 }
    }

    /// What is to become of the states before the next step.
    pub fn disturbance(&self) -> Disturbance {
        let Terms { rollout, breadth, .. } = self.terms;
        if rollout == 0 {
            return Disturbance::NONE;
        }
        // The sum of two draws is one of their variances' sum.
        let fresh = self.step == 0 && breadth.random_states > 0.0;
        let [keep, latent, answer] = match fresh {
            true => [0.0, breadth.noise.hypot(breadth.random_states), breadth.random_states],
            false => [1.0, breadth.noise, 0.0],
        };
        let (rollout, step) = (rollout as u32, self.step as u32);
        Disturbance { seed: breadth.seed, example: self.example, rollout, step, keep, latent, answer }
    }

    /// Notes whether its answer stayed as it was `before`, and by how much its latents moved.
    pub fn follow(&mut self, slot: usize, answers: &Answers, before: &[i32], seq_len: usize) {
        let tokens = slot * seq_len..(slot + 1) * seq_len;
        let same = self.step > 1 && before.get(tokens.clone()) == Some(&answers.predictions[tokens]);
        self.unchanged = if same { self.unchanged + 1 } else { 0 };
        if self.has_residual() && !answers.changes.is_empty() {
            let sum: f32 = answers.changes.iter().map(|changes| changes[slot]).sum();
            self.changes[self.step % WINDOW] = sum / answers.changes.len() as f32;
        }
    }
}
