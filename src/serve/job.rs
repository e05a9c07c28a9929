//! A puzzle on its way from the queue through the batch to its answer.

use tokio::sync::oneshot;

use crate::eval::{Breadth, Elected, Question};

use super::figures::Figures;
use super::room::Places;

/// A puzzle that waits for its answer.
pub struct Job {
    /// What is asked.
    pub question: Question,
    /// How widely it is thought about.
    pub breadth: Breadth,
    /// Where the answer goes; closed by those who wait no longer.
    pub reply: oneshot::Sender<Outcome>,
    /// Its places in the queue, one for each rollout that never was in the batch.
    pub places: Places,
    /// Rollouts still to be computed.
    pub left: usize,
    /// Whether the device failed while it was in the batch.
    pub suspect: bool,
}

/// An answer, or how the device failed at the puzzle.
pub type Outcome = std::result::Result<Answer, String>;

/// What all rollouts of a puzzle came to.
pub struct Answer {
    /// The choice among them; none where the model made NaN of all.
    pub elected: Option<Elected>,
    /// Supervision steps that they took together.
    pub steps: usize,
}

impl Job {
    /// A puzzle that comes, with as many places as rollouts.
    pub fn new(question: Question, breadth: Breadth, reply: oneshot::Sender<Outcome>, places: Places) -> Job {
        Job { question, breadth, reply, places, left: breadth.rollouts, suspect: false }
    }

    /// Rollouts still to be computed that have no place in the queue: they are in the batch, or were. Of a puzzle that
    /// nobody waits for none are.
    pub fn at_work(&self) -> usize {
        if self.reply.is_closed() { 0 } else { self.left.saturating_sub(self.places.held()) }
    }

    /// Answers whoever waits, and counts it before they can know.
    pub fn answer(self, figures: &Figures, outcome: Outcome) {
        figures.count(|counts| {
            let steps = outcome.as_ref().ok().map(|answer| answer.steps as u64);
            match (self.reply.send(outcome), steps) {
                (Err(_), _) => counts.abandoned += 1,
                (Ok(()), None) => counts.failed += 1,
                (Ok(()), Some(steps)) => {
                    counts.answered += 1;
                    counts.steps += steps;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Wake};

    use super::*;
    use crate::data::inspect::Kind;
    use crate::serve::figures::Counts;
    use crate::serve::room::Room;

    /// Woken as soon as an answer is sent, looks whether it is counted.
    struct Client {
        figures: Arc<Figures>,
        told: AtomicBool,
        counted: AtomicBool,
    }

    impl Wake for Client {
        fn wake(self: Arc<Self>) {
            self.told.store(true, Ordering::SeqCst);
            self.counted.store(self.figures.are_counting(), Ordering::SeqCst);
        }
    }

    fn asked() -> (Job, oneshot::Receiver<Outcome>) {
        let (reply, answer) = oneshot::channel();
        let places = Room::new(1).take(1, 1).unwrap().remove(0);
        let question = Question { kind: Kind::Other, inputs: vec![1], identifier: 0 };
        (Job::new(question, Breadth::default(), reply, places), answer)
    }

    #[test]
    fn an_answer_is_counted_before_anybody_knows_it() {
        let (figures, (job, answer)) = (Arc::new(Figures::default()), asked());
        let (told, counted) = Default::default();
        let client = Arc::new(Client { figures: figures.clone(), told, counted });
        let (waker, mut answer) = (client.clone().into(), pin!(answer));
        assert!(answer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        job.answer(&figures, Ok(Answer { elected: None, steps: 3 }));
        assert!(client.told.load(Ordering::SeqCst) && client.counted.load(Ordering::SeqCst));
        figures.count(|counts| assert_eq!((counts.answered, counts.steps), (1, 3)));
    }

    #[test]
    fn answers_are_counted_by_what_became_of_them() {
        let figures = Figures::default();
        let (job, gone) = asked();
        drop(gone);
        job.answer(&figures, Ok(Answer { elected: None, steps: 3 }));
        let (job, _here) = asked();
        job.answer(&figures, Err("lost".to_owned()));
        let counted = |counts: &mut Counts| [counts.abandoned, counts.failed, counts.answered, counts.steps];
        figures.count(|counts| assert_eq!(counted(counts), [1, 1, 0, 0]));
    }
}
