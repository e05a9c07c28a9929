//! The metric block: per-sample statistics of the loss summed over the batch, all that the host reads back.

use serde::Serialize;

use crate::Result;
use crate::plan::{Call, Entry, Kernel, Tape, Tensor, align};

/// `shaders/metrics.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "metrics",
    source: include_str!("../../shaders/metrics.wgsl"),
    entries: &[Entry { name: "total", twin: total }],
};

/// What a row of statistics holds, in its order, which is that of the shaders; the names are those of the release's log.
pub const NAMES: [&str; 8] = [
    "count",
    "accuracy",
    "exact_accuracy",
    "q_halt_accuracy",
    "steps",
    "lm_loss",
    "q_halt_loss",
    "q_continue_loss",
];

/// The same by name: a row of one sample (f32), the sums over samples, or averages. In averages, accuracies and steps
/// are over the samples that halted (`count` of them), losses over all samples of the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Metrics<T = f64> {
    /// Samples that halted in this step and have labels.
    pub count: T,
    /// Share of labelled cells that are right. NaN (null in JSON) in averages while `count` is 0, like the next three.
    pub accuracy: T,
    /// Share of samples that are right in every cell.
    pub exact_accuracy: T,
    /// Share of samples whose halt head says correctly whether the answer is right.
    pub q_halt_accuracy: T,
    /// Supervision steps that the samples took.
    pub steps: T,
    /// Stablemax cross-entropy, the mean over labels.
    pub lm_loss: T,
    /// Binary cross-entropy of the halt head.
    pub q_halt_loss: T,
    /// The same of the continue head; 0 where it is not trained.
    pub q_continue_loss: T,
}

impl<T: Copy> Metrics<T> {
    /// From the numbers of a row.
    pub fn of(row: [T; NAMES.len()]) -> Metrics<T> {
        let [count, accuracy, exact_accuracy, q_halt_accuracy, steps, lm_loss, q_halt_loss, q_continue_loss] =
            row;
        Metrics {
            count,
            accuracy,
            exact_accuracy,
            q_halt_accuracy,
            steps,
            lm_loss,
            q_halt_loss,
            q_continue_loss,
        }
    }

    /// The numbers of a row.
    pub fn row(&self) -> [T; NAMES.len()] {
        let Metrics { count, accuracy, exact_accuracy, q_halt_accuracy, .. } = *self;
        let Metrics { steps, lm_loss, q_halt_loss, q_continue_loss, .. } = *self;
        [count, accuracy, exact_accuracy, q_halt_accuracy, steps, lm_loss, q_halt_loss, q_continue_loss]
    }
}

impl Metrics {
    /// The sums that a device's metric block holds, or one of its rows of statistics.
    pub fn read(words: &[f32]) -> Metrics {
        Metrics::of(std::array::from_fn(|index| words.get(index).copied().map_or(f64::NAN, f64::from)))
    }

    /// Sums with another row added.
    pub fn plus(&self, other: &Metrics) -> Metrics {
        let (first, second) = (self.row(), other.row());
        Metrics::of(std::array::from_fn(|index| first[index] + second[index]))
    }

    /// Averages of sums over `samples` samples.
    pub fn averaged(&self, samples: f64) -> Metrics {
        Metrics {
            count: self.count,
            accuracy: self.accuracy / self.count,
            exact_accuracy: self.exact_accuracy / self.count,
            q_halt_accuracy: self.q_halt_accuracy / self.count,
            steps: self.steps / self.count,
            lm_loss: self.lm_loss / samples,
            q_halt_loss: self.q_halt_loss / samples,
            q_continue_loss: self.q_continue_loss / samples,
        }
    }

    /// Sums of averages over `samples` samples.
    pub fn summed(&self, samples: f64) -> Metrics {
        let times = |average: f64, count: f64| if count == 0.0 { 0.0 } else { average * count };
        Metrics {
            count: self.count,
            accuracy: times(self.accuracy, self.count),
            exact_accuracy: times(self.exact_accuracy, self.count),
            q_halt_accuracy: times(self.q_halt_accuracy, self.count),
            steps: times(self.steps, self.count),
            lm_loss: self.lm_loss * samples,
            q_halt_loss: self.q_halt_loss * samples,
            q_continue_loss: self.q_continue_loss * samples,
        }
    }

    /// What is minimised: lm_loss + (q_halt_loss + q_continue_loss) / 2.
    pub fn loss(&self) -> f64 {
        self.lm_loss + 0.5 * (self.q_halt_loss + self.q_continue_loss)
    }
}

/// Words of a metric block: the sums of the statistics, and at [`SKIPPED`] 1 where a training step was not applied.
pub const WORDS: usize = NAMES.len() + 1;

/// Place of the flag that `finite` writes; see [`super::finite::skip_unless_finite`].
pub const SKIPPED: usize = NAMES.len();

/// Lays down the first 8 words of `metrics` = the sums over samples of `stats` (B, 8), which has a part for each
/// `micro_batch` samples.
pub fn total_stats(
    tape: &mut Tape,
    [batch, micro_batch]: [usize; 2],
    stats: Tensor,
    metrics: Tensor,
) -> Result<()> {
    tape.call(&KERNEL, "total")
        .bind("stats", stats)
        .bind("metrics", metrics)
        .count("parts", batch / micro_batch)
        .count("part_words", micro_batch * NAMES.len())
        .count("stride", align(micro_batch * NAMES.len()))
        .threads(NAMES.len())
        .push()
}

fn total(call: &mut Call<'_>) {
    let (parts, part_words, stride) = (call.count("parts"), call.count("part_words"), call.count("stride"));
    let stats = call.input("stats");
    let rows = |part: usize| stats[part * stride..][..part_words].chunks_exact(NAMES.len());
    let metrics = &mut call.output("metrics")[..NAMES.len()];
    metrics.fill(0.0);
    for row in (0..parts).flat_map(rows) {
        metrics.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
}
