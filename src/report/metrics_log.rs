//! `metrics.jsonl` in a run folder: a line for each training step and each evaluation, handed to the system at once.
//! But for their times, their pace and the memory of the process, equal runs write equal logs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::engine::process_bytes;
use crate::model::Metrics;
use crate::train::{METRICS_FILE, now};
use crate::{Error, Result, files};

/// One line.
#[derive(Serialize)]
pub(super) struct Entry<'a> {
    /// `train` for one step's batch, `test` for an evaluation.
    pub split: &'static str,
    /// Steps done.
    pub step: u64,
    /// Learning rate of a training step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Bytes of device memory that a training step takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_bytes: Option<u64>,
    /// Of a training step, in the mean since the last evaluation or start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples_per_s: Option<f64>,
    /// Of a training step, 1 where it was not applied, as a loss or gradient was not finite, else 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped_steps: Option<u32>,
    /// Of an evaluation, the examples of the test split that it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
    /// Of an evaluation on ARC, the share of tasks solved within so many attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass_at: Option<&'a BTreeMap<usize, f64>>,
    /// What is minimised.
    pub loss: f64,
    #[serde(flatten)]
    pub metrics: &'a Metrics,
}

/// Training went back to `step`.
#[derive(Serialize)]
pub(super) struct WentBack {
    /// `back-off`.
    pub split: &'static str,
    pub step: u64,
    /// How many times the learning rates are halved from here on.
    pub lr_halvings: u32,
}

/// A line with its moment.
#[derive(Serialize)]
struct Timed<'a, T> {
    #[serde(flatten)]
    line: &'a T,
    /// Of a training step, the one of the last evaluation before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_test: Option<u64>,
    time: String,
    /// Bytes of memory that this process has, where the system tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    process_bytes: Option<u64>,
}

/// What is read back of a line.
#[derive(Deserialize)]
struct Line {
    split: Option<String>,
    step: u64,
    examples: Option<usize>,
    loss: Option<f64>,
}

/// Tells evaluations apart: one of a step may be made of some examples first and later of all.
type Tested = (u64, Option<usize>, Option<f64>);

/// The open log.
pub(super) struct MetricsLog {
    path: PathBuf,
    file: File,
    /// Steps without a line, of those that were done before.
    pub missing: u64,
    /// The last evaluation that stands in the log: its step, examples and loss.
    tested: Option<Tested>,
}

impl MetricsLog {
    /// Opens the log in `folder` for a run that has `done` so many steps. The lines of the first `logged` of them stay; the
    /// rest, which will be computed again or is of what was done instead, goes, and so does what is no line of a log.
    pub fn open(folder: &Path, done: u64, logged: u64) -> Result<MetricsLog> {
        let path = folder.join(METRICS_FILE);
        let old = if path.exists() { files::read(&path)? } else { Vec::new() };
        let (mut kept, mut trained, mut tested) = (String::new(), BTreeSet::new(), None);
        for text in String::from_utf8_lossy(&old).lines() {
            let Ok(line) = serde_json::from_str::<Line>(text) else { continue };
            if line.step > logged {
                continue;
            }
            match line.split.as_deref() {
                Some("train") => drop(trained.insert(line.step)),
                Some("test") => tested = Some((line.step, line.examples, line.loss)),
                _ => {}
            }
            kept += text;
            kept += "\n";
        }
        files::write_atomic(&path, kept.as_bytes())?;
        let file = File::options().append(true).open(&path).map_err(Error::io(&path))?;
        Ok(MetricsLog { path, file, missing: done.saturating_sub(trained.len() as u64), tested })
    }

    /// Adds a line; of an evaluation, unless it is there already, as of a run that was cut off just after it.
    pub fn add(&mut self, entry: &Entry<'_>) -> Result<()> {
        if entry.split == "test" {
            // What is no number is written as null.
            let loss = Some(entry.loss).filter(|loss| loss.is_finite());
            let tested = Some((entry.step, entry.examples, loss));
            if std::mem::replace(&mut self.tested, tested) == tested {
                return Ok(());
            }
        }
        let last_test = self.tested.map(|(step, ..)| step).filter(|_| entry.split == "train");
        self.write(entry, last_test)
    }

    /// Takes back the lines after a step, and says that training goes on from there.
    pub fn go_back(&mut self, folder: &Path, line: &WentBack) -> Result<()> {
        *self = MetricsLog::open(folder, line.step, line.step)?;
        self.write(line, None)
    }

    fn write(&mut self, line: &impl Serialize, last_test: Option<u64>) -> Result<()> {
        let line = Timed { line, last_test, time: now(), process_bytes: process_bytes() };
        let json = serde_json::to_string(&line).map_err(|error| Error::io(&self.path)(error.into()))?;
        self.file.write_all((json + "\n").as_bytes()).map_err(Error::io(&self.path))
    }

    /// Has all lines survive a power cut.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(Error::io(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(split: &'static str, step: u64, metrics: &'a Metrics) -> Entry<'a> {
        let loss = metrics.loss();
        Entry {
            split,
            step,
            lr: Some(0.5),
            device_bytes: Some(1),
            samples_per_s: Some(2.5),
            skipped_steps: Some(0),
            examples: None,
            pass_at: None,
            loss,
            metrics,
        }
    }

    fn lines(folder: &Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(folder.join(METRICS_FILE)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_resumed_log_keeps_the_steps_done_and_knows_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let train = |step: u64| format!("{{\"split\":\"train\",\"step\":{step},\"a\":2}}\n");
        let torn = b"{\"split\":\"test\",\"step\":4,\"loss\":0.625}\n\0\0\xff\n{\"st".to_vec();
        let old = [(train(1) + &train(3) + &train(4) + &train(5)).into_bytes(), torn].concat();
        std::fs::write(folder.path().join(METRICS_FILE), old).unwrap();
        let metrics = Metrics::of([2.0, 2.0, 1.0, 2.0, 4.0, 0.5, 0.25, 0.0]).averaged(1.0);
        let mut log = MetricsLog::open(folder.path(), 4, 4).unwrap();
        assert_eq!(log.missing, 1);
        log.add(&entry("test", 4, &metrics)).unwrap();
        log.add(&entry("train", 5, &metrics)).unwrap();
        log.add(&entry("test", 5, &metrics)).unwrap();
        let seen = lines(folder.path());
        let steps: Vec<_> = seen.iter().map(|line| (line["split"].as_str(), line["step"].as_u64())).collect();
        let expected = [("train", 1), ("train", 3), ("train", 4), ("test", 4), ("train", 5), ("test", 5)];
        assert_eq!(steps, expected.map(|(split, step)| (Some(split), Some(step))));
        let last = &seen[4];
        assert_eq!((&last["last_test"], seen[5].get("last_test")), (&4.into(), None));
        assert_eq!((&last["exact_accuracy"], &last["loss"]), (&0.5.into(), &0.625.into()));
        assert!(humantime::parse_rfc3339(last["time"].as_str().unwrap()).is_ok());
    }

    #[test]
    fn lines_of_what_was_done_instead_go() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::default();
        let mut log = MetricsLog::open(folder.path(), 0, 0).unwrap();
        (1..=5).for_each(|step| log.add(&entry("train", step, &metrics)).unwrap());
        let log = MetricsLog::open(folder.path(), 8, 3).unwrap();
        assert_eq!((log.missing, lines(folder.path()).len()), (5, 3));
    }

    #[test]
    fn going_back_takes_lines_back() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::default();
        let mut log = MetricsLog::open(folder.path(), 0, 0).unwrap();
        (1..=4).for_each(|step| log.add(&entry("train", step, &metrics)).unwrap());
        log.go_back(folder.path(), &WentBack { split: "back-off", step: 2, lr_halvings: 1 }).unwrap();
        log.add(&entry("train", 3, &metrics)).unwrap();
        let steps: Vec<_> = lines(folder.path()).iter().map(|line| line["step"].as_u64()).collect();
        assert_eq!(steps, [Some(1), Some(2), Some(2), Some(3)]);
        assert_eq!(lines(folder.path())[2]["lr_halvings"], 1);
    }
}
