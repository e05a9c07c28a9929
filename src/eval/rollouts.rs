//! Thinking about each question of a stream several times: variants there and back, and what each rollout came to.

use std::collections::BTreeMap;
use std::iter::repeat_n;
use std::sync::Arc;

use super::ballot::{Elected, Select, Vote, elect};
use super::breadth::has_rules;
use super::evaluate::{Evaluator, samples_of};
use super::slots::checksum;
use super::solve::Question;
use super::stream::{Look, Samples, Terms};
use super::{Breadth, Selection};
use crate::data::inspect::Kind;
use crate::data::sudoku::{Grid, Shape, solution_fault};
use crate::data::symmetry::Symmetry;
use crate::data::{Batch, Dataset, IGNORE_LABEL, maze};
use crate::{Error, Result};

/// A question, and how widely it is thought about.
pub(crate) struct Asked {
    pub question: Question,
    /// (S), ignored where nothing is known.
    pub labels: Vec<i32>,
    pub breadth: Breadth,
}

impl Asked {
    /// One to which nobody knows the answer.
    pub fn unlabelled(question: Question, breadth: Breadth) -> Asked {
        let labels = vec![IGNORE_LABEL; question.inputs.len()];
        Asked { question, labels, breadth }
    }
}

/// The examples of a test split that are selected, as questions.
///
/// # Errors
/// [`Error::File`] for a data set that cannot be read.
pub(super) fn questions_of(
    dataset: &Arc<Dataset>,
    selection: &Selection,
    breadth: Breadth,
) -> Result<impl FnMut() -> Result<Option<Asked>>> {
    let kind = Kind::of_first_example(dataset)?;
    let mut samples = samples_of(dataset, selection);
    let mut given = Batch::new(1, dataset.metadata().seq_len);
    Ok(move || {
        let more = samples(&mut given)?;
        let identifier = given.puzzle_identifiers[0];
        let question = || Question { kind, inputs: given.inputs.clone(), identifier };
        Ok(more.then(|| Asked { question: question(), labels: given.labels.clone(), breadth }))
    })
}

/// What one rollout came to.
#[derive(Default)]
struct Rollout {
    /// Supervision steps.
    steps: usize,
    /// At each of the steps that were asked for; one that ended before keeps its answer. None where the model made NaN of it.
    votes: Vec<Option<Vote>>,
}

/// A question that all rollouts are done with.
pub(crate) struct Answered {
    /// Its place in the stream.
    pub index: usize,
    pub asked: Asked,
    rollouts: Vec<Rollout>,
    symmetries: Vec<Option<Symmetry>>,
    missing: usize,
}

impl Answered {
    fn new(index: usize, asked: Asked) -> Result<Answered> {
        let (question, breadth) = (&asked.question, &asked.breadth);
        let mut symmetries = vec![None];
        if let Some(known) = breadth.symmetries(question.kind)? {
            let key = checksum(&question.inputs, &[question.identifier]);
            symmetries.extend((1..breadth.variants()).map(|variant| Some(known.get(key, variant))));
        }
        let (missing, rollouts) = (breadth.rollouts, (0..breadth.rollouts).map(|_| Rollout::default()));
        Ok(Answered { index, rollouts: rollouts.collect(), asked, symmetries, missing })
    }

    /// The variant that a rollout is about, if it is not the puzzle as given.
    fn symmetry(&self, rollout: usize) -> Option<&Symmetry> {
        self.symmetries[self.asked.breadth.variant(rollout)].as_ref()
    }

    /// Notes what a rollout looks like at some of the steps `at`.
    fn look(&mut self, rollout: usize, look: &Look<'_>, at: &[usize]) {
        let known = self.rollouts[rollout].votes.len();
        let due = at[known..].iter().take_while(|step| look.last || **step <= look.step).count();
        if due > 0 {
            let answer = match self.symmetry(rollout) {
                Some(symmetry) => symmetry.undo(look.predictions),
                None => look.predictions.to_vec(),
            };
            let vote = Vote::new(answer, look.q_halt, look.residual);
            self.rollouts[rollout].votes.extend(repeat_n(vote, due));
        }
        self.rollouts[rollout].steps = look.step;
        self.missing -= usize::from(look.last);
    }

    /// The answer of the first so many rollouts at the step numbered `at` of those that were asked for; None if all are lost.
    pub fn elected(&self, select: Select, rollouts: usize, at: usize) -> Option<Elected> {
        let votes: Vec<Option<&Vote>> = self.votes(rollouts, at).collect();
        let Question { kind, inputs, .. } = &self.asked.question;
        elect(select, &votes, &|answer| cost(*kind, inputs, answer))
    }

    /// What those rollouts answer, but for those that are lost.
    pub fn answers(&self, rollouts: usize, at: usize) -> impl Iterator<Item = Option<&[i32]>> {
        self.votes(rollouts, at).map(|vote| vote.map(|vote| &vote.answer[..]))
    }

    /// Supervision steps that those rollouts took, each at the most `most`.
    pub fn steps(&self, rollouts: usize, most: usize) -> usize {
        self.rollouts.iter().take(rollouts).map(|rollout| rollout.steps.min(most)).sum()
    }

    fn votes(&self, rollouts: usize, at: usize) -> impl Iterator<Item = Option<&Vote>> {
        self.rollouts
            .iter()
            .take(rollouts)
            .filter_map(move |rollout| rollout.votes.get(at))
            .map(Option::as_ref)
    }
}

/// Nothing is left to choose from.
pub(super) fn all_lost(what: String) -> Error {
    let fix = "load an earlier checkpoint, or give less noise".to_owned();
    Error::Numeric { what, problem: "NaN".into(), fix }
}

/// What the rules say of an answer: of a Sudoku 0, of a maze the moves of the path; None if they are broken.
fn cost(kind: Kind, question: &[i32], answer: &[i32]) -> Option<usize> {
    match kind {
        Kind::Sudoku { size } => {
            let grid = |tokens: &[i32]| Shape::of_size(size).map(|shape| Grid::from_tokens(shape, tokens));
            solution_fault(&grid(question)?, &grid(answer)?).is_none().then_some(0)
        }
        Kind::Maze { cols, .. } => match maze::Verdict::of(cols, question, answer) {
            maze::Verdict::Shortest(moves) | maze::Verdict::Valid(moves, _) => Some(moves),
            maze::Verdict::Broken(_) => None,
        },
        Kind::Arc | Kind::Other => None,
    }
}

/// Whether an answer keeps the rules at no higher a cost than the labels do; None where no rules are known.
pub(super) fn is_valid(kind: Kind, question: &[i32], labels: &[i32], answer: &[i32]) -> Option<bool> {
    let at_most = |cost_of_answer| cost(kind, question, labels).is_none_or(|least| cost_of_answer <= least);
    has_rules(kind).then(|| cost(kind, question, answer).is_some_and(at_most))
}

/// Is shown a step of the question at a place.
pub(super) type Watch<'a> = &'a mut dyn FnMut(usize, &Look<'_>);

/// What is asked, shown and told while questions are thought about.
pub(crate) struct Stream<'a> {
    /// Hands out the next question; None where there is none now, which is the end as soon as no other is at work.
    pub ask: &'a mut dyn FnMut() -> Result<Option<Asked>>,
    /// Is shown each step of the first rollout of a question, by its place.
    pub look: Option<Watch<'a>>,
    /// Whether the answer to the question at a place is still wanted, else its rollouts leave the batch; none where all are.
    pub wanted: Option<&'a mut dyn FnMut(usize) -> bool>,
    /// Takes in a question that all rollouts are done with.
    pub done: &'a mut dyn FnMut(Answered) -> Result<()>,
    /// Is told after each step of the batch how many questions are done, those at work by the share of their steps.
    pub progress: &'a mut dyn FnMut(f64),
    /// Gives the questions at work up where the evaluator is to stop, instead of finishing them.
    pub cut_short: bool,
}

impl<'a> Stream<'a> {
    /// One whose answers are all wanted, and only they.
    pub fn of(
        ask: &'a mut dyn FnMut() -> Result<Option<Asked>>,
        done: &'a mut dyn FnMut(Answered) -> Result<()>,
        progress: &'a mut dyn FnMut(f64),
    ) -> Stream<'a> {
        Stream { ask, look: None, wanted: None, done, progress, cut_short: false }
    }
}

/// Thinks about each question as widely as it asks, and keeps the answers at the ascending steps `at`; a rollout that ends
/// before, keeps its last answer. The rollouts of a question enter the batch one after the other, as slots become free.
///
/// # Errors
/// Those of `ask` and `done`; [`Error::Usage`] for variants or rules that a question has none of; device failures.
pub(crate) fn roll_out<'a>(evaluator: &mut Evaluator, at: &'a [usize], stream: Stream<'a>) -> Result<()> {
    let cut_short = stream.cut_short;
    evaluator
        .run(cut_short, &mut Rolling { stream, at, open: BTreeMap::new(), asked: 0, rollouts: 0, taken: 0 })
}

/// Questions at work, as samples.
struct Rolling<'a> {
    stream: Stream<'a>,
    at: &'a [usize],
    /// By the place of their first rollout among all samples; the others follow it.
    open: BTreeMap<usize, Answered>,
    /// Questions that were asked,
    asked: usize,
    /// their rollouts,
    rollouts: usize,
    /// and those of them that were handed out.
    taken: usize,
}

impl Rolling<'_> {
    /// The question of a sample by its first one, and which of its rollouts the sample is.
    fn place(&self, sample: usize) -> Option<(usize, usize)> {
        let (first, answered) = self.open.range(..=sample).next_back()?;
        Some((*first, sample - first)).filter(|(_, rollout)| *rollout < answered.asked.breadth.rollouts)
    }
}

impl Samples for Rolling<'_> {
    fn next(&mut self, one: &mut Batch) -> Result<Option<Terms>> {
        if self.place(self.taken).is_none() {
            let Some(asked) = (self.stream.ask)()? else { return Ok(None) };
            // Those of a question that nobody wants any more are not handed out.
            self.rollouts += asked.breadth.rollouts;
            self.open.insert(self.taken, Answered::new(self.asked, asked)?);
            self.asked += 1;
        }
        let Some((first, rollout)) = self.place(self.taken) else { return Ok(None) };
        let answered = &self.open[&first];
        let Asked { question, labels, breadth } = &answered.asked;
        match answered.symmetry(rollout) {
            Some(symmetry) => one.inputs.copy_from_slice(&symmetry.apply(&question.inputs)),
            None => one.inputs.copy_from_slice(&question.inputs),
        }
        // The labels stay as given: answers are compared after they were turned back.
        one.labels.copy_from_slice(labels);
        one.puzzle_identifiers.fill(question.identifier);
        self.taken += 1;
        let every_step = self.at.len() > 1 || (rollout == 0 && self.stream.look.is_some());
        Ok(Some(Terms { rollout, breadth: *breadth, every_step }))
    }

    fn wanted(&mut self, sample: usize) -> bool {
        let Some((first, _)) = self.place(sample) else { return false };
        let index = self.open[&first].index;
        let wanted = self.stream.wanted.as_mut().is_none_or(|wanted| wanted(index));
        if !wanted {
            self.open.remove(&first);
        }
        wanted
    }

    fn visit(&mut self, seen: Look<'_>) -> Result<()> {
        let Some((first, rollout)) = self.place(seen.index) else { return Ok(()) };
        let Some(answered) = self.open.get_mut(&first) else { return Ok(()) };
        if let (Some(look), 0) = (&mut self.stream.look, rollout) {
            look(answered.index, &seen);
        }
        answered.look(rollout, &seen, self.at);
        match answered.missing {
            0 => self.open.remove(&first).map_or(Ok(()), |answered| (self.stream.done)(answered)),
            _ => Ok(()),
        }
    }

    fn progress(&mut self, samples: f64) {
        (self.stream.progress)(samples * self.asked as f64 / self.rollouts.max(1) as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::is_valid;
    use crate::data::IGNORE_LABEL;
    use crate::data::inspect::Kind;
    use crate::data::maze::{GOAL, OPEN, PATH, START};

    /// S and G at the ends of the first of three rows of three cells; these are marked.
    fn maze(marked: &[usize]) -> Vec<i32> {
        let cell = |at: usize| match at {
            0 => START,
            2 => GOAL,
            at if marked.contains(&at) => PATH,
            _ => OPEN,
        };
        (0..9).map(|at| i32::from(cell(at))).collect()
    }

    #[test]
    fn other_cells_at_the_same_cost_are_valid() {
        let kind = Kind::Maze { rows: 3, cols: 3 };
        let judge =
            |label: &[usize], answer: &[usize]| is_valid(kind, &maze(&[]), &maze(label), &maze(answer));
        let (short, long) = ([1], [3, 4, 5]);
        assert_eq!(judge(&short, &short), Some(true));
        assert_eq!(judge(&short, &long), Some(false), "a path, but a longer one");
        assert_eq!(judge(&long, &short), Some(true));
        assert_eq!(judge(&short, &[4]), Some(false), "no path");
        // Two ways of four moves from corner to corner.
        let corners = |marked: &[usize]| {
            let mut maze = maze(marked);
            (maze[2], maze[8]) = (i32::from(if marked.contains(&2) { PATH } else { OPEN }), i32::from(GOAL));
            maze
        };
        assert_eq!(is_valid(kind, &corners(&[]), &corners(&[1, 2, 5]), &corners(&[3, 6, 7])), Some(true));
        let sudoku = |first: i32| -> Vec<i32> {
            [1, 2, 3, 4, 3, 4, 1, 2, 2, 1, 4, 3, 4, 3, 2, 1]
                .map(|digit| digit + 1)
                .iter()
                .enumerate()
                .map(|(at, &token)| if at == 0 { first } else { token })
                .collect()
        };
        let kind = Kind::Sudoku { size: 4 };
        let unlabelled = [IGNORE_LABEL; 16];
        assert_eq!(is_valid(kind, &sudoku(1), &unlabelled, &sudoku(2)), Some(true));
        assert_eq!(is_valid(kind, &sudoku(1), &unlabelled, &sudoku(3)), Some(false));
        assert_eq!(is_valid(Kind::Other, &[1], &[1], &[1]), None);
    }
}
