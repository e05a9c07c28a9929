//! The JSON of a puzzle of `POST /solve`, and of its answer.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::inspect::Kind;
use crate::data::own::Dialogue;
use crate::data::pasted::{Puzzle, Reader};
use crate::eval::{self, Breadth, Choice, Thought};
use crate::model::ModelConfig;

use super::job::Answer;
use super::request::nothing_else;

const FORMS: &str = "expected a text, a list of tokens, or {\"tokens\": [...], \"identifier\": 0}";

/// A puzzle as it may be given.
enum Given {
    /// In any layout that is read where people paste puzzles, or in words.
    Text(String),
    /// The tokens themselves, under the blank identifier.
    Tokens(Tokens),
    /// The tokens of a puzzle that has an embedding of its own.
    Named { tokens: Tokens, identifier: i32 },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Tokens {
    Row(Vec<i32>),
    Grid(Vec<Vec<i32>>),
}

/// How a puzzle was given, and is answered.
enum As {
    Puzzle(Puzzle),
    Words(Arc<Dialogue>),
    Tokens,
}

/// A puzzle that fits the model.
pub struct Question {
    form: As,
    /// Why its answer may be worth nothing.
    note: Option<String>,
    /// What is asked.
    pub asked: eval::Question,
}

/// What is answered about a puzzle, in the order of the request.
#[derive(Serialize)]
pub struct Answered {
    index: usize,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Answer {
        /// As the puzzle was given: text, words or (S) tokens.
        answer: Form,
        /// Supervision steps that all of its rollouts took.
        steps: usize,
        /// sigmoid(q_halt).
        confidence: f32,
        /// What chose it, where there were several rollouts.
        #[serde(flatten)]
        choice: Option<Choice>,
        /// Whether it is a solution, where the puzzle is known by its text.
        #[serde(skip_serializing_if = "Option::is_none")]
        solved: Option<bool>,
        /// What keeps it from being one.
        #[serde(skip_serializing_if = "Option::is_none")]
        fault: Option<String>,
        /// Why it may be worth nothing.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    Error {
        error: String,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Tokens(Vec<i32>),
}

impl Question {
    /// Reads a puzzle of a model, of an own task where its words are known; else says what is wrong with it.
    pub fn read(
        given: Value,
        config: &ModelConfig,
        dialogue: Option<&Arc<Dialogue>>,
        breadth: &Breadth,
    ) -> Result<Question, String> {
        let (form, inputs, identifier) = match (Given::read(given)?, dialogue) {
            (Given::Text(text), Some(dialogue)) => {
                (As::Words(dialogue.clone()), dialogue.question(&text)?, 0)
            }
            (Given::Text(text), None) => {
                let puzzle = pasted(&text, config)?;
                let inputs = puzzle.tokens();
                (As::Puzzle(puzzle), inputs, 0)
            }
            (Given::Tokens(tokens), _) => (As::Tokens, tokens.row()?, 0),
            (Given::Named { tokens, identifier }, _) => (As::Tokens, tokens.row()?, identifier),
        };
        if inputs.len() != config.seq_len {
            return Err(format!("{} tokens, the model solves puzzles of {}", inputs.len(), config.seq_len));
        }
        below(config.vocab_size, "a token", inputs.iter())?;
        below(config.num_puzzle_identifiers, "the identifier", [identifier].iter())?;
        let kinds = kinds(config, dialogue.is_some());
        whole(&kinds, &inputs)?;
        dialogue.map_or(Ok(()), |dialogue| dialogue.check(&inputs))?;
        let kind = match (&form, &kinds[..]) {
            (As::Puzzle(puzzle), _) => puzzle.kind(),
            (_, [kind]) => *kind,
            _ => Kind::Other,
        };
        breadth.check_kind(kind).map_err(|error| match (&form, kinds.len()) {
            (As::Tokens, 2..) => {
                let problem =
                    "tokens do not tell whether this is a Sudoku or a maze, as augment and valid need";
                format!("{problem}; give it as a text")
            }
            _ => error.to_string(),
        })?;
        let note = dialogue.and_then(|dialogue| dialogue.unseen(&inputs));
        Ok(Question { form, note, asked: eval::Question { kind, inputs, identifier } })
    }
}

/// Which puzzles a model may be of.
pub fn kinds(config: &ModelConfig, own_task: bool) -> Vec<Kind> {
    if own_task { vec![Kind::Other] } else { Kind::of_sizes(config.seq_len, config.vocab_size) }
}

/// Refuses padding where there is none: a grid of digits, with 0 for blanks as people write it, looks like tokens.
fn whole(kinds: &[Kind], inputs: &[i32]) -> Result<(), String> {
    let tokens = |kind: &Kind| match kind {
        Kind::Sudoku { .. } => Some("in Sudokus 1 is a blank and d + 1 the digit d"),
        Kind::Maze { .. } => Some("in mazes 1 to 5 are the signs of \"# SGo\""),
        Kind::Arc | Kind::Other => None,
    };
    let meanings = kinds.iter().map(tokens).collect::<Option<Vec<_>>>();
    match (meanings, inputs.iter().position(|token| *token == 0)) {
        (Some(meanings), Some(at)) => Err(format!(
            "token {} is 0, which is padding and stands for no cell: {}; what people write belongs into a text, as \"12..\"",
            at + 1,
            meanings.join(", ")
        )),
        _ => Ok(()),
    }
}

fn pasted(text: &str, config: &ModelConfig) -> Result<Puzzle, String> {
    let reader = Reader::of_sizes(config.seq_len, config.vocab_size)
        .ok_or("the model is of neither Sudokus nor mazes, which are given as text, and its words are not known; give tokens")?;
    let mut found = reader.all(text);
    match (found.pop(), found.len()) {
        (Some(found), 0) => found.puzzle.map_err(|problem| format!("line {}: {problem}", found.line)),
        (None, _) => Err("holds no puzzle".to_owned()),
        (Some(_), others) => Err(format!("holds {} puzzles; give each by itself", others + 1)),
    }
}

fn below<'a>(bound: usize, what: &str, numbers: impl Iterator<Item = &'a i32>) -> Result<(), String> {
    let mut strange = numbers.filter(|number| !usize::try_from(**number).is_ok_and(|number| number < bound));
    match strange.next() {
        Some(number) => Err(format!("{what} is {number}, the model knows 0 to {}", bound - 1)),
        None => Ok(()),
    }
}

impl Tokens {
    fn row(self) -> Result<Vec<i32>, String> {
        let rows = match self {
            Tokens::Row(row) => return Ok(row),
            Tokens::Grid(rows) => rows,
        };
        let width = rows.first().map_or(0, Vec::len);
        match rows.iter().position(|row| row.len() != width) {
            Some(at) => {
                Err(format!("row {} has {} tokens, the rows before it {width}", at + 1, rows[at].len()))
            }
            None => Ok(rows.concat()),
        }
    }
}

impl Given {
    fn read(given: Value) -> Result<Given, String> {
        let mut named = match given {
            Value::String(text) => return Ok(Given::Text(text)),
            Value::Object(named) => named,
            tokens => return field(tokens).map(Given::Tokens),
        };
        let mut take = |name| named.remove(name).unwrap_or_default();
        let (tokens, identifier) = (take("tokens"), take("identifier"));
        nothing_else(&named, "a puzzle has tokens and identifier, all else stands beside \"puzzles\"")?;
        Ok(Given::Named { tokens: field(tokens)?, identifier: field(identifier)? })
    }
}

fn field<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|_| FORMS.to_owned())
}

impl Answered {
    /// The answer to a question.
    pub fn answer(index: usize, question: &Question, answer: Answer) -> Answered {
        let Answer { elected, steps } = answer;
        let Some(elected) = elected else {
            return Answered::error(index, "the model's weights make NaN of it".to_owned());
        };
        let choice = Some(Choice::from(&elected)).filter(|_| elected.of > 1);
        let thought = Thought { answer: elected.answer, q_halt: elected.q_halt };
        let (confidence, mut tokens) = (thought.confidence(), thought.answer);
        let (answer, fault, solved) = match &question.form {
            As::Puzzle(puzzle) => {
                // Whether there is a right one is searched for where the answer is none.
                let none = || "the puzzle has no solution: its clues contradict each other".to_owned();
                let fault = puzzle.judge(&tokens).1;
                let fault = fault.map(|fault| if puzzle.solutions() == Some(0) { none() } else { fault });
                let solved = Some(fault.is_none());
                (Form::Text(puzzle.text(&tokens)), fault, solved)
            }
            As::Words(dialogue) => {
                dialogue.shorten(&question.asked.inputs, &mut tokens);
                (Form::Text(dialogue.words().text(&tokens)), None, None)
            }
            As::Tokens => (Form::Tokens(tokens), None, None),
        };
        let note = question.note.clone();
        let outcome = Outcome::Answer { answer, steps, confidence, choice, solved, fault, note };
        Answered { index, outcome }
    }

    /// Whether there is one.
    pub fn is_answer(&self) -> bool {
        matches!(self.outcome, Outcome::Answer { .. })
    }

    /// Why there is none.
    pub fn error(index: usize, error: String) -> Answered {
        Answered { index, outcome: Outcome::Error { error } }
    }
}
