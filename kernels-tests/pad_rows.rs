//! Copies with longer rows.

use trm::Result;
use trm::ops::pad_rows::{KERNEL, pad_rows};

use crate::harness::{KernelTests, Lab, Mutant, Needs};

/// Tests and mutants of `pad_rows`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[("rows", rows)],
    mutants: &[
        Mutant {
            name: "forgets_the_last_column",
            from: "column < params.from",
            to: "column + 1u < params.from",
        },
        Mutant { name: "reads_on_past_a_row", from: "if column < params.from_columns", to: "if true" },
        Mutant {
            name: "keeps_rows_as_long_as_they_were",
            from: "x[row * params.from",
            to: "x[row * params.to",
        },
    ],
};

fn rows(lab: &mut Lab) -> Result<()> {
    for (count, from, to) in [(1, 1, 8), (3, 5, 8), (7, 8, 8), (67, 97, 104), (2, 3, 64)] {
        lab.case(format!("{count} rows of {from} to {to}"));
        let values = lab.normal(count * from);
        let padding = |row: &[f32]| [row, &vec![0.0; to - from]].concat();
        let expected: Vec<i32> =
            values.chunks_exact(from).flat_map(padding).map(|value| value.to_bits() as i32).collect();
        let x = lab.floats("x", &values);
        let y = pad_rows(&mut lab.tape, x, from, to)?;
        lab.expect_ints("y", y, expected);
    }
    Ok(())
}
