//! Puzzles that wait for the worker, in the order in which they came. Who leaves takes theirs out.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::figures::Figures;
use super::job::{Job, Outcome};
use super::room::Places;

/// Where puzzles enter; once it is dropped, no more will.
pub struct Entrance(Arc<Queue>);

/// Where they leave; once it is dropped, nobody takes any, and those that wait are dropped, too.
pub struct Exit(Arc<Queue>);

/// Waits for an answer. Dropped before, it takes its puzzle out of the queue.
pub struct Ticket {
    queue: Arc<Queue>,
    number: u64,
    places: Places,
    answer: oneshot::Receiver<Outcome>,
}

struct Queue {
    line: Mutex<Line>,
    changed: Condvar,
    figures: Arc<Figures>,
}

#[derive(Default)]
struct Line {
    /// By number, the oldest first.
    waiting: BTreeMap<u64, Job>,
    next: u64,
    closed: bool,
}

/// An empty queue.
pub fn queue(figures: Arc<Figures>) -> (Entrance, Exit) {
    let queue = Arc::new(Queue { line: Mutex::default(), changed: Condvar::new(), figures });
    (Entrance(queue.clone()), Exit(queue))
}

impl Queue {
    fn line(&self) -> MutexGuard<'_, Line> {
        // Every change is whole in itself.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) -> MutexGuard<'_, Line> {
        let mut line = self.line();
        line.closed = true;
        self.changed.notify_all();
        line
    }
}

impl Entrance {
    /// Lets a puzzle in whose answer comes to `answer`. Where nobody takes any more, it is dropped, as is seen there.
    pub fn enter(&self, job: Job, answer: oneshot::Receiver<Outcome>) -> Ticket {
        let Entrance(queue) = self;
        let (mut line, places) = (queue.line(), job.places.clone());
        let number = line.next;
        line.next += 1;
        if !line.closed {
            line.waiting.insert(number, job);
            queue.changed.notify_one();
        }
        drop(line);
        Ticket { queue: queue.clone(), number, places, answer }
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        drop(self.0.close());
    }
}

impl Exit {
    /// The one that came first, if there is any.
    pub fn next(&self) -> Option<Job> {
        Some(self.0.line().waiting.pop_first()?.1)
    }

    /// The same as soon as there is one; None where there never will be.
    pub fn wait(&self) -> Option<Job> {
        let mut line = self.0.line();
        loop {
            match line.waiting.pop_first() {
                Some((_, job)) => return Some(job),
                None if line.closed => return None,
                None => line = self.0.changed.wait(line).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Drop for Exit {
    fn drop(&mut self) {
        let left = std::mem::take(&mut self.0.close().waiting);
        drop(left);
    }
}

impl Ticket {
    /// The answer; None where the server ends without one.
    pub async fn answer(mut self) -> Option<Outcome> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // The worker may have it already, and sees before the next step that nobody waits; but its places are free now.
        self.places.leave_all();
        let gone = self.queue.line().waiting.remove(&self.number);
        if gone.is_some() {
            self.queue.figures.count(|counts| counts.abandoned += 1);
        }
    }
}
