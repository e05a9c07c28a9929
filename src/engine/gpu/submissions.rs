//! How much of a step goes into one submission: some systems reset a GPU that works on one for two seconds, and a desktop
//! stands still meanwhile.

use std::time::{Duration, Instant};

use crate::plan::Plan;

/// Floating-point operations that take a GPU about as long as moving a byte.
const FLOPS_PER_BYTE: f64 = 16.0;

/// What a hung driver is waited for at least.
const LONGEST: Duration = Duration::from_secs(60);
/// The same before a step was timed: drivers compile kernels when they first run, and a software adapter is slow.
const LONGEST_FIRST: Duration = Duration::from_secs(3600);

/// Bytes a second, or the arithmetic that takes as long, that anything does at least.
const SLOWEST: f64 = 1e8;

/// Cuts steps into submissions of bounded time, by the costs of the plan and the time that steps are seen to take.
pub(in crate::engine) struct Pace {
    /// Of each dispatch, in bytes.
    work: Vec<f64>,
    /// Of a whole step.
    step: f64,
    most: Duration,
    /// Work that was timed, and its seconds.
    timed: (f64, f64),
    landed: Option<Instant>,
    /// How long everything may take, where a test says so.
    patience: Option<Duration>,
}

impl Pace {
    /// For submissions of `most`, or whole steps where that is zero.
    pub(in crate::engine) fn of(plan: &Plan, most: Duration) -> Pace {
        let work = |flops: u64, bytes: u64| (flops as f64 / FLOPS_PER_BYTE + bytes as f64).max(1.0);
        let work: Vec<f64> = plan.dispatches.iter().map(|one| work(one.cost.flops, one.cost.bytes)).collect();
        let step = plan.sequence().map(|(dispatch, _)| work[dispatch]).sum();
        Pace { work, step, most, timed: (0.0, 0.0), landed: None, patience: None }
    }

    /// The same pace with a bound of its own for a device that does not answer.
    #[cfg(feature = "testing")]
    pub(in crate::engine) fn waiting(self, patience: Option<Duration>) -> Pace {
        Pace { patience, ..self }
    }

    /// Work of a dispatch.
    pub(super) fn work(&self, dispatch: usize) -> f64 {
        self.work[dispatch]
    }

    /// Whether submissions have to be waited for and told of, until a whole step was.
    pub(super) fn learns(&self) -> bool {
        !self.most.is_zero() && self.timed.0 < self.step
    }

    /// Work that a submission may hold. It may always hold one dispatch.
    pub(super) fn budget(&self) -> f64 {
        let (work, seconds) = self.timed;
        // Costs are no exact measure of time: half of what they promise.
        let speed = 0.5 * work / seconds.max(1e-9);
        if self.most.is_zero() { f64::INFINITY } else { self.most.as_secs_f64() * speed }
    }

    /// How long a device may take for `steps` and one more before it counts as hung: much longer than it ever took, and
    /// longer still while nobody knows.
    pub(super) fn patience(&self, steps: usize) -> Duration {
        let (work, seconds) = self.timed;
        if let Some(patience) = self.patience {
            return patience;
        }
        match work < self.step {
            // A whole step in one piece may take a software adapter longer.
            true if self.most.is_zero() => LONGEST_FIRST + Duration::from_secs_f64(self.step / SLOWEST),
            true => LONGEST_FIRST,
            false => {
                LONGEST + Duration::from_secs_f64(20.0 * self.step * seconds / work * (steps + 1) as f64)
            }
        }
    }

    /// A submission of `work` took so long.
    pub(super) fn took(&mut self, work: f64, time: Duration) {
        self.timed = (self.timed.0 + work, self.timed.1 + time.as_secs_f64());
    }

    /// A step has ended now, and the device had work since the one before where `busy`: the last steps count most.
    pub(super) fn step_ended(&mut self, busy: bool) {
        let before = self.landed.replace(Instant::now());
        if let (Some(before), true, false) = (before, busy, self.learns()) {
            self.timed = (0.9 * self.timed.0, 0.9 * self.timed.1);
            self.took(self.step, before.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(most: Duration) -> Pace {
        Pace { work: vec![10.0, 20.0], step: 30.0, most, timed: (0.0, 0.0), landed: None, patience: None }
    }

    #[test]
    fn one_dispatch_at_first_and_half_of_the_time_later() {
        let mut pace = pace(Duration::from_secs(2));
        assert!(pace.learns() && pace.budget() == 0.0);
        pace.took(10.0, Duration::from_secs(5));
        assert!(pace.learns());
        assert_eq!(pace.budget(), 2.0);
        pace.took(20.0, Duration::from_secs(1));
        assert!(!pace.learns());
        assert_eq!(pace.budget(), 5.0);
    }

    #[test]
    fn without_a_bound_nothing_is_cut() {
        let pace = pace(Duration::ZERO);
        assert!(!pace.learns() && pace.budget() == f64::INFINITY);
    }

    #[test]
    fn old_steps_are_forgotten() {
        let mut pace = pace(Duration::from_secs(1));
        pace.took(30.0, Duration::from_secs(1000));
        for _ in 0..200 {
            pace.landed = Some(Instant::now() - Duration::from_secs(3));
            pace.step_ended(true);
        }
        assert!((pace.budget() - 5.0).abs() < 0.01, "{}", pace.budget());
        let budget = pace.budget();
        pace.step_ended(false);
        assert_eq!(pace.budget(), budget);
    }
}
