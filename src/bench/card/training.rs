//! The short training of a card: a tiny recipe on puzzles made for it, to its end or to that of the time.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Part, left};
use crate::data::arc::Score;
use crate::data::sudoku::{GenerateOptions, build_generated};
use crate::engine::Device;
use crate::model::Metrics;
use crate::plan::Element;
use crate::recipe::{Recipe, TrainSettings};
use crate::train::{Observer, RunOptions, StepMetrics, run};
use crate::{Error, Result};

/// Less time shows nothing.
const LEAST_SECONDS: f64 = 5.0;

/// A training run.
#[derive(Debug, Serialize)]
pub struct Training {
    /// The recipe.
    pub recipe: &'static str,
    /// How activations are stored.
    pub precision: Element,
    /// Steps done.
    pub steps: u64,
    /// Steps of the whole run: more than `steps` where time was over.
    pub total_steps: u64,
    /// Steps that were not applied, as their loss or gradients were not finite.
    pub skipped_steps: u64,
    /// From the first step to the end, evaluations included.
    pub seconds: f64,
    /// Samples of training steps per second.
    pub samples_per_s: f64,
    /// The last loss.
    pub loss: f64,
    /// The last evaluation, on puzzles never seen in training; none if the time was over before.
    pub test: Option<Metrics>,
    /// The step after which that was.
    pub test_step: Option<u64>,
}

/// Watches a run and stops it in time.
struct Watch {
    end: Instant,
    started: Instant,
    batch: usize,
    training: Training,
}

impl Observer for Watch {
    fn laid_out(&mut self, _: &TrainSettings, _: u64) {}

    fn started(&mut self, _done: u64, _logged: u64, total: u64, batch: usize) -> Result<()> {
        (self.training.total_steps, self.batch, self.started) = (total, batch, Instant::now());
        Ok(())
    }

    fn step(&mut self, step: &StepMetrics) -> Result<()> {
        self.training.steps = step.step;
        self.training.loss = step.metrics.loss();
        self.training.skipped_steps += u64::from(step.skipped);
        Ok(())
    }

    fn evaluated(&mut self, step: u64, _: usize, metrics: &Metrics, _: Option<&Score>) -> Result<()> {
        (self.training.test, self.training.test_step) = (Some(*metrics), Some(step));
        Ok(())
    }

    fn saved(&mut self, _step: u64) -> Result<()> {
        Ok(())
    }

    fn stop(&self) -> bool {
        left(self.end) == 0.0
    }
}

/// One run in each precision, in a folder that is gone afterwards.
pub(super) fn train(part: &mut Part<Training>, devices: &[&Device], end: Instant) -> Result<()> {
    let folder = tempfile::tempdir().map_err(Error::io(std::env::temp_dir()))?;
    let data = folder.path().join("data");
    let (size, recipe_name) = match devices.iter().any(|device| device.info().is_hardware()) {
        true => (6, "tiny-sudoku6"),
        false => (4, "tiny-sudoku4"),
    };
    build_generated(&GenerateOptions::small(data.clone(), size, 0), &mut |_| {})?;
    for (index, device) in devices.iter().enumerate() {
        let precision = device.target().precision;
        let own = left(end) / (devices.len() - index) as f64;
        let name = format!("{recipe_name}, {precision}");
        let now = Instant::now();
        let own_end = now + Duration::from_secs_f64(own);
        if !part.in_time(&name, LEAST_SECONDS, own_end) {
            continue;
        }
        let mut recipe = Recipe::load(recipe_name, &[])?;
        recipe.train.precision = precision.into();
        let mut watch = Watch {
            end: own_end,
            started: now,
            batch: 0,
            training: Training {
                recipe: recipe_name,
                precision,
                steps: 0,
                total_steps: 0,
                skipped_steps: 0,
                seconds: 0.0,
                samples_per_s: 0.0,
                loss: f64::NAN,
                test: None,
                test_step: None,
            },
        };
        let out = folder.path().join(precision.name());
        let options = RunOptions::new(&recipe, &data, &out, device);
        let trained = run(options, &mut watch);
        if part.fitting(&name, trained)?.is_some() {
            let Watch { started, batch, mut training, .. } = watch;
            training.seconds = started.elapsed().as_secs_f64();
            training.samples_per_s = (training.steps * batch as u64) as f64 / training.seconds.max(1e-9);
            part.measured.push(training);
        }
    }
    Ok(())
}
