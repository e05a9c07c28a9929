//! Whether matrix units multiply as they should on a device, and fast enough: some drivers got operand order,
//! transposition or sizes wrong, others emulate them more slowly than plain products run.

use std::time::{Duration, Instant};

use super::verify::{F16_BOUND, nmse};
use crate::engine::{Device, Run};
use crate::ops::attention::attention;
use crate::ops::gemm::{Gemm, Operand};
use crate::ops::product::{Epilogue, Product};
use crate::plan::{
    Axis, Element, Matrices, MatrixTile, PerPurpose, Precision, Purpose, Role, Shape, Tape, Target,
};
use crate::rng::Rng;
use crate::{Error, Result};

/// Rows and columns: more than one matrix, and no multiple of the larger ones.
const N: usize = 40;

/// Features of the head of attention.
const HEAD_DIM: usize = 64;

/// Rows and columns of the products that are timed.
const TIMED: usize = 512;

/// How long a GPU at rest is kept busy until it runs at its full clock, and how often each way runs at the least.
const WARM: Duration = Duration::from_millis(300);
const TURNS: usize = 3;

/// The device that does what was `wanted`, with what there is to say of that: f16 where matrix units are worth it and
/// nothing else was asked for. Units that fail their probe are not taken.
pub fn settle(device: Device, wanted: Precision) -> Device {
    let otherwise = device.clone().in_precision(wanted.element().unwrap_or(Element::F32));
    if !matches!(wanted, Precision::Auto | Precision::F16) || device.cooperative().is_none() {
        return otherwise;
    }
    match probe(&device) {
        Ok(matrices) => {
            let device = device.in_precision(Element::F16).on_matrices(matrices);
            device.saying_of_units("on matrix units".into())
        }
        Err(reason) => otherwise.saying_of_units(format!("without matrix units: {reason}")),
    }
}

/// The matrix units of `device`, if they multiply as they should and are worth it; otherwise what is wrong.
pub fn probe(device: &Device) -> std::result::Result<Matrices, String> {
    let said = |error: Error| error.to_string();
    let none = || format!("{} has none with f16 operands and f32 sums", device.info().name);
    let matrices = device.cooperative().ok_or_else(none)?;
    for tile in MatrixTile::ALL {
        judge(&products(device, matrices, tile).map_err(said)?)?;
    }
    agree(&block(device, Some(matrices)).map_err(said)?, &block(device, None).map_err(said)?)?;
    let [plain, units] = times(device, matrices).map_err(said)?;
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

fn square(n: usize, a: Operand, b: Operand) -> Product {
    let gemm = Gemm { m: n, n, k: n, batch: 1, reductions: 1, a, b, purpose: Purpose::Forward };
    Product { gemm, over: Axis::Width, epilogue: Epilogue::Store }
}

/// The best times of a product of operands in f16, plain and on the units. They take turns, after both have kept the
/// device busy until it is at its full clock.
fn times(device: &Device, matrices: Matrices) -> Result<[Duration; 2]> {
    let load = |matrices| {
        let mut tape = Tape::new(target(device, matrices));
        let buffer =
            |tape: &mut Tape, name| tape.buffer_of(name, Role::Activation, TIMED * TIMED, Element::F16);
        let [a, b, c] = ["A", "B", "C"].map(|name| buffer(&mut tape, name));
        square(TIMED, Operand::rows_of(TIMED), Operand::rows_of(TIMED)).push(&mut tape, a, b, c)?;
        Run::new(device, tape.finish()?)
    };
    let mut runs = [load(None)?, load(Some(matrices))?];
    let mut best = [Duration::MAX; 2];
    let (start, mut turns) = (Instant::now(), 0);
    while turns < TURNS || start.elapsed() < WARM {
        for (run, best) in runs.iter_mut().zip(&mut best) {
            *best = (*best).min(run.repeat(0, 4)?.work());
        }
        turns += 1;
    }
    Ok(best)
}

/// Small integers, whose products are exact in f16 and whose sums are exact in f32: A, then B.
fn operands() -> [Vec<f32>; 2] {
    [3, 5].map(|step| (0..N * N).map(|at| ((at * step + at / 7 + at / N) % 9) as f32 - 4.0).collect())
}

/// A B, B A, the product of their transposes, which is that of B A, and A with the transpose of B: operands that lie along
/// k and across it.
const PRODUCTS: [&str; 4] = ["A B", "B A", "A^T B^T", "A B^T"];

/// [`PRODUCTS`] by one tile, however few workgroups they have.
fn products(device: &Device, matrices: Matrices, tile: MatrixTile) -> Result<[Vec<f32>; 4]> {
    let mut target = target(device, Some(matrices));
    target.tiles.matrices = PerPurpose::all(tile, 0);
    let mut tape = Tape::new(target);
    let [a, b] = ["A", "B"].map(|name| tape.buffer_of(name, Role::Activation, N * N, Element::F16));
    let (rows, columns) = (Operand::rows_of(N), Operand::rows_of(N).transposed());
    let forms = [(a, b, rows, rows), (b, a, rows, rows), (a, b, columns, columns), (a, b, rows, columns)];
    for (name, (left, right, of_left, of_right)) in PRODUCTS.into_iter().zip(forms) {
        let c = tape.buffer(name, Role::Activation, N * N);
        square(N, of_left, of_right).push(&mut tape, left, right, c)?;
    }
    let mut run = Run::new(device, tape.finish()?)?;
    for (name, values) in ["A", "B"].into_iter().zip(operands()) {
        write_halves(&mut run, name, &values)?;
    }
    run.submit()?;
    let [ab, ba, transposes, mixed] = PRODUCTS.map(|name| run.read_floats(name));
    Ok([ab?, ba?, transposes?, mixed?])
}

fn write_halves(run: &mut Run, name: &str, values: &[f32]) -> Result<()> {
    let mut words = vec![0.0; Element::F16.words(values.len())];
    Element::F16.narrow(values, &mut words);
    run.write_floats(name, &words)
}

/// A gated product and one head of attention, which end and begin in other ways than products do.
fn block(device: &Device, matrices: Option<Matrices>) -> Result<[Vec<f32>; 2]> {
    let shape = Shape { batch: 1, length: N, width: HEAD_DIM };
    let mut target = target(device, matrices);
    target.tiles.matrices = PerPurpose::all(MatrixTile::Large, 0);
    let mut tape = Tape::new(target);
    let given = |tape: &mut Tape, name, count| tape.buffer_of(name, Role::Activation, count, Element::F16);
    let (x, weight) = (given(&mut tape, "x", N * N), given(&mut tape, "weight", 2 * N * N));
    let qkv = given(&mut tape, "qkv", 3 * shape.elements());
    let gated = tape.activation(N * N);
    let own = square(N, Operand::rows_of(N), Operand::rows_of(N).transposed());
    let gate =
        Product { gemm: Gemm { n: 2 * N, ..own.gemm }, epilogue: Epilogue::Gate { kept: None }, ..own };
    gate.push(&mut tape, x, weight, gated)?;
    let o = attention(&mut tape, shape, 1, qkv, None)?;
    let names = ["gated", "o"];
    names.into_iter().zip([gated, o]).for_each(|(name, tensor)| tape.name(name, tensor));
    let mut run = Run::new(device, tape.finish()?)?;
    let mut rng = Rng::new(1, 0);
    for (name, count) in [("x", N * N), ("weight", 2 * N * N), ("qkv", 3 * shape.elements())] {
        let values: Vec<f32> = (0..count).map(|_| 0.5 * rng.normal() as f32).collect();
        write_halves(&mut run, name, &values)?;
    }
    run.submit()?;
    let [gated, o] = names.map(|name| Ok(Element::F16.widened(&run.read_floats(name)?)));
    Ok([gated?, o?])
}

/// Whether a block on the units is what it is without them.
fn agree(found: &[Vec<f32>; 2], plain: &[Vec<f32>; 2]) -> std::result::Result<(), String> {
    for (what, (found, plain)) in
        ["gated products", "heads of attention"].into_iter().zip(found.iter().zip(plain))
    {
        let error = nmse(found, plain);
        if error.is_nan() || error > F16_BOUND {
            return Err(format!("{what} differ from what they are without them by an NMSE of {error:.0e}"));
        }
    }
    Ok(())
}

/// The product of two of the probe's matrices, exact.
fn product(a: &[f32], b: &[f32]) -> Vec<f32> {
    let element = |at: usize| (0..N).map(|k| a[at / N * N + k] * b[k * N + at % N]).sum();
    (0..N * N).map(element).collect()
}

fn transposed(a: &[f32]) -> Vec<f32> {
    (0..N * N).map(|at| a[at % N * N + at / N]).collect()
}

fn judge(found: &[Vec<f32>; 4]) -> std::result::Result<(), String> {
    let [a, b] = operands();
    let (ab, ba) = (product(&a, &b), product(&b, &a));
    let expected = [&ab, &ba, &transposed(&ba), &product(&a, &transposed(&b))];
    for ((name, expected), found) in PRODUCTS.into_iter().zip(expected).zip(found) {
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

    fn right() -> [Vec<f32>; 4] {
        let [a, b] = operands();
        let (a_turned, b_turned) = (transposed(&a), transposed(&b));
        [product(&a, &b), product(&b, &a), product(&a_turned, &b_turned), product(&a, &b_turned)]
    }

    #[test]
    fn right_products_pass() {
        assert_eq!(judge(&right()), Ok(()));
    }

    #[test]
    fn exchanged_and_transposed_products_are_named() {
        let [ab, ba, transposes, mixed] = right();
        let said = |found: [&Vec<f32>; 4]| judge(&found.map(Vec::clone)).unwrap_err();
        assert_eq!(said([&ba, &ba, &transposes, &mixed]), "the driver computes B A for A B");
        assert_eq!(said([&ab, &ab, &transposes, &mixed]), "the driver computes A B for B A");
        assert_eq!(said([&transposed(&ab), &ba, &transposes, &mixed]), "the driver computes (A B)^T for A B");
        assert_eq!(said([&ab, &ba, &ba, &mixed]), "the driver computes B A for A^T B^T");
    }

    #[test]
    fn one_wrong_element_fails() {
        for (which, value) in [(0, 1e9), (1, f32::NAN), (2, 0.5), (3, 0.0)] {
            let mut found = right();
            found[which][N * N - 1] = value;
            assert!(judge(&found).unwrap_err().contains("1 of 1600 elements wrong"));
        }
    }

    #[test]
    fn the_cpu_engine_s_twin_passes_and_it_has_none() {
        for tile in MatrixTile::ALL {
            let found = products(&Device::cpu(), Matrices::default(), tile).unwrap();
            assert_eq!(judge(&found), Ok(()));
        }
        assert!(probe(&Device::cpu()).unwrap_err().contains("has none"));
        assert_eq!(settle(Device::cpu(), Precision::Auto).storage(), "f32");
    }

    #[test]
    fn blocks_that_differ_are_named() {
        let plain = block(&Device::cpu(), None).unwrap();
        let units = block(&Device::cpu(), Some(Matrices::default())).unwrap();
        assert_eq!(agree(&units, &plain), Ok(()));
        let [gated, o] = &plain;
        let wrong = |values: &[f32]| values.iter().map(|value| -value).collect::<Vec<f32>>();
        let said = |found: [Vec<f32>; 2]| agree(&found, &plain).unwrap_err();
        assert!(said([wrong(gated), o.clone()]).starts_with("gated products differ"));
        assert!(said([gated.clone(), wrong(o)]).starts_with("heads of attention differ"));
        assert!(said([gated.clone(), vec![f32::NAN; o.len()]]).contains("NaN"));
    }
}
