//! `trm solve TASK.json`: tasks of ARC that the model was trained with.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::data::arc::{
    Augmentation, Candidate, Grid, InputScore, SEPARATOR, SEQ_LEN, Task, VOCAB_SIZE, Votes, read_tasks,
};
use crate::data::inspect::{Kind, beside, lines};
use crate::data::{Dataset, Split};
use crate::eval::{Question, Solution, Thought, check_fit};
use crate::model::ModelConfig;
use crate::report::say;
use crate::text::printable;
use crate::{Error, Result, files};

use super::{Session, View, steps_text};

/// Attempts that the competition takes.
pub(super) const ATTEMPTS: usize = 2;
const VIEW: View<'static> = View { kind: Kind::Arc, words: None };
const DATA: &str = "give the data set that the model was trained on: --data";

/// Whether a model is one of ARC, by its sizes.
pub fn is_for(config: &ModelConfig) -> bool {
    (config.seq_len, config.vocab_size) == (SEQ_LEN, VOCAB_SIZE)
}

pub fn run(session: &mut Session<'_>) -> Result<()> {
    let data = session.args.data();
    let data = data.ok_or_else(|| {
        Error::usage("--data", "a model of ARC has an embedding for each task, found by name", DATA)
    })?;
    let dataset = Arc::new(Dataset::open(&data, Split::Train)?);
    check_fit(session.solvers.config(), &dataset)?;
    let names: Vec<String> = files::read_json(&data.join("identifiers.json"), "build the data set anew")?;
    for path in &session.args.puzzles {
        if session.solvers.stop().wanted() {
            break;
        }
        match read_tasks(Path::new(path)) {
            Err(error) => session.refuse(&error)?,
            Ok(tasks) => {
                for task in tasks {
                    session.solve_task(path, &task, &names)?;
                }
            }
        }
    }
    Ok(())
}

/// A task with what the model made of it.
#[derive(Serialize)]
struct Solved {
    task: String,
    /// Augmentations that voted, the task as given included.
    variants: usize,
    inputs: Vec<InputScore>,
    /// Of each test input as given, after every supervision step.
    steps: Vec<Vec<Step>>,
}

#[derive(Serialize)]
struct Step {
    answer: Grid,
    q_halt: f32,
}

/// A task under an augmentation, which has an embedding of its own.
struct Variant<'a> {
    identifier: i32,
    name: &'a str,
    augmentation: Augmentation,
}

impl Variant<'_> {
    /// Those of a task, the task as given first, as data sets are built.
    fn of<'a>(task: &Task, names: &'a [String]) -> Vec<Variant<'a>> {
        let own = |name: &&String| name.split(SEPARATOR).next() == Some(&task.id);
        let variant = |(identifier, name): (i32, &'a String)| {
            let (_, augmentation) = Augmentation::parse(name)?;
            Some(Variant { identifier, name, augmentation })
        };
        (0..).zip(names).filter(|(_, name)| own(name)).filter_map(variant).collect()
    }

    fn question(&self, input: &Grid) -> Question {
        let inputs = tokens(&self.augmentation.apply(input));
        Question { kind: Kind::Arc, inputs, identifier: self.identifier }
    }
}

impl Session<'_> {
    fn solve_task(&mut self, path: &str, task: &Task, names: &[String]) -> Result<()> {
        let mut variants = Variant::of(task, names);
        let refusal = if task.test.is_empty() {
            Some(("has no test input", "give a task with train and test pairs"))
        } else if variants.is_empty() {
            let fix = "train one on a data set that has it, as with \"trm train --init-from\", or give the file the \
                       name of its task";
            Some(("this model has no row for it, it was trained with other tasks", fix))
        } else {
            None
        };
        if let Some((problem, fix)) = refusal {
            self.refuse(&Error::file(path, format!("task {}: {problem}", task.id), fix))?;
            return Ok(());
        }
        let wanted = 1 + self.args.thinking.augment();
        if variants.len() < wanted {
            say(format!("task {}: the model knows {} variants of it, all vote", task.id, variants.len()));
        }
        variants.truncate(wanted);
        let (inputs, given) = self.vote(task, &variants)?;
        self.show(task, variants.len(), inputs, &given)
    }

    /// What the variants' answers to each test input come to, and the thoughts on the task as given.
    fn vote(&mut self, task: &Task, variants: &[Variant<'_>]) -> Result<(Vec<InputScore>, Vec<Solution>)> {
        let names = std::iter::once("<blank>").chain(variants.iter().map(|variant| variant.name));
        let mut votes = Votes::new(vec![task.clone()], names.map(str::to_owned).collect());
        let mut given = Vec::new();
        for pair in &task.test {
            let mut first = None;
            // Their names are numbered from 1 on, behind the blank one; --augment keeps them few.
            let mut place = 0;
            for variants in variants.chunks(self.solvers.widest()) {
                let questions: Vec<Question> =
                    variants.iter().map(|variant| variant.question(&pair.input)).collect();
                let solutions = self.solvers.solve_all(&questions)?;
                for (question, solution) in questions.iter().zip(&solutions) {
                    place += 1;
                    let (answer, q_halt) = (solution.answer(), solution.q_halt());
                    votes.add(place, place as i32, &question.inputs, answer, q_halt)?;
                }
                first = first.or_else(|| solutions.into_iter().next());
            }
            given.extend(first);
        }
        let scored = votes.finish().tasks.into_iter().next();
        Ok((scored.map_or_else(Vec::new, |score| score.inputs), given))
    }

    fn show(
        &mut self,
        task: &Task,
        variants: usize,
        inputs: Vec<InputScore>,
        given: &[Solution],
    ) -> Result<()> {
        let steps = |solution: &Solution| {
            let step =
                |thought: &Thought| Step { answer: Grid::crop(&thought.answer), q_halt: thought.q_halt };
            solution.thoughts.iter().map(step).collect()
        };
        let solved =
            Solved { task: task.id.clone(), variants, inputs, steps: given.iter().map(steps).collect() };
        let judged: Vec<_> = solved.inputs.iter().filter(|input| input.solution.is_some()).collect();
        if !judged.is_empty() {
            self.tally.answered(Some(judged.into_iter().all(is_right)));
        }
        let (watch, colour) = (self.args.watch, self.output.colour());
        self.output.next(&solved, |solved| solved.text(task, given, watch, colour))?;
        self.pictures.add_task(task, &solved.inputs, given);
        Ok(())
    }
}

/// Whether one of the attempts is the solution.
pub(super) fn is_right(input: &InputScore) -> bool {
    input.rank.is_some_and(|rank| rank <= ATTEMPTS)
}

impl Solved {
    fn text(&self, task: &Task, given: &[Solution], watch: bool, colour: bool) -> String {
        let draw = |grid: &Grid| lines(Kind::Arc, &[], &tokens(grid), colour);
        let alone = |grid: &Grid| beside(&draw(grid), &[]);
        let voters = if self.variants > 1 {
            format!("{} variants vote", self.variants)
        } else {
            "as given".to_owned()
        };
        let mut text = format!("task {}, {voters}\n", printable(&self.task));
        for (number, pair) in (1..).zip(&task.train) {
            let output = pair.output.as_ref().map_or_else(Vec::new, draw);
            text += &format!("demonstration {number}\n{}", beside(&draw(&pair.input), &output));
        }
        for ((number, input), solution) in (1..).zip(&self.inputs).zip(given) {
            text += &format!("test input {number}\n{}", alone(&input.input));
            if watch {
                text += &steps_text(&VIEW, &tokens(&input.input), &solution.thoughts, true, colour);
            }
            for (place, candidate) in (1..=ATTEMPTS).zip(&input.candidates) {
                text += &format!("{}\n{}", caption(place, candidate, input), alone(&candidate.grid));
            }
            text += verdict(input);
            text += &match &input.solution {
                Some(solution) if !is_right(input) => format!(": right is\n{}", alone(solution)),
                _ => "\n".to_owned(),
            };
        }
        text + "\n"
    }
}

/// What became of a test input.
pub(super) fn verdict(input: &InputScore) -> &'static str {
    match (&input.solution, is_right(input)) {
        (None, _) => "open: the file does not say what is right",
        (Some(_), true) => "solved: an attempt is the file's own solution",
        (Some(_), false) => "not solved",
    }
}

/// `attempt 1: 3 of 4 votes, halt 0.998`
pub(super) fn caption(place: usize, candidate: &Candidate, input: &InputScore) -> String {
    let Candidate { votes, mean_halting, .. } = candidate;
    format!("attempt {place}: {votes} of {} votes, halt {mean_halting:.3}", input.votes)
}

/// (S) tokens of a grid in the corner of its canvas.
pub(super) fn tokens(grid: &Grid) -> Vec<i32> {
    grid.encode((0, 0)).into_iter().map(i32::from).collect()
}
