//! `trm solve --data`: samples of a data set's test split, of whatever task.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::Result;
use crate::data::inspect::Kind;
use crate::data::own::Words;
use crate::data::{Batch, Dataset, IGNORE_LABEL, Split, TestBatches, maze};
use crate::eval::{Choice, Question, Selection, Solution, Thought, check_fit};
use crate::text::counted;

use super::{Session, View, steps_text};

/// A sample with what the model made of it.
#[derive(Serialize)]
struct Sample {
    sample: usize,
    inputs: Vec<i32>,
    labels: Vec<i32>,
    answer: Vec<i32>,
    /// Whether every labelled token is right.
    exact: bool,
    /// Of a maze: whether the answer marks a shortest path, be it another than the label's.
    valid: Option<bool>,
    #[serde(flatten)]
    choice: Option<Choice>,
    steps: Vec<Step>,
}

/// The answer after one supervision step.
#[derive(Serialize)]
struct Step {
    answer: Vec<i32>,
    q_halt: f32,
    exact: bool,
}

/// Solves the samples at the places that were asked for.
pub fn run(session: &mut Session<'_>, dir: &Path) -> Result<()> {
    let config = session.solvers.config().clone();
    let dataset = Arc::new(Dataset::open(dir, Split::Test)?);
    check_fit(&config, &dataset)?;
    let selection = Selection::at(&dataset, &session.args.sample)?;
    let words = Words::load(dir)?;
    for places in selection.places().chunks(session.solvers.widest()) {
        if session.solvers.stop().wanted() {
            break;
        }
        let mut examples = Vec::new();
        for &place in places {
            let mut one = Batch::new(1, config.seq_len);
            let mut batches = TestBatches::new(dataset.clone(), 1);
            batches.skip_examples(place);
            batches.next_batch(&mut one)?;
            let kind = Kind::of_dataset(&dataset, &one.inputs, &one.labels);
            let identifier = one.puzzle_identifiers[0];
            examples.push((Question { kind, inputs: one.inputs, identifier }, one.labels));
        }
        session.solve_samples(places, examples, words.as_ref())?;
    }
    Ok(())
}

impl Session<'_> {
    fn solve_samples(
        &mut self,
        places: &[usize],
        examples: Vec<(Question, Vec<i32>)>,
        words: Option<&Words>,
    ) -> Result<()> {
        let (questions, labels): (Vec<Question>, Vec<Vec<i32>>) = examples.into_iter().unzip();
        let solutions = self.solvers.solve_all(&questions)?;
        for (((question, labels), mut solution), &sample) in
            questions.iter().zip(&labels).zip(solutions).zip(places)
        {
            unasked(&mut solution, labels);
            let view = View { kind: question.kind, words };
            let sample = Sample::of(sample, question, labels, &solution);
            self.tally.answered(Some(sample.solved()));
            let (watch, colour) = (self.args.watch, self.output.colour());
            self.output.next(&sample, |sample| sample.text(&view, &solution.thoughts, watch, colour))?;
            let missed = (!sample.solved()).then_some(sample.labels.as_slice());
            self.pictures.add(&view, &question.inputs, &solution, sample.verdict(), missed);
        }
        Ok(())
    }
}

/// What has no label is nobody's answer: padding takes its place.
fn unasked(solution: &mut Solution, labels: &[i32]) {
    for answer in solution.answers_mut() {
        let unlabelled = answer.iter_mut().zip(labels).filter(|pair| *pair.1 == IGNORE_LABEL);
        unlabelled.for_each(|(token, _)| *token = 0);
    }
}

impl Sample {
    fn of(sample: usize, question: &Question, labels: &[i32], solution: &Solution) -> Sample {
        let exact = |answer: &[i32]| {
            answer.iter().zip(labels).all(|(found, label)| *label == IGNORE_LABEL || label == found)
        };
        let step = |thought: &Thought| {
            let answer = thought.answer.clone();
            Step { exact: exact(&answer), answer, q_halt: thought.q_halt }
        };
        let answer = solution.answer();
        let valid = match question.kind {
            Kind::Maze { cols, .. } => Some(maze::solution_fault(cols, &question.inputs, answer).is_none()),
            _ => None,
        };
        Sample {
            sample,
            inputs: question.inputs.clone(),
            labels: labels.iter().map(|label| (*label).max(0)).collect(),
            answer: answer.to_vec(),
            exact: exact(answer),
            valid,
            choice: solution.elected.as_ref().map(Choice::from),
            steps: solution.thoughts.iter().map(step).collect(),
        }
    }

    fn text(&self, view: &View<'_>, thoughts: &[Thought], watch: bool, colour: bool) -> String {
        let draw = |answer: &[i32]| view.draw(&self.inputs, answer, answer, colour);
        let mut text = format!("sample {}\n{}", self.sample, draw(&self.inputs));
        text += &steps_text(view, &self.inputs, thoughts, watch, colour);
        if let Some(choice) = &self.choice {
            text += &format!("{}\n{}", choice.text(), draw(&self.answer));
        }
        text += &self.verdict();
        match self.solved() {
            true => text + "\n\n",
            false => text + "; the label is\n" + &draw(&self.labels) + "\n",
        }
    }

    /// Whether the answer is right, be it another than the label.
    fn solved(&self) -> bool {
        self.exact || self.valid == Some(true)
    }

    fn verdict(&self) -> String {
        let verdict = match (self.exact, self.valid) {
            (true, _) => "solved: every labelled token is right",
            (_, Some(true)) => "solved: another shortest path than the labelled one",
            _ => {
                let is_wrong = |(at, label): &(usize, &i32)| self.answer.get(*at) != Some(*label);
                let wrong = self.labels.iter().enumerate().filter(is_wrong).count();
                return format!("not solved: wrong in {}", counted(wrong, "token"));
            }
        };
        verdict.to_owned()
    }
}
