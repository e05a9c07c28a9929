//! The thread that has the device: takes puzzles out of the queue and answers them.
//!
//! The engine is loaded for batches of several widths, each four times the last, because a step takes its time however
//! few of its slots are in use. The narrowest with room for all that was to do in the last moments computes; a wider or
//! narrower one takes over as soon as its slots are empty.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::checkpoint::Model;
use crate::data::{Batch, IGNORE_LABEL};
use crate::engine::Device;
use crate::eval::{Evaluator, Look, Pace, Thought};
use crate::{Error, Result};

use super::figures::Figures;

/// Puzzles at once, on a GPU and on a processor, which more do not fill better.
const WIDEST: [usize; 2] = [256, 32];
/// How much wider the next batch is.
const WIDER: usize = 4;
/// How long a crowd is remembered at least, so that the moment between its answers and its next questions is no reason
/// for a narrow batch.
const MOMENT: Duration = Duration::from_secs(1);

/// A puzzle that waits for its answer.
pub struct Job {
    /// (S) tokens.
    pub inputs: Vec<i32>,
    /// Its puzzle identifier.
    pub identifier: i32,
    /// Where the answer goes; closed by those who wait no longer.
    pub reply: oneshot::Sender<Answer>,
}

/// The last thought about a puzzle.
pub struct Answer {
    /// What it is.
    pub thought: Thought,
    /// Supervision steps that it took.
    pub steps: usize,
}

/// The model on its device.
pub struct Worker {
    model: Model,
    device: Device,
    pace: Pace,
    /// By width, as in `load`.
    evaluators: Vec<Evaluator>,
    load: Load,
    queue: mpsc::Receiver<Job>,
    /// To be taken before those in the queue.
    first: VecDeque<Job>,
    figures: Arc<Figures>,
    /// Nobody waits for an answer any more.
    over: Arc<AtomicBool>,
    tell: Box<dyn Fn(&str) + Send>,
}

impl Worker {
    /// Loads the model for batches of up to `batch` puzzles, or of as many as suit the device and fit it.
    pub fn open(
        model: Model,
        device: Device,
        (pace, batch): (Pace, Option<usize>),
        queue: mpsc::Receiver<Job>,
        figures: Arc<Figures>,
    ) -> Result<Worker> {
        let suiting = WIDEST[usize::from(!device.info().is_hardware())];
        let (mut load, over) = (Load::up_to(batch.unwrap_or(suiting)), Arc::default());
        let evaluators = loop {
            match load.evaluators(&model, &device, &over) {
                Err(Error::Limit { .. } | Error::Memory { .. }) if batch.is_none() && load.widest() > 1 => {
                    load = Load::up_to(load.widest() / 2);
                }
                outcome => break outcome?,
            }
        };
        let (first, tell) = (VecDeque::new(), Box::new(|_: &str| ()));
        Ok(Worker { model, device, pace, evaluators, load, queue, first, figures, over, tell })
    }

    /// Tells when a device failed.
    pub fn telling(&mut self, tell: impl Fn(&str) + Send + 'static) {
        self.tell = Box::new(tell);
    }

    /// The device's name.
    pub fn device_name(&self) -> String {
        self.device.info().name
    }

    /// Most puzzles computed at once.
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
        self.evaluators = self.load.evaluators(&self.model, &self.device, &self.over)?;
        Ok(())
    }

    /// Answers puzzles in batches of the width that suits what there is to do, until nothing is left or another suits
    /// better. Those at work when the device fails are the first again.
    fn roll(&mut self) -> Result<()> {
        let Worker { evaluators, load, queue, first, figures, pace, .. } = self;
        let chosen = load.suiting(first.len() + queue.len());
        let (evaluator, width) = (&mut evaluators[chosen], load.widths[chosen]);
        let (running, mut begun) = (RefCell::new(BTreeMap::<usize, Job>::new()), 0);
        let mut next = |one: &mut Batch| {
            let mut running = running.borrow_mut();
            while load.suiting(first.len() + queue.len() + running.len()) == chosen {
                let Some(job) = first.pop_front().or_else(|| queue.try_recv().ok()) else { break };
                if job.reply.is_closed() {
                    figures.count(|counts| counts.given_up += 1);
                    continue;
                }
                one.inputs.copy_from_slice(&job.inputs);
                one.labels.fill(IGNORE_LABEL);
                one.puzzle_identifiers.fill(job.identifier);
                running.insert(begun, job);
                begun += 1;
                return Ok(true);
            }
            Ok(false)
        };
        let mut visit = |look: Look<'_>| {
            let Some(job) = running.borrow_mut().remove(&look.index) else { return Ok(()) };
            let thought = Thought { answer: look.predictions.to_vec(), q_halt: look.q_halt };
            let gone = job.reply.is_closed();
            figures.count(|counts| {
                counts.answered += u64::from(!gone);
                counts.given_up += u64::from(gone);
                counts.steps += look.step as u64;
            });
            // Who gives up just now does not take it.
            let _ = job.reply.send(Answer { thought, steps: look.step });
            Ok(())
        };
        let mut progress = |_| {
            figures.count(|counts| {
                counts.batches += 1;
                counts.slots += width as u64;
                counts.running = running.borrow().len();
            });
        };
        let pace = Pace { every_step: false, cut_short: true, ..*pace };
        let outcome = evaluator.roll(pace, &mut next, &mut visit, &mut progress);
        running.into_inner().into_values().rev().for_each(|job| first.push_front(job));
        outcome
    }
}

/// How much there is to do, and the widths of batches for it.
struct Load {
    /// The narrowest first.
    widths: Vec<usize>,
    /// When the moment at hand began.
    since: Instant,
    /// Most puzzles that were to do at once, in the moment at hand and in the one before.
    peaks: [usize; 2],
}

impl Load {
    fn up_to(widest: usize) -> Load {
        let narrower = std::iter::successors(Some(1), |width| Some(width * WIDER));
        let widths = narrower.take_while(|width| *width < widest).chain([widest]).collect();
        Load { widths, since: Instant::now(), peaks: [0; 2] }
    }

    fn widest(&self) -> usize {
        self.widths.last().copied().unwrap_or(1)
    }

    /// An evaluator for each width.
    fn evaluators(
        &self,
        Model { config, weights }: &Model,
        device: &Device,
        over: &Arc<AtomicBool>,
    ) -> Result<Vec<Evaluator>> {
        let open = |&width| {
            let mut evaluator = Evaluator::new(config, device, width)?;
            evaluator.load(weights)?;
            evaluator.stop_when(over.clone());
            Ok(evaluator)
        };
        self.widths.iter().map(open).collect()
    }

    /// The place of the narrowest width for all that is to do now, and was a moment ago.
    fn suiting(&mut self, to_do: usize) -> usize {
        let passed = self.since.elapsed();
        if passed >= MOMENT {
            self.peaks = [0, if passed < 2 * MOMENT { self.peaks[0] } else { 0 }];
            self.since = Instant::now();
        }
        self.peaks[0] = self.peaks[0].max(to_do);
        let most = self.peaks[0].max(self.peaks[1]);
        self.widths.iter().position(|width| *width >= most).unwrap_or(self.widths.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_remembered_for_a_moment() {
        let mut load = Load::up_to(32);
        assert_eq!(load.widths, [1, 4, 16, 32]);
        assert_eq!([1, 1, 3, 1, 17, 100, 1].map(|to_do| load.suiting(to_do)), [0, 0, 1, 1, 3, 3, 3]);
        load.since -= MOMENT;
        assert_eq!(load.suiting(2), 3, "the moment before counts");
        load.since -= MOMENT;
        assert_eq!(load.suiting(1), 1, "the one before that does not");
        load.suiting(40);
        load.since -= 2 * MOMENT;
        assert_eq!(load.suiting(1), 0, "what was long ago neither");
        assert_eq!(Load::up_to(1).widths, [1]);
    }
}
