//! The thread that has the device: takes puzzles out of the queue and answers them.
//!
//! The engine is loaded for batches of several widths, each four times the last, because a step takes its time however
//! few of its slots are in use. The narrowest with room for all that was to do in the last moments computes; a wider or
//! narrower one takes over as soon as its slots are empty.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::checkpoint::Model;
use crate::engine::Device;
use crate::eval::rolling::{Stream, Turn, roll_out};
use crate::eval::rollouts::{Answered, Asked};
use crate::eval::{Breadth, Evaluator, width};
use crate::{Error, Result};

use super::figures::Figures;
use super::job::{Answer, Job};
use super::load::Load;
use super::queue::Exit;
use super::room::Room;

/// The model on its device.
pub struct Worker {
    model: Model,
    device: Device,
    /// Whether there may be several rollouts.
    widely: bool,
    /// By width, as in `load`.
    evaluators: Vec<Evaluator>,
    load: Load,
    queue: Exit,
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
        (queue, room): (Exit, Room),
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
    /// A device that cannot be opened anew.
    pub fn run(mut self) -> Result<()> {
        while !self.over.load(Ordering::Relaxed) {
            if self.first.is_empty() {
                let Some(job) = self.queue.wait() else { return Ok(()) };
                self.first.push_back(job);
            }
            match self.roll() {
                Err(fault) if fault.is_device_fault() => self.reopen(&fault)?,
                outcome => outcome?,
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
    /// better. Those in the batch when the device fails are tried once more, each by itself, to find which it fails at.
    fn roll(&mut self) -> Result<()> {
        let Worker { evaluators, load, queue, room, first, figures, .. } = self;
        let chosen = load.suiting(room.taken() + at_work(&*first));
        let (evaluator, width) = (&mut evaluators[chosen], load.widths[chosen]);
        let (running, mut begun) = (RefCell::new(BTreeMap::<usize, Job>::new()), 0);
        let abandoned = || figures.count(|counts| counts.abandoned += 1);
        let alone = first.front().is_some_and(|job| job.suspect);
        let mut ask = || {
            let mut running = running.borrow_mut();
            let suspect = |first: &VecDeque<Job>| first.front().is_some_and(|job| job.suspect);
            while !(begun > 0 && (alone || suspect(first)))
                && load.suiting(room.taken() + at_work(&*first) + at_work(running.values())) == chosen
            {
                let Some(job) = first.pop_front().or_else(|| queue.next()) else { break };
                if job.reply.is_closed() {
                    abandoned();
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
                abandoned();
            }
            !gone
        };
        let mut turn = |index, turn| {
            if let Some(job) = running.borrow_mut().get_mut(&index) {
                match turn {
                    Turn::Begins => job.places.leave_one(),
                    Turn::Ends => job.left -= 1,
                }
            }
        };
        let mut done = |answered: Answered| {
            let Some(job) = running.borrow_mut().remove(&answered.index) else { return Ok(()) };
            let Breadth { rollouts, select, .. } = job.breadth;
            let (elected, steps) =
                (answered.elected(select, rollouts, 0), answered.steps(rollouts, usize::MAX));
            job.answer(figures, Ok(Answer { elected, steps }));
            Ok(())
        };
        let mut progress = |_| {
            figures.count(|counts| {
                counts.batches += 1;
                counts.slots += width as u64;
                counts.running = in_batch(&running.borrow());
            });
        };
        let at = [evaluator.max_steps()];
        let whole = Stream::of(&mut ask, &mut done, &mut progress);
        let stream =
            Stream { wanted: Some(&mut wanted), turn: Some(&mut turn), cut_short: true, fair: true, ..whole };
        let outcome = roll_out(evaluator, &at, stream);
        let fault = outcome.as_ref().err().filter(|fault| fault.is_device_fault());
        figures.count(|counts| counts.running = 0);
        for mut job in running.into_inner().into_values().rev() {
            match fault {
                Some(fault) if job.at_work() > 0 && job.suspect => {
                    job.answer(figures, Err(fault.to_string()));
                    continue;
                }
                Some(_) => job.suspect |= job.at_work() > 0,
                None => {}
            }
            job.left = job.breadth.rollouts;
            first.push_front(job);
        }
        outcome
    }
}

/// Rollouts of these puzzles that have left the queue and are not done.
fn at_work<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> usize {
    jobs.into_iter().map(Job::at_work).sum()
}

/// Puzzles with rollouts in the batch.
fn in_batch(running: &BTreeMap<usize, Job>) -> usize {
    running.values().filter(|job| job.at_work() > 0).count()
}
