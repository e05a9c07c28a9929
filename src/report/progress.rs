//! Progress of a training run: a bar on a terminal, a plain line every few seconds elsewhere, and the metrics log.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use super::metrics_log::{Entry, MetricsLog, WentBack};
use super::window::{Lag, Window};
use super::{plain_terminal, say};
use crate::Result;
use crate::data::arc::Score;
use crate::model::Metrics;
use crate::recipe::TrainSettings;
use crate::text::{BinaryBytes, counted};
use crate::train::{Observer, StepMetrics};

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Time between two changes of the bar's text.
const BAR_EVERY: Duration = Duration::from_millis(500);

/// Watches a run for people and keeps its log.
pub struct Progress {
    folder: PathBuf,
    stop: Box<dyn Fn() -> bool>,
    log: Option<MetricsLog>,
    /// Present on a terminal.
    bar: Option<ProgressBar>,
    window: Window,
    /// Of a run that keeps a moving average.
    lag: Option<Lag>,
    /// Of device memory.
    bytes: Option<u64>,
    batch: usize,
    total_steps: u64,
    /// Steps since the run started or was resumed, those that were taken back included.
    made: u64,
    last_step: u64,
    started: Instant,
    shown: Instant,
    /// Since when it has trained without an evaluation, and the steps since then: some are told of later than they end.
    stretch: (Instant, u64),
}

impl Progress {
    /// Of the run in `folder`, which stops after the step in which `stop` becomes true.
    pub fn new(folder: &Path, stop: impl Fn() -> bool + 'static) -> Progress {
        let now = Instant::now();
        Progress {
            folder: folder.to_path_buf(),
            stop: Box::new(stop),
            log: None,
            bar: None,
            window: Window::default(),
            lag: None,
            bytes: None,
            batch: 0,
            total_steps: 0,
            made: 0,
            last_step: 0,
            started: now,
            shown: now,
            stretch: (now, 0),
        }
    }

    /// Samples of training steps per second since the run started or was resumed.
    pub fn samples_per_s(&self) -> f64 {
        let samples = self.made as f64 * self.batch as f64;
        samples / self.started.elapsed().as_secs_f64().max(1e-9)
    }

    /// Seconds since the run started or was resumed.
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(line)),
            None => say(line),
        }
    }

    fn log(&mut self, entry: &Entry<'_>) -> Result<()> {
        self.log.as_mut().map_or(Ok(()), |log| log.add(entry))
    }

    fn show(&mut self) {
        let every = if self.bar.is_some() { BAR_EVERY } else { LINE_EVERY };
        if self.shown.elapsed() < every && self.last_step < self.total_steps {
            return;
        }
        self.shown = Instant::now();
        let status = format!("{}, {:.0} samples/s", self.window.take(), self.samples_per_s());
        let left = self.time_left();
        match &self.bar {
            Some(bar) => bar.set_message(format!("{status}, {left} left")),
            None => say(format!("step {}/{}: {status}, {left} left", self.last_step, self.total_steps)),
        }
    }

    fn time_left(&self) -> HumanDuration {
        let done = self.made.max(1) as f64;
        let seconds = self.seconds() / done * self.total_steps.saturating_sub(self.last_step) as f64;
        HumanDuration(Duration::from_secs_f64(seconds.round()))
    }
}

impl Observer for Progress {
    fn laid_out(&mut self, settings: &TrainSettings, bytes: u64) {
        self.bytes = Some(bytes);
        self.lag = self.lag.take().or_else(|| settings.ema.then(|| Lag::of(settings.ema_rate)));
        let batch = settings.global_batch_size;
        let at_once = match settings.micro_batch {
            all if all == batch => format!("{} at once", counted(batch, "sample")),
            part => format!("{part} of {batch} samples at once"),
        };
        let again = if settings.recompute { ", inner activations computed again" } else { "" };
        self.say(&format!("memory: {} for {at_once}{again}", BinaryBytes(bytes)));
    }

    fn started(&mut self, done: u64, logged: u64, total: u64, batch: usize) -> Result<()> {
        (self.batch, self.total_steps, self.last_step) = (batch, total, done);
        // Another start of the same command, after a device failed, goes on counting time and steps.
        if self.log.is_none() {
            self.started = Instant::now();
        }
        (self.shown, self.stretch) = (Instant::now(), (Instant::now(), 0));
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let log = MetricsLog::open(&self.folder, done, logged)?;
        if log.missing > 0 {
            self.say(&format!(
                "metrics.jsonl lacks {} of the {} that are done",
                log.missing,
                counted(done, "step")
            ));
        }
        self.log = Some(log);
        if std::io::stderr().is_terminal() && !plain_terminal() {
            let style = ProgressStyle::with_template("{pos}/{len} {bar:12} {wide_msg}");
            let bar = ProgressBar::new(total).with_position(done);
            self.bar = Some(style.map_or(bar.clone(), |style| bar.with_style(style)));
        }
        Ok(())
    }

    fn step(&mut self, step: &StepMetrics) -> Result<()> {
        let (split, loss, lr) = ("train", step.metrics.loss(), Some(step.lr));
        self.stretch.1 += 1;
        let (since, samples) = (self.stretch.0, self.stretch.1 * self.batch as u64);
        let skipped_steps = Some(u32::from(step.skipped));
        self.log(&Entry {
            split,
            step: step.step,
            lr,
            device_bytes: self.bytes,
            samples_per_s: Some(samples as f64 / since.elapsed().as_secs_f64().max(f64::MIN_POSITIVE)),
            skipped_steps,
            examples: None,
            pass_at: None,
            loss,
            metrics: &step.metrics,
        })?;
        if step.skipped {
            self.say(&format!("step {}: skipped, as its loss or gradients are not finite", step.step));
        }
        self.window.add(&step.metrics);
        (self.last_step, self.made) = (step.step, self.made + 1);
        if let Some(bar) = &self.bar {
            bar.set_position(step.step);
        }
        self.show();
        Ok(())
    }

    fn evaluating(&mut self, done: f64, examples: usize) {
        let status = format!("evaluating, {done:.0} of {examples} examples");
        match &self.bar {
            Some(bar) => bar.set_message(status),
            None if self.shown.elapsed() >= LINE_EVERY => {
                self.shown = Instant::now();
                say(status);
            }
            None => {}
        }
    }

    fn evaluated(
        &mut self,
        step: u64,
        examples: usize,
        metrics: &Metrics,
        votes: Option<&Score>,
    ) -> Result<()> {
        self.stretch = (Instant::now(), 0);
        let pass_at = votes.map(|score| &score.pass_at).filter(|pass_at| !pass_at.is_empty());
        self.log(&Entry {
            split: "test",
            step,
            lr: None,
            device_bytes: None,
            samples_per_s: None,
            skipped_steps: None,
            examples: Some(examples),
            pass_at,
            loss: metrics.loss(),
            metrics,
        })?;
        let found = match metrics.count > 0.0 {
            true => describe(metrics),
            false => "no labels to compare with".into(),
        };
        let passes = pass_at.map_or_else(String::new, |pass_at| format!("; {}", describe_passes(pass_at)));
        self.say(&format!("step {step}: test on {examples} examples: {found}{passes}"));
        let tested = (metrics.count > 0.0).then_some(metrics.exact_accuracy);
        let lag = self.lag.as_mut().and_then(|lag| lag.explain(step, self.window.exact(), tested));
        lag.into_iter().for_each(|line| self.say(&line));
        Ok(())
    }

    fn saved(&mut self, _step: u64) -> Result<()> {
        self.log.as_mut().map_or(Ok(()), MetricsLog::sync)
    }

    fn stop(&self) -> bool {
        (self.stop)()
    }

    fn note(&mut self, text: &str) {
        self.say(text);
    }

    fn went_back(&mut self, step: u64, lr_halvings: u32) -> Result<()> {
        (self.last_step, self.window) = (step, Window::default());
        let line = WentBack { split: "back-off", step, lr_halvings };
        self.log.as_mut().map_or(Ok(()), |log| log.go_back(&self.folder, &line))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// An evaluation in one line.
pub fn describe(metrics: &Metrics) -> String {
    format!(
        "exact accuracy {:.1} %, accuracy {:.1} %, halting accuracy {:.1} %, {:.1} steps, loss {:.3}",
        100.0 * metrics.exact_accuracy,
        100.0 * metrics.accuracy,
        100.0 * metrics.q_halt_accuracy,
        metrics.steps,
        metrics.loss(),
    )
}

/// Shares of tasks that are solved within so many attempts: `pass@1 12.50 %, pass@2 ...`.
pub fn describe_passes(pass_at: &BTreeMap<usize, f64>) -> String {
    let passes = pass_at.iter().map(|(k, share)| format!("pass@{k} {:.2} %", 100.0 * share));
    passes.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_start_goes_on_counting_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut progress = Progress::new(folder.path(), || false);
        progress.started(0, 0, 100, 8).unwrap();
        // As if ten seconds had passed, in which ten steps were made.
        progress.started -= Duration::from_secs(10);
        progress.made = 10;
        progress.started(5, 5, 100, 8).unwrap();
        assert!(progress.samples_per_s() <= 8.0, "{}", progress.samples_per_s());
        assert!(progress.seconds() >= 10.0);
    }
}
