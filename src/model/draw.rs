//! What a sample's random numbers are drawn by: what each slot of `batch.draws` holds, where a model draws any.

/// With a purpose and a place in the sample ([`crate::rng::purpose`]) all that a number depends on, so that it is the same
/// in any slot, batch or order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Draw {
    /// The seed of everything drawn.
    pub seed: u64,
    /// Tells samples apart: in training the number within the step's batch, in evaluation a checksum of
    /// its tokens, plus the number of its rollout.
    pub sample: u32,
    /// Tells steps apart: in training that of the run, in evaluation the sample's own, from 0 on.
    pub step: u32,
}

impl Draw {
    /// Words of a draw on the device.
    pub const WORDS: usize = 4;

    /// The device's form: the key and two words of the counter.
    pub fn words(&self) -> [u32; Draw::WORDS] {
        [self.seed as u32, (self.seed >> 32) as u32, self.sample, self.step]
    }
}
