//! `trm solve --data`: samples of a data set's test split, of whatever task.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::Result;
use crate::data::inspect::{Kind, draw};
use crate::data::own::Words;
use crate::data::{Dataset, IGNORE_LABEL, Split, maze};
use crate::engine::Device;
use crate::eval::{Evaluator, Look, Selection, check_fit};
use crate::model::ModelConfig;
use crate::model::init::Weights;

use super::output::Output;

/// Samples at once.
const AT_ONCE: usize = 16;

/// A sample with what the model made of it.
#[derive(Default, Serialize)]
struct Sample {
    sample: usize,
    inputs: Vec<i32>,
    labels: Vec<i32>,
    answer: Vec<i32>,
    /// Whether every labelled token is right.
    exact: bool,
    /// Of a maze: whether the answer marks a shortest path, be it another than the label's.
    valid: Option<bool>,
    steps: Vec<Step>,
}

/// The answer after one supervision step.
#[derive(Serialize)]
struct Step {
    answer: Vec<i32>,
    q_halt: f32,
    exact: bool,
}

/// Solves the samples at these places; whether all answers are right.
pub fn run(
    (config, weights): (&ModelConfig, &Weights),
    device: &Device,
    dir: &Path,
    places: &[usize],
    watch: bool,
    output: &Output,
) -> Result<bool> {
    let dataset = Arc::new(Dataset::open(dir, Split::Test)?);
    check_fit(config, &dataset)?;
    let selection = Selection::at(&dataset, places)?;
    let mut evaluator = Evaluator::new(config, device, selection.len().min(AT_ONCE))?;
    evaluator.load(weights)?;
    let mut samples: Vec<Sample> = selection.places().iter().map(|_| Sample::default()).collect();
    evaluator.show(&dataset, &selection, &mut |look| {
        samples[look.index].take_in(&look, selection.places()[look.index]);
        Ok(())
    })?;
    let words = Words::load(dir)?;
    let mut all = true;
    for sample in &mut samples {
        let kind = Kind::of_dataset(&dataset, &sample.inputs, &sample.labels);
        if let Kind::Maze { cols, .. } = kind {
            sample.valid = Some(maze::solution_fault(cols, &sample.inputs, &sample.answer).is_none());
        }
        all &= sample.exact || sample.valid == Some(true);
        output.painted(&*sample, |sample| sample.text(kind, words.as_ref(), watch, output.colour()))?;
    }
    Ok(all)
}

impl Sample {
    fn take_in(&mut self, look: &Look<'_>, place: usize) {
        let pairs = || look.labels.iter().zip(look.predictions);
        let exact = pairs().all(|(label, found)| *label == IGNORE_LABEL || label == found);
        // What has no label is nobody's answer.
        let answer = pairs()
            .map(|(label, found)| if *label == IGNORE_LABEL { 0 } else { *found })
            .collect::<Vec<i32>>();
        let labels = look.labels.iter().map(|label| (*label).max(0)).collect();
        self.steps.push(Step { answer: answer.clone(), q_halt: look.q_halt, exact });
        let (sample, inputs) = (place, look.inputs.to_vec());
        (self.sample, self.inputs, self.labels) = (sample, inputs, labels);
        (self.answer, self.exact) = (answer, exact);
    }

    fn text(&self, kind: Kind, words: Option<&Words>, watch: bool, colour: bool) -> String {
        let shown = |answer: &[i32]| match words {
            Some(words) => format!("  {}\n", words.text(answer)),
            None => draw(kind, &self.inputs, answer, colour),
        };
        let mut text = format!("sample {}\n", self.sample);
        if let Some(words) = words {
            text += &format!("  {}\n", words.text(&self.inputs));
        }
        let skipped = if watch { 0 } else { self.steps.len().saturating_sub(1) };
        for (index, step) in self.steps.iter().enumerate().skip(skipped) {
            let confidence = 1.0 / (1.0 + (-step.q_halt).exp());
            text += &format!("step {} of {}, halt {confidence:.3}\n", index + 1, self.steps.len());
            text += &shown(&step.answer);
        }
        text + &match (self.exact, self.valid) {
            (true, _) => "solved: every labelled token is right\n\n".to_owned(),
            (_, Some(true)) => "solved: another shortest path than the labelled one\n\n".to_owned(),
            _ => format!("not solved: the label is\n{}\n", shown(&self.labels)),
        }
    }
}
