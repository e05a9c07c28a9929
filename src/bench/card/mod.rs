//! What an engineer sends to a colleague about a device: agreement, limits, steps, kernels and a short training, in a
//! time that the parts share. A part that fails says so, and the others go on.

mod cases;
mod training;

use std::time::{Duration, Instant};

use serde::Serialize;

pub use cases::{Kernels, Step};
pub use training::Training;

use super::{Measurement, Origin, roofline};
use crate::engine::{Device, DeviceInfo};
use crate::eval::golden::Golden;
use crate::eval::verify::{Report, verify};
use crate::plan::Matrices;
use crate::{Error, Result};

/// Repetitions of what is timed; the best counts.
const REPETITIONS: usize = 3;

/// The share of the time by whose end each part is over. What a part does not need is left to the next ones.
const VERIFY_UNTIL: f64 = 0.2;
const STEPS_UNTIL: f64 = 0.6;
const KERNELS_UNTIL: f64 = 0.75;
const TRAINING_UNTIL: f64 = 0.97;

/// What a part found, and what it did not.
#[derive(Debug, Serialize)]
pub struct Part<T> {
    /// What was measured.
    pub measured: Vec<T>,
    /// What does not fit the device or the time, and why.
    pub left_out: Vec<String>,
    /// What failed; the part ended with it.
    pub faults: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

/// All that is said of a device.
#[derive(Debug, Serialize)]
pub struct Card {
    /// The device.
    pub device: DeviceInfo,
    /// Its matrix units, for people.
    pub matrices: Option<String>,
    /// How activations were stored and what multiplied them, for people: `f16 on matrix units`, or why not on those.
    pub storage: String,
    /// The version of trm.
    pub version: &'static str,
    /// Its commit; empty where neither the build nor the source folder tells.
    pub commit: String,
    /// Operating system and processor.
    pub system: String,
    /// The time that there was.
    pub budget_seconds: f64,
    /// The time that it took.
    pub seconds: f64,
    /// Nothing failed, and the device agrees with the published model.
    pub ok: bool,
    /// The device's limits.
    pub roofline: Part<Measurement>,
    /// Agreement with the published model, in each precision.
    pub verify: Part<Report>,
    /// Supervision steps.
    pub steps: Part<Step>,
    /// Where the time of training steps goes.
    pub kernels: Part<Kernels>,
    /// A short training.
    pub training: Part<Training>,
    /// The limits once more, at the end: what differs tells of clocks, heat and other programs.
    pub roofline_again: Part<Measurement>,
}

impl<T> Part<T> {
    /// What `work` makes of an empty part.
    fn of(work: impl FnOnce(&mut Part<T>) -> Result<()>) -> Part<T> {
        let start = Instant::now();
        let mut part = Part { measured: Vec::new(), left_out: Vec::new(), faults: Vec::new(), seconds: 0.0 };
        if let Err(error) = work(&mut part) {
            part.faults.push(error.to_string());
        }
        part.seconds = start.elapsed().as_secs_f64();
        part
    }

    fn leave_out(&mut self, what: &str, why: impl std::fmt::Display) {
        self.left_out.push(format!("{what}: {why}"));
    }

    /// Whether something that takes so many seconds is over by `end`.
    fn in_time(&mut self, what: &str, seconds: f64, end: Instant) -> bool {
        let left = left(end);
        if seconds > left {
            self.leave_out(what, format!("takes about {seconds:.0} s, {left:.0} s were left"));
        }
        seconds <= left
    }

    /// What was found, unless it does not fit the device.
    ///
    /// # Errors
    /// Everything else that went wrong.
    fn fitting<U>(&mut self, what: &str, found: Result<U>) -> Result<Option<U>> {
        match found {
            Err(error @ (Error::Limit { .. } | Error::Memory { .. })) => {
                self.leave_out(what, error);
                Ok(None)
            }
            found => found.map(Some),
        }
    }
}

impl Card {
    /// Measures `device` for about `budget`, and `other`, the same device in another precision. Each part is told to
    /// `tell` before it begins.
    pub fn measure(device: &Device, other: Option<&Device>, budget: Duration, tell: impl Fn(&str)) -> Card {
        let (start, devices) = (Instant::now(), [Some(device), other]);
        let devices: Vec<&Device> = devices.into_iter().flatten().collect();
        let until = |share: f64| start + budget.mul_f64(share);

        tell("limits");
        let mut limits = None;
        let roofline = Part::of(|part| {
            let found = roofline::measure(device, REPETITIONS)?;
            (limits, part.measured, part.left_out) =
                (Some(found.roofline), found.measured, Vec::from_iter(found.units_fault));
            Ok(())
        });
        tell("agreement");
        let verify = Part::of(|part| agreement(part, &devices, until(VERIFY_UNTIL)));
        tell("steps");
        let steps = Part::of(|part| cases::steps(part, &devices, limits, until(STEPS_UNTIL)));
        tell("kernels");
        let kernels =
            Part::of(|part| cases::kernels(part, &devices, &steps.measured, limits, until(KERNELS_UNTIL)));
        tell("training");
        let training = Part::of(|part| training::train(part, &devices, until(TRAINING_UNTIL)));
        tell("limits again");
        let roofline_again = Part::of(|part| {
            match left(until(1.0)) > roofline.seconds {
                true => part.measured = roofline::measure(device, REPETITIONS)?.measured,
                false => part.leave_out("all", "no time was left"),
            }
            Ok(())
        });

        let faults = [&roofline.faults, &verify.faults, &steps.faults, &kernels.faults, &training.faults];
        let ok = faults.into_iter().chain([&roofline_again.faults]).all(Vec::is_empty);
        let matrices = |Matrices { size, subgroup, .. }| {
            format!("{size}x{size}, operands in f16, sums in f32, subgroups of {subgroup}")
        };
        Card {
            ok,
            device: device.info(),
            matrices: device.cooperative().map(matrices),
            storage: devices.iter().map(|device| device.storage()).collect::<Vec<_>>().join("; "),
            version: env!("CARGO_PKG_VERSION"),
            commit: Origin::of(device).commit,
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            budget_seconds: budget.as_secs_f64(),
            seconds: start.elapsed().as_secs_f64(),
            roofline,
            verify,
            steps,
            kernels,
            training,
            roofline_again,
        }
    }
}

/// Seconds until then.
fn left(then: Instant) -> f64 {
    then.saturating_duration_since(Instant::now()).as_secs_f64()
}

/// The golden vectors, as many of them as there is time for, but one in any case.
fn agreement(part: &mut Part<Report>, devices: &[&Device], end: Instant) -> Result<()> {
    let vectors = Golden::built_in()?;
    for device in devices {
        let mut report = verify(device, device.target(), &[], |_| {})?;
        for golden in &vectors {
            if left(end) == 0.0 && !report.cases.is_empty() {
                part.leave_out(&format!("{}, {}", golden.name, report.precision), "no time was left");
                continue;
            }
            let one = verify(device, device.target(), std::slice::from_ref(golden), |_| {})?;
            if !one.ok {
                part.faults.push(format!("{}, {}: past its bound", golden.name, report.precision));
            }
            report.cases.extend(one.cases);
            report.ok &= one.ok;
        }
        part.measured.push(report);
    }
    Ok(())
}
