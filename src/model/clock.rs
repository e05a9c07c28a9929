//! What changes from step to step: the words of `shaders/lib/clock.wgsl`.

/// Written to the device before every step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clock {
    /// Counts from 1.
    pub step: u32,
    /// Learning rate of the weights.
    pub lr: f32,
    /// Learning rate of the puzzle embeddings.
    pub puzzle_emb_lr: f32,
    /// Adam's decays, for the bias corrections.
    pub betas: (f64, f64),
    /// Seed of exploration.
    pub seed: u64,
    /// Number of the first sample among all of the step's, for what is drawn for each.
    pub first_sample: u32,
    /// Supervision steps of a sample at the most, where that is less than the model's `halt_max_steps`.
    pub most_steps: u32,
}

impl Clock {
    /// Words of a clock on the device.
    pub const WORDS: usize = 9;

    /// The device's form.
    pub fn words(&self) -> [u32; Clock::WORDS] {
        let corrected = |beta: f64| 1.0 - beta.powf(f64::from(self.step));
        let first_moment_scale = (1.0 / corrected(self.betas.0)) as f32;
        let second_moment_scale = (1.0 / corrected(self.betas.1).sqrt()) as f32;
        [
            self.step,
            self.lr.to_bits(),
            self.puzzle_emb_lr.to_bits(),
            first_moment_scale.to_bits(),
            second_moment_scale.to_bits(),
            self.seed as u32,
            (self.seed >> 32) as u32,
            self.first_sample,
            self.most_steps,
        ]
    }
}
