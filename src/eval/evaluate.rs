//! A model without gradients, and how it thinks about a stream of samples.
//!
//! The batch has slots. A sample that is done leaves its slot to the next one, so that a batch of samples that halt
//! at different steps holds running ones only, until none are left to come. Nothing that happens to a sample
//! depends on what lies in the other slots.

use super::{Breadth, Selection};
use crate::data::{Batch, Dataset, TestBatches};
use crate::engine::{Device, Run};
use crate::model::init::Weights;
use crate::model::recursion::Recursion;
use crate::model::step::rollout_plan;
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
    /// What the plan measures the changes of latents by.
    changes: Vec<String>,
    /// No further samples are begun once it is true.
    stop: Arc<AtomicBool>,
}

/// When a sample is done, and when it is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Stop a sample as soon as q_halt > 0; otherwise all run N_sup steps, as in the release.
    pub halt: bool,
    /// Stop a sample as soon as its answer stayed the same for so many steps; 0 for never.
    pub settle: usize,
    /// Look at every step of a sample, and not only at its last.
    pub every_step: bool,
    /// Give the samples at work up where the evaluator is to stop, instead of finishing them.
    pub cut_short: bool,
}

/// A sample after a supervision step.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// Its place in the stream, from 0 on.
    pub index: usize,
    /// Supervision steps done, from 1 on.
    pub step: usize,
    /// No further step follows.
    pub last: bool,
    /// (S) tokens given.
    pub inputs: &'a [i32],
    /// (S) labels.
    pub labels: &'a [i32],
    /// Its puzzle identifier.
    pub identifier: i32,
    /// (S) the highest logit of each position.
    pub predictions: &'a [i32],
    /// Above 0 the model believes its answer.
    pub q_halt: f32,
    /// How far its latents moved in a step, root mean square, over the last three; infinite where that is not measured.
    pub residual: f32,
    /// Its statistics; all but the losses are 0 unless its last step is done.
    pub stats: Metrics,
}

/// Hands out the next sample of a stream into a batch of one; false where there is none now, which is its end as soon as
/// no other sample is at work.
pub type Next<'a> = dyn FnMut(&mut Batch) -> Result<bool> + 'a;
/// Takes in what was seen.
pub type Visit<'a> = dyn FnMut(Look<'_>) -> Result<()> + 'a;

/// A sample in a slot.
#[derive(Clone, Copy)]
struct Running {
    index: usize,
    step: usize,
    /// What tells its draws from those of others: a checksum of its tokens.
    example: u32,
    /// Steps since its answer changed.
    unchanged: usize,
    /// By how much its last steps moved its latents.
    changes: [f32; WINDOW],
}

/// Tells a sample from others, wherever it is asked: its tokens and its identifier.
pub(super) fn checksum(inputs: &[i32], identifier: &[i32]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(bytemuck::cast_slice(inputs));
    checksum.update(bytemuck::cast_slice(identifier));
    checksum.finalize()
}

/// Steps that a residual is the mean of.
const WINDOW: usize = 3;

impl Running {
    fn new(index: usize, sample: &Batch) -> Running {
        let example = checksum(&sample.inputs, &sample.puzzle_identifiers);
        Running { index, step: 0, example, unchanged: 0, changes: [f32::INFINITY; WINDOW] }
    }

    /// The mean of the changes that are known.
    fn residual(&self) -> f32 {
        let known = self.step.saturating_sub(1).min(WINDOW);
        let sum: f32 = (0..known).map(|back| self.changes[(self.step - back) % WINDOW]).sum();
        if known == 0 { f32::INFINITY } else { sum / known as f32 }
    }
}

/// What the device knows of all slots after a step.
struct Answers {
    predictions: Vec<i32>,
    q: Vec<f32>,
    stats: Vec<f32>,
    /// (B) for each latent.
    changes: Vec<Vec<f32>>,
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

    /// The same where the stream has each puzzle as many times in a row as there are rollouts, which are to differ by noise
    /// and random states.
    ///
    /// # Errors
    /// Those of [`Evaluator::new`] and [`Breadth::check`].
    pub fn with(config: &ModelConfig, device: &Device, batch: usize, breadth: Breadth) -> Result<Evaluator> {
        breadth.check(&config.arch)?;
        let needs = breadth.needs();
        let run = Run::of_batch(device, batch, |batch| rollout_plan(config, batch, device.target(), needs))?;
        let recursion = Recursion::of(&config.arch);
        let latents = recursion.latents().filter(|_| needs.changes);
        let changes = latents.map(|latent| format!("changes.{}", recursion.states[latent])).collect();
        Ok(Evaluator { runner: Runner::of(run, config)?, batch, breadth, changes, stop: Arc::default() })
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

    /// Runs a stream of samples, and shows each to `visit` after its last step or after every step. After each step of
    /// the batch, `progress` is told the samples done, and of running ones the share of the steps that they may take.
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
        let mut batch = Batch::new(self.batch, self.config().seq_len);
        let mut one = Batch::new(1, self.config().seq_len);
        let mut slots: Vec<Option<Running>> = vec![None; self.batch];
        let (mut before, mut taken) = (Vec::new(), 0);
        loop {
            let mut fresh = vec![0; self.batch];
            for (slot, running) in slots.iter_mut().enumerate().filter(|(_, running)| running.is_none()) {
                if self.stops() || !next(&mut one)? {
                    break;
                }
                batch.copy_row(slot, &one, 0);
                fresh[slot] = 1;
                *running = Some(Running::new(taken, &one));
                taken += 1;
            }
            if slots.iter().all(Option::is_none) || (pace.cut_short && self.stops()) {
                return Ok(());
            }
            self.step(&batch, &fresh, &slots)?;
            slots.iter_mut().flatten().for_each(|running| running.step += 1);
            let ending = slots.iter().flatten().any(|running| running.step == self.max_steps());
            let watched = pace.settle > 0 || !self.changes.is_empty();
            if pace.halt || pace.every_step || watched || ending {
                let answers = self.answers()?;
                self.follow(&answers, &before, &mut slots);
                self.look(pace, &batch, &answers, &mut slots, visit)?;
                before = answers.predictions;
            }
            let running = slots.iter().flatten();
            let left: usize = running.map(|running| self.max_steps() - running.step).sum();
            progress(taken as f64 - left as f64 / self.max_steps() as f64);
        }
    }

    /// One supervision step; `fresh` slots take their sample from `batch` first.
    fn step(&mut self, batch: &Batch, fresh: &[i32], slots: &[Option<Running>]) -> Result<()> {
        if self.breadth.needs().differ {
            let rows = slots.iter().flat_map(|slot| self.disturbance(slot.as_ref()).words());
            let words: Vec<u32> = rows.collect();
            self.runner.write("rollouts", &words)?;
        }
        if fresh.contains(&1) {
            self.runner.feed(batch)?;
        }
        let draw = |running: &Running| self.draw(running);
        let draws: Vec<Draw> = slots.iter().map(|slot| slot.as_ref().map(draw).unwrap_or_default()).collect();
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

    /// What a model that draws at random itself draws by in the next step of a slot.
    fn draw(&self, running: &Running) -> Draw {
        let rollout = (running.index % self.breadth.rollouts) as u32;
        let sample = running.example.wrapping_add(rollout);
        Draw { seed: self.breadth.seed, sample, step: running.step as u32 }
    }

    /// What is to become of the states of a slot before its next step.
    fn disturbance(&self, slot: Option<&Running>) -> Disturbance {
        let Breadth { rollouts, noise, random_states, seed, .. } = self.breadth;
        match slot.map(|running| (running, running.index % rollouts)) {
            None | Some((_, 0)) => Disturbance::NONE,
            Some((running, rollout)) => {
                // The sum of two draws is one of their variances' sum.
                let fresh = running.step == 0 && random_states > 0.0;
                let [keep, latent, answer] =
                    if fresh { [0.0, noise.hypot(random_states), random_states] } else { [1.0, noise, 0.0] };
                let (rollout, step) = (rollout as u32, running.step as u32);
                Disturbance { seed, example: running.example, rollout, step, keep, latent, answer }
            }
        }
    }

    /// Notes whose answers stayed as they were `before`, and by how much latents moved.
    fn follow(&self, answers: &Answers, before: &[i32], slots: &mut [Option<Running>]) {
        let seq_len = self.config().seq_len;
        for (slot, running) in slots.iter_mut().enumerate() {
            let Some(running) = running else { continue };
            let tokens = slot * seq_len..(slot + 1) * seq_len;
            let same = running.step > 1 && before.get(tokens.clone()) == Some(&answers.predictions[tokens]);
            running.unchanged = if same { running.unchanged + 1 } else { 0 };
            if !answers.changes.is_empty() {
                let sum: f32 = answers.changes.iter().map(|changes| changes[slot]).sum();
                running.changes[running.step % WINDOW] = sum / answers.changes.len() as f32;
            }
        }
    }

    /// Shows what is to be seen, and frees the slots of samples that are done.
    fn look(
        &self,
        pace: Pace,
        batch: &Batch,
        answers: &Answers,
        slots: &mut [Option<Running>],
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        let (seq_len, per_sample) = (self.config().seq_len, 2 * self.config().length());
        for (slot, place) in slots.iter_mut().enumerate() {
            let Some(running) = *place else { continue };
            let Running { index, step, unchanged, .. } = running;
            let q_halt = answers.q[slot * per_sample];
            let settled = pace.settle > 0 && unchanged >= pace.settle;
            let last = step == self.max_steps() || (pace.halt && q_halt > 0.0) || settled;
            let tokens = slot * seq_len..(slot + 1) * seq_len;
            if last || pace.every_step {
                visit(Look {
                    index,
                    step,
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
