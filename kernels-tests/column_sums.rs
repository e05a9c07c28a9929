//! Column sums against f64, in one, two and three stages.

use trm::Result;
use trm::ops::column_sums::{CHUNK, KERNEL, clear, column_sums};

use crate::check::roundings;
use crate::harness::{KernelTests, Lab, Mutant, Needs};

/// Tests and mutants of `column_sums`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[("stages", stages), ("micro_batches", micro_batches)],
    mutants: &[
        Mutant { name: "forgets_the_scale", from: "total * params.scale", to: "total + 0.0 * params.scale" },
        Mutant {
            name: "forgets_what_was_there",
            from: "known = sums[index]",
            to: "known = 0.0 * sums[index]",
        },
        Mutant { name: "always_adds", from: "params.add != 0u", to: "true" },
        Mutant { name: "skips_a_row", from: "var row = first;", to: "var row = first + 1u;" },
        Mutant { name: "ends_chunks_early", from: "first + params.chunk,", to: "first + params.chunk - 1u," },
        Mutant {
            name: "sums_one_column",
            from: "let column = index % params.width",
            to: "let column = 0u * params.width",
        },
    ],
};

/// 256 rows a chunk: 65,537 rows take three stages. Positive values, so that no sum cancels.
fn stages(lab: &mut Lab) -> Result<()> {
    let shapes = [(1, 1), (2, 65), (CHUNK - 1, 3), (CHUNK, 64), (CHUNK + 1, 5), (1000, 130), (65_537, 2)];
    for (rows, width) in shapes {
        lab.case(format!("{rows} rows of {width}"));
        let x: Vec<f32> = (0..rows * width).map(|_| lab.rng.uniform()).collect();
        let sum = |column: usize| (0..rows).map(|row| f64::from(x[row * width + column])).sum::<f64>();
        let expected = (0..width).map(|column| -0.75 * sum(column)).collect();
        let (tensor, out) = (lab.floats("x", &x), lab.output("sums", width));
        column_sums(&mut lab.tape, tensor, rows, width, -0.75, out)?;
        // At most one rounding for each row of a chunk, in each of the stages, and the scale.
        lab.expect_rows("sums", out, expected, 1, roundings(3 * CHUNK.min(rows) + 1));
    }
    Ok(())
}

/// In micro-batches each sum lands on what is there already, which is zeros at first, whatever it was.
fn micro_batches(lab: &mut Lab) -> Result<()> {
    lab.tape = std::mem::take(&mut lab.tape).in_micro_batches(2);
    for (rows, width) in [(1, 65), (CHUNK + 1, 5)] {
        lab.case(format!("{rows} rows of {width}, twice"));
        let x: Vec<f32> = (0..rows * width).map(|_| lab.rng.uniform()).collect();
        let sum = |column: usize| (0..rows).map(|row| f64::from(x[row * width + column])).sum::<f64>();
        let expected = (0..width).map(|column| 1.25 * sum(column)).collect();
        let (x, sums) = (lab.floats("x", &x), lab.floats("sums", &vec![7.0; width]));
        clear(&mut lab.tape, x, sums)?;
        for scale in [0.75, 0.5] {
            column_sums(&mut lab.tape, x, rows, width, scale, sums)?;
        }
        lab.expect_rows("sums", sums, expected, 1, roundings(2 * CHUNK.min(rows) + 3));
    }
    Ok(())
}
