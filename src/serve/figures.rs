//! What has happened so far, as `GET /metrics` tells it in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Upper bounds of the histogram of a request's time, in seconds.
const BOUNDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Counts of one server, for all of its threads.
#[derive(Default)]
pub struct Figures(Mutex<Counts>);

/// What is counted.
#[derive(Clone, Default)]
pub struct Counts {
    /// Requests to `/solve` by the code of their answer.
    pub requests: BTreeMap<u16, u64>,
    /// Those of them that took no longer than each of `BOUNDS`, but longer than the one before.
    pub within: [u64; BOUNDS.len()],
    /// What they took together.
    pub seconds: f64,
    /// Puzzles whose answer was taken.
    pub answered: u64,
    /// Puzzles that could not be used.
    pub refused: u64,
    /// Puzzles for which there was no room.
    pub turned_away: u64,
    /// Puzzles that nobody waited for any more.
    pub abandoned: u64,
    /// Puzzles at which the device failed twice.
    pub failed: u64,
    /// Supervision steps of the puzzles that were answered.
    pub steps: u64,
    /// Supervision steps of batches.
    pub batches: u64,
    /// The slots of these batches, in use or not.
    pub slots: u64,
    /// Puzzles at work.
    pub running: usize,
    /// Connections that are open.
    pub connections: usize,
    /// How many times the device was opened anew.
    pub reopened: u64,
}

impl Figures {
    /// Changes them.
    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts());
    }

    /// A request to `/solve` that was answered with `code` after some time.
    pub fn request(&self, code: u16, took: Duration) {
        let (mut counts, seconds) = (self.counts(), took.as_secs_f64());
        *counts.requests.entry(code).or_default() += 1;
        counts.seconds += seconds;
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            counts.within[bucket] += 1;
        }
    }

    /// Whether somebody is counting, so that nobody can look before that is done.
    #[cfg(test)]
    pub fn are_counting(&self) -> bool {
        self.0.try_lock().is_err()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Every change is whole in itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, beside the puzzles that wait and those that may.
    pub fn text(&self, waiting: usize, queue: usize) -> String {
        let counts = self.counts().clone();
        let mut page = Page::default();
        page.head("trm_requests_total", "counter", "Requests to /solve by the code of their answer.");
        for (code, count) in &counts.requests {
            page.line(&format!("trm_requests_total{{code=\"{code}\"}}"), count);
        }
        page.head(
            "trm_request_seconds",
            "histogram",
            "Time of requests to /solve, from their head to their answer.",
        );
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().zip(counts.within) {
            below += count;
            page.line(&format!("trm_request_seconds_bucket{{le=\"{bound}\"}}"), below);
        }
        let requests: u64 = counts.requests.values().sum();
        page.line("trm_request_seconds_bucket{le=\"+Inf\"}", requests);
        page.line("trm_request_seconds_sum", counts.seconds);
        page.line("trm_request_seconds_count", requests);
        page.head("trm_puzzles_total", "counter", "Puzzles by what became of them.");
        let outcomes = [
            ("answered", counts.answered),
            ("refused", counts.refused),
            ("turned_away", counts.turned_away),
            ("abandoned", counts.abandoned),
            ("failed", counts.failed),
        ];
        for (outcome, count) in outcomes {
            page.line(&format!("trm_puzzles_total{{outcome=\"{outcome}\"}}"), count);
        }
        let counters = [
            (
                "trm_puzzle_steps_total",
                "Supervision steps of all rollouts of puzzles that were answered.",
                counts.steps,
            ),
            ("trm_batch_steps_total", "Supervision steps of batches.", counts.batches),
            ("trm_batch_slots_total", "Slots of these batches, in use or not.", counts.slots),
            (
                "trm_device_reopened_total",
                "Times that the device failed and was opened anew.",
                counts.reopened,
            ),
        ];
        for (name, help, count) in counters {
            page.head(name, "counter", help);
            page.line(name, count);
        }
        let gauges = [
            (
                "trm_puzzles_waiting",
                "Rollouts that wait for a slot; a puzzle has one, or as many as are asked for.",
                waiting,
            ),
            ("trm_puzzles_running", "Puzzles with rollouts in slots of the batch.", counts.running),
            ("trm_connections", "Connections of clients that are open.", counts.connections),
            ("trm_queue_size", "Rollouts that the queue has room for.", queue),
        ];
        for (name, help, value) in gauges {
            page.head(name, "gauge", help);
            page.line(name, value);
        }
        page.0
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Strings take everything.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{name} {value}");
    }
}
