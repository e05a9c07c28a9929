//! How widely and how long a model thinks about a puzzle.

use super::ballot::Select;
use super::stream::Pace;
use crate::data::inspect::Kind;
use crate::data::symmetry::Symmetries;
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
    /// Supervision steps of a rollout at the most; 0 for the model's own, `halt_max_steps`.
    pub steps: usize,
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
            steps: 0,
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
        if augment >= MOST_ROLLOUTS {
            return Err(Error::usage(
                "augment",
                format!("{augment}"),
                format!("give 0 to {}", MOST_ROLLOUTS - 1),
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

    /// Refuses puzzles without as many variants, or without the rules by which to choose.
    ///
    /// # Errors
    /// [`Error::Usage`] that names the field.
    pub fn check_kind(&self, kind: Kind) -> Result<()> {
        self.symmetries(kind).map(drop)
    }

    /// The variants that rollouts of such a puzzle take in turn, where there are any.
    pub(super) fn symmetries(&self, kind: Kind) -> Result<Option<Symmetries>> {
        if self.rollouts > 1 && self.select == Select::Valid && !has_rules(kind) {
            let fix = "choose by vote, halt or residual";
            return Err(Error::usage("select", "valid, but these are neither Sudokus nor mazes", fix));
        }
        let further = self.variants() - 1;
        (further > 0).then(|| Symmetries::of_kind(kind, further)).transpose()
    }

    /// Variants that occur among the rollouts, the puzzle as given included.
    pub(super) fn variants(&self) -> usize {
        self.rollouts.min(1 + self.augment)
    }

    /// Supervision steps of a rollout at the most, of a model that runs `most`.
    pub(super) fn steps_of(&self, most: usize) -> usize {
        if self.steps == 0 { most } else { self.steps.min(most) }
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

/// Whether an answer to a puzzle of this kind can be checked.
pub(super) fn has_rules(kind: Kind) -> bool {
    matches!(kind, Kind::Sudoku { .. } | Kind::Maze { .. })
}

/// What someone asks for of a [`Breadth`]; where they say nothing, what is usual holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wishes {
    /// [`Breadth::rollouts`].
    pub rollouts: Option<usize>,
    /// [`Breadth::augment`]; without `rollouts` it means as many of them as there are variants, the given one included.
    pub augment: Option<usize>,
    /// [`Breadth::noise`].
    pub noise: Option<f32>,
    /// [`Breadth::random_states`].
    pub random_states: Option<f32>,
    /// [`Breadth::select`]; refused where there is one rollout.
    pub select: Option<Select>,
    /// [`Breadth::steps`].
    pub steps: Option<usize>,
    /// [`Breadth::seed`].
    pub seed: Option<u64>,
}

impl Wishes {
    /// What is asked for, else what is `usual`.
    ///
    /// # Errors
    /// [`Error::Usage`] for rollouts that would be the same of a model like this, or a choice of one.
    pub fn over(&self, usual: Breadth, arch: &Arch) -> Result<Breadth> {
        let rollouts = match (self.rollouts, self.augment) {
            (Some(rollouts), _) => rollouts,
            (None, Some(augment)) => augment.saturating_add(1),
            (None, None) => usual.rollouts,
        };
        if self.select.is_some() && rollouts == 1 {
            let fix = "let there be several: rollouts, augment";
            return Err(Error::usage("select", "there is one rollout, nothing to choose from", fix));
        }
        // One rollout is the puzzle as given: what is usual among several has nothing to do with it.
        let usual = match rollouts {
            1 => Breadth { augment: 0, noise: 0.0, random_states: 0.0, ..usual },
            _ => usual,
        };
        let breadth = Breadth {
            rollouts,
            augment: self.augment.unwrap_or(usual.augment),
            noise: self.noise.unwrap_or(usual.noise),
            random_states: self.random_states.unwrap_or(usual.random_states),
            select: self.select.unwrap_or(usual.select),
            steps: self.steps.unwrap_or(usual.steps),
            seed: self.seed.unwrap_or(usual.seed),
            ..usual
        };
        breadth.check(arch).map(|()| breadth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    #[test]
    fn augment_alone_says_how_many_rollouts() {
        let arch = Recipe::load("tiny-sudoku4", &[]).unwrap().arch;
        let usual = Breadth { rollouts: 8, augment: 7, ..Breadth::default() };
        let over = |wishes: Wishes| wishes.over(usual, &arch).map(|asked| (asked.rollouts, asked.augment));
        let augment = |augment| over(Wishes { augment: Some(augment), ..Wishes::default() }).unwrap();
        assert_eq!([augment(3), augment(0), augment(15)], [(4, 3), (1, 0), (16, 15)]);
        assert_eq!(over(Wishes::default()).unwrap(), (8, 7));
        assert!(over(Wishes { rollouts: Some(9), ..Wishes::default() }).is_err());
    }
}
