//! Thinking about each question of a stream several times: variants there and back, and what each rollout came to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::ballot::{Elected, Select, Vote, elect};
use super::evaluate::{Evaluator, Look, checksum, samples_of};
use super::solve::Question;
use super::{Breadth, Selection};
use crate::data::inspect::Kind;
use crate::data::sudoku::{Grid, Shape, solution_fault};
use crate::data::symmetry::{Symmetries, Symmetry};
use crate::data::{Batch, Dataset, maze};
use crate::{Error, Result};

/// A question with its labels, (S), ignored where nothing is known.
pub(super) struct Asked {
    pub question: Question,
    pub labels: Vec<i32>,
}

/// The examples of a test split that are selected, as questions.
///
/// # Errors
/// [`Error::File`] for a data set that cannot be read.
pub(super) fn questions_of(
    dataset: &Arc<Dataset>,
    selection: &Selection,
) -> Result<impl FnMut() -> Result<Option<Asked>>> {
    let kind = Kind::of_first_example(dataset)?;
    let mut samples = samples_of(dataset, selection);
    let mut given = Batch::new(1, dataset.metadata().seq_len);
    Ok(move || {
        let more = samples(&mut given)?;
        let identifier = given.puzzle_identifiers[0];
        let question = || Question { kind, inputs: given.inputs.clone(), identifier };
        Ok(more.then(|| Asked { question: question(), labels: given.labels.clone() }))
    })
}

/// What one rollout came to.
#[derive(Default)]
struct Rollout {
    /// Supervision steps.
    steps: usize,
    /// At each of the steps that were asked for; one that ended before keeps its answer.
    votes: Vec<Vote>,
}

/// A question that all rollouts are done with.
pub(super) struct Answered {
    /// Its place in the stream.
    pub index: usize,
    pub asked: Asked,
    rollouts: Vec<Rollout>,
    symmetries: Vec<Option<Symmetry>>,
    missing: usize,
}

impl Answered {
    fn new(index: usize, asked: Asked, breadth: &Breadth) -> Result<Answered> {
        let question = &asked.question;
        let variants = 1 + breadth.augment.min(breadth.rollouts - 1);
        let mut symmetries = vec![None];
        if variants > 1 {
            let known = Symmetries::of_kind(question.kind, variants - 1, breadth.seed)?;
            let key = checksum(&question.inputs, &[question.identifier]);
            symmetries.extend((1..variants).map(|variant| Some(known.get(key, variant))));
        }
        if breadth.select == Select::Valid && !has_rules(question.kind) {
            let fix = "choose by vote, halt or residual";
            return Err(Error::usage("select", "valid, but these are neither Sudokus nor mazes", fix));
        }
        let rollouts = (0..breadth.rollouts).map(|_| Rollout::default()).collect();
        Ok(Answered { index, asked, rollouts, symmetries, missing: breadth.rollouts })
    }

    /// Notes what a rollout looks like at some of the steps `at`.
    fn look(&mut self, (rollout, variant): (usize, usize), look: &Look<'_>, at: &[usize]) -> Result<()> {
        let answer = match &self.symmetries[variant] {
            Some(symmetry) => symmetry.undo(look.predictions),
            None => look.predictions.to_vec(),
        };
        let vote = Vote::new(self.index, answer, look.q_halt, look.residual)?;
        let own = &mut self.rollouts[rollout];
        while at.get(own.votes.len()).is_some_and(|step| look.last || *step <= look.step) {
            own.votes.push(vote.clone());
        }
        own.steps = look.step;
        self.missing -= usize::from(look.last);
        Ok(())
    }

    /// The answer of the first so many rollouts at the step numbered `at` of those that were asked for.
    pub fn elected(&self, select: Select, rollouts: usize, at: usize) -> Option<Elected> {
        let votes: Vec<&Vote> = self.votes(rollouts, at).collect();
        let Question { kind, inputs, .. } = &self.asked.question;
        elect(select, &votes, &|answer| cost(*kind, inputs, answer))
    }

    /// What those rollouts answer.
    pub fn answers(&self, rollouts: usize, at: usize) -> impl Iterator<Item = &[i32]> {
        self.votes(rollouts, at).map(|vote| &vote.answer[..])
    }

    /// Supervision steps that those rollouts took, each at the most `most`.
    pub fn steps(&self, rollouts: usize, most: usize) -> usize {
        self.rollouts.iter().take(rollouts).map(|rollout| rollout.steps.min(most)).sum()
    }

    fn votes(&self, rollouts: usize, at: usize) -> impl Iterator<Item = &Vote> {
        self.rollouts.iter().take(rollouts).filter_map(move |rollout| rollout.votes.get(at))
    }
}

/// Whether an answer to a puzzle of this kind can be checked.
pub(super) fn has_rules(kind: Kind) -> bool {
    matches!(kind, Kind::Sudoku { .. } | Kind::Maze { .. })
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
pub(super) struct Stream<'a> {
    /// Hands out the next question; None at the end.
    pub ask: &'a mut dyn FnMut() -> Result<Option<Asked>>,
    /// Is shown each step of the first rollout of a question, by its place.
    pub look: Option<Watch<'a>>,
    /// Takes in a question that all rollouts are done with.
    pub done: &'a mut dyn FnMut(Answered) -> Result<()>,
    /// Is told how many questions are done, those at work by the share of their steps.
    pub progress: &'a mut dyn FnMut(f64),
}

/// Thinks about each question as widely as the evaluator's [`Breadth`] says, and keeps the answers at the ascending steps
/// `at`, the last of which is the most that a rollout takes.
///
/// # Errors
/// Those of `ask` and `done`; [`Error::Usage`] for variants or rules that a question has none of; [`Error::Numeric`] for
/// weights that make NaN; device failures.
pub(super) fn roll_out(evaluator: &mut Evaluator, at: &[usize], stream: Stream<'_>) -> Result<()> {
    let Stream { ask, mut look, done, progress } = stream;
    let breadth = *evaluator.breadth();
    let each = breadth.rollouts;
    let pace = breadth.pace(look.is_some() || at.len() > 1);
    let open: RefCell<BTreeMap<usize, Answered>> = RefCell::default();
    let mut taken = 0;
    let mut next = |one: &mut Batch| {
        let (index, rollout) = (taken / each, taken % each);
        let mut open = open.borrow_mut();
        if rollout == 0 {
            let Some(asked) = ask()? else { return Ok(false) };
            open.insert(index, Answered::new(index, asked, &breadth)?);
        }
        let Some(Answered { asked, symmetries, .. }) = open.get(&index) else { return Ok(false) };
        match &symmetries[breadth.variant(rollout)] {
            Some(symmetry) => one.inputs.copy_from_slice(&symmetry.apply(&asked.question.inputs)),
            None => one.inputs.copy_from_slice(&asked.question.inputs),
        }
        // The labels stay as given: answers are compared after they were turned back.
        one.labels.copy_from_slice(&asked.labels);
        one.puzzle_identifiers.fill(asked.question.identifier);
        taken += 1;
        Ok(true)
    };
    let mut visit = |seen: Look<'_>| {
        let (index, rollout) = (seen.index / each, seen.index % each);
        if let (Some(look), 0) = (&mut look, rollout) {
            look(index, &seen);
        }
        let mut open = open.borrow_mut();
        let Some(answered) = open.get_mut(&index) else { return Ok(()) };
        answered.look((rollout, breadth.variant(rollout)), &seen, at)?;
        match answered.missing {
            0 => open.remove(&index).map_or(Ok(()), &mut *done),
            _ => Ok(()),
        }
    };
    evaluator.roll(pace, &mut next, &mut visit, &mut |answers| progress(answers / each as f64))
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
