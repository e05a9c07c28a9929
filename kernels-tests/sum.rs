//! Sums of equal shapes against f64, with terms in any number and shared terms.

use trm::Result;
use trm::ops::sum::{KERNEL, sum};

use crate::check::roundings;
use crate::harness::{KernelTests, Lab, Mutant, Needs, in_bf16, in_f16, loud_in_f16};

/// Tests and mutants of `sum`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[
        ("past_the_largest_half", |lab| loud_in_f16(lab, 4e4, terms)),
        ("terms", terms),
        ("shared_terms", shared_terms),
        ("terms_in_bf16", |lab| in_bf16(lab, terms)),
        ("terms_in_f16", |lab| in_f16(lab, terms)),
    ],
    mutants: &[
        Mutant {
            name: "wraps_round_past_the_largest_half",
            from: "return pack2x16float(pair);",
            to: "return pack2x16float(select(pair, -pair, abs(pair) > vec2<f32>(65504.0)));",
        },
        Mutant { name: "forgets_the_third", from: "params.terms > 2u", to: "params.terms > 3u" },
        Mutant {
            name: "adds_the_second_again",
            from: "value += four(c[first(index, C_ELEMENT)]",
            to: "value += value + four(c[first(index, C_ELEMENT)]",
        },
        Mutant {
            name: "takes_halves_for_bf16",
            from: "widened_pair(words.y, element)",
            to: "widened_pair(words.y, BF16)",
        },
        Mutant { name: "subtracts_the_last", from: "value += four(d[", to: "value -= four(d[" },
    ],
};

/// Any number of terms: more than four take several dispatches. The sum is exact but for one rounding a term.
fn terms(lab: &mut Lab) -> Result<()> {
    for (count, size) in
        [(1, 3), (2, 1), (2, 6), (3, 63), (4, 64), (5, 65), (5, 66), (7, 257), (11, 1009), (11, 1010)]
    {
        lab.case(format!("{count} terms of {size}"));
        if lab.halves() && size % 2 == 1 {
            continue;
        }
        let values: Vec<Vec<f32>> = (0..count).map(|_| lab.normal(size)).collect();
        let values: Vec<Vec<f32>> = values.iter().map(|term| lab.stored(term)).collect();
        let tensors: Vec<_> = (0..count).map(|i| lab.activation(&format!("term {i}"), &values[i])).collect();
        let total = sum(&mut lab.tape, &tensors)?;
        let expected = (0..size).map(|at| values.iter().map(|term| f64::from(term[at])).sum()).collect();
        lab.expect("total", total, expected, roundings(count));
    }
    Ok(())
}

/// One tensor may be several terms: a + b + a + a.
fn shared_terms(lab: &mut Lab) -> Result<()> {
    lab.case("a + b + a + a");
    let (a, b) = (lab.normal(77), lab.normal(77));
    let (tensor_a, tensor_b) = (lab.floats("a", &a), lab.floats("b", &b));
    let total = sum(&mut lab.tape, &[tensor_a, tensor_b, tensor_a, tensor_a])?;
    let expected = a.iter().zip(&b).map(|(a, b)| 3.0 * f64::from(*a) + f64::from(*b)).collect();
    lab.expect("total", total, expected, roundings(4));
    Ok(())
}
