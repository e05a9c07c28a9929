//! One supervision step, laid down: carry reset, embedding, recursion, heads, loss, and, for training, the
//! reverse pass, AdamATan2, sign-SGD and the moving average. Reads like the paper's pseudocode.

mod batches;
mod training;

use std::collections::BTreeMap;

use super::block::Blocks;
use super::clock::Clock;
use super::config::{Arch, ModelConfig, PosEncodings};
use super::draw::Draw;
use super::params::{Home, Params};
use super::recursion::Recursion;
use crate::data::symmetry::VariantDraw;
use crate::ops::carry::{Samples, draw_state_where, reset_state_where, take_samples_where};
use crate::ops::damp::Damp;
use crate::ops::embed::{Embed, EmbedGradients};
use crate::ops::linear::{After, linear};
use crate::ops::loss::Loss;
use crate::ops::puzzle_table::PuzzleTable;
use crate::ops::rollout::{Disturbance, StateKind, disturb_state, measure_change};
use crate::ops::store_weight::Weight;
use crate::ops::symmetry::{Variants, take_variants_where};
use crate::ops::{column_sums, metrics, rope, sum};
use crate::plan::{Axis, Element, LinearForm, Plan, Role, Shape, Tape, Target, Tensor};
use crate::rng::purpose;
use crate::{Error, Result};

pub use batches::Batches;
pub use training::{Algorithm, Optimiser};
use training::{Training, gradient_scale};

/// The plan of one training step of a batch, whose micro-batches add up their gradients in their order.
///
/// Host-side names: the inputs `batch.inputs`, `batch.labels`, `batch.puzzle_identifiers`, `clock`, where the model
/// draws random numbers `batch.draws`, and where samples are symmetries of these `batch.variants`; the weights
/// `weights`, `initial_states`, `puzzle_emb`, `rope_table`; `first_moment`, `second_moment`, `ema`, `gradients`;
/// the carry `carry.*`; of several ranks, `gathered.puzzle_rows` and `gathered.puzzle_identifiers`; the results
/// `metrics`, `puzzle_rows` and, of the last micro-batch, `x`, `logits`, `q_logits`.
///
/// # Errors
/// [`Error::Recipe`] for impossible sizes.
pub fn train_plan(
    config: &ModelConfig,
    optimiser: &Optimiser,
    batches: impl Into<Batches>,
    target: Target,
) -> Result<Plan> {
    let batches = batches.into();
    batches.check()?;
    let Batches { batch, micro_batch, ranks, augment } = batches;
    let mut tape = Tape::new(target).in_micro_batches(batch / micro_batch);
    let mut step = Step::on(&mut tape, config, micro_batch)?;
    step.variants = augment.map(|symmetries| {
        let words = micro_batch * VariantDraw::WORDS;
        Variants { symmetries, draws: tape.parted_buffer("batch.variants", Role::Batch, words) }
    });
    let scale = gradient_scale(&target, optimiser.global_batch * config.seq_len);
    let training = Training::on(&mut tape, &step, (optimiser.freeze_weights, ranks), scale)?;
    step.store_weights(&mut tape)?;
    if tape.micro_batches() > 1 {
        column_sums::clear(&mut tape, step.clock, training.whole.gradient)?;
    }

    tape.begin_body();
    step.reset_carry(&mut tape)?;
    tape.record(true);
    let x = step.embed(&mut tape, Some(training.embed_gradients))?;
    let states = step.recurse(&mut tape, &step.states, x, Pass::Step)?;
    let (logits, q) = step.heads(&mut tape, states[step.recursion.answer])?;
    tape.record(false);

    let q_next = match config.arch.trains_continue() && config.arch.halt_max_steps > 1 {
        true => {
            let ahead = step.recurse(&mut tape, &states, x, Pass::Ahead)?;
            Some(step.heads(&mut tape, ahead[step.recursion.answer])?.1)
        }
        false => None,
    };
    tape.scope("loss");
    let (words, q_words) = (tape.elements(logits), tape.elements(q));
    let (dlogits, dq) = (tape.tensor(Role::Gradient, words), tape.tensor(Role::Gradient, q_words));
    let loss = step.loss(logits, q, optimiser.global_batch, scale);
    let loss = Loss { label_smoothing: optimiser.label_smoothing as f32, ..loss };
    loss.train(&mut tape, q_next, dlogits, dq)?;

    tape.contribute(logits, dlogits);
    tape.contribute(q, dq);
    tape.reverse()?;
    if !optimiser.freeze_weights {
        training.weight_gradients(&mut tape, &step)?;
    }
    tape.end_body();

    step.total_stats(&mut tape)?;
    if ranks > 1 {
        tape.pause();
    }
    training.update(&mut tape, &step, optimiser)?;
    step.finish(tape, x, logits, q)
}

/// The plan of one evaluation step: no gradients, every sample runs on. Adds `predictions` (B, S) to the results of
/// [`train_plan`]; has none of what training adds.
///
/// # Errors
/// [`Error::Recipe`] for impossible sizes.
pub fn eval_plan(config: &ModelConfig, batch: usize, target: Target) -> Result<Plan> {
    rollout_plan(config, batch, target, Rollouts::default())
}

/// What an evaluation step does besides, where puzzles are thought about more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rollouts {
    /// Before it, the states of each slot are disturbed as its row of the input `rollouts` says, (B,
    /// 8).
    pub differ: bool,
    /// After it, `changes.<state>` (B) hold by how much it moved each latent, root mean square; after the first step of a
    /// sample, nothing of use.
    pub changes: bool,
}

/// [`eval_plan`] with what rollouts need.
///
/// # Errors
/// [`Error::Recipe`] for impossible sizes.
pub fn rollout_plan(config: &ModelConfig, batch: usize, target: Target, rollouts: Rollouts) -> Result<Plan> {
    let mut tape = Tape::new(target);
    let mut step = Step::on(&mut tape, config, batch)?;
    let predictions = tape.buffer("predictions", Role::Metric, batch * config.seq_len);
    step.store_weights(&mut tape)?;
    step.reset_carry(&mut tape)?;
    if rollouts.differ {
        step.disturb(&mut tape)?;
    }
    let x = step.embed(&mut tape, None)?;
    let states = step.recurse(&mut tape, &step.states, x, Pass::Step)?;
    if rollouts.changes {
        step.measure_changes(&mut tape)?;
    }
    let (logits, q) = step.heads(&mut tape, states[step.recursion.answer])?;
    tape.scope("loss");
    step.loss(logits, q, batch, 1.0).evaluate(&mut tape, predictions)?;
    step.total_stats(&mut tape)?;
    step.finish(tape, x, logits, q)
}

/// What a run through the recursion is for.
#[derive(Clone, Copy, PartialEq)]
enum Pass {
    /// Its final states become the carry.
    Step,
    /// One more look ahead for the continue head's target: the carry stays.
    Ahead,
}

/// The tensors that training and evaluation share.
struct Step<'a> {
    config: &'a ModelConfig,
    recursion: Recursion,
    params: Params,
    shape: Shape,
    trained: Tensor,
    weights: BTreeMap<String, Tensor>,
    /// The blocks' weights with their copies in the target's precision and layout.
    stored: BTreeMap<String, Weight>,
    initial_states: Vec<Tensor>,
    states: Vec<Tensor>,
    incoming: Samples,
    running: Samples,
    /// What incoming samples are varied by, where they are.
    variants: Option<Variants>,
    clock: Tensor,
    /// [`Draw`]s of the slots, where the model draws any random numbers.
    draws: Option<Tensor>,
    steps: Tensor,
    halted: Tensor,
    stats: Tensor,
    metrics: Tensor,
    rope_table: Option<Tensor>,
    puzzle_table: Option<PuzzleTable>,
}

impl<'a> Step<'a> {
    /// A step over micro-batches of `batch` samples.
    fn on(tape: &mut Tape, config: &'a ModelConfig, batch: usize) -> Result<Step<'a>> {
        config.validate()?;
        check_precision(tape.target().precision, &config.arch)?;
        let (arch, recursion, params) = (&config.arch, Recursion::of(&config.arch), Params::of(config));
        let shape = Shape { batch, length: config.length(), width: arch.hidden_size };
        let trained = tape.buffer("weights", Role::Weights, params.buffer_elements(Home::Trained));
        let initial =
            tape.buffer("initial_states", Role::Weights, params.buffer_elements(Home::InitialStates));
        let puzzle_table = match arch.puzzle_emb_ndim {
            0 => None,
            emb_ndim => Some(PuzzleTable::on(tape, config.num_puzzle_identifiers, emb_ndim)?),
        };
        let mut weights = BTreeMap::new();
        for param in params.table.iter().filter(|param| param.home != Home::PuzzleEmb) {
            let buffer = if param.home == Home::Trained { trained } else { initial };
            weights.insert(param.name.clone(), tape.part(buffer, param.offset, param.elements())?);
        }
        let initial_states = recursion.states.iter().map(|state| weights[&format!("{state}_init")]).collect();
        let state = |tape: &mut Tape, name: &String| {
            tape.parted_buffer(&format!("carry.state.{name}"), Role::Carry, shape.elements())
        };
        let states = recursion.states.iter().map(|name| state(tape, name)).collect();
        let tokens = batch * config.seq_len;
        let samples = |tape: &mut Tape, prefix: &str, role: Role| Samples {
            inputs: tape.parted_buffer(&format!("{prefix}.inputs"), role, tokens),
            labels: tape.parted_buffer(&format!("{prefix}.labels"), role, tokens),
            identifiers: tape.parted_buffer(&format!("{prefix}.puzzle_identifiers"), role, batch),
        };
        let rope_words = rope_table(config).map(|table| table.len());
        Ok(Step {
            incoming: samples(tape, "batch", Role::Batch),
            running: samples(tape, "carry.data", Role::Carry),
            variants: None,
            clock: tape.parted_buffer("clock", Role::Batch, Clock::WORDS),
            draws: arch.draws().then(|| tape.parted_buffer("batch.draws", Role::Batch, batch * Draw::WORDS)),
            steps: tape.parted_buffer("carry.steps", Role::Carry, batch),
            halted: tape.parted_buffer("carry.halted", Role::Carry, batch),
            stats: tape.parted_buffer("stats", Role::Metric, batch * metrics::NAMES.len()),
            metrics: tape.buffer("metrics", Role::Metric, metrics::WORDS),
            rope_table: rope_words.map(|words| tape.buffer("rope_table", Role::Weights, words)),
            puzzle_table,
            config,
            recursion,
            params,
            shape,
            trained,
            weights,
            stored: BTreeMap::new(),
            initial_states,
            states,
        })
    }

    fn weight(&self, name: &str) -> Result<Tensor> {
        let missing = || Error::kernel("model", format!("has no weight called {name}"));
        self.weights.get(name).copied().ok_or_else(missing)
    }

    /// Copies the weights of the blocks, once for all passes.
    fn store_weights(&mut self, tape: &mut Tape) -> Result<()> {
        tape.scope("weights");
        for param in self.params.table.iter().filter(|param| param.in_block()) {
            let weight = self.weight(&param.name)?;
            let k = param.shape.last().copied().unwrap_or(1);
            self.stored.insert(param.name.clone(), Weight::store(tape, weight, k)?);
        }
        Ok(())
    }

    fn reset_carry(&self, tape: &mut Tape) -> Result<()> {
        tape.scope("carry");
        let deviation = self.config.arch.random_init as f32;
        for (index, (&state, &initial)) in self.states.iter().zip(&self.initial_states).enumerate() {
            match self.draws.filter(|_| deviation > 0.0) {
                Some(draws) => {
                    let by = (deviation, purpose::INITIAL_STATE | index as u32);
                    draw_state_where(tape, self.shape, self.halted, draws, by, state)?;
                }
                None => reset_state_where(tape, self.shape, self.halted, initial, state)?,
            }
        }
        let sizes = (self.shape.batch, self.config.seq_len);
        match self.variants {
            Some(variants) => {
                take_variants_where(tape, sizes, self.halted, variants, self.incoming, self.running)
            }
            None => take_samples_where(tape, sizes, self.halted, self.incoming, self.running),
        }
    }

    /// Has the rollouts of a puzzle differ.
    fn disturb(&self, tape: &mut Tape) -> Result<()> {
        tape.scope("rollouts");
        let rollouts = tape.buffer("rollouts", Role::Batch, self.shape.batch * Disturbance::WORDS);
        for (number, &state) in self.states.iter().enumerate() {
            let latent = self.recursion.latents().any(|latent| latent == number);
            disturb_state(tape, self.shape, StateKind { number, latent }, rollouts, state)?;
        }
        Ok(())
    }

    /// Measures by how much a step moved each latent.
    fn measure_changes(&self, tape: &mut Tape) -> Result<()> {
        tape.scope("rollouts");
        for latent in self.recursion.latents() {
            let name = &self.recursion.states[latent];
            let previous = tape.buffer(&format!("carry.previous.{name}"), Role::Carry, self.shape.elements());
            let changes = tape.buffer(&format!("changes.{name}"), Role::Metric, self.shape.batch);
            measure_change(tape, self.shape, self.states[latent], previous, changes)?;
        }
        Ok(())
    }

    fn embed(&self, tape: &mut Tape, gradients: Option<EmbedGradients>) -> Result<Tensor> {
        tape.scope("embed");
        let identifiers = self.running.identifiers;
        let readable =
            self.puzzle_table.as_ref().map(|table| table.readable(tape, self.shape.batch, identifiers));
        let readable = readable.transpose()?;
        let embed = Embed {
            shape: self.shape,
            prefix: self.config.arch.prefix(),
            vocab: self.config.vocab_size,
            emb_ndim: self.config.arch.puzzle_emb_ndim,
            inputs: self.running.inputs,
            identifiers: readable.map_or(identifiers, |readable| readable.rows),
            tokens: self.weight("embed_tokens.embedding_weight")?,
            puzzle_emb: readable.map(|readable| readable.table),
            embed_pos: self.weights.get("embed_pos.embedding_weight").copied(),
        };
        embed.push(tape, gradients)
    }

    /// Runs the update list from `states`; returns the final ones. Gradients are recorded from `grad_from` on
    /// if the tape records at all. In [`Pass::Step`] the last write of each state goes to the carry.
    fn recurse(&self, tape: &mut Tape, states: &[Tensor], x: Tensor, pass: Pass) -> Result<Vec<Tensor>> {
        let recording = tape.recording();
        let weight = |name: &str| match self.stored.get(name) {
            Some(&stored) => Ok(stored),
            None => self.weight(name).map(Weight::from),
        };
        let blocks =
            Blocks { config: self.config, shape: self.shape, rope_table: self.rope_table, weight: &weight };
        let updates = &self.recursion.updates;
        let records = |index: usize| recording && index >= self.recursion.grad_from;
        let mut states = states.to_vec();
        // The sum of an update's inputs, where the norm before has made it.
        let mut ready = None;
        for (index, update) in updates.iter().enumerate() {
            tape.record(records(index));
            let net = &self.recursion.nets[update.net];
            tape.scope(format!("{} inputs", net.name));
            let h = match ready.take() {
                Some(sum) => sum,
                None => {
                    let inputs = update.inputs.iter().map(|input| input.tensor(&states, x));
                    sum::sum(tape, &inputs.collect::<Vec<Tensor>>())?
                }
            };
            let normed = blocks.net(tape, net.name, net.layers, h)?;
            let last_write = updates[index + 1..].iter().all(|later| later.write != update.write);
            let out = match pass == Pass::Step && last_write {
                true => Some(tape.part(self.states[update.write], 0, self.shape.elements())?),
                false => None,
            };
            let next = updates.get(index + 1).and_then(|next| next.besides(update.write));
            let others = next.unwrap_or_default();
            let others: Vec<Tensor> = others.iter().map(|input| input.tensor(&states, x)).collect();
            let norm = blocks.norm(Axis::Width);
            let (state, total) = match self.draws.filter(|_| self.config.arch.damps()) {
                Some(draws) => {
                    let y = norm.push(tape, normed, None)?;
                    let place = index + if pass == Pass::Ahead { updates.len() } else { 0 };
                    let damp = self.damp(draws, place);
                    self.damped(tape, damp, (states[update.write], y), out, &others)?
                }
                None if others.is_empty() => (norm.push(tape, normed, out)?, None),
                None => {
                    let (state, total) = norm.push_with_sum(tape, normed, out, &others)?;
                    (state, Some(total))
                }
            };
            states[update.write] = state;
            if let Some(total) = total {
                tape.record(records(index + 1));
                sum::hand_on(tape, &[&[state], &others[..]].concat(), total);
                ready = Some(total);
            }
        }
        tape.record(recording);
        Ok(states)
    }

    /// The damped update number `place` of a step.
    fn damp(&self, draws: Tensor, place: usize) -> Damp {
        let arch = &self.config.arch;
        Damp {
            shape: self.shape,
            damping: arch.damping as f32,
            noise: arch.noise as f32,
            draws,
            purpose: purpose::UPDATE | place as u32,
        }
    }

    /// [`Damp::push`]. A state that is written once in a step is updated where it lies in the carry: by way of a tensor.
    fn damped(
        &self,
        tape: &mut Tape,
        damp: Damp,
        (old, y): (Tensor, Tensor),
        out: Option<Tensor>,
        others: &[Tensor],
    ) -> Result<(Tensor, Option<Tensor>)> {
        match out.filter(|_| self.states.contains(&old)) {
            Some(carry) => {
                let between = tape.tensor(Role::Activation, self.shape.elements());
                let made = damp.push(tape, (old, y), Some(between), others)?;
                sum::copy(tape, between, carry)?;
                Ok(made)
            }
            None => damp.push(tape, (old, y), out, others),
        }
    }

    /// logits (B, L, V) and q (B, L, 2) of the answer; only the S puzzle positions and position 0 count.
    fn heads(&self, tape: &mut Tape, answer: Tensor) -> Result<(Tensor, Tensor)> {
        let form = |out| LinearForm { axis: Axis::Width, input: self.shape, out };
        tape.scope("lm_head");
        let logits = linear(
            tape,
            form(self.config.vocab_size),
            answer,
            self.weight("lm_head.weight")?,
            After::Nothing,
        )?;
        tape.scope("q_head");
        let bias = After::Bias(self.weight("q_head.bias")?);
        let q = linear(tape, form(2), answer, self.weight("q_head.weight")?, bias)?;
        Ok((logits, q))
    }

    fn loss(&self, logits: Tensor, q: Tensor, global_batch: usize, scale: f32) -> Loss {
        Loss {
            shape: self.shape,
            prefix: self.config.arch.prefix(),
            vocab: self.config.vocab_size,
            halt_max_steps: self.config.arch.halt_max_steps,
            compare_continue: self.config.arch.compares_continue(),
            halt_exploration_prob: self.config.arch.halt_exploration_prob as f32,
            label_smoothing: 0.0,
            global_batch,
            scale,
            logits,
            q,
            labels: self.running.labels,
            clock: self.clock,
            steps: self.steps,
            halted: self.halted,
            stats: self.stats,
        }
    }

    /// The metric block's sums, over all micro-batches.
    fn total_stats(&self, tape: &mut Tape) -> Result<()> {
        let micro_batch = self.shape.batch;
        let batch = micro_batch * tape.micro_batches();
        let stats = tape.all_parts(self.stats);
        metrics::total_stats(tape, [batch, micro_batch], stats, self.metrics)
    }

    fn finish(&self, mut tape: Tape, x: Tensor, logits: Tensor, q: Tensor) -> Result<Plan> {
        tape.name("x", x);
        tape.name("logits", logits);
        tape.name("q_logits", q);
        tape.finish()
    }
}

/// Halves lie two a word, and a thread that rotates two of them needs their partners in one word too.
///
/// # Errors
/// [`Error::Recipe`] for a model whose activations cannot be stored in `precision`.
pub fn check_precision(precision: Element, arch: &Arch) -> Result<()> {
    let (width, head_dim) = (arch.hidden_size, arch.head_dim());
    let fits = if arch.mlp_t { width % 2 == 0 } else { head_dim % 4 == 0 };
    if precision == Element::F32 || fits {
        return Ok(());
    }
    let problem = format!("{precision} does not work with D {width} and heads of {head_dim}");
    let fix = "take f32, or an even hidden_size and heads of a multiple of 4";
    Err(Error::recipe("train.precision", problem, fix))
}

/// Values of the buffer `rope_table`, where the model has one.
pub fn rope_table(config: &ModelConfig) -> Option<Vec<f32>> {
    let arch = &config.arch;
    let rotary = arch.pos_encodings == PosEncodings::Rope && !arch.mlp_t;
    rotary.then(|| rope::table(config.length(), arch.head_dim(), arch.rope_theta))
}
