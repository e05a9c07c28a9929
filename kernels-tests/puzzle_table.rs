//! Rows gathered out of a table in parts: every value is where it was, whichever part holds it.

use trm::Result;
use trm::ops::puzzle_table::{KERNEL, PuzzleTable};

use crate::harness::{KernelTests, Lab, Mutant, Needs};

/// Tests and mutants of `puzzle_table`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[("rows", rows)],
    mutants: &[
        Mutant { name: "forgets_the_first", from: "- params.first_identifier", to: "- 0u" },
        Mutant { name: "holds_one_less", from: "row < params.held", to: "row + 1u < params.held" },
        Mutant { name: "numbers_no_slots", from: "slots[slot] = slot", to: "slots[slot] = 0u" },
        Mutant { name: "takes_the_first_column", from: "+ column]", to: "+ 0u * column]" },
    ],
};

/// The bytes that hold `rows` rows, as limits are counted.
fn limit(rows: usize, emb_ndim: usize) -> u64 {
    (rows * emb_ndim).next_multiple_of(64) as u64 * 4
}

fn rows(lab: &mut Lab) -> Result<()> {
    for (batch, emb_ndim, ids, per_part) in
        [(1, 1, 200, 64), (3, 64, 7, 2), (9, 65, 130, 65), (64, 96, 20, 2)]
    {
        lab.case(format!("B {batch} width {emb_ndim} of {ids} rows"));
        let table = lab.normal(ids * emb_ndim);
        let mut identifiers = lab.below(batch, ids);
        identifiers[0] = ids as i32 - 1;
        let held = lab.ints("identifiers", &identifiers);
        let bytes = limit(per_part, emb_ndim);
        let parts = PuzzleTable::split(ids, emb_ndim, bytes)?;
        assert!(parts.len() > 1, "{} rows in one part", ids);
        let mut first = 0;
        let tensors = parts.iter().enumerate().map(|(index, &rows)| {
            let values = &table[first * emb_ndim..(first + rows) * emb_ndim];
            first += rows;
            lab.floats(&format!("part {index}"), values)
        });
        let tensors = tensors.collect();
        let readable = PuzzleTable::of(emb_ndim, parts[0], tensors).readable(&mut lab.tape, batch, held)?;
        let expected = identifiers.iter().flat_map(|&row| &table[row as usize * emb_ndim..][..emb_ndim]);
        lab.expect("rows", readable.table, expected.map(|&value| f64::from(value)).collect(), 0.0);
        lab.expect_ints("slots", readable.rows, (0..batch as i32).collect());
    }
    Ok(())
}
