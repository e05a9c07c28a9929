//! The sizes of a model: the authors' `arch` keys, and what the data set adds to them.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Bounds far beyond any model that fits a device, so that sizes computed from a config never overflow.
const LARGEST_SIZE: usize = 1 << 20;
const MOST_REPEATS: usize = 1 << 10;
const LARGEST_EXPANSION: f64 = 64.0;

/// Which update list (see `recursion.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchName {
    /// The Tiny Recursion Model: one net, states y and z.
    Trm,
    /// The paper's ablation with HRM's approximation: gradients through the last update of each state only.
    TrmOneStep,
    /// The paper's ablation with a single state.
    TrmSinglez,
    /// The paper's ablation with six latents.
    TrmHier6,
    /// The Hierarchical Reasoning Model that TRM simplifies.
    Hrm,
    /// No recursion inside a supervision step.
    Transformer,
}

/// How positions enter the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PosEncodings {
    /// Rotary, in attention.
    Rope,
    /// A learned vector per position, in the embedding.
    Learned,
    /// None; the mixer's weights know positions.
    None,
}

/// The `arch` table of a recipe, with the authors' names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(non_snake_case)]
pub struct Arch {
    /// Which model of the family.
    pub name: ArchName,
    /// D.
    pub hidden_size: usize,
    /// Attention heads; divides `hidden_size` into an even head size.
    pub num_heads: usize,
    /// SwiGLU's inner width is `expansion * width * 2/3`, rounded up to a multiple of 256.
    pub expansion: f64,
    /// Blocks of the net H (hrm and transformer only).
    pub H_layers: usize,
    /// Blocks of the net L.
    pub L_layers: usize,
    /// T: full recursions in one supervision step.
    pub H_cycles: usize,
    /// n: latent updates in one full recursion.
    pub L_cycles: usize,
    /// Mix positions with an MLP over L instead of attention.
    pub mlp_t: bool,
    /// How positions enter.
    pub pos_encodings: PosEncodings,
    /// Width of a puzzle embedding row, 0 for none.
    pub puzzle_emb_ndim: usize,
    /// P: positions that the puzzle embedding takes, 0 for as many as it fills.
    pub puzzle_emb_len: usize,
    /// Added to the mean square in the norms.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// N_sup: supervision steps that a sample runs at the most.
    pub halt_max_steps: usize,
    /// Probability that a training sample must run a random minimum of steps.
    pub halt_exploration_prob: f64,
    /// Train the halt head only; false trains the continue head too (always so for hrm).
    pub no_ACT_continue: bool,
    /// Deviation of the random states that a sample starts from; 0 for the initial vectors.
    #[serde(default)]
    pub random_init: f64,
    /// a of the damped update, state <- a state + (1 - a) net(...) + s e; 0 for what the net says.
    #[serde(default)]
    pub damping: f64,
    /// s of the same, the deviation of its noise; 0 for none.
    #[serde(default)]
    pub noise: f64,
}

/// A model with everything known: the architecture and the sizes of the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The architecture.
    pub arch: Arch,
    /// V.
    pub vocab_size: usize,
    /// S.
    pub seq_len: usize,
    /// Rows of the puzzle embedding table.
    pub num_puzzle_identifiers: usize,
    /// What those rows stand for: [`crate::data::Dataset::identifiers`]; None where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifiers: Option<String>,
}

impl Arch {
    /// Whether the continue head is trained.
    pub fn trains_continue(&self) -> bool {
        !self.no_ACT_continue || self.name == ArchName::Hrm
    }

    /// Whether a sample halts when q_halt > q_continue, as opposed to q_halt > 0.
    pub fn compares_continue(&self) -> bool {
        self.trains_continue() || self.name == ArchName::Transformer
    }

    /// Whether updates of states are damped or noisy.
    pub fn damps(&self) -> bool {
        self.damping > 0.0 || self.noise > 0.0
    }

    /// Whether random numbers are drawn by the [`Draw`](super::Draw) of a sample.
    pub fn draws(&self) -> bool {
        self.random_init > 0.0 || self.damps()
    }

    /// P.
    pub fn prefix(&self) -> usize {
        let filled = self.puzzle_emb_ndim.div_ceil(self.hidden_size);
        let fixed = !matches!(self.name, ArchName::Hrm | ArchName::Transformer);
        if fixed && self.puzzle_emb_len > 0 { self.puzzle_emb_len } else { filled }
    }

    /// Inner width of a SwiGLU over `width` features.
    pub fn inner(&self, width: usize) -> usize {
        ((self.expansion * width as f64 * 2.0 / 3.0).round_ties_even() as usize).next_multiple_of(256)
    }

    /// Features per head; what is left of D where heads do not divide it, no head has.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_heads
    }

    /// Refuses sizes that no model can have, naming the key.
    pub fn validate(&self) -> Result<()> {
        let positive = [
            ("hidden_size", self.hidden_size),
            ("num_heads", self.num_heads),
            ("H_cycles", self.H_cycles),
            ("L_cycles", self.L_cycles),
            ("halt_max_steps", self.halt_max_steps),
        ];
        for (key, value) in positive {
            if value == 0 {
                return Err(wrong(key, "is 0", "give at least 1"));
            }
        }
        self.validate_bounds()?;
        self.validate_layers()?;
        self.validate_heads()?;
        self.validate_embedding()?;
        // Devices compute in f32, where a large number is infinite.
        let real = |value: f64, least: f64| (value as f32).is_finite() && value >= least;
        if !real(self.expansion, 1e-3) {
            return Err(wrong("expansion", format!("is {}", self.expansion), "give a positive number"));
        }
        if !real(self.rms_norm_eps, 0.0) {
            return Err(wrong(
                "rms_norm_eps",
                format!("is {:e}", self.rms_norm_eps),
                "give a number from 0 to 3.4e38",
            ));
        }
        if !real(self.rope_theta, 1.0) {
            return Err(wrong(
                "rope_theta",
                format!("is {:e}", self.rope_theta),
                "give a number from 1 to 3.4e38",
            ));
        }
        for (key, value) in [("random_init", self.random_init), ("noise", self.noise)] {
            if !real(value, 0.0) {
                return Err(wrong(key, format!("is {value:e}"), "give a number from 0 to 3.4e38"));
            }
        }
        if !(0.0..1.0).contains(&self.damping) {
            return Err(wrong(
                "damping",
                format!("is {}", self.damping),
                "give a number from 0 to less than 1",
            ));
        }
        if !(0.0..=1.0).contains(&self.halt_exploration_prob) {
            let problem = format!("is {}", self.halt_exploration_prob);
            return Err(wrong("halt_exploration_prob", problem, "give a probability between 0 and 1"));
        }
        Ok(())
    }

    /// No product of sizes may overflow, whatever a file says.
    fn validate_bounds(&self) -> Result<()> {
        let bounds = [
            ("hidden_size", self.hidden_size, LARGEST_SIZE),
            ("puzzle_emb_ndim", self.puzzle_emb_ndim, LARGEST_SIZE),
            ("puzzle_emb_len", self.puzzle_emb_len, LARGEST_SIZE),
            ("H_layers", self.H_layers, MOST_REPEATS),
            ("L_layers", self.L_layers, MOST_REPEATS),
            ("H_cycles", self.H_cycles, MOST_REPEATS),
            ("L_cycles", self.L_cycles, MOST_REPEATS),
        ];
        match bounds.iter().find(|(_, value, most)| value > most) {
            Some((key, value, most)) => {
                Err(wrong(key, format!("is {value}"), format!("give at most {most}")))
            }
            None if self.expansion > LARGEST_EXPANSION => {
                let fix = format!("give at most {LARGEST_EXPANSION}");
                Err(wrong("expansion", format!("is {}", self.expansion), fix))
            }
            None => Ok(()),
        }
    }

    fn validate_layers(&self) -> Result<()> {
        let (needs_h, needs_l) = match self.name {
            ArchName::Hrm => (true, true),
            ArchName::Transformer => (true, false),
            _ => (false, true),
        };
        for (needed, key, layers) in
            [(needs_h, "H_layers", self.H_layers), (needs_l, "L_layers", self.L_layers)]
        {
            if needed && layers == 0 {
                return Err(wrong(key, "is 0", "this architecture needs at least 1 block there"));
            }
        }
        if self.name == ArchName::TrmHier6 && self.L_cycles > 6 {
            return Err(wrong(
                "L_cycles",
                format!("is {}", self.L_cycles),
                "trm_hier6 has 6 latents: give at most 6",
            ));
        }
        Ok(())
    }

    fn validate_heads(&self) -> Result<()> {
        let (width, heads) = (self.hidden_size, self.num_heads);
        if heads > width {
            let problem = format!("{heads} heads are more than the {width} features of hidden_size");
            return Err(wrong("num_heads", problem, "choose fewer heads"));
        }
        if (width / heads) % 2 != 0 {
            let problem = format!("{heads} heads of {width} features have an odd size of {}", width / heads);
            return Err(wrong("num_heads", problem, "choose heads of an even size"));
        }
        Ok(())
    }

    fn validate_embedding(&self) -> Result<()> {
        if self.puzzle_emb_ndim == 0 && self.puzzle_emb_len > 0 {
            let problem = format!("is {} while puzzle_emb_ndim is 0", self.puzzle_emb_len);
            return Err(wrong("puzzle_emb_len", problem, "set both or neither"));
        }
        let room = self.prefix() * self.hidden_size;
        if self.puzzle_emb_ndim > room {
            let problem =
                format!("{} does not fit puzzle_emb_len * hidden_size = {room}", self.puzzle_emb_ndim);
            return Err(wrong("puzzle_emb_ndim", problem, "raise puzzle_emb_len or set it to 0"));
        }
        Ok(())
    }
}

fn wrong(key: &str, problem: impl Into<String>, fix: impl Into<String>) -> Error {
    Error::recipe(format!("arch.{key}"), problem, fix)
}

impl ModelConfig {
    /// What is wrong with puzzles of these identifiers (the checksum of their names) for weights of this model: they are
    /// others than those whose embeddings the weights hold. Without embeddings, and where nothing is known, any will do.
    pub fn identifiers_fault(&self, found: Option<&str>) -> Option<String> {
        match (self.identifiers.as_deref(), found) {
            (Some(own), Some(found)) if own != found && self.arch.puzzle_emb_ndim > 0 => {
                Some(format!("its identifiers.json has checksum {found}, the model was trained with {own}"))
            }
            _ => None,
        }
    }

    /// L = P + S.
    pub fn length(&self) -> usize {
        self.arch.prefix() + self.seq_len
    }

    /// Refuses sizes that no model can have, naming the key.
    pub fn validate(&self) -> Result<()> {
        self.arch.validate()?;
        let sizes = [
            ("vocab_size", self.vocab_size, LARGEST_SIZE),
            ("seq_len", self.seq_len, LARGEST_SIZE),
            ("num_puzzle_identifiers", self.num_puzzle_identifiers, i32::MAX as usize),
        ];
        for (key, value, most) in sizes {
            if !(1..=most).contains(&value) {
                return Err(Error::recipe(key, format!("is {value}"), format!("give 1 to {most}")));
            }
        }
        Ok(())
    }
}
