//! The random numbers of numpy's `RandomState`, for data that is to come out as numpy draws it.
//!
//! Numpy keeps these streams as they are for good. Everything else in trm draws from [`crate::rng::Rng`].
//! Sources: Matsumoto and Nishimura, "Mersenne Twister" (1998), MT19937; numpy's policy NEP 19.

const WORDS: usize = 624;
const MIDDLE: usize = 397;

/// MT19937 and the draws that `numpy.random.RandomState` makes of it.
pub(crate) struct RandomState {
    state: [u32; WORDS],
    /// How many words of the state were handed out.
    used: usize,
}

impl RandomState {
    /// `RandomState(seed)`.
    pub fn new(seed: u32) -> RandomState {
        let mut state = [seed; WORDS];
        for place in 1..WORDS {
            let before = state[place - 1];
            state[place] = 1_812_433_253_u32.wrapping_mul(before ^ (before >> 30)).wrapping_add(place as u32);
        }
        RandomState { state, used: WORDS }
    }

    /// `randint(0, most + 1)`. Nothing is drawn where there is no choice.
    pub fn up_to(&mut self, most: u32) -> usize {
        if most == 0 {
            return 0;
        }
        let mask = u32::MAX >> most.leading_zeros();
        loop {
            let drawn = self.next_u32() & mask;
            if drawn <= most {
                return drawn as usize;
            }
        }
    }

    /// `shuffle(items)`.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.up_to(last as u32));
        }
    }

    fn next_u32(&mut self) -> u32 {
        if self.used == WORDS {
            self.renew();
        }
        let mut word = self.state[self.used];
        self.used += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn renew(&mut self) {
        for place in 0..WORDS {
            let (next, far) = (self.state[(place + 1) % WORDS], self.state[(place + MIDDLE) % WORDS]);
            let joined = (self.state[place] & 0x8000_0000) | (next & 0x7fff_ffff);
            self.state[place] = far ^ (joined >> 1) ^ if joined % 2 == 1 { 0x9908_b0df } else { 0 };
        }
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The 10,000th word that the C++ standard asks of `std::mt19937`.
    #[test]
    fn words_are_those_of_mt19937() {
        let mut random = RandomState::new(5489);
        assert_eq!(random.next_u32(), 3_499_211_612);
        assert_eq!((0..9_999).map(|_| random.next_u32()).last(), Some(4_123_659_995));
    }

    /// As numpy 2.4 draws with seed 42.
    #[test]
    fn draws_are_those_of_numpy() {
        let mut random = RandomState::new(42);
        let drawn: Vec<usize> = (0..10).map(|_| random.up_to(7)).collect();
        assert_eq!(drawn, [6, 3, 4, 6, 2, 7, 4, 4, 6, 1]);
        let mut colours = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        random.shuffle(&mut colours);
        assert_eq!(colours, [1, 2, 6, 4, 5, 8, 9, 7, 3]);
        assert_eq!(random.up_to(0), 0);
        let mut items: Vec<u8> = (0..20).collect();
        random.shuffle(&mut items);
        assert_eq!(items, [7, 13, 10, 3, 16, 6, 2, 12, 8, 17, 9, 14, 0, 4, 18, 15, 19, 5, 11, 1]);
        assert_eq!(random.up_to(29), 29);
    }
}
