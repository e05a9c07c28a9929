//! How an answer was chosen, for programs and for people.

use serde::Serialize;

use super::ballot::{Elected, Select};

/// How an answer was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// Rollouts that agree on the answer, and all that there were.
    pub votes: [usize; 2],
    /// Those that had no vote, because the model made NaN of them.
    #[serde(skip_serializing_if = "is_none")]
    pub lost: usize,
    /// The rule that chose it.
    pub select: Select,
    /// Whether it was found to keep the rules of its puzzle, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keeps_rules: Option<bool>,
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

impl From<&Elected> for Choice {
    fn from(elected: &Elected) -> Choice {
        let Elected { votes, of, lost, select, valid, .. } = *elected;
        Choice { votes: [votes, of], lost, select, keeps_rules: valid }
    }
}

impl Choice {
    /// `elected by 3 of 5 rollouts`
    pub fn text(&self) -> String {
        let [votes, of] = self.votes;
        let lost = match self.lost {
            0 => String::new(),
            lost => format!(" ({lost} lost, of which the model made NaN)"),
        };
        let answer = format!("the answer of {votes} of {of} rollouts{lost}");
        match (self.select, self.keeps_rules) {
            (Select::Vote, _) => format!("elected by {votes} of {of} rollouts{lost}"),
            (Select::Halt, _) => format!("chosen for its halt logit, {answer}"),
            (Select::Residual, _) => format!("chosen for its calm latent, {answer}"),
            (Select::Valid, Some(true)) => format!("chosen as it keeps the rules, {answer}"),
            (Select::Valid, _) => {
                format!("elected by {votes} of {of} rollouts{lost}, as no answer keeps the rules")
            }
        }
    }
}
