//! What training adds to a step: gradients, moments and the moving average, and the optimisers that use them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Step;
use crate::Result;
use crate::model::params::{Home, Param};
use crate::ops::adam_atan2::{AdamAtan2, Moments};
use crate::ops::embed::EmbedGradients;
use crate::ops::linear::{bias_gradient, weight_gradient};
use crate::ops::muon::Muon;
use crate::ops::sign_sgd::SignSgd;
use crate::ops::{finite, metrics};
use crate::plan::{Element, Role, Tape, Target, Tensor};

/// What moves the weights of the blocks; all others are moved by AdamATan2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// AdamATan2, as in the release.
    #[default]
    #[serde(rename = "adam_atan2")]
    AdamAtan2,
    /// Muon: their orthogonalised momentum.
    Muon,
}

/// What the optimisers and the loss keep constant; learning rates come with the [`Clock`](crate::model::Clock).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimiser {
    /// What moves the weights of the blocks.
    pub algorithm: Algorithm,
    /// AdamATan2's decays.
    pub betas: (f64, f64),
    /// Decoupled weight decay of the weights.
    pub weight_decay: f64,
    /// Decoupled weight decay of the puzzle embeddings.
    pub puzzle_emb_weight_decay: f64,
    /// Decay of the moving average.
    pub ema_rate: f64,
    /// Leave the weights, their moments and their average as they are: only puzzle embeddings learn.
    pub freeze_weights: bool,
    /// The share of a label's weight that the loss spreads evenly over the vocabulary.
    pub label_smoothing: f64,
    /// Samples that gradients are divided by; the batch, or the sum of all ranks' batches.
    pub global_batch: usize,
}

/// What training adds: gradients, moments, the moving average.
pub(super) struct Training {
    pub whole: Moments,
    gradients: BTreeMap<String, Tensor>,
    pub embed_gradients: EmbedGradients,
    used_rows: Option<UsedRows>,
}

/// The puzzle embeddings that a step used, over all of its samples.
#[derive(Clone, Copy)]
struct UsedRows {
    batch: usize,
    /// Samples of a part of the tensors.
    micro_batch: usize,
    /// (B, emb_ndim) gradients.
    rows: Tensor,
    /// (B).
    identifiers: Tensor,
}

impl Training {
    pub fn on(
        tape: &mut Tape,
        step: &Step<'_>,
        (freeze_weights, ranks): (bool, usize),
        scale: f32,
    ) -> Result<Training> {
        let words = step.params.buffer_elements(Home::Trained);
        let gradient = tape.buffer("gradients", Role::Gradient, words);
        let whole = Moments {
            gradient,
            weight: step.trained,
            first_moment: tape.buffer("first_moment", Role::Optimiser, words),
            second_moment: tape.buffer("second_moment", Role::Optimiser, words),
            ema: tape.buffer("ema", Role::Optimiser, words),
        };
        let mut gradients = BTreeMap::new();
        for param in step.params.table.iter().filter(|param| param.home == Home::Trained) {
            gradients.insert(param.name.clone(), tape.part(gradient, param.offset, param.elements())?);
        }
        let emb_ndim = step.config.arch.puzzle_emb_ndim;
        let rows = step.shape.batch * emb_ndim;
        let embed_gradients = EmbedGradients {
            tokens: gradients["embed_tokens.embedding_weight"],
            embed_pos: gradients.get("embed_pos.embedding_weight").copied(),
            puzzle_rows: (emb_ndim > 0).then(|| tape.parted_buffer("puzzle_rows", Role::Gradient, rows)),
            scale: 1.0 / scale,
        };
        let used_rows = embed_gradients.puzzle_rows.map(|rows| {
            let (micro_batch, batch) = (step.shape.batch, step.shape.batch * tape.micro_batches());
            if ranks == 1 {
                let [rows, identifiers] = [rows, step.running.identifiers].map(|part| tape.all_parts(part));
                return UsedRows { batch, micro_batch, rows, identifiers };
            }
            let all = ranks * batch;
            UsedRows {
                batch: all,
                micro_batch: all,
                rows: tape.buffer("gathered.puzzle_rows", Role::Gradient, all * emb_ndim),
                identifiers: tape.buffer("gathered.puzzle_identifiers", Role::Batch, all),
            }
        });
        if !freeze_weights {
            step.weights.values().for_each(|&weight| tape.require_grad(weight));
        }
        Ok(Training { whole, gradients, embed_gradients, used_rows })
    }

    /// The optimisers.
    pub fn update(&self, tape: &mut Tape, step: &Step<'_>, optimiser: &Optimiser) -> Result<()> {
        // The optimisers change nothing where one of these is not finite: the loss, a gradient.
        let mut judged = vec![tape.part(step.metrics, 0, metrics::NAMES.len())?];
        if !optimiser.freeze_weights {
            judged.push(self.whole.gradient);
        }
        judged.extend(self.used_rows.map(|used| used.rows));
        tape.scope("optimiser");
        let skip = tape.tensor(Role::Gradient, 1);
        finite::skip_unless_finite(tape, &judged, skip, step.metrics)?;
        if !optimiser.freeze_weights {
            self.update_weights(tape, step, skip, optimiser)?;
        }
        match self.used_rows {
            Some(used) => Training::update_puzzle_emb(tape, step, used, skip, optimiser),
            None => Ok(()),
        }
    }

    /// What the weights' gradients came to.
    pub fn weight_gradients(&self, tape: &mut Tape, step: &Step<'_>) -> Result<()> {
        let scale = self.embed_gradients.scale;
        for (name, &weight) in &step.weights {
            let Some(&gradient) = self.gradients.get(name) else { continue };
            tape.scope(name.as_str());
            if name == "q_head.bias" {
                bias_gradient(tape, weight, 2, scale, gradient)?;
            } else {
                weight_gradient(tape, weight, scale, gradient)?;
            }
        }
        Ok(())
    }

    fn update_weights(
        &self,
        tape: &mut Tape,
        step: &Step<'_>,
        skip: Tensor,
        optimiser: &Optimiser,
    ) -> Result<()> {
        let adam = AdamAtan2 {
            beta1: optimiser.betas.0 as f32,
            beta2: optimiser.betas.1 as f32,
            weight_decay: optimiser.weight_decay as f32,
            ema_rate: optimiser.ema_rate as f32,
        };
        if optimiser.algorithm == Algorithm::AdamAtan2 {
            return adam.push(tape, step.clock, skip, self.whole);
        }
        // Blocks come last.
        let (blocks, others): (Vec<&Param>, Vec<&Param>) = step
            .params
            .table
            .iter()
            .filter(|param| param.home == Home::Trained)
            .partition(|param| param.in_block());
        let end = others.iter().map(|param| param.offset + param.elements()).max().unwrap_or(0);
        let own = self.whole.part(tape, 0, end)?;
        adam.push(tape, step.clock, skip, own)?;
        for param in blocks {
            tape.scope(param.name.as_str());
            let muon = Muon {
                rows: param.shape[0],
                columns: param.elements() / param.shape[0],
                weight_decay: adam.weight_decay,
                ema_rate: adam.ema_rate,
            };
            let own = self.whole.part(tape, param.offset, param.elements())?;
            muon.push(tape, step.clock, skip, own)?;
        }
        Ok(())
    }

    fn update_puzzle_emb(
        tape: &mut Tape,
        step: &Step<'_>,
        used: UsedRows,
        skip: Tensor,
        optimiser: &Optimiser,
    ) -> Result<()> {
        let Some(table) = &step.puzzle_table else { return Ok(()) };
        let UsedRows { batch, micro_batch, rows, identifiers } = used;
        table.update(tape, step.clock, |puzzle_emb, first_identifier| SignSgd {
            batch,
            micro_batch,
            emb_ndim: table.emb_ndim,
            weight_decay: optimiser.puzzle_emb_weight_decay as f32,
            identifiers,
            rows,
            first_identifier,
            puzzle_emb,
            skip,
        })
    }
}

/// What the reverse pass multiplies gradients by: where they are stored in f16, the power of two that makes those of the
/// logits, which are divided by `tokens`, about as large as one alone, so that none underflows at any batch.
pub(super) fn gradient_scale(target: &Target, tokens: usize) -> f32 {
    match target.gradient() {
        Element::F16 => tokens.next_power_of_two() as f32,
        Element::F32 | Element::Bf16 => 1.0,
    }
}
