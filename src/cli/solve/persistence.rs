//! Puzzles whose answer breaks the rules are thought about again, ever more widely.

use crate::Result;
use crate::data::pasted::Puzzle;
use crate::data::symmetry::Symmetries;
use crate::eval::{Breadth, Question, Select, Solution};
use crate::report::say;
use crate::text::counted;

use super::solvers::Solvers;

/// How many times the rollouts of an attempt the next one has.
const WIDER: usize = 4;

/// Solves all of them; those whose answer is not right again, with four times the rollouts, and so on up to `most`.
pub fn solve_all(solvers: &mut Solvers, puzzles: &[Puzzle], most: usize) -> Result<Vec<Solution>> {
    let questions: Vec<Question> = puzzles.iter().map(Question::from).collect();
    let mut breadth = *solvers.breadth();
    let mut solutions = solvers.solve_all(&questions)?;
    while let Some(wider) = wider(breadth, &questions, most) {
        let faulty = |index: &usize| puzzles[*index].judge(solutions[*index].answer()).1.is_some();
        let again: Vec<usize> = (0..puzzles.len()).filter(faulty).collect();
        if again.is_empty() {
            break;
        }
        let puzzles = counted(again.len(), "puzzle");
        say(format!("{puzzles} without a right answer yet: again with {} rollouts", wider.rollouts));
        let asked: Vec<Question> = again.iter().map(|index| questions[*index].clone()).collect();
        for (index, solution) in again.into_iter().zip(solvers.solve_as(wider, &asked)?) {
            solutions[index] = solution;
        }
        breadth = wider;
    }
    Ok(solutions)
}

/// The next attempt; none where it would be no wider. Its rollouts are variants of the puzzles, of which mazes have few.
fn wider(breadth: Breadth, questions: &[Question], most: usize) -> Option<Breadth> {
    let variants = |question: &Question| Symmetries::known(question.kind, 0).map_or(1, |known| known.count());
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
