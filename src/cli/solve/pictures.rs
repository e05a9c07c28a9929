//! `--svg`, `--png` and `--gif`: pictures of the first puzzles.

use std::path::{Path, PathBuf};

use crate::data::arc::{InputScore, Task};
use crate::data::inspect::Kind;
use crate::eval::Solution;
use crate::report::draw::{Board, Panel, Strip, write_gif, write_png, write_svg};
use crate::report::say;
use crate::{Error, Result, files};

use super::{View, arc};

/// Puzzles in a picture.
const MOST: usize = 8;

/// Where to draw.
#[derive(clap::Args)]
pub struct PictureArgs {
    /// Draw the answer step by step into an SVG
    ///
    /// One file that needs no other, with the steps side by side; of many puzzles the first 8.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// The same as PNG
    ///
    /// For where no SVG is taken.
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,

    /// Draw the answer step by step into a GIF
    ///
    /// The steps one after the other, for ever.
    #[arg(long, value_name = "FILE")]
    gif: Option<PathBuf>,
}

type Writer = fn(&Path, &[Strip]) -> Result<()>;

/// What is drawn, and into which files.
pub struct Pictures {
    files: Vec<(PathBuf, Writer)>,
    strips: Vec<Strip>,
    left_out: usize,
}

impl Pictures {
    /// Finds out before the work whether the files can be written.
    pub fn wanted(args: &PictureArgs) -> Result<Pictures> {
        let all: [(&str, &Option<PathBuf>, Writer); 3] = [
            ("--svg", &args.svg, write_svg),
            ("--png", &args.png, write_png),
            ("--gif", &args.gif, write_gif),
        ];
        let mut files = Vec::new();
        for (argument, path, writer) in all {
            let Some(path) = path else { continue };
            if let Some(obstacle) = files::obstacle(path) {
                let problem = format!("{} {obstacle}", path.display());
                return Err(Error::usage(argument, problem, "name another file"));
            }
            files.push((path.clone(), writer));
        }
        Ok(Pictures { files, strips: Vec::new(), left_out: 0 })
    }

    /// Adds a puzzle, its steps and what became of it; `label` is the right answer where that is to be seen beside the model's.
    pub fn add(
        &mut self,
        view: &View<'_>,
        inputs: &[i32],
        solution: &Solution,
        verdict: String,
        label: Option<&[i32]>,
    ) {
        if !self.takes() {
            return;
        }
        let board =
            |previous: &[i32], answer: &[i32]| Board::of(view.kind, view.words, inputs, previous, answer);
        let mut panels = vec![Panel { caption: "given".to_owned(), board: board(inputs, inputs) }];
        panels.extend(steps(inputs, solution, &board));
        if let Some(elected) = &solution.elected {
            let caption = format!("{} of {} votes", elected.votes, elected.of);
            panels.push(Panel { caption, board: board(&elected.answer, &elected.answer) });
        }
        let outcome = panels.len() - 1;
        // What the answer lacks stands out in it.
        let label = label.map(|label| board(solution.answer(), label));
        panels.extend(label.map(|board| Panel { caption: "label".to_owned(), board }));
        self.strips.push(Strip { title: verdict, panels, outcome });
    }

    /// Adds a task of ARC.
    pub fn add_task(&mut self, task: &Task, inputs: &[InputScore], given: &[Solution]) {
        if !self.takes() {
            return;
        }
        let mut panels = Vec::new();
        for (number, pair) in (1..).zip(&task.train) {
            panels.push(Panel { caption: format!("demonstration {number}"), board: Board::arc(&pair.input) });
            let output = pair.output.iter().map(Board::arc);
            panels.extend(output.map(|board| Panel { caption: "becomes".to_owned(), board }));
        }
        for ((number, input), solution) in (1..).zip(inputs).zip(given) {
            panels.push(Panel { caption: format!("test input {number}"), board: Board::arc(&input.input) });
            let tokens = arc::tokens(&input.input);
            let board =
                |previous: &[i32], answer: &[i32]| Board::of(Kind::Arc, None, &tokens, previous, answer);
            panels.extend(steps(&tokens, solution, &board));
            for (place, candidate) in (1..=arc::ATTEMPTS).zip(&input.candidates) {
                let caption = arc::caption(place, candidate, input);
                panels.push(Panel { caption, board: Board::arc(&candidate.grid) });
            }
            let missed = input.solution.iter().filter(|_| !arc::is_right(input)).map(Board::arc);
            panels.extend(missed.map(|board| Panel { caption: "right is".to_owned(), board }));
        }
        let verdicts: Vec<&str> = inputs.iter().map(arc::verdict).collect();
        let title = format!("{}: {}", task.id, verdicts.join(", "));
        let outcome = panels.len().saturating_sub(1);
        self.strips.push(Strip { title, panels, outcome });
    }

    /// Whether there is something to draw.
    pub fn any(&self) -> bool {
        !self.strips.is_empty()
    }

    /// Writes the files.
    pub fn write(&self) -> Result<()> {
        if self.left_out > 0 {
            say(format!("pictures: the first {MOST} puzzles, {} more are left out", self.left_out));
        }
        self.files.iter().try_for_each(|(path, write)| write(path, &self.strips))
    }

    fn takes(&mut self) -> bool {
        let takes = !self.files.is_empty() && self.strips.len() < MOST;
        self.left_out += usize::from(!self.files.is_empty() && !takes);
        takes
    }
}

/// A panel for each step.
fn steps<'a>(
    inputs: &'a [i32],
    solution: &'a Solution,
    board: &'a dyn Fn(&[i32], &[i32]) -> Board,
) -> impl Iterator<Item = Panel> + 'a {
    let before =
        std::iter::once(inputs).chain(solution.thoughts.iter().map(|thought| thought.answer.as_slice()));
    (1..).zip(&solution.thoughts).zip(before).map(move |((step, thought), previous)| Panel {
        caption: format!("step {step}, halt {:.3}", thought.confidence()),
        board: board(previous, &thought.answer),
    })
}
