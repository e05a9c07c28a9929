//! The batches of a training as one array, for programs that train the same elsewhere.

use std::io;
use std::path::Path;
use std::sync::Arc;

use npyz::WriterBuilder;

use crate::data::{Batch, Dataset, Sampler};
use crate::model::Curriculum;
use crate::ops::loss::Exploration;
use crate::recipe::{Recipe, TrainSettings};
use crate::{Result, files};

/// Columns before the tokens: the fewest and the most supervision steps, and the puzzle identifier.
const BEFORE: usize = 3;

/// What draws the batches of a training.
pub(super) fn sampler_of(settings: &TrainSettings, dataset: Arc<Dataset>) -> Result<Sampler> {
    let sampler = Sampler::new(dataset, settings.global_batch_size, settings.eval_interval, settings.seed)?;
    if settings.augment { sampler.augmented() } else { Ok(sampler) }
}

/// The supervision steps of a training of so many steps.
pub(super) fn curriculum_of(recipe: &Recipe, total_steps: u64) -> Curriculum {
    let halt_max_steps = recipe.arch.halt_max_steps;
    Curriculum { share: recipe.train.curriculum, total_steps, halt_max_steps }
}

/// Writes what the first `steps` training steps of `recipe` on `dataset` take to `out`, in NumPy's layout, and returns the
/// array's shape: (steps, B, 3 + 2 S), int32.
///
/// A row has the fewest supervision steps with which exploration lets the slot's sample halt in this step (mostly 0), and
/// those with which it halts in any case; then what comes in, which slots take whose sample has halted: puzzle identifier,
/// S inputs, S labels (-100 where ignored).
///
/// # Errors
/// [`crate::Error::Recipe`] for settings that do not fit the data, [`crate::Error::File`] for a broken data set,
/// [`crate::Error::Io`] where `out` cannot be written.
pub fn write_batches(recipe: &Recipe, dataset: Arc<Dataset>, steps: u32, out: &Path) -> Result<[u64; 3]> {
    let settings = &recipe.train;
    recipe.model(&dataset)?;
    dataset.check_tokens()?;
    let (size, seq_len) = (settings.global_batch_size, dataset.metadata().seq_len);
    let curriculum = curriculum_of(recipe, settings.steps_of(settings.epochs, &dataset));
    let mut sampler = sampler_of(settings, dataset)?;
    let mut batch = Batch::new(size, seq_len);
    let shape = [u64::from(steps), size as u64, (BEFORE + 2 * seq_len) as u64];
    files::write_atomic_with(out, |file| {
        let mut array = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(file).begin_nd()?;
        for step in 1..=steps {
            sampler.next_batch(&mut batch).map_err(io::Error::other)?;
            sampler.vary(&mut batch);
            let exploration = Exploration {
                max_steps: curriculum.at(step.into()) as i32,
                probability: recipe.arch.halt_exploration_prob as f32,
                key: [settings.seed as u32, (settings.seed >> 32) as u32],
            };
            for row in 0..size {
                let fewest = exploration.minimum(step, row as u32);
                let before = [fewest, exploration.max_steps, batch.puzzle_identifiers[row]];
                let (inputs, labels) = batch.row_mut(row);
                array.extend(before.iter().chain(&*inputs).chain(&*labels).copied())?;
            }
        }
        array.finish()
    })?;
    Ok(shape)
}
