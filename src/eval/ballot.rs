//! Votes on the answer to one puzzle, which do not depend on the order in which they are cast.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::{Error, Result};

/// Probabilities are summed in such parts: a sum of integers, unlike one of floats, is the same in every order.
const UNITS: f64 = (1u64 << 32) as f64;

/// Votes and the sum of their sigmoid(q_halt), for each answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Ballot(BTreeMap<Vec<i32>, (usize, u64)>);

impl Ballot {
    /// One vote for `answer`, (S) tokens, of puzzle `index`.
    ///
    /// # Errors
    /// [`Error::Numeric`] where `q_halt` is NaN.
    pub fn cast(&mut self, index: usize, answer: Vec<i32>, q_halt: f32) -> Result<()> {
        if q_halt.is_nan() {
            let what = format!("q_halt of sample {index}");
            let fix = "load an earlier checkpoint".to_owned();
            return Err(Error::Numeric { what, problem: "NaN".into(), fix });
        }
        let (votes, halting) = self.0.entry(answer).or_default();
        *votes += 1;
        *halting += (UNITS / (1.0 + (-f64::from(q_halt)).exp())).round() as u64;
        Ok(())
    }

    /// How many votes there are.
    pub fn votes(&self) -> usize {
        self.0.values().map(|(votes, _)| votes).sum()
    }

    /// The answer with most votes and how many they are; of equally many, that with the higher sum, then the first by
    /// its tokens.
    pub fn elected(&self) -> Option<(&[i32], usize)> {
        let ranked = self.0.iter().map(|(answer, votes)| (votes, Reverse(answer)));
        ranked.max().map(|((votes, _), Reverse(answer))| (&answer[..], *votes))
    }
}
