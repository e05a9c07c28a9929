//! Whether matrix units multiply as they should on a device, and fast enough: some drivers got operand order,
//! transposition or sizes wrong, others emulate them more slowly than plain products run.

use std::time::Duration;

use crate::Result;
use crate::engine::{Device, Run};
use crate::ops::gemm::{Gemm, Operand};
use crate::ops::product::{Epilogue, Product};
use crate::plan::{Axis, Element, Matrices, Precision, Purpose, Role, Tape, Target};

/// Rows and columns: more than one matrix, and no multiple of the larger ones.
const N: usize = 40;

/// Rows and columns of the products that are timed.
const TIMED: usize = 512;

/// The device that does what was `wanted`, and what there is to say of that: f16 where matrix units are worth it and
/// nothing else was asked for. Units that fail their probe are not taken.
pub fn settle(device: Device, wanted: Precision) -> (Device, Option<String>) {
    let otherwise = device.clone().in_precision(wanted.element().unwrap_or(Element::F32));
    if !matches!(wanted, Precision::Auto | Precision::F16) || device.cooperative().is_none() {
        return (otherwise, None);
    }
    match probe(&device) {
        Ok(matrices) => {
            (device.in_precision(Element::F16).on_matrices(matrices), Some("on matrix units".into()))
        }
        Err(reason) => (otherwise, Some(format!("without matrix units: {reason}"))),
    }
}

/// The matrix units of `device`, if they multiply as they should and are worth it; otherwise what is wrong.
pub fn probe(device: &Device) -> std::result::Result<Matrices, String> {
    let none = || format!("{} has none with f16 operands and f32 sums", device.info().name);
    let matrices = device.cooperative().ok_or_else(none)?;
    let found = products(device, matrices).map_err(|error| error.to_string())?;
    judge(&found)?;
    let [plain, units] =
        [None, Some(matrices)].map(|units| time(device, units).map_err(|error| error.to_string()));
    let (plain, units) = (plain?, units?);
    match units < plain {
        true => Ok(matrices),
        false => Err(format!("they take {:.1} times as long as plain products", ratio(units, plain))),
    }
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64().max(1e-12)
}

/// What plans of this file are laid out for.
fn target(device: &Device, matrices: Option<Matrices>) -> Target {
    Target { precision: Element::F16, matrices, ..device.target() }
}

fn square(n: usize, form: Operand) -> Product {
    let gemm = Gemm { m: n, n, k: n, batch: 1, reductions: 1, a: form, b: form, purpose: Purpose::Forward };
    Product { gemm, over: Axis::Width, epilogue: Epilogue::Store }
}

/// The best time of a product of operands in f16, the device being busy with it.
fn time(device: &Device, matrices: Option<Matrices>) -> Result<Duration> {
    let mut tape = Tape::new(target(device, matrices));
    let buffer = |tape: &mut Tape, name| tape.buffer_of(name, Role::Activation, TIMED * TIMED, Element::F16);
    let [a, b, c] = ["A", "B", "C"].map(|name| buffer(&mut tape, name));
    square(TIMED, Operand::rows_of(TIMED)).push(&mut tape, a, b, c)?;
    let mut run = Run::new(device, tape.finish()?)?;
    let mut best = Duration::MAX;
    for _ in 0..3 {
        best = best.min(run.repeat(0, 4)?.work());
    }
    Ok(best)
}

/// Small integers, whose products are exact in f16 and whose sums are exact in f32: A, then B.
fn operands() -> [Vec<f32>; 2] {
    [3, 5].map(|step| (0..N * N).map(|at| ((at * step + at / 7 + at / N) % 9) as f32 - 4.0).collect())
}

/// A B, B A, and the product of their transposes, which is that of B A.
fn products(device: &Device, matrices: Matrices) -> Result<[Vec<f32>; 3]> {
    let mut tape = Tape::new(target(device, Some(matrices)));
    let names = ["A B", "B A", "A^T B^T"];
    let [a, b] = ["A", "B"].map(|name| tape.buffer_of(name, Role::Activation, N * N, Element::F16));
    let plain = Operand::rows_of(N);
    for (name, left, right, form) in
        [(names[0], a, b, plain), (names[1], b, a, plain), (names[2], a, b, plain.transposed())]
    {
        let c = tape.buffer(name, Role::Activation, N * N);
        square(N, form).push(&mut tape, left, right, c)?;
    }
    let mut run = Run::new(device, tape.finish()?)?;
    for (name, values) in ["A", "B"].into_iter().zip(operands()) {
        let mut words = vec![0.0; Element::F16.words(values.len())];
        Element::F16.narrow(&values, &mut words);
        run.write_floats(name, &words)?;
    }
    run.submit()?;
    let [ab, ba, transposes] = names.map(|name| run.read_floats(name));
    Ok([ab?, ba?, transposes?])
}
/// The product of two of the probe's matrices, exact.
fn product(a: &[f32], b: &[f32]) -> Vec<f32> {
    let element = |at: usize| (0..N).map(|k| a[at / N * N + k] * b[k * N + at % N]).sum();
    (0..N * N).map(element).collect()
}

fn transposed(a: &[f32]) -> Vec<f32> {
    (0..N * N).map(|at| a[at % N * N + at / N]).collect()
}

fn judge(found: &[Vec<f32>; 3]) -> std::result::Result<(), String> {
    let [a, b] = operands();
    let (ab, ba) = (product(&a, &b), product(&b, &a));
    let expected = [("A B", &ab), ("B A", &ba), ("A^T B^T", &transposed(&ba))];
    for ((name, expected), found) in expected.into_iter().zip(found) {
        if found == expected {
            continue;
        }
        let mistaken =
            [("A B", &ab), ("B A", &ba), ("(A B)^T", &transposed(&ab)), ("(B A)^T", &transposed(&ba))];
        let instead = mistaken.iter().find(|(_, product)| *product == found);
        let wrong = expected.iter().zip(found).filter(|(expected, found)| expected != found).count();
        return Err(match instead {
            Some((other, _)) => format!("the driver computes {other} for {name}"),
            None => format!("the driver computes {name} with {wrong} of {} elements wrong", N * N),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right() -> [Vec<f32>; 3] {
        let [a, b] = operands();
        [product(&a, &b), product(&b, &a), product(&transposed(&a), &transposed(&b))]
    }

    #[test]
    fn right_products_pass() {
        assert_eq!(judge(&right()), Ok(()));
    }

    #[test]
    fn exchanged_and_transposed_products_are_named() {
        let [ab, ba, transposes] = right();
        let said = |found: [&Vec<f32>; 3]| judge(&found.map(Vec::clone)).unwrap_err();
        assert_eq!(said([&ba, &ba, &transposes]), "the driver computes B A for A B");
        assert_eq!(said([&ab, &ab, &transposes]), "the driver computes A B for B A");
        assert_eq!(said([&transposed(&ab), &ba, &transposes]), "the driver computes (A B)^T for A B");
        assert_eq!(said([&ab, &ba, &ba]), "the driver computes B A for A^T B^T");
    }

    #[test]
    fn one_wrong_element_fails() {
        for (which, value) in [(0, 1e9), (1, f32::NAN), (2, 0.5)] {
            let mut found = right();
            found[which][N * N - 1] = value;
            assert!(judge(&found).unwrap_err().contains("1 of 1600 elements wrong"));
        }
    }

    #[test]
    fn the_cpu_engine_s_twin_passes_and_it_has_none() {
        let found = products(&Device::cpu(), Matrices::default()).unwrap();
        assert_eq!(judge(&found), Ok(()));
        assert!(probe(&Device::cpu()).unwrap_err().contains("has none"));
        let (device, said) = settle(Device::cpu(), Precision::Auto);
        assert_eq!((device.target().precision, said), (Element::F32, None));
    }
}
