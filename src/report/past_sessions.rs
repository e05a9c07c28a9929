//! Sessions of a run as `sessions.jsonl` tells of them, and how fast steps followed each other, from the times in the log.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::curves::Points;
use super::history::parse_time;
use crate::train::SESSIONS_FILE;

/// Least time that a point of the pace stands for: lines of quick steps come in bursts.
const WINDOW: Duration = Duration::from_secs(1);

/// A session as it began and, unless it was killed or is under way, ended.
#[derive(Debug)]
pub(super) struct PastSession {
    pub start: Start,
    pub end: Option<End>,
}

/// How it began.
#[derive(Debug, Deserialize)]
pub(super) struct Start {
    pub time: String,
    pub trm: String,
    pub commit: String,
    /// Steps done before.
    pub step: u64,
    pub device: String,
    pub driver: String,
    pub precision: String,
    recipe: Kept,
}

/// How it ended.
#[derive(Debug, Deserialize)]
pub(super) struct End {
    /// Steps done.
    pub step: u64,
    pub ended: String,
    pub seconds: f64,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line {
    Open {},
    Start(Box<Start>),
    End(End),
}

/// Of a recipe that may be of another version.
#[derive(Debug, Deserialize)]
struct Kept {
    train: Train,
}

#[derive(Debug, Deserialize)]
struct Train {
    global_batch_size: u64,
}

impl PastSession {
    pub fn started(&self) -> Option<SystemTime> {
        parse_time(&self.start.time)
    }

    /// Over all of its time, that of evaluations and checkpoints included.
    pub fn samples_per_s(&self) -> Option<f64> {
        let end = self.end.as_ref()?;
        let steps = end.step.checked_sub(self.start.step).filter(|&steps| steps > 0)?;
        (end.seconds > 0.0)
            .then(|| steps as f64 * self.start.recipe.train.global_batch_size as f64 / end.seconds)
    }
}

/// The sessions in the run folder, and a note on what could not be read.
pub(super) fn read_sessions(folder: &Path) -> (Vec<PastSession>, Option<String>) {
    let path = folder.join(SESSIONS_FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => return (Vec::new(), Some(format!("{}: {error}", path.display()))),
    };
    let (mut sessions, mut lines, mut broken) = (Vec::<PastSession>::new(), 0, 0);
    for text in String::from_utf8_lossy(&bytes).lines() {
        lines += 1;
        match serde_json::from_str(text) {
            Ok(Line::Open {}) => {}
            Ok(Line::Start(start)) => sessions.push(PastSession { start: *start, end: None }),
            Ok(Line::End(end)) => {
                if let Some(last) = sessions.last_mut() {
                    last.end = Some(end);
                }
            }
            Err(_) => broken += 1,
        }
    }
    let path = path.display();
    let note = || format!("{path}: passed over {broken} of {lines} lines, which tell of no session");
    let note = (broken > 0).then(note);
    (sessions, note)
}

/// Makes samples per second of the times of training steps. What lies between (evaluations, pauses between sessions)
/// does not count.
pub(super) struct Pace {
    batch: Option<u32>,
    starts: Vec<SystemTime>,
    /// The last step or evaluation.
    last: Option<SystemTime>,
    step: u64,
    steps: u32,
    time: Duration,
    points: Points,
}

impl Pace {
    /// Without a batch size there is no pace.
    pub fn new(batch: Option<u32>, starts: Vec<SystemTime>) -> Pace {
        let (steps, time) = (0, Duration::ZERO);
        Pace { batch, starts, last: None, step: 0, steps, time, points: Points::new() }
    }

    /// A step was done.
    pub fn step(&mut self, step: u64, now: Option<SystemTime>) {
        let before = std::mem::replace(&mut self.last, now);
        let (Some(before), Some(now)) = (before, now) else { return };
        let paused = self.starts.iter().any(|&start| before < start && start <= now);
        // A clock may have been set back.
        let Ok(time) = now.duration_since(before) else { return };
        if paused {
            return;
        }
        (self.step, self.steps, self.time) = (step, self.steps + 1, self.time.saturating_add(time));
        if self.time >= WINDOW {
            self.point();
        }
    }

    /// Something else was done, until now.
    pub fn interrupted(&mut self, now: Option<SystemTime>) {
        self.last = now;
    }

    fn point(&mut self) {
        let (steps, seconds) =
            (std::mem::take(&mut self.steps), std::mem::take(&mut self.time).as_secs_f64());
        let samples = self.batch.map(|batch| f64::from(batch) * f64::from(steps));
        let rate = samples.map(|samples| samples / seconds).filter(|rate| rate.is_finite());
        self.points.extend(rate.map(|rate| (self.step as f64, rate)));
    }

    /// All points: training step, samples per second.
    pub fn finish(mut self) -> Points {
        // The last steps of a long run are too few to say anything.
        if self.points.is_empty() && self.steps > 0 {
            self.point();
        }
        self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_leaves_out_what_lies_between_steps() {
        let at = |seconds: f64| Some(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(1000.0 + seconds));
        let mut pace = Pace::new(Some(10), at(104.0).into_iter().collect());
        pace.step(1, at(0.0));
        pace.step(2, at(0.5));
        pace.step(3, at(1.0));
        pace.interrupted(at(51.0));
        pace.step(4, at(53.0));
        // The first step of another session.
        pace.step(5, at(105.0));
        pace.step(6, at(109.0));
        assert_eq!(pace.finish(), [(3.0, 20.0), (4.0, 5.0), (6.0, 2.5)]);
    }
}
