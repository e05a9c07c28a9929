//! Training, one supervision step at a time: draw a batch, set the clock, submit; metrics come back late.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use super::batches::{curriculum_of, sampler_of};
use super::diagnosis;
use super::layout::{Layout, Room};
use crate::checkpoint::{self, State};
use crate::data::symmetry::Symmetries;
use crate::data::{Batch, Dataset, Sampler};
use crate::engine::{Counts, Device, GiveUp, Run};
use crate::model::init::Weights;
use crate::model::{Clock, Curriculum, Metrics, ModelConfig, Params, Runner, Schedule, Which};
use crate::ops::metrics::{NAMES, SKIPPED};
use crate::plan::{Buffer, Half, Plan, Role, Target};
use crate::ranks::{self, Alone, Ranks};
use crate::recipe::{Recipe, TrainSettings};
use crate::{Error, Result};

/// Steps in a row that may be skipped: a single bad batch passes, weights that are lost do not.
const MOST_SKIPPED: u32 = 8;

/// What helps where weights are to learn other puzzles.
const RESET: &str = "give `reset_puzzle_emb` to start each row from the mean of those saved";

/// A model in training on one device.
pub struct Trainer {
    ranks: Arc<dyn Ranks>,
    runner: Runner,
    settings: TrainSettings,
    sampler: Sampler,
    /// [`Dataset::identity`] of what is sampled.
    data: String,
    /// Of all ranks.
    batch: Batch,
    lr: Schedule,
    puzzle_emb_lr: Schedule,
    curriculum: Curriculum,
    step: u64,
    awaited: VecDeque<u64>,
    /// Steps skipped one after the other, up to the last whose metrics were taken.
    skipped_in_a_row: u32,
    /// That last step with its loss, where the loss is not finite.
    lost: Option<(u64, f64)>,
    /// How many times the learning rates were halved.
    lr_halvings: u32,
}

/// The metrics of one step, by then some steps ago.
#[derive(Clone, Copy, Debug)]
pub struct StepMetrics {
    /// The step, counted from 1.
    pub step: u64,
    /// Its learning rate.
    pub lr: f64,
    /// Its metrics.
    pub metrics: Metrics,
    /// A loss or gradient was not finite, and the device left weights, moments, averages and puzzle embeddings alone.
    pub skipped: bool,
}

impl Trainer {
    /// A fresh model, its plan loaded on `device`.
    ///
    /// # Errors
    /// [`Error::Recipe`] for settings that do not fit the data, [`Error::Limit`] for a batch that does not fit
    /// the device.
    pub fn new(recipe: &Recipe, dataset: Arc<Dataset>, device: &Device) -> Result<Trainer> {
        Trainer::laid_out_for(device.target(), recipe, dataset, device)
    }

    /// [`Trainer::new`] as one of several ranks, each with its share of the global batch and a device of its own. From then
    /// on all of them have to make the same calls, but for [`Trainer::metrics`] without waiting.
    ///
    /// # Errors
    /// Those of [`Trainer::new`], and [`Error::Recipe`] for a batch that cannot be shared equally.
    pub fn among(
        ranks: Arc<dyn Ranks>,
        recipe: &Recipe,
        dataset: Arc<Dataset>,
        device: &Device,
    ) -> Result<Trainer> {
        Trainer::of(ranks, device.target(), recipe, dataset, device)
    }

    /// [`Trainer::new`] with a plan for another target than the device's own, such as one of smaller bindings.
    ///
    /// # Errors
    /// Those of [`Trainer::new`].
    pub fn laid_out_for(
        target: Target,
        recipe: &Recipe,
        dataset: Arc<Dataset>,
        device: &Device,
    ) -> Result<Trainer> {
        Trainer::of(Arc::new(Alone), target, recipe, dataset, device)
    }

    fn of(
        ranks: Arc<dyn Ranks>,
        target: Target,
        recipe: &Recipe,
        dataset: Arc<Dataset>,
        device: &Device,
    ) -> Result<Trainer> {
        let (config, settings) = (recipe.model(&dataset)?, recipe.train.clone());
        let batch = settings.global_batch_size;
        if !batch.is_multiple_of(ranks.size()) {
            let problem = format!("{batch} cannot be shared equally by {} ranks", ranks.size());
            return Err(Error::recipe("train.global_batch_size", problem, "start a number that divides it"));
        }
        let total_steps = settings.steps_of(settings.epochs, &dataset);
        if total_steps == 0 {
            let problem = format!("{} epochs over {} groups give no step", settings.epochs, dataset.groups());
            return Err(Error::recipe("train.epochs", problem, "raise it or lower train.global_batch_size"));
        }
        let data = dataset.identity()?;
        let sampler = sampler_of(&settings, dataset)?;
        let (layout, run) = load(&config, &settings, sampler.symmetries(), target, ranks.size(), device)?;
        let settings =
            TrainSettings { micro_batch: layout.micro_batch, recompute: layout.recompute, ..settings };
        let mut runner = Runner::of(run, &config)?;
        runner.load(&Weights::fresh(&config, settings.seed))?;
        let schedule = |base| Schedule {
            base,
            warmup_steps: settings.lr_warmup_steps,
            total_steps,
            min_ratio: settings.lr_min_ratio,
        };
        Ok(Trainer {
            ranks,
            runner,
            batch: Batch::new(batch, config.seq_len),
            lr: schedule(settings.lr),
            puzzle_emb_lr: schedule(settings.puzzle_emb_lr),
            curriculum: curriculum_of(recipe, total_steps),
            sampler,
            data,
            settings,
            step: 0,
            awaited: VecDeque::new(),
            skipped_in_a_row: 0,
            lost: None,
            lr_halvings: 0,
        })
    }

    /// Begins from other weights than fresh ones, before the first step; the optimiser begins anew, as in the release.
    ///
    /// With `reset_puzzle_emb`, weights for other puzzle identifiers are taken, and each of this data set's rows starts
    /// as the mean of theirs.
    ///
    /// # Errors
    /// [`Error::File`] naming `from` and other puzzle identifiers, or the first tensor that this model does not have or has in another shape.
    pub fn init_from(&mut self, from: &Path, reset_puzzle_emb: bool) -> Result<()> {
        let (mut config, mut weights) = checkpoint::load(from)?;
        let own = self.config();
        let other_puzzles = config.identifiers_fault(own.identifiers.as_deref());
        if reset_puzzle_emb
            && (config.num_puzzle_identifiers != own.num_puzzle_identifiers || other_puzzles.is_some())
        {
            checkpoint::reset_puzzle_emb(&mut config, &mut weights, own.num_puzzle_identifiers);
        }
        check_same_tensors(from, &Params::of(&config), &Params::of(own))?;
        if let Some(fault) = other_puzzles.filter(|_| !reset_puzzle_emb) {
            return Err(Error::file(from, format!("the data set is another: {fault}"), RESET));
        }
        self.runner.load(&weights)
    }

    /// The model's sizes.
    pub fn config(&self) -> &ModelConfig {
        self.runner.config()
    }

    /// The settings, with what they left open decided: `micro_batch` and `recompute`.
    pub fn settings(&self) -> &TrainSettings {
        &self.settings
    }

    /// Bytes of device memory that the plan takes.
    pub fn bytes(&self) -> u64 {
        self.runner.plan.bytes()
    }

    /// Steps done.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// Steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.lr.total_steps
    }

    /// What was asked of the driver so far.
    pub fn counts(&mut self) -> Counts {
        self.runner.counts()
    }

    /// Samples of this rank's share of the batch.
    fn share(&self) -> usize {
        self.settings.global_batch_size / self.ranks.size()
    }

    /// Has all ranks' gradients, statistics and puzzle rows be the same as if one of them had computed all samples.
    fn exchange(&mut self) -> Result<()> {
        let mut sums = self.runner.read_floats("gradients")?;
        let gradients = sums.len();
        sums.extend_from_slice(&self.runner.read_floats("metrics")?[..NAMES.len()]);
        ranks::sum(&*self.ranks, &mut sums)?;
        self.runner.write_floats("gradients", &sums[..gradients])?;
        self.runner.write_floats("metrics", &sums[gradients..])?;
        if self.runner.plan.view("puzzle_rows").is_ok() {
            let used =
                [("puzzle_rows", "puzzle_rows"), ("carry.data.puzzle_identifiers", "puzzle_identifiers")];
            for (own, all) in used {
                let words = self.ranks.gather(&self.runner.read(own)?)?;
                self.runner.write(&format!("gathered.{all}"), &words)?;
            }
        }
        Ok(())
    }

    /// One supervision step: one batch up, one submission; of several ranks, two, between which they exchange gradients.
    ///
    /// # Errors
    /// A broken data set or device.
    pub fn step(&mut self) -> Result<()> {
        self.step_unless(&|| false).map(drop)
    }

    /// [`Trainer::step`], which `give_up` may end on the way where there are no other ranks. It then returns false, and
    /// from then on the trainer is good for nothing but [`Trainer::restore`].
    ///
    /// # Errors
    /// A broken data set or device.
    pub fn step_unless(&mut self, give_up: GiveUp<'_>) -> Result<bool> {
        self.sampler.next_batch(&mut self.batch)?;
        self.step += 1;
        let clock = Clock {
            step: u32::try_from(self.step).unwrap_or(u32::MAX),
            lr: self.rate(&self.lr, self.step) as f32,
            puzzle_emb_lr: self.rate(&self.puzzle_emb_lr, self.step) as f32,
            betas: (self.settings.beta1, self.settings.beta2),
            seed: self.settings.seed,
            first_sample: (self.ranks.rank() * self.share()) as u32,
            most_steps: self.curriculum.at(self.step),
        };
        self.awaited.push_back(self.step);
        if self.ranks.size() == 1 {
            self.runner.feed(&self.batch)?;
            self.runner.set_clock(&clock)?;
            let done = self.runner.submit_unless(Half::Whole, give_up)?;
            if !done {
                self.awaited.pop_back();
                self.step -= 1;
            }
            return Ok(done);
        }
        let first = self.ranks.rank() * self.share();
        self.runner.feed(&self.batch.part(first..first + self.share()))?;
        self.runner.set_clock(&clock)?;
        self.runner.submit_unless(Half::First, &|| false)?;
        self.exchange()?;
        self.runner.submit_unless(Half::Second, &|| false)
    }

    /// The oldest metrics not yet taken; None if there are none, or, unless `wait`, if they are not there yet.
    ///
    /// # Errors
    /// [`Error::Numeric`] at the 8th step in a row that was skipped, because a loss or gradient was not finite.
    pub fn metrics(&mut self, wait: bool) -> Result<Option<StepMetrics>> {
        let Some(block) = self.runner.metrics(wait)? else { return Ok(None) };
        let step = self.awaited.pop_front().unwrap_or(self.step);
        let metrics = Metrics::read(&block).averaged(self.settings.global_batch_size as f64);
        let skipped = block.get(SKIPPED).is_some_and(|&flag| flag != 0.0);
        self.skipped_in_a_row = if skipped { self.skipped_in_a_row + 1 } else { 0 };
        self.lost = (!metrics.loss().is_finite()).then_some((step, metrics.loss()));
        if self.skipped_in_a_row >= MOST_SKIPPED {
            self.check_loss()?;
            let problem = format!(
                "are infinite, NaN or too large to be squared, as in the {} steps before",
                MOST_SKIPPED - 1
            );
            return Err(not_finite(format!("gradients at step {step}"), problem));
        }
        Ok(Some(StepMetrics { step, lr: self.rate(&self.lr, step), metrics, skipped }))
    }

    /// Refuses weights that are not worth keeping: those whose last loss, of the metrics taken so far, is not finite.
    /// They are finite themselves, but a step before may have thrown them far off.
    ///
    /// # Errors
    /// [`Error::Numeric`] that names the step.
    pub fn check_loss(&self) -> Result<()> {
        match self.lost {
            Some((step, loss)) => Err(not_finite(format!("loss at step {step}"), format!("is {loss}"))),
            None => Ok(()),
        }
    }

    /// Copies weights to the host, after all submitted steps.
    pub fn weights(&mut self, which: Which) -> Result<Weights> {
        self.runner.weights(which)
    }

    /// Everything that a resumed run needs to continue bit-identically: of several ranks, the same as of one.
    pub fn state(&mut self) -> Result<State> {
        let mut buffers = BTreeMap::new();
        for name in self.kept_buffers()?.into_keys() {
            let words = self.runner.read(&name)?;
            let words = if is_carry(&name) { self.ranks.gather(&words)? } else { words };
            buffers.insert(name, words);
        }
        Ok(State {
            step: self.step,
            sampler: self.sampler.state(),
            config: self.config().clone(),
            batch: self.settings.global_batch_size,
            data: Some(self.data.clone()),
            lr_halvings: self.lr_halvings,
            buffers,
        })
    }

    /// Continues where `state`, which was read from the file `path`, was taken.
    ///
    /// # Errors
    /// [`Error::File`] where it belongs to another model, data set or batch size; [`Error::Recipe`] where
    /// `train.eval_interval` is too short for where the run stood.
    pub fn restore(&mut self, path: &Path, state: &State) -> Result<()> {
        let kept = self.kept_buffers()?;
        let sizes = kept.iter().map(|(name, words)| (name.as_str(), *words));
        state.check(path, self.config(), self.settings.global_batch_size, &self.data, sizes)?;
        // Of steps that are made again.
        while self.runner.metrics(true)?.is_some() {}
        self.awaited.clear();
        (self.skipped_in_a_row, self.lost) = (0, None);
        for (name, words) in &state.buffers {
            let own = words.len() / self.ranks.size();
            let words = match is_carry(name) {
                true => &words[self.ranks.rank() * own..][..own],
                false => &words[..],
            };
            self.runner.write(name, words)?;
        }
        self.sampler.restore(state.sampler)?;
        (self.step, self.lr_halvings) = (state.step, state.lr_halvings);
        Ok(())
    }

    /// How many times the learning rates were halved since the run began.
    pub fn lr_halvings(&self) -> u32 {
        self.lr_halvings
    }

    fn rate(&self, schedule: &Schedule, step: u64) -> f64 {
        schedule.at(step) * 0.5f64.powf(self.lr_halvings.into())
    }

    /// What the weights and the last gradients tell of a loss that is not finite.
    ///
    /// # Errors
    /// Device failures.
    pub fn explain(&mut self) -> Result<String> {
        // A run with frozen weights has none.
        let gradients = self.runner.read_floats("gradients").ok();
        let weights = self.runner.weights(Which::Raw)?.trained;
        Ok(diagnosis::describe(&Params::of(self.config()), &weights, gradients.as_deref()))
    }

    /// Names and words of what outlives a step: weights, optimiser, carry. What this device splits is one, so that a
    /// run can go on with another device or in other micro-batches.
    fn kept_buffers(&self) -> Result<BTreeMap<String, usize>> {
        let plan = &self.runner.plan;
        let outlives = |(index, buffer): (usize, &Buffer)| {
            let role = matches!(buffer.role, Role::Weights | Role::Optimiser | Role::Carry);
            (role && !buffer.shared && buffer.name != "rope_table").then(|| plan.host_name(index).to_owned())
        };
        let names = plan.buffers.iter().enumerate().filter_map(outlives);
        let ranks = self.ranks.size();
        let all = |name: &str, words: usize| if is_carry(name) { ranks * words } else { words };
        names.map(|name| plan.words(&name).map(|words| (name.clone(), all(&name, words)))).collect()
    }
}

/// What each rank has its share of.
fn is_carry(name: &str) -> bool {
    name.starts_with("carry.")
}

/// Loads the best layout for which the device has memory, which it may know only when it is asked for it.
fn load(
    config: &ModelConfig,
    settings: &TrainSettings,
    augment: Option<Symmetries>,
    target: Target,
    ranks: usize,
    device: &Device,
) -> Result<(Layout, Run)> {
    let mut refused: Option<(u64, Error)> = None;
    loop {
        let holds = |plan: &Plan, others| match &refused {
            Some((bytes, Error::Memory { device, .. })) if plan.bytes() >= *bytes => {
                let (what, fix) = (format!("the free memory of {device}"), "use a smaller batch".into());
                Err(Error::Limit { what, needed: plan.bytes(), limit: bytes - 1, unit: "bytes", fix })
            }
            _ => device.check_beside(plan, others),
        };
        let (layout, plan) = Layout::choose(
            config,
            settings,
            augment,
            target,
            ranks,
            Room { holds: &holds, most_flops: device.most_flops() },
        )?;
        let bytes = plan.bytes();
        match Run::new(device, plan) {
            Err(error @ Error::Memory { .. }) => refused = Some((bytes, error)),
            outcome => return Ok((layout, outcome?)),
        }
    }
}

/// A loss or gradient that is not finite.
fn not_finite(what: String, problem: String) -> Error {
    let fix = "resume from the last checkpoint with a lower train.lr or a longer train.lr_warmup_steps";
    Error::Numeric { what, problem, fix: fix.into() }
}

/// Refuses weights of another model, naming the first tensor that differs.
fn check_same_tensors(from: &Path, found: &Params, expected: &Params) -> Result<()> {
    let shape = |params: &Params, name: &str| match params.get(name) {
        Some(param) => format!("{:?}", param.shape),
        None => "none".to_owned(),
    };
    let names = || expected.table.iter().chain(&found.table).map(|param| param.name.as_str());
    match names().find(|name| shape(found, name) != shape(expected, name)) {
        Some(name) => {
            let (found, expected) = (shape(found, name), shape(expected, name));
            let fix = match name {
                "puzzle_emb.weights" => RESET,
                _ => "use the recipe and data of these weights",
            };
            let problem = format!("its {name} is {found}, the run's {expected}");
            Err(Error::file(from, problem, fix))
        }
        None => Ok(()),
    }
}
