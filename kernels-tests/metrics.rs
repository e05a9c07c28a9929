//! The metric block against f64.

use trm::Result;
use trm::ops::metrics::{KERNEL, NAMES, WORDS, total_stats};

use crate::check::roundings;
use crate::harness::{KernelTests, Lab, Mutant, Needs};
use crate::sign_sgd::parted;

/// Tests and mutants of `metrics`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[("totals", totals)],
    mutants: &[
        Mutant { name: "skips_the_first_sample", from: "at = first + local", to: "at = first + 8u + local" },
        Mutant { name: "mixes_the_metrics", from: "at = first + local", to: "at = first + (local ^ 1u)" },
        Mutant { name: "knows_one_part", from: "part * params.stride", to: "0u * params.stride" },
    ],
};

fn totals(lab: &mut Lab) -> Result<()> {
    for (batch, micro_batch) in [(1, 1), (2, 2), (63, 63), (65, 65), (1000, 1000), (63, 21), (64, 8), (6, 1)]
    {
        lab.case(format!("B {batch} in {micro_batch}s"));
        let stats: Vec<f32> = (0..batch * NAMES.len()).map(|_| lab.rng.uniform()).collect();
        let sum = |metric: usize| stats.iter().skip(metric).step_by(8).map(|&value| f64::from(value)).sum();
        // The last word is not a sum and stays.
        let expected = (0..NAMES.len()).map(sum).chain([7.0]).collect();
        let stats = lab.floats("stats", &parted(&stats, micro_batch * NAMES.len()));
        let metrics = lab.floats("metrics", &[7.0; WORDS]);
        total_stats(&mut lab.tape, [batch, micro_batch], stats, metrics)?;
        // One rounding for each sample.
        lab.expect_rows("metrics", metrics, expected, 1, roundings(batch));
    }
    Ok(())
}
