//! A run under way: when it saves and evaluates, and where it goes when it diverges.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checkpoints::{At, Found, SHARE_OF_TIME, wait};
use super::evaluation::{Evaluated, Evaluation, Made};
use super::folder::RunFolder;
use super::notes::Note;
use super::observer::Observer;
use super::run::Outcome;
use super::trainer::Trainer;
use crate::checkpoint::State;
use crate::model::{Metrics, Which};
use crate::ranks::{self, Ranks};
use crate::recipe::{OnDivergence, TrainSettings};
use crate::{Error, Result};

/// How often a run may halve its learning rates: beyond 1/32 something else is wrong.
const MOST_HALVINGS: u32 = 5;

/// A step that takes longer is saved by itself where that costs little: whoever stops a run shall not have to wait for it.
const LONG_STEP: Duration = Duration::from_secs(5);

/// A run under way.
pub(super) struct Training<'a> {
    pub ranks: Arc<dyn Ranks>,
    pub observer: &'a mut dyn Observer,
    pub trainer: Trainer,
    pub folder: RunFolder,
    pub evaluation: Option<Evaluation>,
    pub settings: &'a TrainSettings,
    pub eval_every: u64,
    /// Steps done at the newest checkpoint of this run, ...
    pub saved: u64,
    /// ... whether it was written since the run was resumed or went back to one, ...
    pub saved_here: bool,
    /// ... and whether a finite loss has followed it.
    pub confirmed: bool,
    /// The checkpoint that the run went back to last.
    pub went_back_to: Option<u64>,
    /// A checkpoint is due; while the last loss is not finite, the one that is there is better, and it waits.
    pub save_wanted: bool,
    /// The evaluation that was made last.
    pub evaluated: Option<Made>,
    pub last_evaluation: Option<(u64, Metrics)>,
    /// When the time alone asks for a checkpoint.
    pub save_at: Option<Instant>,
    /// Time spent on checkpoints, ...
    pub saving: Duration,
    /// ... on the last one, ...
    pub save_took: Duration,
    /// ... and on the last step.
    pub step_took: Duration,
}

impl Training<'_> {
    /// Trains until the run ends, or the observer says stop.
    pub fn go(&mut self) -> Result<Outcome> {
        loop {
            match self.advance() {
                Ok(None) => {}
                Ok(Some(outcome)) => return Ok(outcome),
                Err(Error::Numeric { what, problem, .. }) => self.go_back(what, problem)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Saves if that is due, and then evaluates, makes a step or ends.
    fn advance(&mut self) -> Result<Option<Outcome>> {
        let step = self.trainer.step_count();
        let stopping = ranks::any(&*self.ranks, self.observer.stop())?;
        let last = step >= self.trainer.total_steps();
        let evaluating = self.owes_evaluation(step, last);
        let every = self.settings.checkpoint_every;
        let long_ago = self.save_at.is_some_and(|save_at| save_at <= Instant::now());
        let slow = self.step_took > LONG_STEP && self.save_took * SHARE_OF_TIME < self.step_took;
        let now_and_then =
            (every > 0 && step.is_multiple_of(every)) || ranks::any(&*self.ranks, long_ago || slow)?;
        self.save_wanted |= evaluating || last || stopping || now_and_then;
        if self.save_wanted {
            self.save(step, last || stopping)?;
        }
        if stopping || (last && !evaluating) {
            let finished = last && !evaluating;
            return Ok(Some(Outcome { steps: step, finished, evaluation: self.last_evaluation }));
        }
        if evaluating {
            self.evaluate(step, last)?;
        } else {
            let begun = Instant::now();
            // What is saved can be left undone.
            let give_up = || self.saved == step && self.observer.stop();
            if !self.trainer.step_unless(&give_up)? {
                let evaluation = self.last_evaluation;
                return Ok(Some(Outcome { steps: step, finished: false, evaluation }));
            }
            self.step_took = begun.elapsed();
            // Several ranks have to learn of a loss that is lost in the same step.
            self.take_metrics(self.ranks.size() > 1)?;
        }
        Ok(None)
    }

    /// The last evaluation replaces one that would come just before it.
    fn owes_evaluation(&self, step: u64, last: bool) -> bool {
        let due = step > 0
            && step.is_multiple_of(self.eval_every)
            && self.trainer.total_steps().saturating_sub(step) >= self.eval_every;
        let owed = |evaluation: &Evaluation| {
            let made = self.evaluated.filter(|made| made.step == step);
            // A run that was shortened to an evaluation of some examples ends with one of all.
            made.is_none_or(|made| last && !evaluation.is_whole(made))
        };
        (last || due) && self.evaluation.as_ref().is_some_and(owed)
    }

    fn take_metrics(&mut self, all: bool) -> Result<()> {
        while let Some(metrics) = self.trainer.metrics(all)? {
            self.observer.step(&metrics)?;
            if metrics.step > self.saved && metrics.metrics.loss().is_finite() {
                self.confirm()?;
            }
        }
        Ok(())
    }

    /// The newest checkpoint is a good one: those that it replaces can go.
    fn confirm(&mut self) -> Result<()> {
        let first = !std::mem::replace(&mut self.confirmed, true);
        if first && self.saved_here {
            self.folder.prune(self.saved, self.settings.keep)?;
        }
        Ok(())
    }

    fn save(&mut self, step: u64, now_or_never: bool) -> Result<()> {
        self.take_metrics(true)?;
        match self.trainer.check_loss() {
            Err(lost) if now_or_never => return Err(lost),
            Err(_) => return Ok(()),
            Ok(()) => self.save_wanted = false,
        }
        if step == self.saved {
            return Ok(());
        }
        let started = Instant::now();
        self.folder.save(&self.trainer.state()?)?;
        (self.saved, self.saved_here, self.confirmed) = (step, true, false);
        self.observer.saved(step)?;
        self.save_took = started.elapsed();
        self.saving += self.save_took;
        self.save_at = after(wait(self.settings.checkpoint_minutes, self.save_took));
        Ok(())
    }

    fn evaluate(&mut self, step: u64, last: bool) -> Result<()> {
        let Some(evaluation) = self.evaluation.as_mut() else { return Ok(()) };
        let weights = self.trainer.weights(Which::Ema)?;
        let selection = evaluation.selection(self.settings, last);
        let halt = self.settings.eval_halt && !last;
        let found = evaluation.run((step, &weights), &selection, halt, self.observer)?;
        let Some(Evaluated { metrics, votes, samples }) = found else { return Ok(()) };
        // Without labels there is none.
        if metrics.count > 0.0 && !metrics.loss().is_finite() {
            let problem = format!("its loss is {}", metrics.loss());
            return Err(Error::Numeric {
                what: format!("evaluation after step {step}"),
                problem,
                fix: String::new(),
            });
        }
        self.observer.evaluated(step, selection.len(), &metrics, votes.as_ref())?;
        // One of some tasks alone is not what a competition takes.
        if let Some(score) = votes.filter(|_| evaluation.is_all(&selection)) {
            self.folder.keep_submission(&score)?;
        }
        samples.map_or(Ok(()), |samples| self.folder.keep_samples(&samples))?;
        if self.saved == step {
            self.folder.annotate(step, |note| note.evaluated((selection.len(), halt), &metrics))?;
        }
        let made = Made { step, examples: Some(selection.len()), halt };
        (self.evaluated, self.last_evaluation) = (Some(made), Some((step, metrics)));
        // No further loss will follow.
        if last { self.confirm() } else { Ok(()) }
    }

    /// After a loss that is not finite, `what` and its `problem`: goes on from the last good checkpoint with halved learning rates where
    /// the recipe says so; else, or if that was done too often, leaves the folder so that it can be resumed.
    fn go_back(&mut self, what: String, problem: String) -> Result<()> {
        let problem = problem + &self.trainer.explain()?;
        let lost = format!("{what}: {problem}");
        let halvings = self.trainer.lr_halvings() + 1;
        let stops = self.settings.on_divergence == OnDivergence::Stop || halvings > MOST_HALVINGS;
        // One finite loss is little: where going back to a checkpoint has not helped, an older one may.
        if !self.confirmed || (!stops && self.went_back_to == Some(self.saved)) {
            self.folder.give_up(self.saved, &lost)?;
        }
        let Found { checkpoint: good, content: state, .. } = self.folder.load(At::Latest)?;
        if stops {
            if good.step != self.saved {
                self.folder.publish(&good.path, &state)?;
            }
            let instead = match self.settings.on_divergence {
                OnDivergence::Stop => {
                    "give it a lower train.lr, a longer train.lr_warmup_steps or train.on_divergence=back-off"
                }
                OnDivergence::BackOff => {
                    "the learning rates were halved as often as they may be: give it a lower train.lr, which is then \
                     taken as it is, or a longer train.lr_warmup_steps"
                }
            };
            let older = if self.folder.has_older(good.step)? {
                ", or with `at` from an older checkpoint"
            } else {
                ""
            };
            let from = format!("`resume` goes on from step {}{older}", good.step);
            return Err(Error::Numeric { what, problem, fix: format!("{from}: {instead}") });
        }
        self.folder.go_on_from(&good, false)?;
        self.folder.annotate(good.step, |note| Note { lr_halvings: Some(halvings), ..note })?;
        self.trainer.restore(&good.path, &State { lr_halvings: halvings, ..state })?;
        self.observer.note(&format!(
            "{lost}; going back to step {} with learning rates halved, time {halvings} of {MOST_HALVINGS} at the most",
            good.step
        ));
        (self.saved, self.saved_here, self.confirmed, self.save_wanted) = (good.step, false, false, false);
        self.went_back_to = Some(good.step);
        self.evaluated = Made::of(&good);
        self.observer.went_back(good.step, halvings)
    }
}

pub(super) fn after(wait: Option<Duration>) -> Option<Instant> {
    wait.and_then(|wait| Instant::now().checked_add(wait))
}
