//! Whether cooperative matrices multiply as they should on a device: some drivers got operand order, transposition or
//! sizes wrong, so nothing else may use them before this.

use crate::Result;
use crate::engine::{Device, Run};
use crate::ops::gemm::{Gemm, Operand};
use crate::ops::product::{Epilogue, Product};
use crate::plan::{Axis, Matrices, Purpose, Role, Tape, Target};

/// Rows and columns: more than one matrix and no multiple of any.
const N: usize = 43;

/// Gives `device` its cooperative matrices for all products from now on, if it has them and they pass the probe.
/// Returns why not otherwise; plans then keep the products that they had.
pub fn use_cooperative(device: &Device) -> std::result::Result<(), String> {
    device.choose(probe(device)?);
    Ok(())
}

/// The cooperative matrices of `device`, if they multiply as they should; otherwise what is wrong.
pub fn probe(device: &Device) -> std::result::Result<Matrices, String> {
    let none = || format!("{} has none with f16 operands and f32 sums", device.info().name);
    let cooperative = device.cooperative().ok_or_else(none)?;
    let found = products(device, cooperative).map_err(|error| error.to_string())?;
    judge(&found).map(|()| cooperative)
}

/// Small integers, whose products are exact in f16 and whose sums are exact in f32: A, then B.
fn operands() -> [Vec<f32>; 2] {
    [3, 5].map(|step| (0..N * N).map(|at| ((at * step + at / 7 + at / N) % 9) as f32 - 4.0).collect())
}

/// A B, B A, and the product of their transposes, which is that of B A.
fn products(device: &Device, cooperative: Matrices) -> Result<[Vec<f32>; 3]> {
    let target = Target { matrices: Some(cooperative), ..device.target() };
    let mut tape = Tape::new(target);
    let names = ["A B", "B A", "A^T B^T"];
    let [a, b] = ["A", "B"].map(|name| tape.buffer(name, Role::Activation, N * N));
    let plain = Operand::rows_of(N);
    for (name, left, right, form) in
        [(names[0], a, b, plain), (names[1], b, a, plain), (names[2], a, b, plain.transposed())]
    {
        let c = tape.buffer(name, Role::Activation, N * N);
        let gemm =
            Gemm { m: N, n: N, k: N, batch: 1, reductions: 1, a: form, b: form, purpose: Purpose::Forward };
        Product { gemm, over: Axis::Width, epilogue: Epilogue::Store }.push(&mut tape, left, right, c)?;
    }
    let mut run = Run::new(device, tape.finish()?)?;
    for (name, words) in ["A", "B"].into_iter().zip(operands()) {
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
            assert!(judge(&found).unwrap_err().contains("1 of 1849 elements wrong"));
        }
    }

    #[test]
    fn the_cpu_engine_s_twin_passes_and_it_has_none() {
        let found = products(&Device::cpu(), Matrices::default()).unwrap();
        assert_eq!(judge(&found), Ok(()));
        assert!(use_cooperative(&Device::cpu()).unwrap_err().contains("has none"));
    }
}
