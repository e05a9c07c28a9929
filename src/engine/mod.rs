//! Engines run plans.
//!
//! `cpu` runs the native twin of each kernel, [`gpu`] records the plan into one submission. Neither is the
//! truth: kernels-tests checks both against scalar f64 references that share no code with them.

pub(crate) mod best;
mod cpu;
pub mod device;
#[cfg(feature = "testing")]
pub mod faults;
pub mod gpu;
mod memory;
mod run;
mod timing;

use crate::Result;
use crate::plan::{Half, Slice};

pub use crate::plan::Element;
pub use device::{Device, DeviceInfo, devices, select};
#[cfg(feature = "testing")]
pub use run::Run;
#[cfg(not(feature = "testing"))]
pub(crate) use run::Run;
pub use timing::{Counts, Times};

/// Bytes of memory that this process may still take: what the machine, a container and the shell leave; none where the system
/// does not tell.
pub fn free_memory() -> Option<u64> {
    memory::room().map(|room| room.bytes)
}

/// Bytes of memory that this process has now, where the system tells.
pub fn process_bytes() -> Option<u64> {
    memory::taken()
}

/// Asked whether to leave a step undone.
pub type GiveUp<'a> = &'a dyn Fn() -> bool;

/// Runs one plan, step after step, with everything kept on the device.
pub trait Engine: Send {
    /// Overwrites a part of a buffer before the next step.
    fn write(&mut self, slice: Slice, words: &[u32]) -> Result<()>;

    /// Reads a part of a buffer after all submitted steps; waits for them.
    fn read(&mut self, slice: Slice) -> Result<Vec<u32>>;

    /// Runs the plan once, or a half of it: one submission, unless it takes long. Where the plan has a metric block, its
    /// copy is queued for [`Engine::metrics`] at the end.
    ///
    /// False if `give_up`, which is asked now and then on the way, said so: what the plan writes is then half done.
    fn submit(&mut self, half: Half, give_up: GiveUp<'_>) -> Result<bool>;

    /// Runs the plan once and waits for it; queues no metric block. For `trm bench`, not for training.
    fn timed_submit(&mut self) -> Result<Times>;

    /// Runs dispatch `index` of the plan `times` over in one submission and waits for it. For `trm bench`: what it
    /// overwrites, it overwrites as often.
    fn repeat(&mut self, index: usize, times: u32) -> Result<Times>;

    /// What was asked of the driver so far.
    fn counts(&self) -> Counts;

    /// The oldest metric block not yet taken. None if there is none, or, unless `wait`, if it is not there yet.
    fn metrics(&mut self, wait: bool) -> Result<Option<Vec<f32>>>;
}
