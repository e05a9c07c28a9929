//! Thinking about each question of a stream several times: whose rollout is the next to enter the batch.

use std::collections::{BTreeMap, VecDeque};

use super::evaluate::Evaluator;
use super::rollouts::{Answered, Asked};
use super::stream::{Look, Samples, Terms};
use crate::Result;
use crate::data::Batch;

/// Is shown a step of the question at a place.
pub(super) type Watch<'a> = &'a mut dyn FnMut(usize, &Look<'_>);

/// What a rollout does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It enters the batch.
    Begins,
    /// Its last step is done.
    Ends,
}

/// What is asked, shown and told while questions are thought about.
pub(crate) struct Stream<'a> {
    /// Hands out the next question; None where there is none now, which is the end as soon as no other is at work.
    pub ask: &'a mut dyn FnMut() -> Result<Option<Asked>>,
    /// Is shown each step of the first rollout of a question, by its place.
    pub look: Option<Watch<'a>>,
    /// Whether the answer to the question at a place is still wanted, else its rollouts leave the batch; none where all are.
    pub wanted: Option<&'a mut dyn FnMut(usize) -> bool>,
    /// Is told of each rollout of the question at a place that it begins or ends.
    pub turn: Option<&'a mut dyn FnMut(usize, Turn)>,
    /// Takes in a question that all rollouts are done with.
    pub done: &'a mut dyn FnMut(Answered) -> Result<()>,
    /// Is told after each step of the batch how many questions are done, those at work by the share of their steps.
    pub progress: &'a mut dyn FnMut(f64),
    /// Gives the questions at work up where the evaluator is to stop, instead of finishing them.
    pub cut_short: bool,
    /// Asks for all questions that there are now and lets their rollouts enter the batch in turns, instead of those of one
    /// question before the next is asked for.
    pub fair: bool,
}

impl<'a> Stream<'a> {
    /// One whose answers are all wanted, and only they.
    pub fn of(
        ask: &'a mut dyn FnMut() -> Result<Option<Asked>>,
        done: &'a mut dyn FnMut(Answered) -> Result<()>,
        progress: &'a mut dyn FnMut(f64),
    ) -> Stream<'a> {
        Stream { ask, look: None, wanted: None, turn: None, done, progress, cut_short: false, fair: false }
    }
}

/// Thinks about each question as widely as it asks, and keeps the answers at the ascending steps `at`; a rollout that ends
/// before, keeps its last answer.
///
/// # Errors
/// Those of `ask` and `done`; [`Error::Usage`](crate::Error::Usage) for variants or rules that a question has none of; device
/// failures.
pub(crate) fn roll_out<'a>(evaluator: &mut Evaluator, at: &'a [usize], stream: Stream<'a>) -> Result<()> {
    let cut_short = stream.cut_short;
    evaluator.run(cut_short, &mut Rolling::new(stream, at))
}

/// Questions at work, as samples.
struct Rolling<'a> {
    stream: Stream<'a>,
    at: &'a [usize],
    /// By their place in the stream.
    open: BTreeMap<usize, Answered>,
    /// Which rollout of which of them is the next to enter; the first one's turn comes first.
    turns: VecDeque<(usize, usize)>,
    /// Question and rollout of each sample in the batch.
    samples: BTreeMap<usize, (usize, usize)>,
    /// Questions that were asked,
    asked: usize,
    /// their rollouts,
    rollouts: usize,
    /// and those of them that were handed out.
    taken: usize,
}

impl<'a> Rolling<'a> {
    fn new(stream: Stream<'a>, at: &'a [usize]) -> Rolling<'a> {
        let (open, turns, samples) = Default::default();
        Rolling { stream, at, open, turns, samples, asked: 0, rollouts: 0, taken: 0 }
    }

    /// Asks for what may enter beside those whose turn will come.
    fn ask(&mut self) -> Result<()> {
        while self.stream.fair || self.turns.is_empty() {
            let Some(asked) = (self.stream.ask)()? else { break };
            self.rollouts += asked.breadth.rollouts;
            self.open.insert(self.asked, Answered::new(self.asked, asked)?);
            self.turns.push_back((self.asked, 0));
            self.asked += 1;
        }
        Ok(())
    }

    /// Whether a question is still at work; forgets one whose answer nobody wants.
    fn is_open(&mut self, index: usize) -> bool {
        let wanted = |wanted: &mut &mut dyn FnMut(usize) -> bool| wanted(index);
        let open = self.open.contains_key(&index) && self.stream.wanted.as_mut().is_none_or(wanted);
        if !open {
            self.open.remove(&index);
        }
        open
    }

    fn tell(&mut self, index: usize, turn: Turn) {
        if let Some(tell) = &mut self.stream.turn {
            tell(index, turn);
        }
    }
}

impl Samples for Rolling<'_> {
    fn next(&mut self, one: &mut Batch) -> Result<Option<Terms>> {
        let (index, rollout) = loop {
            self.ask()?;
            let Some((index, rollout)) = self.turns.pop_front() else { return Ok(None) };
            if self.is_open(index) {
                break (index, rollout);
            }
        };
        let answered = &self.open[&index];
        let Asked { question, labels, breadth } = &answered.asked;
        match answered.symmetry(rollout) {
            Some(symmetry) => one.inputs.copy_from_slice(&symmetry.apply(&question.inputs)),
            None => one.inputs.copy_from_slice(&question.inputs),
        }
        // The labels stay as given: answers are compared after they were turned back.
        one.labels.copy_from_slice(labels);
        one.puzzle_identifiers.fill(question.identifier);
        let breadth = *breadth;
        if rollout + 1 < breadth.rollouts {
            self.turns.push_back((index, rollout + 1));
        }
        self.samples.insert(self.taken, (index, rollout));
        self.taken += 1;
        self.tell(index, Turn::Begins);
        let every_step = self.at.len() > 1 || (rollout == 0 && self.stream.look.is_some());
        Ok(Some(Terms { rollout, breadth, every_step }))
    }

    fn wanted(&mut self, sample: usize) -> bool {
        let wanted = self.samples.get(&sample).copied().is_some_and(|(index, _)| self.is_open(index));
        if !wanted {
            self.samples.remove(&sample);
        }
        wanted
    }

    fn visit(&mut self, seen: Look<'_>) -> Result<()> {
        let Some(&(index, rollout)) = self.samples.get(&seen.index) else { return Ok(()) };
        if seen.last {
            self.samples.remove(&seen.index);
            self.tell(index, Turn::Ends);
        }
        let Some(answered) = self.open.get_mut(&index) else { return Ok(()) };
        if let (Some(look), 0) = (&mut self.stream.look, rollout) {
            look(index, &seen);
        }
        answered.look(rollout, &seen, self.at);
        match answered.missing {
            0 => self.open.remove(&index).map_or(Ok(()), |answered| (self.stream.done)(answered)),
            _ => Ok(()),
        }
    }

    fn progress(&mut self, samples: f64) {
        (self.stream.progress)(samples * self.asked as f64 / self.rollouts.max(1) as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::inspect::Kind;
    use crate::eval::{Breadth, Question};

    #[test]
    fn a_wide_question_does_not_keep_the_next_one_waiting() {
        let question = |token: i32| Question { kind: Kind::Other, inputs: vec![token], identifier: 0 };
        let of = |(token, rollouts)| {
            let breadth = Breadth { rollouts, noise: 1.0, ..Breadth::default() };
            Asked::unlabelled(question(token), breadth)
        };
        for (fair, expected) in [(true, [1, 2, 1, 2, 1, 1]), (false, [1, 1, 1, 1, 2, 2])] {
            let mut waiting = [(1, 4), (2, 2)].map(of).into_iter();
            let (mut ask, mut one) = (|| Ok(waiting.next()), Batch::new(1, 1));
            let (mut done, mut progress) = (|_| Ok(()), |_| ());
            let stream = Stream { fair, ..Stream::of(&mut ask, &mut done, &mut progress) };
            let mut rolling = Rolling::new(stream, &[1]);
            let entered: Vec<i32> =
                std::iter::from_fn(|| rolling.next(&mut one).unwrap().map(|_| one.inputs[0])).collect();
            assert_eq!(entered, expected, "fair: {fair}");
        }
    }
}
