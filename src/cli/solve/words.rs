//! `trm solve --data DIR "3 1 2"`: questions of an own task in its words.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::data::inspect::Kind;
use crate::data::own::{Dialogue, Words};
use crate::data::{Dataset, Split};
use crate::eval::{Choice, Question, Solution, Thought, check_fit};
use crate::report::say;
use crate::text::printable;
use crate::{Error, Result};

use super::source::Source;
use super::{Session, View, steps_text};

/// A question with what the model made of it.
#[derive(Serialize)]
struct Answered {
    question: String,
    answer: String,
    #[serde(flatten)]
    choice: Option<Choice>,
    steps: Vec<Step>,
}

/// The answer after one supervision step.
#[derive(Serialize)]
struct Step {
    answer: String,
    q_halt: f32,
}

/// Answers the questions, one a line, about the data set in `dir`.
pub fn run(session: &mut Session<'_>, dir: &Path, words: Words) -> Result<()> {
    let config = session.solvers.config().clone();
    let dataset = Arc::new(Dataset::open(dir, Split::Test)?);
    check_fit(&config, &dataset)?;
    if config.num_puzzle_identifiers > 1 {
        say("puzzle: the blank one, as of rows without one");
    }
    let dialogue = Dialogue::of(words, &dataset)?;
    let mut questions = Vec::new();
    for source in Source::of(&session.args.puzzles) {
        match source.whole()? {
            Source::Text { name, text } => questions.extend(session.questions(&dialogue, &name, &text)),
            Source::Unreadable(error) => session.refuse(&error),
            Source::Input => {}
        }
    }
    for questions in questions.chunks(session.solvers.widest()) {
        let solutions = session.solvers.solve_all(questions)?;
        for (question, solution) in questions.iter().zip(solutions) {
            session.show_answer(&dialogue, question, solution)?;
        }
    }
    Ok(())
}

/// The first words, for people.
fn listed(words: &Words) -> String {
    const MOST: usize = 12;
    let known = words.words();
    let more = if known.len() > MOST { ", ..." } else { "" };
    known.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ") + more
}

impl Session<'_> {
    /// Those in the lines of a text that can be asked.
    fn questions(&mut self, dialogue: &Dialogue, name: &str, text: &str) -> Vec<Question> {
        let lines: Vec<(usize, &str)> =
            (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).collect();
        if lines.is_empty() {
            let fix = "give its words, with spaces between them";
            self.refuse(&Error::usage(name, "holds no question", fix));
        }
        let mut questions = Vec::new();
        for &(number, line) in &lines {
            let inputs = match dialogue.question(line) {
                Ok(inputs) => inputs,
                Err(problem) => {
                    let place = if lines.len() > 1 { format!("{name}, line {number}") } else { name.into() };
                    let fix = format!("the words are {}", listed(dialogue.words()));
                    self.refuse(&Error::usage(place, problem, fix));
                    continue;
                }
            };
            if let Some(words) = dialogue.unseen(&inputs) {
                say(format!("note: \"{}\": no test sample has {words}", line.trim()));
            }
            questions.push(Question { kind: Kind::Other, inputs, identifier: 0 });
        }
        questions
    }

    fn show_answer(
        &mut self,
        dialogue: &Dialogue,
        question: &Question,
        mut solution: Solution,
    ) -> Result<()> {
        let words = dialogue.words();
        solution.answers_mut().for_each(|answer| dialogue.shorten(&question.inputs, answer));
        let step = |thought: &Thought| Step { answer: words.text(&thought.answer), q_halt: thought.q_halt };
        let answered = Answered {
            question: words.text(&question.inputs),
            answer: words.text(solution.answer()),
            choice: solution.elected.as_ref().map(Choice::from),
            steps: solution.thoughts.iter().map(step).collect(),
        };
        let view = View { kind: question.kind, words: Some(words) };
        let (watch, colour) = (self.args.watch, self.output.colour());
        self.output.next(&answered, |answered| {
            let steps = steps_text(&view, &question.inputs, &solution.thoughts, watch, colour);
            let choice = answered.choice.as_ref().map_or_else(String::new, |choice| {
                format!("{}\n  {}\n", choice.text(), printable(&answered.answer))
            });
            format!("question\n  {}\n{steps}{choice}\n", printable(&answered.question))
        })?;
        self.pictures.add(&view, &question.inputs, &solution, answered.answer, None);
        Ok(())
    }
}
