//! Counter-based random numbers: Philox 4x32-10, the same in Rust and in `shaders/lib/philox.wgsl`.
//!
//! A draw is a pure function of (key, counter), so a run can be resumed anywhere, two engines draw the
//! same numbers, and no generator state has to be saved but a counter.
//! Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Four random words for one `(key, counter)` pair.
pub fn philox(mut key: [u32; 2], mut counter: [u32; 4]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let b = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// Four independent standard normal numbers for one `(key, counter)` pair, by Box-Muller, as
/// `shaders/lib/gaussian.wgsl` makes them on a GPU, whose logarithms and sines may round otherwise.
pub fn gaussians(key: [u32; 2], counter: [u32; 4]) -> [f32; 4] {
    let uniform = |word: u32| (word >> 8) as f32 / (1u32 << 24) as f32;
    let words = philox(key, counter);
    let pair = |one: u32, other: u32| {
        let radius = (-2.0 * (uniform(one) + 1.0 / (1u32 << 24) as f32).ln()).sqrt();
        let (sine, cosine) = (std::f32::consts::TAU * uniform(other) - std::f32::consts::PI).sin_cos();
        [radius * cosine, radius * sine]
    };
    let ([a, b], [c, d]) = (pair(words[0], words[1]), pair(words[2], words[3]));
    [a, b, c, d]
}

/// What the last word of a counter says a draw is for, in its upper half; the lower half tells places apart.
/// Exploration has 0.
pub mod purpose {
    /// The states that a sample starts from, by state.
    pub const INITIAL_STATE: u32 = 1 << 16;
    /// The noise of a damped update, by update.
    pub const UPDATE: u32 = 2 << 16;
    /// What sets rollouts of a puzzle apart, by rollout.
    pub const ROLLOUT: u32 = 8 << 16;
}

/// A sequence of draws: a seed, a stream (what the numbers are for) and a position that can be saved and restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    key: [u32; 2],
    stream: [u32; 2],
    position: u64,
}

impl Rng {
    /// The start of stream `stream` under `seed`.
    pub fn new(seed: u64, stream: u64) -> Rng {
        Rng { key: words(seed), stream: words(stream), position: 0 }
    }

    /// How many numbers were drawn; give it to [`Rng::at`] to continue there.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The same stream at another position.
    pub fn at(mut self, position: u64) -> Rng {
        self.position = position;
        self
    }

    /// The next random word.
    pub fn next_u32(&mut self) -> u32 {
        let [low, high] = words(self.position / 4);
        let block = philox(self.key, [low, high, self.stream[0], self.stream[1]]);
        let word = block[(self.position % 4) as usize];
        self.position += 1;
        word
    }

    /// Uniform in `0..bound`, without bias; `bound` must not be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u32::try_from(bound).expect("bounds are far below 2^32");
        // Lemire's multiply-and-reject: the low word decides whether a draw falls in the biased remainder.
        loop {
            let product = u64::from(self.next_u32()) * u64::from(bound);
            if product as u32 >= bound.wrapping_neg() % bound {
                return (product >> 32) as usize;
            }
        }
    }

    /// Uniform in [0, 1), with 24 random bits.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 / (1u32 << 24) as f32
    }

    /// Standard normal (Box-Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (f64::from(self.next_u32()) + 1.0) / 4_294_967_296.0;
        let turn = f64::from(self.next_u32()) / 4_294_967_296.0;
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()
    }

    /// Shuffle in place (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// A random order of `0..count`.
    pub fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        self.shuffle(&mut order);
        order
    }
}

fn words(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known-answer vectors published with the Random123 library.
    #[test]
    fn philox_matches_the_published_vectors() {
        assert_eq!(philox([0; 2], [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([!0; 2], [!0; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }

    #[test]
    fn gaussians_are_standard_normal_and_independent() {
        let draws: Vec<f64> =
            (0..25_000).flat_map(|at| gaussians([5, 0], [at, 0, 0, 0])).map(f64::from).collect();
        let mean = |of: &dyn Fn(usize) -> f64| (0..draws.len()).map(of).sum::<f64>() / draws.len() as f64;
        assert!(mean(&|at| draws[at]).abs() < 0.01);
        assert!((mean(&|at| draws[at].powi(2)) - 1.0).abs() < 0.02);
        assert!((mean(&|at| draws[at].powi(4)) - 3.0).abs() < 0.1);
        assert!(mean(&|at| draws[at] * draws[at ^ 1]).abs() < 0.01, "the two of a pair");
        assert!(mean(&|at| draws[at] * draws[at ^ 2]).abs() < 0.01, "the two pairs");
        assert!(draws.iter().all(|draw| draw.is_finite()));
    }

    #[test]
    fn a_restored_position_continues_the_stream() {
        let mut whole = Rng::new(7, 3);
        let _: Vec<u32> = (0..13).map(|_| whole.next_u32()).collect();
        let mut resumed = Rng::new(7, 3).at(whole.position());
        assert_eq!(whole.next_u32(), resumed.next_u32());
    }

    #[test]
    fn below_reaches_every_value_evenly() {
        let (mut rng, mut counts) = (Rng::new(1, 0), [0usize; 6]);
        (0..60_000).for_each(|_| counts[rng.below(6)] += 1);
        assert!(counts.iter().all(|&count| (9_500..10_500).contains(&count)), "{counts:?}");
    }
}
