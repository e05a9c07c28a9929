//! The thread that has the device: takes puzzles out of the queue and answers them.
//!
//! The engine is loaded for batches of several widths, each four times the last, because a step takes its time however
//! few of its slots are in use. The narrowest with room for all that was to do in the last moments computes; a wider or
//! narrower one takes over as soon as its slots are empty.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot};

use crate::checkpoint::Model;
use crate::engine::Device;
use crate::eval::rollouts::{Answered, Asked, Stream, roll_out};
use crate::eval::{Breadth, Elected, Evaluator, Question, width};
use crate::{Error, Result};

use super::figures::Figures;
use super::load::Load;
use super::room::{Places, Room};

/// A puzzle that waits for its answer.
pub struct Job {
    /// What is asked.
    pub question: Question,
    /// How widely it is thought about.
    pub breadth: Breadth,
    /// Where the answer goes; closed by those who wait no longer.
    pub reply: oneshot::Sender<Answer>,
    /// Its places in the queue, one for each rollout.
    pub places: Places,
}

/// What all rollouts of a puzzle came to.
pub struct Answer {
    /// The choice among them; none where the model made NaN of all.
    pub elected: Option<Elected>,
    /// Supervision steps that they took together.
    pub steps: usize,
}

/// The model on its device.
pub struct Worker {
    model: Model,
    device: Device,
    /// Whether there may be several rollouts.
    widely: bool,
    /// By width, as in `load`.
    evaluators: Vec<Evaluator>,
    load: Load,
    queue: mpsc::UnboundedReceiver<Job>,
    room: Room,
    /// To be taken before those in the queue.
    first: VecDeque<Job>,
    figures: Arc<Figures>,
    /// Nobody waits for an answer any more.
    over: Arc<AtomicBool>,
    tell: Box<dyn Fn(&str) + Send>,
}

impl Worker {
    /// Loads the model for batches of up to `batch` rollouts, or of as many as suit the device and fit it.
    pub fn open(
        model: Model,
        device: Device,
        (widely, batch): (bool, Option<usize>),
        (queue, room): (mpsc::UnboundedReceiver<Job>, Room),
        figures: Arc<Figures>,
    ) -> Result<Worker> {
        let over = Arc::default();
        let open = |widest| {
            let load = Load::up_to(widest);
            Ok((load.evaluators(&model, &device, widely, &over)?, load))
        };
        let (evaluators, load) = match batch {
            Some(batch) => open(batch)?,
            None => width::fitting(width::suiting(&device), open)?.1,
        };
        let (first, tell) = (VecDeque::new(), Box::new(|_: &str| ()));
        Ok(Worker { model, device, widely, evaluators, load, queue, room, first, figures, over, tell })
    }

    /// Tells when a device failed.
    pub fn telling(&mut self, tell: impl Fn(&str) + Send + 'static) {
        self.tell = Box::new(tell);
    }

    /// The device's name.
    pub fn device_name(&self) -> String {
        self.device.info().name
    }

    /// Most rollouts computed at once.
    pub fn widest(&self) -> usize {
        self.load.widest()
    }

    /// Once it is true, puzzles at work are given up.
    pub fn over(&self) -> Arc<AtomicBool> {
        self.over.clone()
    }

    /// Works until the queue is empty and nobody is left to fill it.
    ///
    /// # Errors
    /// Device failures that come again before there was another answer.
    pub fn run(mut self) -> Result<()> {
        let mut suspect = false;
        while !self.over.load(Ordering::Relaxed) {
            if self.first.is_empty() {
                let Some(job) = self.queue.blocking_recv() else { return Ok(()) };
                self.first.push_back(job);
            }
            let answered = self.figures.answered();
            match self.roll() {
                Ok(()) => suspect &= self.figures.answered() == answered,
                Err(fault) if fault.is_device_fault() && (!suspect || self.figures.answered() > answered) => {
                    self.reopen(&fault)?;
                    suspect = true;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn reopen(&mut self, fault: &Error) -> Result<()> {
        (self.tell)(&format!("{fault}; going on with the device opened anew"));
        self.figures.count(|counts| counts.reopened += 1);
        // Two of them have no room on it.
        self.evaluators.clear();
        self.device = self.device.reopened()?;
        self.evaluators = self.load.evaluators(&self.model, &self.device, self.widely, &self.over)?;
        Ok(())
    }

    /// Answers puzzles in batches of the width that suits what there is to do, until nothing is left or another suits
    /// better. Those at work when the device fails are the first again.
    fn roll(&mut self) -> Result<()> {
        let Worker { evaluators, load, queue, room, first, figures, .. } = self;
        let chosen = load.suiting(rollouts(&*first) + room.taken());
        let (evaluator, width) = (&mut evaluators[chosen], load.widths[chosen]);
        let (running, mut begun) = (RefCell::new(BTreeMap::<usize, Job>::new()), 0);
        let given_up = || figures.count(|counts| counts.given_up += 1);
        let mut ask = || {
            let mut running = running.borrow_mut();
            while load.suiting(rollouts(&*first) + room.taken() + rollouts(running.values())) == chosen {
                let Some(mut job) = first.pop_front().or_else(|| queue.try_recv().ok()) else { break };
                job.places.leave();
                if job.reply.is_closed() {
                    given_up();
                    continue;
                }
                let asked = Asked::unlabelled(job.question.clone(), job.breadth);
                running.insert(begun, job);
                begun += 1;
                return Ok(Some(asked));
            }
            Ok(None)
        };
        let mut wanted = |index| {
            let mut running = running.borrow_mut();
            let gone = running.get(&index).is_some_and(|job| job.reply.is_closed());
            if gone {
                running.remove(&index);
                given_up();
            }
            !gone
        };
        let mut done = |answered: Answered| {
            let Some(job) = running.borrow_mut().remove(&answered.index) else { return Ok(()) };
            let Breadth { rollouts, select, .. } = job.breadth;
            let (elected, steps) =
                (answered.elected(select, rollouts, 0), answered.steps(rollouts, usize::MAX));
            figures.count(|counts| {
                counts.answered += 1;
                counts.steps += steps as u64;
            });
            // Who gives up just now does not take it.
            let _ = job.reply.send(Answer { elected, steps });
            Ok(())
        };
        let mut progress = |_| {
            figures.count(|counts| {
                counts.batches += 1;
                counts.slots += width as u64;
                counts.running = running.borrow().len();
            });
        };
        let at = [evaluator.max_steps()];
        let whole = Stream::of(&mut ask, &mut done, &mut progress);
        let stream = Stream { wanted: Some(&mut wanted), cut_short: true, ..whole };
        let outcome = roll_out(evaluator, &at, stream);
        let left = running.into_inner();
        figures.count(|counts| counts.running = left.len());
        left.into_values().rev().for_each(|job| first.push_front(job));
        outcome
    }
}

/// Rollouts of puzzles that are no longer in the queue.
fn rollouts<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> usize {
    jobs.into_iter().filter(|job| !job.places.are_held()).map(|job| job.breadth.rollouts).sum()
}
