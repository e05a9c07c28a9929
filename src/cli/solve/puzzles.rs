//! `trm solve PUZZLE...`: Sudokus and mazes.

use serde::Serialize;

use crate::Result;
use crate::data::pasted::Puzzle;
use crate::eval::{Choice, Solution};

use super::source::{self, Given, Placed, Source};
use super::{Session, View, persistence, steps_text};

/// A puzzle with what the model made of it.
#[derive(Serialize)]
pub struct Solved {
    /// Where it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    puzzle: String,
    answer: String,
    solved: bool,
    /// Of a maze: whether a path is marked, be it a longer one.
    #[serde(skip_serializing_if = "Option::is_none")]
    valid: Option<bool>,
    /// What keeps the answer from being a solution.
    fault: Option<String>,
    #[serde(flatten)]
    choice: Option<Choice>,
    steps: Vec<Step>,
    /// Whether it has other solutions, too, as far as is known.
    #[serde(skip)]
    several: bool,
}

/// The answer after one supervision step.
#[derive(Serialize)]
struct Step {
    answer: String,
    q_halt: f32,
    solved: bool,
}

pub fn run(session: &mut Session<'_>, sources: impl Iterator<Item = Source>) -> Result<()> {
    let solvers = &session.solvers;
    let (config, most, stop) = (solvers.config().clone(), solvers.widest(), solvers.stop().clone());
    source::each(sources, &config, most, &stop, &mut |given| session.solve(given))
}

impl Session<'_> {
    fn solve(&mut self, given: Vec<Given>) -> Result<()> {
        let mut puzzles = Vec::new();
        for puzzle in given {
            match puzzle.and_then(Placed::examined) {
                Ok(puzzle) => puzzles.push(puzzle),
                Err(error) => self.refuse(&error)?,
            }
        }
        if puzzles.is_empty() {
            return Ok(());
        }
        let Session { args, output, solvers, pictures, tally, persist } = self;
        persistence::solve_all(solvers, &puzzles, *persist, &mut |at, solution| {
            let Placed { place, puzzle, several } = &puzzles[at];
            let (place, several) = (Some(place.clone()), *several);
            let solved = Solved { place, several, ..Solved::of(puzzle, &solution) };
            tally.answered(Some(solved.solved));
            let (watch, colour) = (args.watch, output.colour());
            output.next(&solved, |solved| solved.text(puzzle, &solution, watch, colour))?;
            let view = View { kind: puzzle.kind(), words: None };
            pictures.add(&view, &puzzle.tokens(), &solution, solved.verdict(), None);
            Ok(())
        })
    }
}

impl Solved {
    pub fn of(puzzle: &Puzzle, solution: &Solution) -> Solved {
        let (valid, fault) = puzzle.judge(solution.answer());
        let step = |thought: &crate::eval::Thought| Step {
            answer: puzzle.text(&thought.answer),
            q_halt: thought.q_halt,
            solved: puzzle.judge(&thought.answer).1.is_none(),
        };
        Solved {
            place: None,
            puzzle: puzzle.text(&puzzle.tokens()),
            answer: puzzle.text(solution.answer()),
            solved: fault.is_none(),
            valid,
            fault,
            choice: solution.elected.as_ref().map(Choice::from),
            steps: solution.thoughts.iter().map(step).collect(),
            several: false,
        }
    }

    /// The puzzle as text.
    pub fn puzzle(&self) -> &str {
        &self.puzzle
    }

    /// What keeps the answer from being right.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// The puzzle, the answer or all answers, and the verdict.
    pub fn text(&self, puzzle: &Puzzle, solution: &Solution, watch: bool, colour: bool) -> String {
        let (view, inputs) = (View { kind: puzzle.kind(), words: None }, puzzle.tokens());
        let heading = match puzzle {
            Puzzle::Sudoku(grid) => {
                let several = if self.several { ", several solutions" } else { "" };
                format!("puzzle, {} clues{several}", grid.clues())
            }
            Puzzle::Maze(maze) => {
                format!("maze of {} x {}, {} moves from S to G", maze.rows, maze.cols, maze.shortest)
            }
        };
        let mut text = format!("{heading}\n{}", view.draw(&inputs, &inputs, &inputs, colour));
        text += &steps_text(&view, &inputs, &solution.thoughts, watch, colour);
        if let (Some(choice), Some(elected)) = (&self.choice, &solution.elected) {
            let last = solution.thoughts.last();
            text += &choice.text();
            text += &match last.is_some_and(|last| last.answer == elected.answer) {
                true => ", as above\n".to_owned(),
                false => format!("\n{}", view.draw(&inputs, &elected.answer, &elected.answer, colour)),
            };
        }
        text + &self.verdict() + "\n\n"
    }

    /// Whether the answer is right, and else why not.
    pub fn verdict(&self) -> String {
        match (&self.fault, self.valid) {
            (None, None) => "solved: a valid solution that keeps the clues".to_owned(),
            (None, Some(_)) => "solved: a shortest path".to_owned(),
            (Some(fault), None) => format!("not solved: the answer {fault}"),
            (Some(fault), Some(_)) => format!("not solved: {fault}"),
        }
    }
}
