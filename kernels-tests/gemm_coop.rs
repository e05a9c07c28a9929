//! The matrix product on cooperative matrices: all tests of the tiled one with operands rounded to f16, its own tests
//! and mutants, and the probe on the device.

use libtest_mimic::Trial;
use trm::Result;
use trm::eval::probe::probe;
use trm::ops::gemm::{Gemm, Operand};
use trm::ops::gemm_coop::KERNEL;

use crate::gemm::{
    Added, IGNORES_THE_BATCH_OF_B, SWAPS_THE_REDUCTIONS, addends, batches_and_reductions, lay, long_sums,
    on_matrices, plain, shapes, to_f16, transposes_and_paddings,
};
use crate::harness::{KernelTests, Lab, Mutant, Needs, on_gpu};

/// Tests and mutants of `gemm_coop`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Cooperative,
    tests: &[
        ("shapes", |lab| on_matrices(lab, shapes)),
        ("transposes_and_paddings", |lab| on_matrices(lab, transposes_and_paddings)),
        ("batches_and_reductions", |lab| on_matrices(lab, batches_and_reductions)),
        ("addends", |lab| on_matrices(lab, addends)),
        ("large_tiles", |lab| on_matrices(lab, large_tiles)),
        ("roundings", |lab| on_matrices(lab, roundings)),
        ("long_sums", |lab| on_matrices(lab, long_sums)),
    ],
    mutants: &[
        Mutant { name: "transposes_a", from: "coopLoadT<Left>", to: "coopLoad<Left>" },
        Mutant { name: "transposes_b", from: "coopLoad<Right>", to: "coopLoadT<Right>" },
        Mutant { name: "transposes_c", from: "coopStoreT(", to: "coopStore(" },
        Mutant {
            name: "multiplies_by_a_neighbour",
            from: "coopMultiplyAdd(a2, b1, c21)",
            to: "coopMultiplyAdd(a2, b0, c21)",
        },
        Mutant {
            name: "forgets_what_it_summed",
            from: "c30 = coopMultiplyAdd(a3, b0, c30)",
            to: "c30 = coopMultiplyAdd(a3, b0, Sums())",
        },
        Mutant { name: "skips_the_last_of_k", from: "depth + i < params.k", to: "depth + i + 1u < params.k" },
        Mutant {
            name: "skips_the_last_row",
            from: "row < params.m && depth + i",
            to: "row + 1u < params.m && depth + i",
        },
        Mutant {
            name: "takes_each_block_for_the_first",
            from: "block % COLUMNS * 2u * SIZE)",
            to: "block % 1u * 2u * SIZE)",
        },
        IGNORES_THE_BATCH_OF_B,
        SWAPS_THE_REDUCTIONS,
        Mutant { name: "subtracts_the_addend", from: "+ at] + added", to: "+ at] - added" },
        Mutant { name: "scales_what_lies_at_an_edge", from: "f16(select(", to: "f16(1.0005 * select(" },
        Mutant {
            name: "reads_each_word_of_a_run_twice",
            from: "a[from_word + i * step]",
            to: "a[from_word + i / 2u * step]",
        },
    ],
};

/// The probe on a device that has cooperative matrices.
pub fn tests() -> Vec<Trial> {
    let passes = |device: &trm::engine::Device| {
        probe(device)?;
        Ok(())
    };
    vec![on_gpu("gemm_coop::the_probe_passes::gpu".into(), Needs::Cooperative, passes)]
}

/// So many workgroups that each takes a large tile, cut by all edges.
fn large_tiles(lab: &mut Lab) -> Result<()> {
    for (m, n, k, batch) in [(130, 129, 33, 32), (1, 2, 3, 128)] {
        lab.case(format!("{m} x {n} x {k}, each of {batch}"));
        let (a, b) = (Operand::rows_of(k).each(m * k), Operand::rows_of(n).each(k * n));
        lay(lab, Gemm { batch, a, b, ..plain((m, n, k)) }, Added::Whole)?;
    }
    Ok(())
}

/// Products with one: what the operands are rounded to, from f16's subnormal numbers to its largest.
fn roundings(lab: &mut Lab) -> Result<()> {
    let mut values = vec![0.0, 1.0 + 2f32.powi(-11), 1.0 + 3.0 * 2f32.powi(-11), -65_504.0, 65_519.0];
    values.extend([2f32.powi(-24), 2f32.powi(-25), 3.0 * 2f32.powi(-26), -1.5 * 2f32.powi(-24), 6.1e-5]);
    values.extend(lab.normal(60).iter().map(|value| value * 1e-5));
    values.extend(lab.normal(60).iter().map(|value| value * 1e4));
    let rows = values.len();
    for (case, m, n) in [("A", rows, 1), ("B", 1, rows)] {
        lab.case(case);
        let (many, one) = (lab.floats("values", &values), lab.floats("one", &[1.0]));
        let (a, b) = if m > 1 { (many, one) } else { (one, many) };
        let c = lab.output("c", rows);
        plain((m, n, 1)).push(&mut lab.tape, a, b, None, c)?;
        let expected = to_f16(&values).into_iter().map(f64::from).collect();
        lab.expect_rows("c", c, expected, 1, 0.0);
    }
    Ok(())
}
