//! The metric block: per-sample statistics of the loss summed over the batch, all that the host reads back.

use crate::Result;
use crate::plan::{Call, Entry, Kernel, Tape, Tensor};

/// `shaders/metrics.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "metrics",
    source: include_str!("../../shaders/metrics.wgsl"),
    entries: &[Entry { name: "total", twin: total }],
};

/// What a row of statistics holds, in its order; the names are those of the release's log.
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

/// Words of a metric block: the sums of the statistics, and at [`SKIPPED`] 1 where a training step was not applied.
pub const WORDS: usize = NAMES.len() + 1;

/// Place of the flag that `finite` writes; see [`super::finite::skip_unless_finite`].
pub const SKIPPED: usize = NAMES.len();

/// Lays down the first 8 words of `metrics` = the sums over samples of `stats` (B, 8).
pub fn total_stats(tape: &mut Tape, batch: usize, stats: Tensor, metrics: Tensor) -> Result<()> {
    let call = tape.call(&KERNEL, "total").bind("stats", stats).bind("metrics", metrics);
    call.count("batch", batch).threads(NAMES.len()).push()
}

fn total(call: &mut Call<'_>) {
    let stats = call.input("stats");
    let metrics = &mut call.output("metrics")[..NAMES.len()];
    metrics.fill(0.0);
    for row in stats.chunks_exact(NAMES.len()) {
        metrics.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
}
