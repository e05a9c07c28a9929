//! The loss of a supervision step with its gradient, correctness, halting and per-sample statistics.
//!
//! Stablemax cross-entropy over the labelled positions, and binary cross-entropy for the halt head (and the
//! continue head, where it is trained). Spec: "One supervision step of training", points 3 to 5.

use rayon::prelude::*;

use super::finite::unusable;
use super::math::softplus;
use super::metrics::{Metrics, NAMES};
use crate::data::IGNORE_LABEL;
use crate::plan::{Call, DispatchBuilder, Entry, Kernel, Shape, Tape, Tensor, ints, ints_mut};
use crate::{Result, rng};

/// `shaders/loss.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "loss",
    source: include_str!("../../shaders/loss.wgsl"),
    entries: &[
        Entry { name: "train", twin: |call| train(call, false) },
        Entry { name: "train_continue", twin: |call| train(call, true) },
        Entry { name: "evaluate", twin: evaluate },
    ],
};

/// What a loss reads and how samples halt.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// (B, L, D) of the states.
    pub shape: Shape,
    /// P.
    pub prefix: usize,
    /// V.
    pub vocab: usize,
    /// N_sup.
    pub halt_max_steps: usize,
    /// Halt when q_halt > q_continue instead of q_halt > 0.
    pub compare_continue: bool,
    /// Probability that a slot gets a random minimum of steps.
    pub halt_exploration_prob: f32,
    /// The share of a label's weight that training spreads evenly over the vocabulary.
    pub label_smoothing: f32,
    /// Samples that gradients are divided by: the global batch.
    pub global_batch: usize,
    /// What gradients are multiplied by.
    pub scale: f32,
    /// (B, L, V).
    pub logits: Tensor,
    /// (B, L, 2): q_halt, q_continue at position 0.
    pub q: Tensor,
    /// (B, S).
    pub labels: Tensor,
    /// Step and seed, for exploration.
    pub clock: Tensor,
    /// (B) step counters, updated.
    pub steps: Tensor,
    /// (B) flags, updated; in training also set where the loss of a sample is not finite, whose states are lost.
    pub halted: Tensor,
    /// (B, 8) in the order of [`NAMES`], written.
    pub stats: Tensor,
}

impl Loss {
    /// Lays down the loss of training; `q_next` (B, L, 2) is there where the continue head is trained. Writes the
    /// gradients of (sum over samples) / global batch.
    pub fn train(&self, tape: &mut Tape, q_next: Option<Tensor>, dlogits: Tensor, dq: Tensor) -> Result<()> {
        let entry = if q_next.is_some() { "train_continue" } else { "train" };
        let mut call =
            self.call(tape, entry).bind("clock", self.clock).bind("dlogits", dlogits).bind("dq", dq);
        call = call
            .count("compare_continue", usize::from(self.compare_continue))
            .float("explore", self.halt_exploration_prob)
            .float("smoothing", self.label_smoothing)
            .float("inverse_batch", self.scale / self.global_batch as f32);
        if let Some(q_next) = q_next {
            call = call.bind("q_next", q_next);
        }
        call.push()
    }

    /// Lays down the loss of evaluation: no gradients, no early halt, `predictions` (B, S) kept.
    pub fn evaluate(&self, tape: &mut Tape, predictions: Tensor) -> Result<()> {
        let call = self.call(tape, "evaluate").bind("predictions", predictions);
        let call = call.count("compare_continue", 0).float("explore", 0.0).float("smoothing", 0.0);
        call.float("inverse_batch", 0.0).push()
    }

    fn call<'t>(&self, tape: &'t mut Tape, entry: &'static str) -> DispatchBuilder<'t> {
        tape.call(&KERNEL, entry)
            .bind("logits", self.logits)
            .bind("q", self.q)
            .bind("labels", self.labels)
            .bind("steps", self.steps)
            .bind("halted", self.halted)
            .bind("stats", self.stats)
            .count("length", self.shape.length)
            .count("prefix", self.prefix)
            .count("vocab", self.vocab)
            .count("max_steps", self.halt_max_steps)
            .flops(12 * self.shape.rows() * self.vocab)
            .groups([self.shape.batch, 1, 1])
    }
}

/// s(v) of the stablemax.
fn stablemax(v: f32) -> f32 {
    if v >= 0.0 { v + 1.0 } else { 1.0 / (1.0 - v) }
}

/// The first of the highest.
fn argmax(logits: &[f32]) -> usize {
    (1..logits.len()).fold(0, |best, v| if logits[v] > logits[best] { v } else { best })
}

/// What a sample's positions add up to.
#[derive(Default)]
struct Totals {
    labels: usize,
    right: usize,
    nll: f32,
}

impl Totals {
    fn look(&mut self, logits: &[f32], label: i32, smoothing: f32) {
        if label == IGNORE_LABEL {
            return;
        }
        let total: f32 = logits.iter().map(|&v| stablemax(v)).sum();
        self.labels += 1;
        self.right += usize::from(argmax(logits) == label as usize);
        let nll = |v: f32| (total / stablemax(v)).ln();
        let own = nll(logits[label as usize]);
        self.nll += match smoothing > 0.0 {
            true => {
                let mean = logits.iter().map(|&v| nll(v)).sum::<f32>() / logits.len() as f32;
                (1.0 - smoothing) * own + smoothing * mean
            }
            false => own,
        };
    }

    fn exact(&self) -> bool {
        self.right == self.labels
    }
}

/// One sample's row of statistics.
fn stats_row(totals: &Totals, q_halt: f32, halted: bool, steps: i32, continue_loss: f32) -> Metrics<f32> {
    let counted = if halted && totals.labels > 0 { 1.0 } else { 0.0 };
    let labels = totals.labels.max(1) as f32;
    let when = |yes: bool| if yes { counted } else { 0.0 };
    Metrics {
        count: counted,
        accuracy: counted * totals.right as f32 / labels,
        exact_accuracy: when(totals.exact()),
        q_halt_accuracy: when((q_halt >= 0.0) == totals.exact()),
        steps: counted * steps as f32,
        lm_loss: totals.nll / labels,
        q_halt_loss: softplus(q_halt) - if totals.exact() { q_halt } else { 0.0 },
        q_continue_loss: continue_loss,
    }
}

fn next_step(steps: i32, halted: i32) -> i32 {
    if halted != 0 { 1 } else { steps + 1 }
}

/// How samples are kept from halting early, now and then.
#[derive(Clone, Copy, Debug)]
pub struct Exploration {
    /// N_sup.
    pub max_steps: i32,
    /// Probability that a sample needs a random minimum of steps.
    pub probability: f32,
    /// The seed's words, low first.
    pub key: [u32; 2],
}

impl Exploration {
    /// The fewest supervision steps with which `sample` of the global batch may halt in training step `step`, whatever its
    /// halt head says; mostly 0.
    pub fn minimum(&self, step: u32, sample: u32) -> i32 {
        let draw = rng::philox(self.key, [step, sample, 0, 0]);
        let explores = self.max_steps > 1 && ((draw[0] >> 8) as f32) < self.probability * 16_777_216.0;
        if explores { 2 + (draw[1] % (self.max_steps as u32 - 1)) as i32 } else { 0 }
    }
}

/// The halting rule of training.
struct Halting {
    exploration: Exploration,
    compare_continue: bool,
    step: u32,
    first_sample: u32,
}

impl Halting {
    fn halts(&self, sample: usize, q: &[f32], steps: i32) -> bool {
        let wants = q[0] > if self.compare_continue { q[1] } else { 0.0 };
        let minimum = || self.exploration.minimum(self.step, self.first_sample + sample as u32);
        let max_steps = self.exploration.max_steps;
        steps >= max_steps || max_steps > 1 && wants && steps >= minimum()
    }
}

fn train(call: &mut Call<'_>, with_continue: bool) {
    let (length, prefix, vocab) = (call.count("length"), call.count("prefix"), call.count("vocab"));
    let (inverse_batch, smoothing) = (call.float("inverse_batch"), call.float("smoothing"));
    let (logits, q, labels, clock) =
        (call.input("logits"), call.input("q"), call.input("labels"), call.input("clock"));
    let halting = Halting {
        exploration: Exploration {
            max_steps: (call.count("max_steps") as u32).min(clock[8].to_bits()) as i32,
            probability: call.float("explore"),
            key: [clock[5].to_bits(), clock[6].to_bits()],
        },
        compare_continue: call.count("compare_continue") != 0,
        step: clock[0].to_bits(),
        first_sample: clock[7].to_bits(),
    };
    let q_next = with_continue.then(|| call.input("q_next"));
    let positions = length - prefix;
    let (steps, halted) = (ints_mut(call.output("steps")), ints_mut(call.output("halted")));
    let (stats, dlogits, dq) = (call.output("stats"), call.output("dlogits"), call.output("dq"));
    let samples = stats.par_chunks_exact_mut(NAMES.len()).zip(steps).zip(halted);
    let grads = dlogits.par_chunks_exact_mut(length * vocab).zip(dq.par_chunks_exact_mut(length * 2));
    samples.zip(grads).enumerate().for_each(|(sample, (((stats, steps), halted), (dlogits, dq)))| {
        let logits = &logits[sample * length * vocab..][..length * vocab];
        let labels = &ints(labels)[sample * positions..][..positions];
        let q = &q[sample * length * 2..][..2];
        let totals = differentiate(logits, labels, (prefix, vocab), (inverse_batch, smoothing), dlogits);
        *steps = next_step(*steps, *halted);
        dq.fill(0.0);
        dq[0] = 0.5 * inverse_batch * (sigmoid(q[0]) - if totals.exact() { 1.0 } else { 0.0 });
        let mut continue_loss = 0.0;
        if let Some(next) = q_next.map(|next| &next[sample * length * 2..][..2]) {
            let last = *steps >= halting.exploration.max_steps;
            let worth = sigmoid(if last { next[0] } else { next[0].max(next[1]) });
            dq[1] = 0.5 * inverse_batch * (sigmoid(q[1]) - worth);
            continue_loss = softplus(q[1]) - worth * q[1];
        }
        let now = halting.halts(sample, q, *steps);
        let row = stats_row(&totals, q[0], now, *steps, continue_loss);
        // A sample whose loss is not finite has states that never will be again: its slot starts anew.
        let lost = [row.lm_loss, row.q_halt_loss, row.q_continue_loss].into_iter().any(unusable);
        *halted = i32::from(now || lost);
        stats.copy_from_slice(&row.row());
    });
}

fn sigmoid(v: f32) -> f32 {
    1.0 / (1.0 + (-v).exp())
}

/// Writes dlogits (L, V) of one sample, zero at the prefix and at ignored positions.
fn differentiate(
    logits: &[f32],
    labels: &[i32],
    (prefix, vocab): (usize, usize),
    (inverse_batch, smoothing): (f32, f32),
    dlogits: &mut [f32],
) -> Totals {
    let mut totals = Totals::default();
    let count = labels.iter().filter(|&&label| label != IGNORE_LABEL).count();
    let weight = inverse_batch / count.max(1) as f32;
    dlogits.fill(0.0);
    let rows = dlogits.chunks_exact_mut(vocab).zip(logits.chunks_exact(vocab)).skip(prefix).zip(labels);
    for ((dlogits, logits), &label) in rows.filter(|(_, label)| **label != IGNORE_LABEL) {
        totals.look(logits, label, smoothing);
        let total: f32 = logits.iter().map(|&v| stablemax(v)).sum();
        for (v, (slope, &logit)) in dlogits.iter_mut().zip(logits).enumerate() {
            let s = stablemax(logit);
            let spread = smoothing / vocab as f32;
            let wanted = if v == label as usize { 1.0 - smoothing + spread } else { spread };
            let own = if wanted > 0.0 { wanted / s } else { 0.0 };
            *slope = weight * if logit >= 0.0 { 1.0 } else { s * s } * (1.0 / total - own);
        }
    }
    totals
}

fn evaluate(call: &mut Call<'_>) {
    let (length, prefix, vocab) = (call.count("length"), call.count("prefix"), call.count("vocab"));
    let max_steps = call.count("max_steps") as i32;
    let (logits, q, labels) = (call.input("logits"), call.input("q"), ints(call.input("labels")));
    let positions = length - prefix;
    let (steps, halted) = (ints_mut(call.output("steps")), ints_mut(call.output("halted")));
    let (stats, predictions) = (call.output("stats"), ints_mut(call.output("predictions")));
    let samples = stats.chunks_exact_mut(NAMES.len()).zip(steps).zip(halted);
    for (sample, ((stats, steps), halted)) in samples.enumerate() {
        let mut totals = Totals::default();
        let rows = logits[sample * length * vocab..][..length * vocab].chunks_exact(vocab).skip(prefix);
        for (s, logits) in rows.enumerate() {
            totals.look(logits, labels[sample * positions + s], 0.0);
            predictions[sample * positions + s] = argmax(logits) as i32;
        }
        *steps = next_step(*steps, *halted);
        *halted = i32::from(*steps >= max_steps);
        let row = stats_row(&totals, q[sample * length * 2], *halted != 0, *steps, 0.0);
        stats.copy_from_slice(&row.row());
    }
}
