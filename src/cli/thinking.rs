//! How long and how widely a model thinks: options that several commands share.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::Result;
use crate::eval::{Breadth, Pace, Select, Wishes};
use crate::model::Arch;

/// How long a model thinks.
#[derive(Args)]
pub struct PaceArgs {
    /// Most supervision steps of a puzzle [default: as trained]
    ///
    /// The paper's N_sup; more may find more, fewer are faster.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..))]
    steps: Option<u16>,

    /// Stop a puzzle as soon as its halt head says so
    ///
    /// Its place in the batch goes to the next one. Without this, all run all steps, as in the release.
    #[arg(long)]
    halt: bool,

    /// Stop a puzzle as soon as its answer stayed the same for N steps [default: 3]
    ///
    /// With many --steps, so that only puzzles that need them take them.
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "3",
          value_parser = clap::value_parser!(u16).range(1..))]
    settle: Option<u16>,
}

impl PaceArgs {
    /// N_sup.
    pub fn steps(&self, arch: &Arch) -> usize {
        self.steps.map_or(arch.halt_max_steps, usize::from)
    }

    /// When a puzzle is done before that.
    pub fn pace(&self) -> Pace {
        Pace { halt: self.halt, settle: self.settle.map_or(0, usize::from), ..Pace::default() }
    }
}

/// How long and how widely a model thinks.
#[derive(Args)]
pub struct ThinkingArgs {
    #[command(flatten)]
    pace: PaceArgs,

    /// Think about each puzzle K times and choose an answer [default: 1, or as many as --augment has variants]
    ///
    /// The first rollout is the puzzle as given; the others differ from it by --noise, --random-states and --augment. Each
    /// takes a place in the batch. A puzzle's answer depends on --seed, not on the puzzles beside it.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    rollouts: Option<u32>,

    /// Add Gaussian noise of this standard deviation to the latent before each step of a rollout
    ///
    /// Latents are normed to a root mean square of 1: try 0.1 to 1.
    #[arg(long, value_name = "STD", default_value_t = 0.0)]
    noise: f32,

    /// Start rollouts from random states of this standard deviation [default: 1]
    ///
    /// In place of the states that were trained, in every position anew.
    #[arg(long, value_name = "STD", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    random_states: Option<f32>,

    /// Let the answers to K further variants of each puzzle vote
    ///
    /// Digits are permuted and grids turned; a square maze has 7 further variants, another 3. Of an ARC task those vote
    /// that the model was trained with. With --rollouts, these take the variants in turn.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..))]
    augment: Option<u16>,

    /// Which rollout's answer counts: vote, halt, residual or valid [default: vote]
    ///
    /// vote: that of most rollouts. halt: that with the highest halt logit. residual: that whose latent moved least in the
    /// last three steps. valid: the vote of those that keep the rules of Sudoku or mazes, else of all; it says which.
    #[arg(long, value_name = "RULE", value_parser = PossibleValuesParser::new(Select::ALL.map(Select::name))
          .try_map(|name| name.parse::<Select>()))]
    select: Option<Select>,

    /// Seed of all that is drawn
    ///
    /// The same seed gives the same.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
}

impl ThinkingArgs {
    /// N_sup.
    pub fn steps(&self, arch: &Arch) -> usize {
        self.pace.steps(arch)
    }

    /// Which of the axes of a sweep are given as one number: rollouts, steps.
    pub fn names(&self) -> [bool; 2] {
        [self.rollouts.is_some(), self.pace.steps.is_some()]
    }

    /// Whether rollouts are asked for.
    pub fn is_wide(&self) -> bool {
        self.rollouts.is_some() || self.augment.is_some()
    }

    /// Variants of --augment.
    pub fn augment(&self) -> usize {
        self.augment.map_or(0, usize::from)
    }

    /// All of it.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] for rollouts that would be the same, or a choice of one.
    pub fn breadth(&self, arch: &Arch) -> Result<Breadth> {
        self.among(arch, self.rollouts(), self.augment())
    }

    /// The same of puzzles whose variants are questions of their own.
    ///
    /// # Errors
    /// As [`ThinkingArgs::breadth`].
    pub fn breadth_of_each(&self, arch: &Arch) -> Result<Breadth> {
        self.among(arch, self.rollouts.unwrap_or(1) as usize, 0)
    }

    /// The same for a sweep up to so many rollouts.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] for rollouts that would be the same.
    pub fn breadth_up_to(&self, arch: &Arch, rollouts: usize) -> Result<Breadth> {
        // Changes are measured for this rule only; the others need nothing.
        let wishes = self.wishes(rollouts, self.augment());
        let breadth = Breadth {
            select: Select::Residual,
            ..Wishes { select: None, ..wishes }.over(self.usual(), arch)?
        };
        Ok(breadth)
    }

    /// Rollouts, as far as they are given.
    pub fn rollouts(&self) -> usize {
        self.rollouts.map_or(1 + self.augment(), |rollouts| rollouts as usize)
    }

    fn among(&self, arch: &Arch, rollouts: usize, augment: usize) -> Result<Breadth> {
        self.wishes(rollouts, augment).over(self.usual(), arch)
    }

    /// What is not chosen puzzle by puzzle.
    fn usual(&self) -> Breadth {
        let Pace { halt, settle, .. } = self.pace.pace();
        Breadth { halt, settle, ..Breadth::default() }
    }

    fn wishes(&self, rollouts: usize, augment: usize) -> Wishes {
        Wishes {
            rollouts: Some(rollouts),
            augment: Some(augment),
            noise: Some(self.noise),
            random_states: self.random_states,
            select: self.select,
            steps: None,
            seed: Some(self.seed),
        }
    }
}
