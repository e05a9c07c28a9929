//! A stream of samples: what comes, how each is thought about, and what is seen of it.

use super::Breadth;
use crate::Result;
use crate::data::Batch;
use crate::model::Metrics;

/// When a sample is done, and when it is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Stop a sample as soon as q_halt > 0; otherwise all run N_sup steps, as in the release.
    pub halt: bool,
    /// Stop a sample as soon as its answer stayed the same for so many steps; 0 for never.
    pub settle: usize,
    /// Look at every step of a sample, and not only at its last.
    pub every_step: bool,
    /// Give the samples at work up where the evaluator is to stop, instead of finishing them.
    pub cut_short: bool,
}

/// A sample after a supervision step.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// Its place in the stream, from 0 on.
    pub index: usize,
    /// Supervision steps done, from 1 on.
    pub step: usize,
    /// No further step follows.
    pub last: bool,
    /// (S) tokens given.
    pub inputs: &'a [i32],
    /// (S) labels.
    pub labels: &'a [i32],
    /// Its puzzle identifier.
    pub identifier: i32,
    /// (S) the highest logit of each position.
    pub predictions: &'a [i32],
    /// Above 0 the model believes its answer.
    pub q_halt: f32,
    /// How far its latents moved in a step, root mean square, over the last three; infinite where that is not measured.
    pub residual: f32,
    /// Its statistics; all but the losses are 0 unless its last step is done.
    pub stats: Metrics,
}

/// Hands out the next sample of a stream into a batch of one; false where there is none now, which is its end as soon as
/// no other sample is at work.
pub type Next<'a> = dyn FnMut(&mut Batch) -> Result<bool> + 'a;
/// Takes in what was seen.
pub type Visit<'a> = dyn FnMut(Look<'_>) -> Result<()> + 'a;

/// How one sample is thought about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Which rollout of its puzzle it is, from 0 on.
    pub rollout: usize,
    /// What its puzzle is thought about by.
    pub breadth: Breadth,
    /// It is looked at after every step, and not only after its last.
    pub every_step: bool,
}

/// Samples that come, are thought about each on its own terms, and go.
pub(super) trait Samples {
    /// Puts the next sample into a batch of one; None where there is none now, which is the end as soon as no other sample is
    /// at work.
    fn next(&mut self, one: &mut Batch) -> Result<Option<Terms>>;

    /// Whether the sample at this place of the stream is to be thought about further; asked before every step.
    fn wanted(&mut self, index: usize) -> bool;

    /// Takes in what was seen.
    fn visit(&mut self, look: Look<'_>) -> Result<()>;

    /// Is told after each step of the batch how many samples are done, of those at work the share of their steps.
    fn progress(&mut self, samples: f64);
}

/// Samples that are all thought about alike.
pub(super) struct Alike<'a> {
    pub terms: Terms,
    pub next: &'a mut Next<'a>,
    pub visit: &'a mut Visit<'a>,
    pub progress: &'a mut dyn FnMut(f64),
}

impl Samples for Alike<'_> {
    fn next(&mut self, one: &mut Batch) -> Result<Option<Terms>> {
        Ok((self.next)(one)?.then_some(self.terms))
    }

    fn wanted(&mut self, _: usize) -> bool {
        true
    }

    fn visit(&mut self, look: Look<'_>) -> Result<()> {
        (self.visit)(look)
    }

    fn progress(&mut self, samples: f64) {
        (self.progress)(samples);
    }
}
