//! `sessions.jsonl` in a run folder: who trained it, when, where and on what. A session has a line when it takes the
//! folder, one at its first step and one at its end; one without an end was killed.

use std::io::Write;
use std::path::Path;
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::run::{Outcome, RunOptions};
use crate::recipe::Recipe;
use crate::version::COMMIT;
use crate::{Error, Result};

const FILE: &str = "sessions.jsonl";

/// A line; times are UTC.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line<'a> {
    Open {
        time: String,
        pid: u32,
        host: String,
    },
    Start {
        time: String,
        trm: &'static str,
        commit: String,
        pid: u32,
        /// Steps done before.
        step: u64,
        device: String,
        backend: String,
        driver: String,
        precision: String,
        data: &'a Path,
        /// [`crate::data::Dataset::identity`] of the training split.
        train: &'a str,
        recipe: &'a Recipe,
    },
    End {
        time: String,
        pid: u32,
        /// Steps done.
        step: u64,
        /// `finished`, `stopped`, or the error.
        ended: String,
        seconds: f64,
        /// Of them, those in which checkpoints were written.
        saving_seconds: f64,
    },
}

/// A session under way.
pub(super) struct Session {
    started: Instant,
}

impl Session {
    /// Writes that the run starts or goes on.
    pub fn start(options: &RunOptions<'_>, train: &str, step: u64) -> Result<Session> {
        let info = options.device.info();
        let line = Line::Start {
            time: now(),
            trm: env!("CARGO_PKG_VERSION"),
            commit: COMMIT.to_owned(),
            pid: std::process::id(),
            step,
            device: info.name,
            backend: info.backend,
            driver: info.driver,
            precision: options.recipe.train.precision.to_string(),
            data: options.data,
            train,
            recipe: options.recipe,
        };
        append(options.out, &line)?;
        Ok(Session { started: Instant::now() })
    }

    /// Writes its last line.
    pub fn end(&self, run: &Path, step: u64, outcome: &Result<Outcome>, saving_seconds: f64) -> Result<()> {
        let ended = match outcome {
            Ok(Outcome { finished: true, .. }) => "finished".to_owned(),
            Ok(_) => "stopped".to_owned(),
            Err(error) => error.to_string(),
        };
        let seconds = self.started.elapsed().as_secs_f64();
        append(run, &Line::End { time: now(), pid: std::process::id(), step, ended, seconds, saving_seconds })
    }
}

/// Writes down whose the folder `run` is from now on.
pub(super) fn opened(run: &Path) -> Result<()> {
    let host = hostname::get();
    let host = host.map_or_else(|_| "an unknown host".into(), |name| name.to_string_lossy().into_owned());
    append(run, &Line::Open { time: now(), pid: std::process::id(), host })
}

/// Who began the last session in `run`, as far as is known.
pub(super) fn owner(run: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Open {
        time: String,
        pid: u32,
        host: String,
    }
    let text = std::fs::read_to_string(run.join(FILE)).ok()?;
    let open = text.lines().rev().find_map(|line| serde_json::from_str::<Open>(line).ok())?;
    Some(format!("process {} on {}, since {}", open.pid, open.host, open.time))
}

/// Now, as `2026-01-31T12:00:00.000Z`.
pub(crate) fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

fn append(run: &Path, line: &Line<'_>) -> Result<()> {
    let path = run.join(FILE);
    let json = serde_json::to_string(line).map_err(|error| Error::io(&path)(error.into()))?;
    let mut file =
        std::fs::File::options().create(true).append(true).open(&path).map_err(Error::io(&path))?;
    writeln!(file, "{json}").and_then(|()| file.sync_all()).map_err(Error::io(&path))
}
