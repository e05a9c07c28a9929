//! How widely and how long a model thinks about a puzzle.

use super::ballot::Select;
use super::evaluate::Pace;
use crate::model::Arch;
use crate::model::step::Rollouts;
use crate::{Error, Result};

/// Rollouts that the generator tells apart.
const MOST_ROLLOUTS: usize = 1 << 16;

/// How widely and how long a model thinks about each puzzle. The first rollout is the puzzle as given, undisturbed; what a
/// further one draws depends on the seed, the tokens of the puzzle and its own number only, so that an answer is the same in
/// any list and any batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Breadth {
    /// K: how many times each puzzle is thought about.
    pub rollouts: usize,
    /// Variants of a Sudoku or maze, beside the puzzle as given, that rollouts take in turn.
    pub augment: usize,
    /// Standard deviation of the noise on the latents before every supervision step of a rollout.
    pub noise: f32,
    /// Standard deviation of the random states that rollouts start from; 0 for those that were trained.
    pub random_states: f32,
    /// Which rollout's answer counts.
    pub select: Select,
    /// Whether a rollout ends as soon as its halt head says so.
    pub halt: bool,
    /// A rollout ends as soon as its answer stayed the same for so many steps; 0 for never.
    pub settle: usize,
    /// Of all that is drawn.
    pub seed: u64,
}

impl Default for Breadth {
    /// Each puzzle once, for all steps.
    fn default() -> Breadth {
        Breadth {
            rollouts: 1,
            augment: 0,
            noise: 0.0,
            random_states: 0.0,
            select: Select::Vote,
            halt: false,
            settle: 0,
            seed: 0,
        }
    }
}

impl Breadth {
    /// Refuses rollouts that would be the same of a model like this, or too many to tell apart.
    ///
    /// # Errors
    /// [`Error::Usage`] that names the field.
    pub fn check(&self, arch: &Arch) -> Result<()> {
        let Breadth { rollouts, augment, noise, random_states, .. } = *self;
        if !(1..=MOST_ROLLOUTS).contains(&rollouts) {
            return Err(Error::usage(
                "rollouts",
                format!("{rollouts}"),
                format!("give 1 to {MOST_ROLLOUTS}"),
            ));
        }
        for (name, deviation) in [("noise", noise), ("random_states", random_states)] {
            if !(deviation.is_finite() && deviation >= 0.0) {
                return Err(Error::usage(name, format!("{deviation}"), "give a standard deviation, as 0.1"));
            }
        }
        let disturbed = noise > 0.0 || random_states > 0.0;
        if rollouts == 1 && (disturbed || augment > 0) {
            let problem = "there is one, which is the puzzle as given, undisturbed";
            return Err(Error::usage("rollouts", problem, "give at least 2"));
        }
        if rollouts > 1 + augment && !disturbed && !arch.draws() {
            let problem = format!("{rollouts}, of which {} would be different", 1 + augment);
            let fix = "let them differ by noise, random states or as many augmentations";
            return Err(Error::usage("rollouts", problem, fix));
        }
        Ok(())
    }

    /// When a rollout is done; it is looked at after its last step, or after each.
    pub fn pace(&self, every_step: bool) -> Pace {
        Pace { halt: self.halt, settle: self.settle, every_step, cut_short: false }
    }

    /// What the plan has to do for it.
    pub(super) fn needs(&self) -> Rollouts {
        Rollouts {
            differ: self.rollouts > 1 && (self.noise > 0.0 || self.random_states > 0.0),
            changes: self.rollouts > 1 && self.select == Select::Residual,
        }
    }

    /// Which variant of a puzzle a rollout is about; 0 is the puzzle as given.
    pub(super) fn variant(&self, rollout: usize) -> usize {
        rollout % (1 + self.augment)
    }
}
