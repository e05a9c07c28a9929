//! Metrics of a training step or an evaluation, from the device's metric block.

use serde::Serialize;

use crate::ops::metrics::NAMES;

/// Averages under the release's names. Accuracies and steps are over the samples that halted (`count` of them),
/// losses over all samples of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Metrics {
    /// Samples that halted in this step and have labels.
    pub count: f64,
    /// Share of labelled cells that are right. NaN (null in JSON) while `count` is 0, like the next three.
    pub accuracy: f64,
    /// Share of samples that are right in every cell.
    pub exact_accuracy: f64,
    /// Share of samples whose halt head says correctly whether the answer is right.
    pub q_halt_accuracy: f64,
    /// Supervision steps that the samples took.
    pub steps: f64,
    /// Mean stablemax cross-entropy.
    pub lm_loss: f64,
    /// Mean binary cross-entropy of the halt head.
    pub q_halt_loss: f64,
    /// The same of the continue head; 0 where it is not trained.
    pub q_continue_loss: f64,
}

impl Metrics {
    /// From the sums of a metric block over `samples` samples.
    pub fn of(block: &[f64; NAMES.len()], samples: f64) -> Metrics {
        let [count, accuracy, exact_accuracy, q_halt_accuracy, steps, lm_loss, q_halt_loss, q_continue_loss] =
            *block;
        Metrics {
            count,
            accuracy: accuracy / count,
            exact_accuracy: exact_accuracy / count,
            q_halt_accuracy: q_halt_accuracy / count,
            steps: steps / count,
            lm_loss: lm_loss / samples,
            q_halt_loss: q_halt_loss / samples,
            q_continue_loss: q_continue_loss / samples,
        }
    }

    /// What is minimised: lm_loss + (q_halt_loss + q_continue_loss) / 2.
    pub fn loss(&self) -> f64 {
        self.lm_loss + 0.5 * (self.q_halt_loss + self.q_continue_loss)
    }
}

/// A device's metric block in f64.
pub fn block_of(words: &[f32]) -> [f64; NAMES.len()] {
    std::array::from_fn(|index| words.get(index).copied().map_or(f64::NAN, f64::from))
}
