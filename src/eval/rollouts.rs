//! Questions that are thought about several times: variants there and back, and what each rollout came to.

use std::iter::repeat_n;
use std::sync::Arc;

use super::ballot::{Elected, Select, Vote, elect};
use super::breadth::has_rules;
use super::evaluate::samples_of;
use super::slots::checksum;
use super::solve::Question;
use super::stream::Look;
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
    pub(super) missing: usize,
}

impl Answered {
    pub(super) fn new(index: usize, asked: Asked) -> Result<Answered> {
        let (question, breadth) = (&asked.question, &asked.breadth);
        let mut symmetries = vec![None];
        if let Some(known) = breadth.symmetries(question.kind)? {
            let key = checksum(&question.inputs, &[question.identifier]);
            symmetries
                .extend((1..breadth.variants()).map(|variant| Some(known.get(breadth.seed, key, variant))));
        }
        let (missing, rollouts) = (breadth.rollouts, (0..breadth.rollouts).map(|_| Rollout::default()));
        Ok(Answered { index, rollouts: rollouts.collect(), asked, symmetries, missing })
    }

    /// The variant that a rollout is about, if it is not the puzzle as given.
    pub(super) fn symmetry(&self, rollout: usize) -> Option<&Symmetry> {
        self.symmetries[self.asked.breadth.variant(rollout)].as_ref()
    }

    /// Notes what a rollout looks like at some of the steps `at`.
    pub(super) fn look(&mut self, rollout: usize, look: &Look<'_>, at: &[usize]) {
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
