//! A model without gradients, and how it thinks about a stream of samples.
//!
//! The batch has slots. A sample that is done leaves its slot to the next one, so that a batch of samples that halt
//! at different steps holds running ones only, until none are left to come. Nothing that happens to a sample
//! depends on what lies in the other slots.

use super::slots::{Answers, Running};
use super::stream::{Alike, Look, Next, Pace, Samples, Terms, Visit};
use super::{Breadth, Selection};
use crate::data::{Batch, Dataset, TestBatches};
use crate::engine::{Device, Run};
use crate::model::init::Weights;
use crate::model::recursion::Recursion;
use crate::model::step::{Rollouts, rollout_plan};
use crate::model::{Draw, Metrics, ModelConfig, Runner};
use crate::ops::metrics::NAMES;
use crate::ops::rollout::Disturbance;
use crate::{Error, Result};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A model without gradients on one device.
pub struct Evaluator {
    runner: Runner,
    batch: usize,
    breadth: Breadth,
    /// What the plan does for rollouts.
    able: Rollouts,
    /// What the plan measures the changes of latents by.
    changes: Vec<String>,
    /// No further samples are begun once it is true.
    stop: Arc<AtomicBool>,
}

impl Evaluator {
    /// Loads the plan; weights come with [`Evaluator::load`]. Samples run `halt_max_steps` of `config`, which
    /// may differ from training.
    ///
    /// # Errors
    /// [`Error::Recipe`] for impossible sizes, [`Error::Limit`] for a batch that does not fit the device.
    pub fn new(config: &ModelConfig, device: &Device, batch: usize) -> Result<Evaluator> {
        Evaluator::with(config, device, batch, Breadth::default())
    }

    /// The same for puzzles that are thought about as widely as `breadth` says.
    ///
    /// # Errors
    /// Those of [`Evaluator::new`] and [`Breadth::check`].
    pub fn with(config: &ModelConfig, device: &Device, batch: usize, breadth: Breadth) -> Result<Evaluator> {
        breadth.check(&config.arch)?;
        let evaluator = Evaluator::able(config, device, batch, breadth.needs())?;
        Ok(Evaluator { breadth, ..evaluator })
    }

    /// The same for puzzles each of which says itself how widely it is thought about, for which the plan has to be `able`.
    pub(crate) fn able(
        config: &ModelConfig,
        device: &Device,
        batch: usize,
        able: Rollouts,
    ) -> Result<Evaluator> {
        let run = Run::of_batch(device, batch, |batch| rollout_plan(config, batch, device.target(), able))?;
        let recursion = Recursion::of(&config.arch);
        let latents = recursion.latents().filter(|_| able.changes);
        let changes = latents.map(|latent| format!("changes.{}", recursion.states[latent])).collect();
        let (breadth, stop) = (Breadth::default(), Arc::default());
        Ok(Evaluator { runner: Runner::of(run, config)?, batch, breadth, able, changes, stop })
    }

    /// How widely and how long it thinks.
    pub fn breadth(&self) -> &Breadth {
        &self.breadth
    }

    /// Work of one supervision step of one sample.
    pub fn flops(&self) -> f64 {
        self.runner.plan.cost().flops as f64 / self.batch as f64
    }

    /// Applications of a net in one supervision step.
    pub fn net_applications(&self) -> usize {
        Recursion::of(&self.config().arch).updates.len()
    }

    /// Uploads weights.
    pub fn load(&mut self, weights: &Weights) -> Result<()> {
        self.runner.load(weights)
    }

    /// Begins no further samples once `flag` is true: streams end early then, as if they had no more.
    pub fn stop_when(&mut self, flag: Arc<AtomicBool>) {
        self.stop = flag;
    }

    /// Whether that flag is true.
    pub(super) fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Supervision steps that a sample runs at the most.
    pub fn max_steps(&self) -> usize {
        self.config().arch.halt_max_steps
    }

    /// The model.
    pub fn config(&self) -> &ModelConfig {
        self.runner.config()
    }

    /// Runs a stream of samples, each as it is given, and shows each to `visit` after its last step or after every step.
    /// After each step of the batch, `progress` is told the samples done, and of running ones the share of the steps that
    /// they may take.
    ///
    /// # Errors
    /// Those of `next` and `visit`, and device failures.
    pub fn roll(
        &mut self,
        pace: Pace,
        next: &mut Next<'_>,
        visit: &mut Visit<'_>,
        progress: &mut dyn FnMut(f64),
    ) -> Result<()> {
        let Pace { halt, settle, every_step, cut_short } = pace;
        let breadth = Breadth { halt, settle, seed: self.breadth.seed, ..Breadth::default() };
        let terms = Terms { rollout: 0, breadth, every_step };
        self.run(cut_short, &mut Alike { terms, next, visit, progress })
    }

    /// Runs samples that say themselves how they are thought about.
    pub(super) fn run(&mut self, cut_short: bool, samples: &mut dyn Samples) -> Result<()> {
        let seq_len = self.config().seq_len;
        let (mut batch, mut one) = (Batch::new(self.batch, seq_len), Batch::new(1, seq_len));
        let mut slots: Vec<Option<Running>> = vec![None; self.batch];
        let (mut before, mut taken) = (Vec::new(), 0);
        loop {
            for slot in &mut slots {
                *slot = slot.filter(|running| samples.wanted(running.index));
            }
            let mut fresh = vec![0; self.batch];
            for (slot, running) in slots.iter_mut().enumerate().filter(|(_, running)| running.is_none()) {
                if self.stops() {
                    break;
                }
                let Some(terms) = samples.next(&mut one)? else { break };
                batch.copy_row(slot, &one, 0);
                fresh[slot] = 1;
                *running = Some(Running::new(taken, &one, terms, self.max_steps()));
                taken += 1;
            }
            if slots.iter().all(Option::is_none) || (cut_short && self.stops()) {
                return Ok(());
            }
            self.step(&batch, &fresh, &slots)?;
            slots.iter_mut().flatten().for_each(|running| running.step += 1);
            if slots.iter().flatten().any(|running| running.is_watched() || running.step == running.steps) {
                let answers = self.answers()?;
                for (slot, running) in slots.iter_mut().enumerate() {
                    running.iter_mut().for_each(|running| running.follow(slot, &answers, &before, seq_len));
                }
                self.look(&batch, &answers, &mut slots, samples)?;
                before = answers.predictions;
            }
            let left = slots.iter().flatten();
            let left: f64 =
                left.map(|running| (running.steps - running.step) as f64 / running.steps as f64).sum();
            samples.progress(taken as f64 - left);
        }
    }

    /// One supervision step; `fresh` slots take their sample from `batch` first.
    fn step(&mut self, batch: &Batch, fresh: &[i32], slots: &[Option<Running>]) -> Result<()> {
        if self.able.differ {
            let of = |slot: &Option<Running>| slot.as_ref().map_or(Disturbance::NONE, Running::disturbance);
            let words: Vec<u32> = slots.iter().flat_map(|slot| of(slot).words()).collect();
            self.runner.write("rollouts", &words)?;
        }
        if fresh.contains(&1) {
            self.runner.feed(batch)?;
        }
        let draw = |slot: &Option<Running>| slot.as_ref().map(Running::draw).unwrap_or_default();
        let draws: Vec<Draw> = slots.iter().map(draw).collect();
        self.runner.set_draws(draws.into_iter())?;
        self.runner.write_ints("carry.halted", fresh)?;
        self.runner.submit()?;
        self.runner.metrics(true)?;
        Ok(())
    }

    fn answers(&mut self) -> Result<Answers> {
        Ok(Answers {
            predictions: self.runner.read_ints("predictions")?,
            q: self.runner.read_floats("q_logits")?,
            stats: self.runner.read_floats("stats")?,
            changes: self.changes.iter().map(|name| self.runner.read_floats(name)).collect::<Result<_>>()?,
        })
    }

    /// Shows what is to be seen, and frees the slots of samples that are done.
    fn look(
        &self,
        batch: &Batch,
        answers: &Answers,
        slots: &mut [Option<Running>],
        samples: &mut dyn Samples,
    ) -> Result<()> {
        let (seq_len, per_sample) = (self.config().seq_len, 2 * self.config().length());
        for (slot, place) in slots.iter_mut().enumerate() {
            let Some(running) = *place else { continue };
            let q_halt = answers.q[slot * per_sample];
            let last = running.is_done(q_halt);
            let tokens = slot * seq_len..(slot + 1) * seq_len;
            if last || running.terms.every_step {
                samples.visit(Look {
                    index: running.index,
                    step: running.step,
                    last,
                    inputs: &batch.inputs[tokens.clone()],
                    labels: &batch.labels[tokens.clone()],
                    identifier: batch.puzzle_identifiers[slot],
                    predictions: &answers.predictions[tokens],
                    q_halt,
                    residual: running.residual(),
                    stats: Metrics::read(&answers.stats[slot * NAMES.len()..]),
                })?;
            }
            if last {
                *place = None;
            }
        }
        Ok(())
    }
}

/// The samples of a test split that are selected, one after the other.
pub(super) fn samples_of(
    dataset: &Arc<Dataset>,
    selection: &Selection,
) -> impl FnMut(&mut Batch) -> Result<bool> {
    let mut batches = TestBatches::new(dataset.clone(), 1);
    let (places, mut at) = (selection.places().to_vec(), 0);
    let mut places = places.into_iter();
    move |one| {
        let Some(place) = places.next() else { return Ok(false) };
        batches.skip_examples(place - at);
        at = place + 1;
        Ok(batches.next_batch(one)? == 1)
    }
}

/// A test split that measures nothing.
pub(super) fn no_labels(dataset: &Dataset) -> Error {
    Error::file(dataset.folder(), "holds no labelled sample", "evaluate on a split with labels")
}

/// Refuses a data set whose sizes differ from the model's, naming the first, or whose puzzle identifiers are others.
pub fn check_fit(config: &ModelConfig, dataset: &Dataset) -> Result<()> {
    let metadata = dataset.metadata();
    let sizes = [
        ("seq_len", metadata.seq_len, config.seq_len),
        ("vocab_size", metadata.vocab_size, config.vocab_size),
        ("num_puzzle_identifiers", metadata.num_puzzle_identifiers, config.num_puzzle_identifiers),
    ];
    match sizes.iter().find(|(_, found, expected)| found != expected) {
        Some((name, found, expected)) => Err(Error::file(
            dataset.folder(),
            format!("its {name} is {found}, the model's is {expected}"),
            "use the data set that the model was trained for",
        )),
        None => match config.identifiers_fault(dataset.identifiers()) {
            Some(fault) => {
                let fix =
                    "its puzzles have other embeddings: use the data set that the model was trained for";
                Err(Error::file(dataset.folder(), fault, fix))
            }
            None => Ok(()),
        },
    }
}
