//! Copies in halves: every kind of float against the rounding of the `half` crate.

use trm::Result;
use trm::ops::narrow::{KERNEL, narrow};
use trm::plan::{Element, Target};

use crate::harness::{KernelTests, Lab, Mutant, Needs};

/// Tests and mutants of `narrow`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[("bf16", bf16), ("f16", f16)],
    mutants: &[
        Mutant { name: "truncates", from: "(bits + 0x7fffu + (bits >> 16u & 1u)) >> 16u", to: "bits >> 16u" },
        Mutant { name: "rounds_ties_up", from: "0x7fffu + (bits >> 16u & 1u)", to: "0x8000u" },
        Mutant { name: "loses_nan", from: "bits >> 16u | 0x40u, (bits", to: "rounded, (bits" },
        Mutant {
            name: "swaps_the_halves",
            from: "upper_half(pair.x) | upper_half(pair.y) << 16u",
            to: "upper_half(pair.y) | upper_half(pair.x) << 16u",
        },
        Mutant { name: "repeats_the_first", from: "x[index + 1u]", to: "x[index]" },
    ],
};

/// Signs, ties, the ends of the range, and arbitrary numbers of many sizes; of bf16, infinities and NaN too. What
/// becomes of a NaN or a subnormal in f16 is left to drivers.
fn lay(lab: &mut Lab, element: Element) -> Result<()> {
    lab.target(Target { precision: element, ..Target::default() });
    let ulp = 1.0 / 128.0;
    let edges =
        [0.0, 1.0, -1.0, 1.0 + 0.5 * ulp, 1.0 + 1.5 * ulp, -1.0 - 0.5 * ulp, 1.0 + ulp / 16.0, 65504.0];
    let beyond = [-0.0, f32::INFINITY, f32::NEG_INFINITY, f32::from_bits(0x7fff_ffff), f32::MAX, 1e-40];
    for count in [2, 64, 130, 4098] {
        lab.case(format!("{count} elements"));
        let mut values = lab.normal(count);
        for (at, value) in values.iter_mut().enumerate() {
            *value = (value.abs() + 0.01).copysign(*value) * 2f32.powi(at as i32 % 15 - 7);
        }
        let beyond = beyond.iter().filter(|_| element == Element::Bf16);
        values.iter_mut().zip(edges.iter().chain(beyond)).for_each(|(value, edge)| *value = *edge);
        let mut words = vec![0.0; element.words(count)];
        element.narrow(&values, &mut words);
        let x = lab.floats("x", &values);
        let y = narrow(&mut lab.tape, x)?;
        lab.expect_ints("y", y, words.iter().map(|word| word.to_bits() as i32).collect());
    }
    Ok(())
}

fn bf16(lab: &mut Lab) -> Result<()> {
    lay(lab, Element::Bf16)
}

fn f16(lab: &mut Lab) -> Result<()> {
    lay(lab, Element::F16)
}
