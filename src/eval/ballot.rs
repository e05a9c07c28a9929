//! What the rollouts of a puzzle answer, and which answer counts. The choice does not depend on the order in which rollouts
//! end.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Probabilities are summed in such parts: a sum of integers, unlike one of floats, is the same in every order.
const UNITS: f64 = (1u64 << 32) as f64;

/// Which rollout's answer counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// The answer of most rollouts; of equally many those with the higher sum of sigmoid(q_halt).
    #[default]
    Vote,
    /// The answer whose halt logit is highest.
    Halt,
    /// The answer whose latent moved least in the last three steps.
    Residual,
    /// The vote of the answers that keep the rules, of mazes those with the shortest way; of all, if none does.
    Valid,
}

impl Select {
    /// Every rule.
    pub const ALL: [Select; 4] = [Select::Vote, Select::Halt, Select::Residual, Select::Valid];

    /// Its name, as it is typed.
    pub const fn name(self) -> &'static str {
        match self {
            Select::Vote => "vote",
            Select::Halt => "halt",
            Select::Residual => "residual",
            Select::Valid => "valid",
        }
    }
}

impl fmt::Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Select {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Select, String> {
        let found = Select::ALL.into_iter().find(|select| select.name() == text);
        found.ok_or_else(|| format!("give one of {}", Select::ALL.map(Select::name).join(", ")))
    }
}

/// What one rollout came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Vote {
    /// (S) tokens of the puzzle as given.
    pub answer: Vec<i32>,
    /// Above 0 the model believes its answer.
    pub q_halt: f32,
    /// How much its latents moved a step.
    pub residual: f32,
}

impl Vote {
    /// The vote of a rollout; none where `q_halt` is NaN.
    pub fn new(answer: Vec<i32>, q_halt: f32, residual: f32) -> Option<Vote> {
        (!q_halt.is_nan()).then_some(Vote { answer, q_halt, residual })
    }
}

/// The answer that counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Elected {
    /// (S) tokens.
    pub answer: Vec<i32>,
    /// The highest halt logit of the rollouts that answer so.
    pub q_halt: f32,
    /// Rollouts that answer so.
    pub votes: usize,
    /// Rollouts that there were.
    pub of: usize,
    /// Those of them that had no vote, because the model made NaN of them.
    pub lost: usize,
    /// The rule by which it was chosen.
    pub select: Select,
    /// Whether it keeps the rules of its puzzle, where they were asked.
    pub valid: Option<bool>,
}

/// What rules of a puzzle say of an answer: how far it is from the best that keeps them, or None if it breaks them.
pub(super) type Rules<'a> = &'a dyn Fn(&[i32]) -> Option<usize>;

/// Chooses among the votes of all rollouts, in the order of their numbers, of which some may be lost. None of none.
pub(super) fn elect(select: Select, all: &[Option<&Vote>], rules: Rules<'_>) -> Option<Elected> {
    let votes: Vec<&Vote> = all.iter().copied().flatten().collect();
    let votes = &votes[..];
    let (answer, valid) = match select {
        Select::Vote => (majority(votes.iter().copied())?, None),
        Select::Halt => (first_by(votes, |one, other| one.q_halt > other.q_halt)?, None),
        Select::Residual => (calmest(votes)?, None),
        Select::Valid => {
            let costs: Vec<Option<usize>> = votes.iter().map(|vote| rules(&vote.answer)).collect();
            let least = costs.iter().flatten().min();
            let best = votes.iter().zip(&costs).filter(|(_, cost)| cost.as_ref() == least);
            (majority(best.map(|(vote, _)| *vote))?, Some(least.is_some()))
        }
    };
    let alike = votes.iter().filter(|vote| vote.answer == answer);
    Some(Elected {
        q_halt: alike.clone().map(|vote| vote.q_halt).fold(f32::NEG_INFINITY, f32::max),
        votes: alike.count(),
        answer: answer.to_vec(),
        of: all.len(),
        lost: all.len() - votes.len(),
        select,
        valid,
    })
}

/// The answer with most votes; of equally many, that with the higher sum, then the first by its tokens.
fn majority<'a>(votes: impl Iterator<Item = &'a Vote>) -> Option<&'a [i32]> {
    let mut counts: BTreeMap<&[i32], (usize, u64)> = BTreeMap::new();
    for vote in votes {
        let (count, halting) = counts.entry(&vote.answer).or_default();
        *count += 1;
        *halting += (UNITS / (1.0 + (-f64::from(vote.q_halt)).exp())).round() as u64;
    }
    let ranked = counts.into_iter().map(|(answer, count)| (count, Reverse(answer)));
    ranked.max().map(|(_, Reverse(answer))| answer)
}

/// The answer of the first vote that no other is better than.
fn first_by<'a>(votes: &[&'a Vote], better: impl Fn(&Vote, &Vote) -> bool) -> Option<&'a [i32]> {
    let best = votes.iter().copied().reduce(|best, vote| if better(vote, best) { vote } else { best });
    best.map(|vote| &vote.answer[..])
}

/// The answer whose latents moved least; the vote where none was measured, as in a single step.
fn calmest<'a>(votes: &[&'a Vote]) -> Option<&'a [i32]> {
    match votes.iter().any(|vote| vote.residual.is_finite()) {
        true => first_by(votes, |one, other| one.residual < other.residual || other.residual.is_nan()),
        false => majority(votes.iter().copied()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn votes(all: &[(i32, f32, f32)]) -> Vec<Vote> {
        all.iter().map(|&(answer, q, residual)| Vote::new(vec![answer], q, residual).unwrap()).collect()
    }

    /// The answer, how many gave it, and what the rules said. Even answers keep them, the smaller the better.
    fn elected(select: Select, votes: &[Vote]) -> (i32, usize, Option<bool>) {
        let votes: Vec<Option<&Vote>> = votes.iter().map(Some).collect();
        let rules = |answer: &[i32]| (answer[0] % 2 == 0).then_some(answer[0] as usize);
        let found = elect(select, &votes, &rules).unwrap();
        assert_eq!((found.of, found.select), (votes.len(), select));
        (found.answer[0], found.votes, found.valid)
    }

    #[test]
    fn each_rule_chooses_what_it_says() {
        let all = votes(&[(1, 0.0, 0.5), (1, -1.0, 0.4), (4, 2.0, 0.3), (3, -2.0, 0.1), (1, 1.0, 0.2)]);
        assert_eq!(elected(Select::Vote, &all), (1, 3, None));
        assert_eq!(elected(Select::Halt, &all), (4, 1, None));
        assert_eq!(elected(Select::Residual, &all), (3, 1, None));
        assert_eq!(elected(Select::Valid, &all), (4, 1, Some(true)));
    }

    #[test]
    fn of_valid_answers_the_best_counts_and_without_any_the_vote() {
        let all = votes(&[(4, 3.0, 0.0), (4, 3.0, 0.0), (2, -3.0, 0.0), (5, 9.0, 0.0)]);
        assert_eq!(elected(Select::Valid, &all), (2, 1, Some(true)));
        let none = votes(&[(5, 0.0, 0.0), (3, 0.0, 0.0), (3, 0.0, 0.0)]);
        assert_eq!(elected(Select::Valid, &none), (3, 2, Some(false)));
    }

    #[test]
    fn ties_go_to_the_higher_belief_then_to_the_smaller_tokens() {
        assert_eq!(elected(Select::Vote, &votes(&[(1, 0.0, 0.0), (2, 1.0, 0.0)])).0, 2);
        assert_eq!(elected(Select::Vote, &votes(&[(7, 1.0, 0.0), (2, 1.0, 0.0)])).0, 2);
        assert_eq!(elected(Select::Halt, &votes(&[(7, 1.0, 0.0), (2, 1.0, 0.0)])).0, 7);
    }

    #[test]
    fn what_was_not_measured_is_voted_on() {
        let (none, nan) = (f32::INFINITY, f32::NAN);
        assert_eq!(elected(Select::Residual, &votes(&[(1, 9.0, none), (2, 0.0, none), (2, 0.0, none)])).0, 2);
        assert_eq!(elected(Select::Residual, &votes(&[(1, 0.0, nan), (2, 0.0, 5.0), (3, 0.0, nan)])).0, 2);
        assert!(elect(Select::Halt, &[], &|_| None).is_none());
    }

    #[test]
    fn a_lost_rollout_has_no_vote_but_counts() {
        let lost = Vote::new(vec![1], f32::NAN, 0.0);
        assert_eq!(lost, None);
        let left = votes(&[(2, 0.0, 0.0)]);
        for select in Select::ALL {
            let elected = elect(select, &[lost.as_ref(), Some(&left[0]), None], &|_| None).unwrap();
            assert_eq!((elected.answer[0], elected.votes, elected.of, elected.lost), (2, 1, 3, 2));
            assert_eq!(elect(select, &[None, None], &|_| None), None);
        }
    }

    #[test]
    fn names_are_those_that_are_typed() {
        for select in Select::ALL {
            assert_eq!(select.to_string().parse(), Ok(select));
        }
    }
}
