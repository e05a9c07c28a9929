//! Small models of every architecture, loaded for training with random weights and random data.

use trm::Result;
use trm::data::{Batch, IGNORE_LABEL};
use trm::engine::{Device, Run};
use trm::model::init::Weights;
use trm::model::step::{Algorithm, Optimiser, train_plan};
use trm::model::{Arch, ArchName, Clock, ModelConfig, Params, PosEncodings, Runner};
use trm::rng::Rng;

/// A small attention model with every feature of the release that is not the other of two: D 12 in 2 heads, a
/// padded puzzle embedding, S 5, V 7.
pub fn small(name: ArchName) -> ModelConfig {
    let arch = Arch {
        name,
        hidden_size: 12,
        num_heads: 2,
        expansion: 1.0,
        H_layers: 1,
        L_layers: 2,
        H_cycles: 2,
        L_cycles: 2,
        mlp_t: false,
        pos_encodings: PosEncodings::Rope,
        puzzle_emb_ndim: 14,
        puzzle_emb_len: 0,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        halt_max_steps: 4,
        halt_exploration_prob: 0.5,
        no_ACT_continue: true,
        random_init: 0.0,
        damping: 0.0,
        noise: 0.0,
    };
    ModelConfig { arch, vocab_size: 7, seq_len: 5, num_puzzle_identifiers: 3, identifiers: None }
}

/// The same with mixer blocks.
pub fn small_mixer() -> ModelConfig {
    let mut config = small(ArchName::Trm);
    (config.arch.mlp_t, config.arch.pos_encodings) = (true, PosEncodings::None);
    config
}

/// Every architecture and every way of a position and a puzzle to enter.
pub fn architectures() -> Vec<(&'static str, ModelConfig)> {
    let mut plain = small(ArchName::Trm);
    (plain.arch.puzzle_emb_ndim, plain.arch.pos_encodings) = (0, PosEncodings::None);
    let mut learned = small(ArchName::Trm);
    (learned.arch.puzzle_emb_len, learned.arch.pos_encodings) = (4, PosEncodings::Learned);
    let mut with_continue = small(ArchName::Trm);
    with_continue.arch.no_ACT_continue = false;
    // Three of four features, two are left over.
    let mut uneven = small(ArchName::Trm);
    (uneven.arch.hidden_size, uneven.arch.num_heads) = (14, 3);
    let mut damped = small(ArchName::Trm);
    (damped.arch.random_init, damped.arch.damping, damped.arch.noise) = (1.0, 0.3, 0.1);
    vec![
        ("trm attention", small(ArchName::Trm)),
        ("trm uneven heads", uneven),
        ("trm mixer", small_mixer()),
        ("trm without embedding", plain),
        ("trm learned positions", learned),
        ("trm continue head", with_continue),
        ("trm damped with noise", damped),
        ("trm_one_step", small(ArchName::TrmOneStep)),
        ("trm_singlez", small(ArchName::TrmSinglez)),
        ("trm_hier6", small(ArchName::TrmHier6)),
        ("hrm", small(ArchName::Hrm)),
        ("transformer", small(ArchName::Transformer)),
    ]
}

/// The official optimiser, its gradients those of a batch of `batch`.
pub fn optimiser(batch: usize) -> Optimiser {
    Optimiser {
        algorithm: Algorithm::AdamAtan2,
        betas: (0.9, 0.95),
        weight_decay: 0.1,
        puzzle_emb_weight_decay: 0.1,
        ema_rate: 0.99,
        label_smoothing: 0.0,
        freeze_weights: false,
        global_batch: batch,
    }
}

/// Random weights of a size that keeps activations about 1. Unlike fresh ones, no head and no row is zero.
pub fn weights(config: &ModelConfig) -> Weights {
    let mut weights = Weights::fresh(config, 1);
    let mut rng = Rng::new(2, 0);
    for name in ["q_head.weight", "q_head.bias", "puzzle_emb.weights"] {
        if let Some(param) = Params::of(config).get(name) {
            weights.get_mut(param).iter_mut().for_each(|value| *value = 0.3 * rng.normal() as f32);
        }
    }
    weights
}

/// A model in training.
pub struct Session {
    /// Its plan on a device.
    pub run: Runner,
    config: ModelConfig,
    batch: usize,
}

impl Session {
    /// Loads random weights; all slots have halted.
    pub fn new(device: &Device, config: &ModelConfig, batch: usize) -> Result<Session> {
        let plan = train_plan(config, &optimiser(batch), batch, device.target())?;
        Session::of(Run::new(device, plan)?, config, batch)
    }

    /// The same on a plan that is loaded already.
    pub fn of(run: Run, config: &ModelConfig, batch: usize) -> Result<Session> {
        let mut run = Runner::of(run, config)?;
        run.load(&weights(config))?;
        Ok(Session { run, config: config.clone(), batch })
    }

    /// One supervision step on random data, a fifth of the labels ignored; the step is the data's seed, too.
    pub fn step(&mut self, step: u32) -> Result<()> {
        let mut rng = Rng::new(u64::from(step), 1);
        let tokens = self.batch * self.config.seq_len;
        let mut draw = |count: usize, bound: usize| -> Vec<i32> {
            (0..count).map(|_| rng.below(bound) as i32).collect()
        };
        let mut batch = Batch::new(self.batch, self.config.seq_len);
        batch.inputs = draw(tokens, self.config.vocab_size);
        let ignored = draw(tokens, 5);
        batch.labels = draw(tokens, self.config.vocab_size);
        let labels = batch.labels.iter_mut().zip(ignored).filter(|(_, ignored)| *ignored == 0);
        labels.for_each(|(label, _)| *label = IGNORE_LABEL);
        batch.puzzle_identifiers = draw(self.batch, self.config.num_puzzle_identifiers);
        self.run.feed(&batch)?;
        let clock = Clock {
            step,
            lr: 1e-3,
            puzzle_emb_lr: 1e-2,
            betas: (0.9, 0.95),
            seed: 7,
            first_sample: 0,
            most_steps: u32::MAX,
        };
        self.run.set_clock(&clock)?;
        self.run.submit()
    }
}
