//! The table of a model's tensors: names and shapes of the release, and their places in three flat buffers.
//!
//! All trained tensors share one buffer, so that the optimiser is one dispatch; the initial states, saved but
//! not trained, share another; the puzzle embeddings, trained by sign-SGD, have their own.

use super::config::{ModelConfig, PosEncodings};
use super::recursion::Recursion;
use crate::plan::align;

/// Which buffer a tensor lives in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Home {
    /// `weights`: trained by AdamATan2 and averaged.
    Trained,
    /// `initial_states`: saved, not trained.
    InitialStates,
    /// `puzzle_emb`: trained by sign-SGD, not averaged.
    PuzzleEmb,
}

/// How a tensor starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// Truncated normal at +-2 sigma whose resulting standard deviation is this.
    TruncatedNormal(f64),
    /// One value.
    Constant(f32),
}

/// One tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// The release's name, without its `_orig_mod.model.inner.` prefix.
    pub name: String,
    /// Dimensions, rows first.
    pub shape: Vec<usize>,
    /// Its buffer.
    pub home: Home,
    /// First word in that buffer.
    pub offset: usize,
    /// How it starts.
    pub start: Start,
}

impl Param {
    /// Elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it is one of a block's: halves read a copy of those.
    pub fn in_block(&self) -> bool {
        self.name.contains(".layers.")
    }
}

/// All tensors of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// In the order of their buffers.
    pub table: Vec<Param>,
    sizes: [usize; 3],
}

impl Params {
    /// The tensors of a model of these sizes.
    pub fn of(config: &ModelConfig) -> Params {
        let mut params = Params { table: Vec::new(), sizes: [0; 3] };
        let (arch, width) = (&config.arch, config.arch.hidden_size);
        let fan_in = |inputs: usize| Start::TruncatedNormal((inputs as f64).powf(-0.5));
        let mut trained =
            |name: &str, shape: &[usize], start: Start| params.add(name, shape, Home::Trained, start);
        trained("embed_tokens.embedding_weight", &[config.vocab_size, width], fan_in(width));
        if arch.pos_encodings == PosEncodings::Learned {
            trained("embed_pos.embedding_weight", &[config.length(), width], fan_in(width));
        }
        trained("lm_head.weight", &[config.vocab_size, width], fan_in(width));
        trained("q_head.weight", &[2, width], Start::Constant(0.0));
        trained("q_head.bias", &[2], Start::Constant(-5.0));
        let recursion = Recursion::of(arch);
        for net in &recursion.nets {
            for layer in 0..net.layers {
                params.add_block(config, &format!("{}.layers.{layer}", net.name));
            }
        }
        for state in &recursion.states {
            params.add(&format!("{state}_init"), &[width], Home::InitialStates, Start::TruncatedNormal(1.0));
        }
        if arch.puzzle_emb_ndim > 0 {
            let shape = [config.num_puzzle_identifiers, arch.puzzle_emb_ndim];
            params.add("puzzle_emb.weights", &shape, Home::PuzzleEmb, Start::Constant(0.0));
        }
        params
    }

    fn add_block(&mut self, config: &ModelConfig, prefix: &str) {
        let (arch, width) = (&config.arch, config.arch.hidden_size);
        let mut linear = |name: &str, outputs: usize, inputs: usize| {
            let start = Start::TruncatedNormal((inputs as f64).powf(-0.5));
            self.add(&format!("{prefix}.{name}.weight"), &[outputs, inputs], Home::Trained, start);
        };
        if arch.mlp_t {
            let inner = arch.inner(config.length());
            linear("mlp_t.gate_up_proj", 2 * inner, config.length());
            linear("mlp_t.down_proj", config.length(), inner);
        } else {
            let heads = arch.num_heads * arch.head_dim();
            linear("self_attn.qkv_proj", 3 * heads, width);
            linear("self_attn.o_proj", width, heads);
        }
        let inner = arch.inner(width);
        linear("mlp.gate_up_proj", 2 * inner, width);
        linear("mlp.down_proj", width, inner);
    }

    fn add(&mut self, name: &str, shape: &[usize], home: Home, start: Start) {
        let size = &mut self.sizes[home as usize];
        let param = Param { name: name.to_owned(), shape: shape.to_vec(), home, offset: *size, start };
        *size = align(*size + param.elements());
        self.table.push(param);
    }

    /// Words of a buffer; offsets are aligned, so this may exceed the sum of its tensors.
    pub fn buffer_elements(&self, home: Home) -> usize {
        self.sizes[home as usize]
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&Param> {
        self.table.iter().find(|param| param.name == name)
    }

    /// Elements of all tensors of a home.
    pub fn count(&self, home: Home) -> usize {
        self.table.iter().filter(|param| param.home == home).map(Param::elements).sum()
    }
}
