//! How a training step is laid out on what a device has room for: how many samples at once, and what is kept for the
//! reverse pass.

use crate::data::symmetry::Symmetries;
#[cfg(doc)]
use crate::engine::Device;
use crate::model::ModelConfig;
use crate::model::step::{Batches, eval_plan, train_plan};
use crate::plan::{Element, Plan, Target};
use crate::recipe::TrainSettings;
use crate::text::counted;
use crate::{Error, Result};

/// Positions of a micro-batch with which a GPU works at half of its best speed. An H200 needs about 8,600 (the steps of
/// a mixer model at batches of 8, 64 and 768 take 1.99, 0.40 and 0.17 ms a sample in PyTorch), smaller GPUs less.
const HALF_BUSY: f64 = 4096.0;

/// The way a step is computed; results differ by roundings only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Samples computed at once.
    pub micro_batch: usize,
    /// Whether inner activations of MLPs are computed again in the reverse pass.
    pub recompute: bool,
}

/// What a device allows.
#[derive(Clone, Copy)]
pub struct Room<'a> {
    /// Whether there is room for a training plan, with so many bytes beside it: [`Error::Limit`] where not.
    pub holds: &'a dyn Fn(&Plan, u64) -> Result<()>,
    /// Floating-point operations of the longest dispatch, which cannot be cut; [`Device::most_flops`].
    pub most_flops: u64,
}

impl Room<'_> {
    /// Whether there is room for `plan`.
    fn check(&self, plan: &Plan, others: u64) -> Result<()> {
        let needed = plan.dispatches.iter().map(|dispatch| dispatch.cost.flops).max().unwrap_or(0);
        if needed > self.most_flops {
            let (what, fix) = ("a dispatch".into(), "raise train.max_submission_ms".into());
            return Err(Error::Limit { what, needed, limit: self.most_flops, unit: "FLOP", fix });
        }
        (self.holds)(plan, others)
    }
}

impl Layout {
    /// The layout that `settings` ask for, or, of what they leave open, the one for which there is room that promises
    /// most speed; with its plan, of one of `ranks` that share the global batch, whose samples are drawn in `augment`. Evaluation
    /// with batches of the same size has to fit beside it.
    ///
    /// # Errors
    /// [`Error::Limit`] where there is room for none, [`Error::Recipe`] for impossible sizes.
    pub fn choose(
        config: &ModelConfig,
        settings: &TrainSettings,
        augment: Option<Symmetries>,
        target: Target,
        ranks: usize,
        room: Room<'_>,
    ) -> Result<(Layout, Plan)> {
        let batch = settings.global_batch_size / ranks;
        let whole = Batches { batch, micro_batch: batch, ranks, augment };
        let sizes: Vec<usize> = match settings.micro_batch {
            size if size > 0 && (ranks == 1 || batch.is_multiple_of(size)) => vec![size],
            // That of a run with fewer ranks need not divide the share of one.
            _ => (1..=batch).filter(|&size| batch.is_multiple_of(size)).collect(),
        };
        let keep: &[bool] = if target.recompute { &[true] } else { &[false, true] };
        let mut refused = None;
        let mut best: Option<(f64, Layout, Plan)> = None;
        for &recompute in keep {
            let target = Target { recompute, ..target };
            match largest(config, settings, target, (whole, &sizes), room) {
                Ok((micro_batch, plan)) => {
                    let time = relative_time(&plan, micro_batch * config.length());
                    if best.as_ref().is_none_or(|(known, ..)| time < *known) {
                        best = Some((time, Layout { micro_batch, recompute }, plan));
                    }
                }
                Err(error @ Error::Limit { .. }) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        match (best, refused) {
            (Some((_, layout, plan)), _) => Ok((layout, plan)),
            (None, Some(error)) => Err(with_remedy(error, settings, target)),
            (None, None) => Err(Error::recipe("train.global_batch_size", "is 0", "give at least 1")),
        }
    }
}

/// The largest of the ascending `sizes` for which there is room: what is larger takes more of it.
fn largest(
    config: &ModelConfig,
    settings: &TrainSettings,
    target: Target,
    (whole, sizes): (Batches, &[usize]),
    room: Room<'_>,
) -> Result<(usize, Plan)> {
    let fitting = |micro_batch: usize| {
        let plan = train_plan(config, &settings.optimiser(), Batches { micro_batch, ..whole }, target)?;
        let evaluation = eval_plan(config, micro_batch, target)?.bytes();
        // The smallest is taken however long its dispatches are.
        let most_flops = if micro_batch == sizes[0] { u64::MAX } else { room.most_flops };
        Room { most_flops, ..room }.check(&plan, evaluation).map(|()| (micro_batch, plan))
    };
    // The usual case first: the whole batch.
    let mut refused = match sizes.last().map(|&size| fitting(size)) {
        Some(Err(error @ Error::Limit { .. })) => error,
        Some(outcome) => return outcome,
        None => return Err(Error::recipe("train.global_batch_size", "is 0", "give at least 1")),
    };
    let (mut best, mut from, mut to) = (None, 0, sizes.len() - 1);
    while from < to {
        let middle = from + (to - from) / 2;
        match fitting(sizes[middle]) {
            Ok(found) => (best, from) = (Some(found), middle + 1),
            Err(error @ Error::Limit { .. }) => (refused, to) = (error, middle),
            Err(error) => return Err(error),
        }
    }
    best.ok_or(refused)
}

/// Time that a step takes, up to a factor of the device.
fn relative_time(plan: &Plan, positions: usize) -> f64 {
    plan.cost().flops as f64 * (1.0 + HALF_BUSY / positions as f64)
}

/// The same refusal with what is left to do about it.
fn with_remedy(error: Error, settings: &TrainSettings, target: Target) -> Error {
    let Error::Limit { what, needed, limit, unit, .. } = error else { return error };
    let (mut ways, size) = (Vec::new(), settings.micro_batch);
    if size > 0 {
        ways.push("train.micro_batch=0 to have a size chosen that fits");
    }
    if target.precision == Element::F32 {
        ways.push("`precision` bf16 or f16 for half the memory");
    }
    ways.push("more memory (a larger `memory` where one was given), or another device");
    let at_once = if size > 0 { size } else { 1 };
    let what = format!("training with {} at once: {what}", counted(at_once, "sample"));
    Error::Limit { what, needed, limit, unit, fix: format!("use {}", ways.join(", or ")) }
}
