//! `trm eval`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use trm::Result;
use trm::data::{Dataset, Split};
use trm::eval::{Evaluator, check_fit};
use trm::report::{describe, say};
use trm::train::Metrics;

use super::common::{DeviceArgs, WeightsArgs};
use super::output::Output;

/// Largest batch unless asked for another: more fills a GPU no better and takes memory.
const DEFAULT_BATCH: usize = 128;

/// Measure a model on the test split of a data set
///
/// Every sample runs all supervision steps. Reports the share of right cells, of samples that are right in every cell,
/// and of samples whose halt head is right about that.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    weights: WeightsArgs,

    /// Data set whose test split to measure on
    ///
    /// Its sizes must be those that the model was trained for.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// B, samples at once [default: 128, or all if there are fewer]
    ///
    /// It changes speed and memory, not results.
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u16).range(1..))]
    batch: Option<u16>,

    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Serialize)]
struct Summary {
    samples: usize,
    seconds: f64,
    loss: f64,
    #[serde(flatten)]
    metrics: Metrics,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let (config, weights) = args.weights.load()?;
    let dataset = Arc::new(Dataset::open(&args.data, Split::Test)?);
    check_fit(&config, &dataset)?;
    let samples = dataset.examples();
    let batch = args.batch.map_or(DEFAULT_BATCH.min(samples.max(1)), usize::from);
    let mut evaluator = Evaluator::new(&config, &args.device.open()?, batch)?;
    evaluator.load(&weights)?;
    let started = Instant::now();
    let mut told = started;
    let metrics = evaluator.evaluate(dataset, |done| {
        if told.elapsed().as_secs() >= 5 {
            told = Instant::now();
            say(format!("{done}/{samples} samples"));
        }
    })?;
    let seconds = started.elapsed().as_secs_f64();
    output.data(&Summary { samples, seconds, loss: metrics.loss(), metrics }, |summary| {
        format!("{} samples in {:.1} s: {}\n", summary.samples, summary.seconds, describe(&summary.metrics))
    })?;
    Ok(ExitCode::SUCCESS)
}
