//! The room in the queue: a place for each rollout that waits for a slot of the batch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A queue has room for so many rollouts.
#[derive(Clone)]
pub struct Room {
    free: Arc<Semaphore>,
    size: usize,
}

/// Places of a puzzle, which the worker leaves one by one, and who asked all at once.
#[derive(Clone)]
pub struct Places(Arc<Mutex<OwnedSemaphorePermit>>);

impl Room {
    /// Room for `size` rollouts, or for as many as can be taken at once.
    pub fn new(size: usize) -> Room {
        let size = size.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Room { free: Arc::new(Semaphore::new(size)), size }
    }

    /// Places for so many puzzles of so many rollouts each; none where there is no room for all of them.
    pub fn take(&self, puzzles: usize, rollouts: usize) -> Option<Vec<Places>> {
        let all = u32::try_from(puzzles.checked_mul(rollouts)?).ok()?;
        let mut all = self.free.clone().try_acquire_many_owned(all).ok()?;
        let places = |one| Places(Arc::new(Mutex::new(one)));
        (0..puzzles).map(|_| all.split(rollouts).map(places)).collect()
    }

    /// Places that there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Places that are held.
    pub fn taken(&self) -> usize {
        self.size - self.free.available_permits()
    }
}

impl Places {
    fn all(&self) -> MutexGuard<'_, OwnedSemaphorePermit> {
        // Every change is whole in itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are held.
    pub fn held(&self) -> usize {
        self.all().num_permits()
    }

    /// Makes room for one, if any are held.
    pub fn leave_one(&self) {
        drop(self.all().split(1));
    }

    /// Makes room for as many as are held.
    pub fn leave_all(&self) {
        let mut all = self.all();
        let held = all.num_permits();
        drop(all.split(held));
    }
}
