//! Copies of weights as products read them: each element to the nearest half, then zeros to whole vectors.

use trm::Result;
use trm::ops::store_weight::{KERNEL, Weight};
use trm::plan::Element;

use crate::harness::{KernelTests, Lab, Mutant, Needs, in_bf16, in_f16, loud_in_f16};

/// Tests and mutants of `store_weight`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[
        ("whole", rows),
        ("in_bf16", |lab| in_bf16(lab, rows)),
        ("in_f16", |lab| in_f16(lab, rows)),
        ("past_the_largest_half", |lab| loud_in_f16(lab, 6e4, rows)),
    ],
    mutants: &[
        Mutant {
            name: "wraps_round_past_the_largest_half",
            from: "return pack2x16float(pair);",
            to: "return pack2x16float(select(pair, -pair, abs(pair) > vec2<f32>(65504.0)));",
        },
        Mutant {
            name: "swaps_neighbours",
            from: "at(row, column), at(row, column + 1u)",
            to: "at(row, column + 1u), at(row, column)",
        },
        Mutant { name: "leaves_no_zeros", from: "select(0.0, value, inside)", to: "value" },
        Mutant {
            name: "takes_rows_to_be_longer",
            from: "row * params.from_columns",
            to: "row * params.to_columns",
        },
        Mutant {
            name: "cuts_the_mantissa",
            from: "(bits + 0x7fffu + (bits >> 16u & 1u)) >> 16u",
            to: "bits >> 16u",
        },
    ],
};

/// Rows of one, of whole vectors, and around them. In f32 the weight is its own copy.
fn rows(lab: &mut Lab) -> Result<()> {
    for (count, k) in [(1, 1), (3, 2), (5, 7), (4, 8), (7, 9), (67, 97), (2, 512)] {
        lab.case(format!("{count} rows of {k}"));
        let values = lab.normal(count * k);
        let x = lab.floats("x", &values);
        let weight = Weight::store(&mut lab.tape, x, k)?;
        if lab.tape.target().precision == Element::F32 {
            assert_eq!((weight.stored, weight.padding), (x, 0));
            continue;
        }
        assert_eq!((k + weight.padding) % 8, 0, "{count} rows of {k}");
        let zeros = vec![0.0; weight.padding];
        let stored = values.chunks_exact(k).flat_map(|row| [lab.stored(row), zeros.clone()].concat());
        let expected = stored.map(f64::from).collect();
        lab.expect_exactly("y", weight.stored, expected);
    }
    Ok(())
}
