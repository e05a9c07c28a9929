//! Puzzles whose answer breaks the rules are thought about again, ever more widely, and each is handed on as soon as
//! it and all before it are done.

use crate::Result;
use crate::data::symmetry::Symmetries;
use crate::eval::{Breadth, Question, Select, Solution};
use crate::report::say;
use crate::text::counted;

use super::solvers::Solvers;
use super::source::Placed;

/// How many times the rollouts of an attempt the next one has.
const WIDER: usize = 4;

/// Takes in a solution, by the place of its puzzle, from 0 on.
pub type Done<'a> = &'a mut dyn FnMut(usize, Solution) -> Result<()>;

/// Solves puzzles, and hands them on in their order. Those whose answer is not right are solved again with four times the
/// rollouts, and so on up to `most`: no more of them at once than fill the device, so that the first are not kept waiting
/// for the last.
///
/// When the solvers are to stop, those that would be tried again keep the answer that they have.
///
/// # Errors
/// Those of `done`; device failures.
pub fn solve_all(solvers: &mut Solvers, puzzles: &[Placed], most: usize, done: Done<'_>) -> Result<()> {
    let (breadth, solved) = (*solvers.breadth(), vec![None; puzzles.len()]);
    let mut attempts = Attempts { solvers, puzzles, most, solved, next: 0, done };
    attempts.all(breadth, &Vec::from_iter(0..puzzles.len()))
}

struct Attempts<'a> {
    solvers: &'a mut Solvers,
    puzzles: &'a [Placed],
    most: usize,
    /// What is done and waits for a puzzle before it.
    solved: Vec<Option<Solution>>,
    /// The first puzzle that was not handed on.
    next: usize,
    done: Done<'a>,
}

impl Attempts<'_> {
    /// Attempts the puzzles at these places, and those without a right answer again.
    fn all(&mut self, breadth: Breadth, places: &[usize]) -> Result<()> {
        let questions: Vec<Question> =
            places.iter().map(|place| Question::from(&self.puzzles[*place].puzzle)).collect();
        let (solutions, wider) =
            (self.solvers.solve_as(breadth, &questions)?, wider(breadth, &questions, self.most));
        let mut again = Vec::new();
        for (&place, solution) in places.iter().zip(solutions) {
            let is_right = self.puzzles[place].puzzle.judge(solution.answer()).1.is_none();
            match is_right || wider.is_none() {
                true => self.finish(place, solution)?,
                false => again.push((place, solution)),
            }
        }
        let Some(wider) = wider else { return Ok(()) };
        for left in again.chunks((self.solvers.widest() / wider.rollouts).max(1)) {
            if self.solvers.stop().wanted() {
                left.iter().try_for_each(|(place, solution)| self.finish(*place, solution.clone()))?;
                continue;
            }
            let places: Vec<usize> = left.iter().map(|(place, _)| *place).collect();
            let more = match places.len() {
                1 => String::new(),
                puzzles => format!(" and {} more", puzzles - 1),
            };
            let (first, before) = (&self.puzzles[places[0]].place, counted(breadth.rollouts, "rollout"));
            say(format!("{first}{more}: no right answer in {before}, again with {}", wider.rollouts));
            self.all(wider, &places)?;
        }
        Ok(())
    }

    /// Hands on what no puzzle before it keeps waiting any more.
    fn finish(&mut self, place: usize, solution: Solution) -> Result<()> {
        self.solved[place] = Some(solution);
        while let Some(solution) = self.solved.get_mut(self.next).and_then(Option::take) {
            (self.done)(self.next, solution)?;
            self.next += 1;
        }
        Ok(())
    }
}

/// The next attempt; none where it would be no wider. Its rollouts are variants of the puzzles, of which mazes have few.
fn wider(breadth: Breadth, questions: &[Question], most: usize) -> Option<Breadth> {
    let variants = |question: &Question| Symmetries::known(question.kind).map_or(1, |known| known.count());
    let variants = questions.iter().map(variants).min()?;
    let rollouts = (breadth.rollouts * WIDER).min(most);
    let augment = breadth.augment.max(rollouts.min(variants).saturating_sub(1));
    let drawn = breadth.noise > 0.0 || breadth.random_states > 0.0;
    let rollouts = if drawn { rollouts } else { rollouts.min(1 + augment) };
    let wider = Breadth { rollouts, augment, select: Select::Valid, ..breadth };
    (rollouts > breadth.rollouts).then_some(wider)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::inspect::Kind;

    fn attempts(kind: Kind, first: Breadth, most: usize) -> Vec<[usize; 2]> {
        let questions = [Question { kind, inputs: Vec::new(), identifier: 0 }];
        let next = |breadth: &Breadth| wider(*breadth, &questions, most);
        std::iter::successors(next(&first), next).map(|it| [it.rollouts, it.augment]).collect()
    }

    #[test]
    fn attempts_widen_as_far_as_rollouts_differ() {
        let once = Breadth::default();
        let sudoku = Kind::Sudoku { size: 9 };
        assert_eq!(attempts(sudoku, once, 50), [[4, 3], [16, 15], [50, 49]]);
        assert_eq!(attempts(Kind::Maze { rows: 5, cols: 5 }, once, 50), [[4, 3], [8, 7]]);
        assert_eq!(attempts(Kind::Maze { rows: 4, cols: 5 }, once, 50), [[4, 3]]);
        let noisy = Breadth { rollouts: 8, noise: 0.1, ..once };
        assert_eq!(attempts(Kind::Maze { rows: 4, cols: 5 }, noisy, 50), [[32, 3], [50, 3]]);
        assert!(attempts(sudoku, once, 1).is_empty() && attempts(Kind::Other, once, 50).is_empty());
    }
}
