//! What a run folder tells of its training: the curves of `metrics.jsonl`, the recipe, the sessions, and, where it was
//! kept there, an evaluation step by step. What cannot be read is passed over, and noted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;

use super::curves::{Kind, Points};
use super::past_sessions::{Pace, PastSession, read_sessions};
use crate::bench::{Measurement, compare};
use crate::recipe::{Recipe, leaves};
use crate::train::{METRICS_FILE, RECIPE_FILE, SAMPLES_FILE, Samples};
use crate::{Error, Result, files};

/// What `trm eval --json` printed, if its user kept it in the run folder.
const EVALUATION_FILE: &str = "eval.json";
/// What `trm bench kernels --json` printed, likewise.
const KERNELS_FILE: &str = "kernels.json";

/// A past or present training.
#[derive(Debug, Default)]
pub struct History {
    /// The name of its folder.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Training steps that the log knows of.
    pub steps: u64,
    /// The highest share of exactly answered test samples, and the training steps done by then.
    pub best: Option<(u64, f64)>,
    /// What could not be read, and when training went back.
    pub notes: Vec<String>,
    pub(super) curves: BTreeMap<Kind, Points>,
    /// By dotted key, as TOML.
    pub(super) recipe: BTreeMap<String, String>,
    pub(super) sessions: Vec<PastSession>,
    /// Of the last evaluation.
    pub(super) samples: Option<Samples>,
    /// Those that took longest in a step first.
    pub(super) kernels: Vec<Measurement>,
}

/// A line of the log, as far as curves show it. Averages over no samples are null.
#[derive(Deserialize)]
struct Line {
    split: String,
    step: u64,
    loss: Option<f64>,
    exact_accuracy: Option<f64>,
    steps: Option<f64>,
    lr_halvings: Option<u32>,
    #[serde(default)]
    pass_at: BTreeMap<u32, f64>,
    process_bytes: Option<f64>,
    time: Option<String>,
}

#[derive(Deserialize)]
struct Evaluation {
    by_step: Vec<AtStep>,
}

#[derive(Deserialize)]
struct AtStep {
    step: u64,
    exact_accuracy: Option<f64>,
    halted: Option<f64>,
}

/// The whole path of a run folder.
fn found(folder: &Path) -> Result<PathBuf> {
    const FIX: &str = "name the folder of a run that was started with \"trm train\"";
    let log = folder.join(METRICS_FILE);
    match (folder.is_dir(), log.is_file()) {
        (true, true) => folder.canonicalize().map_err(Error::io(folder)),
        (true, false) => Err(Error::missing(log, FIX)),
        (false, _) if folder.exists() => Err(Error::file(folder, "is no folder", FIX)),
        (false, _) => Err(Error::missing(folder, FIX)),
    }
}

impl History {
    /// Reads what there is in the run folders, in their order, each once. Runs of one name are told apart by their paths.
    ///
    /// # Errors
    /// [`Error::Missing`] where there is no folder or no metrics log in it, [`Error::File`] for what is no folder,
    /// [`Error::Io`] for one that cannot be read.
    pub fn read(folders: &[PathBuf]) -> Result<Vec<History>> {
        let mut seen = BTreeSet::new();
        let mut runs = Vec::new();
        for folder in folders {
            let whole = found(folder)?;
            if seen.insert(whole.clone()) {
                runs.push(History::of(folder, &whole)?);
            }
        }
        let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
        for run in &mut runs {
            if names.iter().filter(|name| **name == run.name).count() > 1 {
                run.name = run.path.display().to_string();
            }
        }
        Ok(runs)
    }

    fn of(folder: &Path, whole: &Path) -> Result<History> {
        // "." has no name of its own.
        let log = folder.join(METRICS_FILE);
        let name = whole
            .file_name()
            .map_or_else(|| whole.display().to_string(), |name| name.to_string_lossy().into());
        let mut run = History { name, path: folder.to_path_buf(), ..History::default() };
        run.read_recipe();
        let (sessions, broken) = read_sessions(folder);
        run.notes.extend(broken);
        run.sessions = sessions;
        run.read_log(&log)?;
        run.read_evaluation();
        run.read_samples();
        run.read_kernels();
        run.curves.retain(|_, points| !points.is_empty());
        Ok(run)
    }

    fn read_recipe(&mut self) {
        let path = self.path.join(RECIPE_FILE);
        let read = Recipe::load(&path.to_string_lossy(), &[]).and_then(|recipe| recipe.to_toml());
        match read.map(|text| text.parse::<toml::Table>()) {
            Ok(Ok(table)) => {
                self.recipe =
                    leaves(&table).into_iter().map(|(key, value)| (key, value.to_string())).collect();
            }
            Ok(Err(error)) => self.notes.push(format!("{}: {error}", path.display())),
            Err(error) => self.notes.push(format!("{}: {error}", path.display())),
        }
    }

    fn read_log(&mut self, path: &Path) -> Result<()> {
        let bytes = files::read(path)?;
        let text = String::from_utf8_lossy(&bytes);
        let batch = self.recipe.get("train.global_batch_size").and_then(|batch| batch.parse().ok());
        let starts = self.sessions.iter().filter_map(PastSession::started);
        let mut pace = Pace::new(batch, starts.collect());
        let (mut broken, mut first_broken, mut lines) = (0, 0, 0);
        for (number, text) in text.lines().enumerate() {
            lines = number + 1;
            match serde_json::from_str::<Line>(text) {
                Ok(line) => self.add(&line, &mut pace),
                Err(_) => {
                    first_broken = if broken == 0 { lines } else { first_broken };
                    broken += 1;
                }
            }
        }
        self.curves.insert(Kind::SamplesPerSecond, pace.finish());
        if broken > 0 {
            let path = path.display();
            self.notes.push(format!(
                "{path}: passed over {broken} of {lines} lines, which are no lines of a log, from line {first_broken} on"
            ));
        }
        Ok(())
    }

    fn add(&mut self, line: &Line, pace: &mut Pace) {
        let time = line.time.as_deref().and_then(parse_time);
        let mut point = |kind, value: Option<f64>| {
            let points = self.curves.entry(kind).or_default();
            points.extend(value.map(|value| (line.step as f64, value)));
        };
        match line.split.as_str() {
            "train" => {
                point(Kind::TrainLoss, line.loss);
                point(Kind::TrainSteps, line.steps);
                point(Kind::ProcessMemory, line.process_bytes);
                pace.step(line.step, time);
                self.steps = self.steps.max(line.step);
            }
            "test" => {
                point(Kind::TestLoss, line.loss);
                point(Kind::ExactAccuracy, line.exact_accuracy);
                point(Kind::TestSteps, line.steps);
                line.pass_at.iter().for_each(|(&k, &share)| point(Kind::PassAt(k), Some(share)));
                pace.interrupted(time);
                let better = |exact: &f64| self.best.is_none_or(|(_, best)| *exact >= best);
                self.best = line.exact_accuracy.filter(better).map(|exact| (line.step, exact)).or(self.best);
            }
            _ => {
                let halvings = line.lr_halvings.unwrap_or_default();
                let step = line.step;
                self.notes.push(format!(
                    "{}: went back to step {step}, learning rates halved {halvings} times",
                    self.name
                ));
                pace.interrupted(time);
            }
        }
    }

    fn read_samples(&mut self) {
        let path = self.path.join(SAMPLES_FILE);
        if !path.is_file() {
            return;
        }
        match files::read_json::<Samples>(&path, "remove it: the next evaluation writes it anew") {
            Ok(samples) if samples.fit() => self.samples = Some(samples),
            Ok(_) => {
                self.notes.push(format!("{}: samples of other sizes than it says; left out", path.display()))
            }
            Err(error) => self.notes.push(error.to_string()),
        }
    }

    fn read_kernels(&mut self) {
        let path = self.path.join(KERNELS_FILE);
        if !path.is_file() {
            return;
        }
        match compare::read(&path) {
            Ok(measured) => self.kernels = measured,
            Err(error) => self.notes.push(error.to_string()),
        }
        // Of a whole card, too.
        self.kernels.retain(|one| one.key.starts_with("kernels/"));
        self.kernels.sort_by(|one, other| of_step(other).total_cmp(&of_step(one)));
    }

    fn read_evaluation(&mut self) {
        let path = self.path.join(EVALUATION_FILE);
        if !path.is_file() {
            return;
        }
        let fix = "keep the JSON in it that \"trm eval\" prints of the run";
        match files::read_json::<Evaluation>(&path, fix) {
            Ok(Evaluation { by_step }) => {
                let points = |of: fn(&AtStep) -> Option<f64>| {
                    by_step.iter().filter_map(|at| Some((at.step as f64, of(at)?))).collect()
                };
                self.curves.insert(Kind::ExactAtStep, points(|at| at.exact_accuracy));
                self.curves.insert(Kind::HaltedAtStep, points(|at| at.halted));
            }
            Err(error) => self.notes.push(error.to_string()),
        }
    }
}

/// Seconds of a step that go to this dispatch.
pub(super) fn of_step(one: &Measurement) -> f64 {
    one.seconds * one.count as f64
}

/// A time of a log, if it is one.
pub(super) fn parse_time(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}
