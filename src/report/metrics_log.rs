//! `metrics.jsonl` in a run folder: a line for each training step and each evaluation, without times, so that
//! equal runs write equal logs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::Metrics;
use crate::{Error, Result, files};

/// The log's name in a run folder.
const LOG_FILE: &str = "metrics.jsonl";

/// One line.
#[derive(Serialize)]
pub(super) struct Entry<'a> {
    /// `train` for one step's batch, `test` for an evaluation of the whole test split.
    pub split: &'static str,
    /// Steps done.
    pub step: u64,
    /// Learning rate of a training step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Of a training step, 1 where it was not applied, as a loss or gradient was not finite, else 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped_steps: Option<u32>,
    /// What is minimised.
    pub loss: f64,
    #[serde(flatten)]
    pub metrics: &'a Metrics,
}

/// The open log.
pub(super) struct MetricsLog {
    path: PathBuf,
    file: BufWriter<File>,
}

impl MetricsLog {
    /// Opens the log in `folder`. Of a resumed run the lines of the first `done` steps stay; the rest, which will
    /// be computed again, goes.
    pub fn open(folder: &Path, done: u64) -> Result<MetricsLog> {
        let path = folder.join(LOG_FILE);
        let old = if path.exists() { files::read_to_string(&path)? } else { String::new() };
        let kept = old.lines().filter(|line| step_of(line).is_some_and(|step| step <= done));
        let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
        files::write_atomic(&path, kept.as_bytes())?;
        let file = File::options().append(true).open(&path).map_err(Error::io(&path))?;
        Ok(MetricsLog { path, file: BufWriter::new(file) })
    }

    /// Adds a line.
    pub fn add(&mut self, entry: &Entry<'_>) -> Result<()> {
        let json = serde_json::to_string(entry).map_err(|error| Error::io(&self.path)(error.into()))?;
        writeln!(self.file, "{json}").map_err(Error::io(&self.path))
    }

    /// Hands all lines to the file.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(Error::io(&self.path))
    }
}

/// The step of a line; none of one that was cut short.
fn step_of(line: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Stepped {
        step: u64,
    }
    serde_json::from_str::<Stepped>(line).ok().map(|line| line.step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_log_keeps_the_steps_done() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOG_FILE);
        std::fs::write(&path, "{\"step\":1,\"a\":2}\n{\"step\":2}\n{\"step\":3}\n{\"st").unwrap();
        let metrics = Metrics::of([2.0, 2.0, 1.0, 2.0, 4.0, 0.5, 0.25, 0.0]).averaged(1.0);
        let mut log = MetricsLog::open(folder.path(), 2).unwrap();
        let entry = Entry {
            split: "train",
            step: 3,
            lr: Some(0.5),
            skipped_steps: Some(0),
            loss: metrics.loss(),
            metrics: &metrics,
        };
        log.add(&entry).unwrap();
        log.flush().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["{\"step\":1,\"a\":2}", "{\"step\":2}"]);
        let last: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
        assert_eq!((&last["step"], &last["exact_accuracy"]), (&3.into(), &0.5.into()));
        assert_eq!((&last["loss"], &last["skipped_steps"], lines.len()), (&0.625.into(), &0.into(), 3));
    }
}
