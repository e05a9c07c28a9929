//! Evaluations inside a training run.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::checkpoints::Checkpoint;
use super::observer::Observer;
use super::run::RunOptions;
use super::samples::{KEPT, Sample, Samples};
use crate::data::arc::{Score, TEST_PUZZLES_FILE, Votes};
use crate::data::inspect::Kind;
use crate::data::own::Words;
use crate::data::{Dataset, Split};
use crate::engine::Device;
use crate::eval::{Evaluator, Look, Pace, Selection};
use crate::model::init::Weights;
use crate::model::{Metrics, ModelConfig};
use crate::ranks::Ranks;
use crate::recipe::TrainSettings;
use crate::{Error, Result};

/// An evaluation that was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    /// After so many training steps.
    pub step: u64,
    /// Of so many examples; unknown of older runs, which took all.
    pub examples: Option<usize>,
    /// Whether samples stopped at their halt head's word.
    pub halt: bool,
}

impl Made {
    /// That of a checkpoint.
    pub fn of(checkpoint: &Checkpoint) -> Option<Made> {
        let note = &checkpoint.note;
        note.exact_accuracy.map(|_| Made { step: checkpoint.step, examples: note.examples, halt: note.halt })
    }
}

/// What one came to.
pub(super) struct Evaluated {
    pub metrics: Metrics,
    /// What votes on ARC came to, over the tasks of which there are answers.
    pub votes: Option<Score>,
    pub samples: Option<Samples>,
}

/// The test split and a model to evaluate on it; absent where the data set has none.
pub(super) struct Evaluation {
    ranks: Arc<dyn Ranks>,
    evaluator: Evaluator,
    dataset: Arc<Dataset>,
    /// The folder of an ARC data set, whose answers vote.
    arc: Option<PathBuf>,
    /// Of an own task.
    words: Option<Words>,
    stop: Arc<AtomicBool>,
}

impl Evaluation {
    pub fn open(options: &RunOptions<'_>, ranks: Arc<dyn Ranks>) -> Result<Option<Evaluation>> {
        if !options.data.join(Split::Test.name()).exists() {
            return Ok(None);
        }
        let dataset = Arc::new(Dataset::open(options.data, Split::Test)?);
        dataset.check_tokens()?;
        let config = options.recipe.model(&dataset)?;
        let batch = options.recipe.train.micro_batch.min(dataset.examples().max(1));
        let mut evaluator = smaller_if_need_be(&config, options.device, batch)?;
        let stop = Arc::new(AtomicBool::new(false));
        evaluator.stop_when(stop.clone());
        // Votes of several ranks are not brought together.
        let votes = ranks.size() == 1 && options.data.join(TEST_PUZZLES_FILE).is_file();
        let arc = votes.then(|| options.data.to_path_buf());
        // They are for pictures only.
        let words = Words::load(options.data).ok().flatten();
        Ok(Some(Evaluation { ranks, evaluator, dataset, arc, words, stop }))
    }

    /// Whether `made` is all that the last one has to be.
    pub fn is_whole(&self, made: Made) -> bool {
        !made.halt && made.examples.is_none_or(|examples| examples == self.dataset.examples())
    }

    /// The last evaluation takes every example.
    pub fn selection(&self, settings: &TrainSettings, last: bool) -> Selection {
        let most = if last { 0 } else { settings.eval_examples };
        Selection::of(&self.dataset, most, settings.seed)
    }

    /// Whether `selection` is all that there is.
    pub fn is_all(&self, selection: &Selection) -> bool {
        selection.len() == self.dataset.examples()
    }

    /// With the `weights` after `step` training steps; none if it was stopped before its end.
    pub fn run(
        &mut self,
        (step, weights): (u64, &Weights),
        selection: &Selection,
        halt: bool,
        observer: &mut dyn Observer,
    ) -> Result<Option<Evaluated>> {
        self.evaluator.load(weights)?;
        let mut votes = self.arc.as_deref().map(Votes::open).transpose()?;
        let mut samples = Vec::new();
        let mut visit = |look: Look<'_>| {
            samples.extend((look.index < KEPT).then(|| Sample::of(&look)));
            match &mut votes {
                Some(votes) => {
                    votes.add(look.index, look.identifier, look.inputs, look.predictions, look.q_halt)
                }
                None => Ok(()),
            }
        };
        let (flag, ranks) = (&self.stop, &*self.ranks);
        flag.store(observer.stop(), Ordering::Relaxed);
        let progress = |done: f64| {
            observer.evaluating(done * ranks.size() as f64, selection.len());
            flag.store(observer.stop(), Ordering::Relaxed);
        };
        let pace = Pace { halt, cut_short: true, ..Pace::default() };
        let found =
            self.evaluator.evaluate_among(ranks, pace, &self.dataset, selection, &mut visit, progress)?;
        let samples = samples
            .first()
            .map(|first: &Sample| Kind::of_dataset(&self.dataset, &first.inputs, &first.labels))
            .map(|kind| Samples { step, kind, words: self.words.clone(), samples });
        let votes = votes.map(|votes| votes.finish().of_answered());
        Ok(found.map(|metrics| Evaluated { metrics, votes, samples }))
    }
}

/// An evaluator for `batch` samples at once, or half as many for as often as there is no memory for more beside the
/// training.
fn smaller_if_need_be(config: &ModelConfig, device: &Device, batch: usize) -> Result<Evaluator> {
    match Evaluator::new(config, device, batch) {
        Err(Error::Memory { .. }) if batch > 1 => smaller_if_need_be(config, device, batch / 2),
        outcome => outcome,
    }
}
