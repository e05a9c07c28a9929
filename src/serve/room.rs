//! The room in the queue: a place for each rollout of a puzzle that waits.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A queue has room for so many rollouts.
#[derive(Clone)]
pub struct Room {
    free: Arc<Semaphore>,
    size: usize,
}

/// Places that are held until they are left or dropped.
pub struct Places(Option<OwnedSemaphorePermit>);

impl Room {
    /// Room for `size` rollouts.
    pub fn new(size: usize) -> Room {
        let size = size.min(Semaphore::MAX_PERMITS);
        Room { free: Arc::new(Semaphore::new(size)), size }
    }

    /// Places for so many puzzles of so many rollouts each; none where there is no room for all of them.
    pub fn take(&self, puzzles: usize, rollouts: usize) -> Option<Vec<Places>> {
        let all = u32::try_from(puzzles.checked_mul(rollouts)?).ok()?;
        let mut all = self.free.clone().try_acquire_many_owned(all).ok()?;
        (0..puzzles).map(|_| all.split(rollouts).map(|places| Places(Some(places)))).collect()
    }

    /// Places that are held.
    pub fn taken(&self) -> usize {
        self.size - self.free.available_permits()
    }
}

impl Places {
    /// Whether they were not left yet.
    pub fn are_held(&self) -> bool {
        self.0.is_some()
    }

    /// Makes room.
    pub fn leave(&mut self) {
        self.0 = None;
    }
}
