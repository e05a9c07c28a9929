//! One measurement, and where it was taken.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::{Device, Times};
use crate::plan::{Cost, Element};
use crate::version::COMMIT;

/// Where measurements come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The device.
    pub adapter: String,
    /// Its driver; empty for the CPU engine.
    pub driver: String,
    /// How activations were stored; f32 in files from before it was told.
    #[serde(default)]
    pub precision: Element,
    /// The commit of the sources, as the build or the source folder tells; empty where neither does.
    pub commit: String,
}

impl Origin {
    /// Of measurements taken on `device` by this program.
    pub fn of(device: &Device) -> Origin {
        let (info, precision) = (device.info(), device.target().precision);
        Origin { adapter: info.name, driver: info.driver, precision, commit: COMMIT.to_owned() }
    }
}

/// One line of `trm bench --json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// What was measured; the same in every run, so that runs can be paired.
    pub key: String,
    /// The time of one.
    pub seconds: f64,
    /// How many of it a step has.
    pub count: u64,
    /// Work and traffic of one.
    #[serde(flatten)]
    pub cost: Cost,
    /// 10^9 floating-point operations per second.
    pub gflops: f64,
    /// 10^9 bytes per second.
    pub gbytes: f64,
    /// What the roofline allows over what was taken, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roofline_share: Option<f64>,
    /// CPU time to record the commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encode_seconds: Option<f64>,
    /// CPU time to hand them to the driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submit_seconds: Option<f64>,
    /// Time on the device, by its timestamps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_seconds: Option<f64>,
    /// Seconds for one more of what was varied, by the line through all of its values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slope_seconds: Option<f64>,
    /// Seconds at none of it, by the same line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intercept_seconds: Option<f64>,
    /// Where.
    #[serde(flatten)]
    pub origin: Origin,
}

impl Measurement {
    /// One thing of this cost, taking this long.
    pub fn new(origin: &Origin, key: String, time: Duration, cost: Cost) -> Measurement {
        let seconds = time.as_secs_f64();
        let rate = |amount: u64| if seconds > 0.0 { amount as f64 / seconds * 1e-9 } else { 0.0 };
        Measurement {
            key,
            seconds,
            count: 1,
            cost,
            gflops: rate(cost.flops),
            gbytes: rate(cost.bytes),
            origin: origin.clone(),
            ..Measurement::default()
        }
    }

    /// A submission: as long as a user waits for it, with its parts.
    pub fn submission(origin: &Origin, key: String, times: Times, cost: Cost) -> Measurement {
        // The CPU engine has nothing to encode.
        let part = |time: Duration| (!times.encode.is_zero()).then_some(time.as_secs_f64());
        Measurement {
            encode_seconds: part(times.encode),
            submit_seconds: part(times.submit),
            device_seconds: times.device.map(|time| time.as_secs_f64()),
            ..Measurement::new(origin, key, times.whole, cost)
        }
    }
}
