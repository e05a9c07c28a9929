//! What engines say of their own work: where the time of a submission went, and what was asked of the driver.

use std::time::Duration;

/// Where the time of one submission went. On the CPU engine there is nothing to encode or submit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// From the first call to the last result: what a user waits for.
    pub whole: Duration,
    /// CPU time to record the commands.
    pub encode: Duration,
    /// CPU time to hand them to the driver.
    pub submit: Duration,
    /// On the device, by its timestamps around the pass; None where it has none.
    pub device: Option<Duration>,
}

impl Times {
    /// The device's own time where it is known, the whole otherwise.
    pub fn work(&self) -> Duration {
        self.device.unwrap_or(self.whole)
    }

    /// Of two runs of the same work, for each figure the one that was disturbed less: what slows the device down says
    /// nothing about the thread that records.
    pub fn best(self, other: Times) -> Times {
        Times {
            whole: self.whole.min(other.whole),
            encode: self.encode.min(other.encode),
            submit: self.submit.min(other.submit),
            device: self.device.zip(other.device).map(|(one, two)| one.min(two)),
        }
    }
}

/// What an engine asked of its driver since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Command buffers submitted.
    pub submissions: u64,
    /// Buffers created.
    pub buffers: u64,
    /// Buffers mapped for reading.
    pub readbacks: u64,
}
