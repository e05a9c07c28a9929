//! Runs one kernel, RMS norm, on random numbers, compares what comes out with its native twin, and says how long it takes.
//!
//!     cargo run --release --example time_kernel -- gpu 4096 512

use trm::rng::Rng;
use trm::single::Single;
use trm::{Device, Error, Result};

/// Mean square of the differences over that of the twin's results, at the most: sums in another order.
const BOUND: f64 = 1e-10;

/// Runs, compares and times.
pub fn main() -> Result<()> {
    let wanted = std::env::args().nth(1).unwrap_or_else(|| "auto".to_owned());
    let (rows, width) = (number(2, 4096)?, number(3, 512)?);
    let (device, why) = trm::engine::select(&wanted)?;
    println!("{}: {why}", device.info().name);

    // Before the numbers: sizes that are too large are refused here.
    let mut kernel = Single::rms_norm(&device, rows, width, 1e-5)?;
    let mut twin = Single::rms_norm(&Device::cpu(), rows, width, 1e-5)?;
    let mut rng = Rng::new(0, 0);
    let x: Vec<f32> = (0..rows * width).map(|_| rng.normal() as f32).collect();
    let (found, expected) = (kernel.run(&x)?, twin.run(&x)?);

    let square = |value: f32| f64::from(value) * f64::from(value);
    let error: f64 = found.iter().zip(&expected).map(|(found, expected)| square(found - expected)).sum();
    let nmse = error / expected.iter().map(|value| square(*value)).sum::<f64>();
    if nmse.is_nan() || nmse > BOUND {
        let (what, problem) = ("rms_norm".to_owned(), format!("NMSE {nmse:.1e}, the bound is {BOUND:.0e}"));
        return Err(Error::Numeric { what, problem, fix: "report the device and its driver".to_owned() });
    }
    println!("agrees with its twin: NMSE {nmse:.1e}");

    let timing = kernel.time(5)?;
    let (microseconds, rate) = (1e6 * timing.seconds, 1e-9 * timing.bytes as f64 / timing.seconds);
    println!("rms_norm of ({rows}, {width}): {microseconds:.1} us, {rate:.1} GB/s");
    Ok(())
}

fn number(place: usize, default: usize) -> Result<usize> {
    let Some(text) = std::env::args().nth(place) else { return Ok(default) };
    text.parse().map_err(|_| Error::usage("size", text, "give a whole number"))
}
