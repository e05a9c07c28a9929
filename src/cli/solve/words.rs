//! `trm solve --data DIR "3 1 2"`: questions of an own task in its words.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::data::inspect::Kind;
use crate::data::own::{Asked, Asking, Dialogue, Words};
use crate::data::{Dataset, IGNORE_LABEL, Split};
use crate::eval::{Choice, Question, Solution, Thought, check_fit};
use crate::report::say;
use crate::text::printable;
use crate::{Error, Result};

use super::source::{INPUT, Source, each_lines};
use super::{Session, View, steps_text};

/// A question with what the model made of it.
#[derive(Serialize)]
struct Answered {
    /// Where it was given.
    place: String,
    question: String,
    answer: String,
    /// The right answer, and whether every word that it says is right, where a row of a table says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exact: Option<bool>,
    /// Why the answer may be worth nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
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
    let (puzzles, most) = (&session.args.puzzles, session.solvers.widest());
    let joined = joined(&dialogue, puzzles);
    let puzzles = joined.as_slice().first().map_or(&puzzles[..], std::slice::from_ref);
    let mut waiting = Vec::new();
    for source in Source::of(puzzles) {
        let mut asking = Asking::default();
        match source {
            Source::Text { name, text } if text.trim().is_empty() => session.refuse(&nothing(name))?,
            Source::Text { name, text } => {
                let lines: Vec<_> = (1..).zip(text.lines().map(str::to_owned)).collect();
                let name = Name { name: &name, by_line: lines.len() > 1 };
                waiting.extend(session.questions(&dialogue, &mut asking, &name, &lines)?);
            }
            Source::Unreadable(error) => session.refuse(&error)?,
            // Each is answered as it comes, after those before.
            Source::Input => {
                session.answer(&dialogue, &mut waiting, most)?;
                let (stop, name) = (session.solvers.stop().clone(), Name { name: INPUT, by_line: true });
                let mut any = false;
                each_lines(&stop, most, &mut |lines| {
                    any |= lines.iter().any(|(_, line)| !line.trim().is_empty());
                    let mut waiting = session.questions(&dialogue, &mut asking, &name, &lines)?;
                    session.answer(&dialogue, &mut waiting, most)
                })?;
                if !any && !stop.wanted() {
                    session.refuse(&nothing(INPUT.to_owned()))?;
                }
            }
        }
    }
    session.answer(&dialogue, &mut waiting, most)
}

fn nothing(name: String) -> Error {
    Error::usage(name, "holds no question", "give its words, with spaces between them")
}

/// What errors call a text.
struct Name<'a> {
    name: &'a str,
    by_line: bool,
}

/// A question, where it was given, and its labels.
type Placed = (String, Question, Option<Vec<i32>>);

/// The question that the shell has divided into words: samples have as many words as all arguments, and none as any of them.
fn joined(dialogue: &Dialogue, arguments: &[String]) -> Option<String> {
    let known = |text: &str| {
        let question = dialogue.question(text);
        question.is_ok_and(|question| dialogue.unseen(&question).is_none())
    };
    let whole = arguments.join(" ");
    let is_part = |argument: &String| argument != "-" && !Path::new(argument).exists() && !known(argument);
    let joined = arguments.len() > 1 && known(&whole) && arguments.iter().all(is_part);
    joined.then(|| {
        let count = arguments.len();
        say(format!("note: {count} arguments are read as one question; quotes around it keep it whole"));
        whole
    })
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
    fn questions(
        &mut self,
        dialogue: &Dialogue,
        asking: &mut Asking,
        name: &Name<'_>,
        lines: &[(usize, String)],
    ) -> Result<Vec<Placed>> {
        let mut questions = Vec::new();
        for (number, line) in lines {
            let Some(asked) = asking.line(dialogue, line) else { continue };
            let place = match name.by_line {
                true => format!("{}, line {number}", name.name),
                false => name.name.to_owned(),
            };
            let Asked { inputs, labels } = match asked {
                Ok(asked) => asked,
                Err(problem) => {
                    let fix = format!("the words are {}", listed(dialogue.words()));
                    self.refuse(&Error::usage(place, problem, fix))?;
                    continue;
                }
            };
            if let Some(note) = dialogue.unseen(&inputs) {
                say(format!("note: \"{}\": {note}", line.trim()));
            }
            questions.push((place, Question { kind: Kind::Other, inputs, identifier: 0 }, labels));
        }
        Ok(questions)
    }

    /// Answers those that wait, `most` at once.
    fn answer(&mut self, dialogue: &Dialogue, waiting: &mut Vec<Placed>, most: usize) -> Result<()> {
        while !waiting.is_empty() && !self.solvers.stop().wanted() {
            let now: Vec<Placed> = waiting.drain(..waiting.len().min(most)).collect();
            let questions: Vec<Question> = now.iter().map(|(_, question, _)| question.clone()).collect();
            let solutions = self.solvers.solve_all(&questions)?;
            for (placed, solution) in now.into_iter().zip(solutions) {
                self.show_answer(dialogue, placed, solution)?;
            }
        }
        Ok(())
    }

    fn show_answer(
        &mut self,
        dialogue: &Dialogue,
        (place, question, labels): Placed,
        mut solution: Solution,
    ) -> Result<()> {
        let words = dialogue.words();
        solution.answers_mut().for_each(|answer| dialogue.shorten(&question.inputs, answer));
        let step = |thought: &Thought| Step { answer: words.text(&thought.answer), q_halt: thought.q_halt };
        let exact = labels.as_ref().map(|labels| {
            let mut pairs = solution.answer().iter().zip(labels);
            pairs.all(|(found, label)| *label == IGNORE_LABEL || label == found)
        });
        self.tally.answered(exact);
        let answered = Answered {
            place,
            labels: labels.as_ref().map(|labels| words.text(labels)),
            exact,
            note: dialogue.unseen(&question.inputs),
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
            let verdict = match (answered.exact, &answered.labels) {
                (Some(false), Some(labels)) => format!("not solved; the label is\n  {}\n", printable(labels)),
                (Some(_), _) => "solved: every labelled word is right\n".to_owned(),
                (None, _) => String::new(),
            };
            format!("question\n  {}\n{steps}{choice}{verdict}\n", printable(&answered.question))
        })?;
        self.pictures.add(&view, &question.inputs, &solution, answered.answer, None);
        Ok(())
    }
}
