//! `sessions.jsonl` in a run folder: who trained it, when, where and on what. A session has a line when it takes the
//! folder, one at its first step and one at its end; one without an end was killed.

use std::io::Write;
use std::path::Path;
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::run::{Outcome, RunOptions};
use crate::engine::DeviceInfo;
use crate::plan::Precision;
use crate::recipe::{Recipe, TrainSettings};
use crate::version::COMMIT;
use crate::{Error, Result};

pub(crate) const SESSIONS_FILE: &str = "sessions.jsonl";

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
        /// How many times the learning rates of the recipe are halved.
        lr_halvings: u32,
        device: String,
        backend: String,
        driver: String,
        precision: String,
        data: &'a Path,
        /// [`crate::data::Dataset::identity`] of the training split.
        train: &'a str,
        /// With nothing left open.
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
    /// Writes that the run starts or goes on, after so many steps and with learning rates halved so often.
    pub fn start(options: &RunOptions<'_>, train: &str, (step, lr_halvings): (u64, u32)) -> Result<Session> {
        let info = options.device.info();
        let line = Line::Start {
            time: now(),
            trm: env!("CARGO_PKG_VERSION"),
            commit: COMMIT.to_owned(),
            pid: std::process::id(),
            step,
            lr_halvings,
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

/// What is read back of how the last session began.
#[derive(Deserialize)]
pub(super) struct Before {
    device: String,
    backend: String,
    driver: String,
    recipe: Kept,
}

/// Of a recipe that may be of another version.
#[derive(Deserialize)]
struct Kept {
    train: Layout,
}

#[derive(Deserialize)]
struct Layout {
    global_batch_size: usize,
    micro_batch: usize,
    recompute: bool,
    max_submission_ms: u64,
    precision: Precision,
}

impl Before {
    /// Of the last session in `run` that came so far, as far as is known.
    pub fn of(run: &Path) -> Option<Before> {
        let text = std::fs::read_to_string(run.join(SESSIONS_FILE)).ok()?;
        text.lines().rev().find_map(|line| serde_json::from_str(line).ok())
    }

    fn is_on(&self, info: &DeviceInfo) -> bool {
        // However many threads the CPU engine has, it computes the same.
        let engine = |name: &str| name.split_once(", ").map_or(name, |(engine, _)| engine).to_owned();
        let (backend, driver) = (self.backend == info.backend, self.driver == info.driver);
        let name = if info.kind == "cpu" && info.backend.is_empty() {
            engine(&self.device) == engine(&info.name)
        } else {
            self.device == info.name
        };
        name && backend && driver
    }

    /// A line about going on with the device of `info`, where that is another.
    pub fn other_device(&self, info: &DeviceInfo) -> Option<String> {
        let shown = |name: &str, driver: &str| match driver.is_empty() {
            true => name.to_owned(),
            false => format!("{name} ({driver})"),
        };
        let (now, before) = (shown(&info.name, &info.driver), shown(&self.device, &self.driver));
        (!self.is_on(info)).then(|| {
            format!(
                "going on on {now} after {before}: from here on results differ in their roundings from theirs"
            )
        })
    }

    /// The settings of `options` with what they leave open as it was, where that still holds: on the same device, and
    /// nothing was given that it depends on.
    pub fn layout(&self, options: &RunOptions<'_>) -> Option<TrainSettings> {
        let (train, before) = (&options.recipe.train, &self.recipe.train);
        let bears_on = ["train.micro_batch", "train.recompute"];
        let same = train.global_batch_size == before.global_batch_size
            && train.max_submission_ms == before.max_submission_ms
            && train.precision == before.precision
            && before.micro_batch > 0
            && train.global_batch_size.is_multiple_of(before.micro_batch);
        let open = train.micro_batch == 0 && !options.given.iter().any(|key| bears_on.contains(key));
        (open && same && self.is_on(&options.device.info())).then(|| TrainSettings {
            micro_batch: before.micro_batch,
            recompute: before.recompute || train.recompute,
            ..train.clone()
        })
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
    let text = std::fs::read_to_string(run.join(SESSIONS_FILE)).ok()?;
    let open = text.lines().rev().find_map(|line| serde_json::from_str::<Open>(line).ok())?;
    Some(format!("process {} on {}, since {}", open.pid, open.host, open.time))
}

/// Now, as `2026-01-31T12:00:00.000Z`.
pub(crate) fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

fn append(run: &Path, line: &Line<'_>) -> Result<()> {
    let path = run.join(SESSIONS_FILE);
    let json = serde_json::to_string(line).map_err(|error| Error::io(&path)(error.into()))?;
    let mut file =
        std::fs::File::options().create(true).append(true).open(&path).map_err(Error::io(&path))?;
    writeln!(file, "{json}").and_then(|()| file.sync_all()).map_err(Error::io(&path))
}
