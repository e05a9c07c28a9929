//! Inputs that are nearly right: one of a corpus, changed in a few places. Input `index` under a seed is always the same.

use trm::rng::Rng;

/// Numbers at the edges of what programs hold.
const NUMBERS: [&str; 16] = [
    "0",
    "-1",
    "1",
    "10",
    "255",
    "65536",
    "2147483647",
    "-2147483648",
    "4294967296",
    "9223372036854775807",
    "18446744073709551616",
    "1e308",
    "1e400",
    "0.5",
    "nan",
    "-0",
];

/// Bytes that a mutation may grow an input to.
const MOST_BYTES: usize = 1 << 16;

/// A mutant of one of `corpus`, with words of `tokens` put into it.
pub fn mutant(seed: u64, index: u64, corpus: &[Vec<u8>], tokens: &[&str]) -> Vec<u8> {
    let mut rng = Rng::new(seed, index);
    let Some(other) = corpus.get(rng.below(corpus.len().max(1))) else { return Vec::new() };
    let mut bytes = corpus[rng.below(corpus.len())].clone();
    for _ in 0..1 + rng.below(4) {
        change(&mut bytes, other, tokens, &mut rng);
    }
    bytes.truncate(MOST_BYTES);
    bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], tokens: &[&str], rng: &mut Rng) {
    let at = rng.below(bytes.len() + 1);
    let most = 1 + rng.below(32);
    let length = 1 + rng.below(most);
    let span = at..(at + length).min(bytes.len());
    let token = |rng: &mut Rng| tokens.get(rng.below(tokens.len().max(1))).copied().unwrap_or_default();
    match rng.below(9) {
        0 => bytes[span].iter_mut().take(1).for_each(|byte| *byte ^= 1 << rng.below(8)),
        1 => bytes[span].iter_mut().take(1).for_each(|byte| *byte = rng.next_u32() as u8),
        2 => drop(bytes.splice(at..at, token(rng).bytes())),
        3 => drop(bytes.splice(span, token(rng).bytes())),
        4 => drop(bytes.drain(span)),
        5 => {
            let again = bytes[span].to_vec();
            let _ = bytes.splice(at..at, again);
        }
        6 => {
            let from = rng.below(other.len() + 1);
            drop(bytes.splice(at.., other[from..].iter().copied()));
        }
        7 => {
            let number = NUMBERS[rng.below(NUMBERS.len())];
            let span = number_after(bytes, at);
            drop(bytes.splice(span, number.bytes()));
        }
        _ => bytes.truncate(at),
    }
}

/// Where the next digits are, from `at` on.
fn number_after(bytes: &[u8], at: usize) -> std::ops::Range<usize> {
    let digit = |byte: &u8| byte.is_ascii_digit();
    let start = bytes[at..].iter().position(digit).map_or(bytes.len(), |skipped| at + skipped);
    let length = bytes[start..].iter().take_while(|byte| digit(byte)).count();
    start..start + length
}
