//! The steps and kernels of a card: the official models at several batch sizes, the small ones first, as far as they fit
//! the device and the time.

use std::collections::BTreeSet;
use std::time::Instant;

use serde::Serialize;

use super::{Part, REPETITIONS};
use crate::Result;
use crate::bench::{self, Measurement, Mode, Roofline, Subject, predict, step};
use crate::engine::Device;
use crate::plan::Element;
use crate::recipe::Recipe;

/// Recipes with S and V of their data sets.
const RECIPES: [(&str, usize, usize); 3] =
    [("sudoku-mlp", 81, 11), ("sudoku-att", 81, 11), ("maze-hard", 900, 6)];
const BATCHES: [usize; 4] = [8, 64, 256, 768];

/// What is no GPU begins with less; a software adapter has time for no more.
const SMALL: (&str, usize, usize) = ("tiny-sudoku4", 16, 6);
const SMALL_BATCH: usize = 1;

/// The largest batch whose kernels are measured.
const KERNELS_BATCH: usize = 64;

fn small(devices: &[&Device]) -> bool {
    !devices.iter().any(|device| device.info().is_hardware())
}

fn recipes(devices: &[&Device]) -> impl Iterator<Item = (&'static str, usize, usize)> {
    small(devices).then_some(SMALL).into_iter().chain(RECIPES)
}

/// A measured step.
#[derive(Debug, Serialize)]
pub struct Step {
    /// The recipe.
    pub recipe: String,
    /// B.
    pub batch: usize,
    /// `eval` or `train`.
    pub mode: &'static str,
    /// Samples per second.
    pub samples_per_s: f64,
    /// Its times; the share is that of a step whose every dispatch runs at the limit that applies to it.
    #[serde(flatten)]
    pub measured: Measurement,
}

/// The dispatches of a training step.
#[derive(Debug, Serialize)]
pub struct Kernels {
    /// The recipe.
    pub recipe: String,
    /// B.
    pub batch: usize,
    /// How activations are stored.
    pub precision: Element,
    /// Each, the longest total first.
    pub measured: Vec<Measurement>,
}

/// How long things take, learnt from those before.
#[derive(Clone, Copy)]
struct Pace {
    /// Seconds to compile, to load and to warm up.
    fixed: f64,
    /// The time of a step over what the limits allow.
    slowness: f64,
}

impl Pace {
    /// Until something was measured.
    const START: Pace = Pace { fixed: 0.5, slowness: 4.0 };
    /// Once to load, once at the least to warm up, then the timed ones.
    const RUNS: f64 = 2.0 + REPETITIONS as f64;

    /// Seconds to measure a step of which the limits allow this.
    fn seconds(&self, least: f64) -> f64 {
        self.fixed + Pace::RUNS * self.slowness * least
    }

    fn learn(&mut self, least: f64, step: f64, whole: f64) {
        // Other shapes are slower.
        self.slowness = 1.5 * step / least;
        self.fixed = self.fixed.max(whole - Pace::RUNS * step);
    }
}

/// The limits of a small processor: they tell what there is time for where those of the device are not known.
const NOMINAL: Roofline = Roofline { gflops: 100.0, gbytes: 10.0, matrix_gflops: None };

fn subject(
    (name, seq_len, vocab_size): (&str, usize, usize),
    batch: usize,
    device: &Device,
) -> Result<Subject> {
    let mut subject = Subject::of(name, Recipe::load(name, &[])?, batch, seq_len, vocab_size)?;
    subject.settings.precision = device.target().precision.into();
    Ok(subject)
}

fn name(subject: &Subject, mode: Mode) -> String {
    format!("{}, {}, {}, B {}", subject.name, subject.settings.precision, mode.name(), subject.batch)
}

/// Evaluation and training steps.
pub(super) fn steps(
    part: &mut Part<Step>,
    devices: &[&Device],
    limits: Option<Roofline>,
    end: Instant,
) -> Result<()> {
    let mut paces = vec![Pace::START; devices.len()];
    // Larger batches take more of everything.
    let mut exceeded = BTreeSet::new();
    for batch in small(devices).then_some(SMALL_BATCH).into_iter().chain(BATCHES) {
        for recipe in recipes(devices) {
            for (device, pace) in devices.iter().zip(&mut paces) {
                let subject = subject(recipe, batch, device)?;
                for mode in [Mode::Eval, Mode::Train] {
                    let of_a_kind = (recipe.0, subject.settings.precision.to_string(), mode.name());
                    if exceeded.contains(&of_a_kind) {
                        continue;
                    }
                    if !one(part, device, (&subject, mode), limits, (&mut *pace, end))? {
                        exceeded.insert(of_a_kind);
                    }
                }
            }
        }
    }
    Ok(())
}

/// One step, if it fits the device and the time until `end`; whether it does.
fn one(
    part: &mut Part<Step>,
    device: &Device,
    (subject, mode): (&Subject, Mode),
    limits: Option<Roofline>,
    (pace, end): (&mut Pace, Instant),
) -> Result<bool> {
    let name = format!("{} and more", name(subject, mode));
    let plan = subject.plan(mode, device.target());
    let least = plan.and_then(|plan| {
        device.check(&plan)?;
        Ok(predict(&plan, limits.unwrap_or(NOMINAL)).seconds)
    });
    let Some(least) = part.fitting(&name, least)? else { return Ok(false) };
    if !part.in_time(&name, pace.seconds(least), end) {
        return Ok(false);
    }
    let start = Instant::now();
    let found = step::measure(device, subject, &[mode], REPETITIONS);
    let Some(found) = part.fitting(&name, found)? else { return Ok(false) };
    for mut measured in found {
        pace.learn(least, measured.seconds, start.elapsed().as_secs_f64());
        measured.roofline_share = limits.map(|_| least / measured.seconds);
        part.measured.push(Step {
            recipe: subject.name.clone(),
            batch: subject.batch,
            mode: mode.name(),
            samples_per_s: subject.batch as f64 / measured.seconds,
            measured,
        });
    }
    Ok(true)
}

/// The kernels of training steps, each at the largest batch up to 64 whose step was measured.
pub(super) fn kernels(
    part: &mut Part<Kernels>,
    devices: &[&Device],
    steps: &[Step],
    limits: Option<Roofline>,
    end: Instant,
) -> Result<()> {
    let Some(limits) = limits else {
        part.leave_out("all", "the limits are not known");
        return Ok(());
    };
    for recipe in recipes(devices) {
        for device in devices {
            let precision = device.target().precision;
            let same = |step: &&Step| {
                step.recipe == recipe.0
                    && step.measured.origin.precision == precision
                    && step.mode == Mode::Train.name()
                    && step.batch <= KERNELS_BATCH
            };
            let Some(step) = steps.iter().filter(same).max_by_key(|step| step.batch) else {
                part.leave_out(&format!("{}, {precision}", recipe.0), "no training step was measured");
                continue;
            };
            let subject = subject(recipe, step.batch, device)?;
            let name = name(&subject, Mode::Train);
            if !part.in_time(&name, 1.0 + Pace::RUNS * (step.measured.seconds + 0.4), end) {
                continue;
            }
            let found = bench::kernels::Kernels::load(device, &subject, Mode::Train, "");
            let found = found.and_then(|mut kernels| kernels.measure(limits, REPETITIONS));
            if let Some(measured) = part.fitting(&name, found)? {
                part.measured.push(Kernels { recipe: subject.name, batch: step.batch, precision, measured });
            }
        }
    }
    Ok(())
}
