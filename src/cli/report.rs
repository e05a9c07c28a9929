//! `trm report`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use crate::report::{History, Table, curves_csv, runs_html, say};
use crate::{Error, Result, files};

use super::output::Output;

/// Show how trainings went, over each other, on one page
///
/// Curves of loss, test accuracy, supervision steps, samples per second, memory and, on ARC, pass@K; a few test samples as
/// the last evaluation answered them; what sets the recipes apart; the sessions. Where RUN/eval.json holds what "trm eval
/// --run RUN --json" printed, accuracy after each supervision step, too, and where RUN/kernels.json holds what "trm bench
/// kernels --json" did, where the time of a step goes. A training may be under way.
#[derive(clap::Args)]
pub struct Args {
    /// Run folders
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,

    /// HTML page to write
    ///
    /// One file that needs nothing else, neither scripts nor a network. Long curves are averaged.
    #[arg(long, value_name = "FILE", required_unless_present = "csv")]
    out: Option<PathBuf>,

    /// Table of all points to write
    ///
    /// CSV with the columns run, curve, step and value, for a program that draws. Nothing is averaged, shares are from
    /// 0 to 1.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// How files begin that may be written anew: a slip may name one of a run.
const PAGE_BEGINS: &[u8] = b"<!DOCTYPE html>";
const CSV_BEGINS: &[u8] = b"run,curve,step,value";

#[derive(Serialize)]
struct Summary {
    runs: Vec<Run>,
    out: Option<PathBuf>,
    csv: Option<PathBuf>,
}

#[derive(Serialize)]
struct Run {
    run: String,
    steps: u64,
    /// The highest on the test split, and the steps done by then.
    best_exact_accuracy: Option<f64>,
    best_step: Option<u64>,
    notes: Vec<String>,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    for (path, argument, begins) in [(&args.out, "--out", PAGE_BEGINS), (&args.csv, "--csv", CSV_BEGINS)] {
        let Some(path) = path else { continue };
        let foreign = || holds_another(path, begins).then(|| "is there, and nothing that this writes".into());
        if let Some(obstacle) = files::obstacle(path).or_else(foreign) {
            let problem = format!("{} {obstacle}", path.display());
            return Err(Error::usage(argument, problem, "name another file"));
        }
    }
    if args.out.is_some() && args.out == args.csv {
        return Err(Error::usage("--csv", "is the file of --out", "name another file"));
    }
    let runs = History::read(&args.runs)?;
    runs.iter().flat_map(|run| &run.notes).for_each(say);
    if let Some(path) = &args.out {
        files::write_atomic(path, runs_html(&runs).as_bytes())?;
    }
    if let Some(path) = &args.csv {
        files::write_atomic(path, &curves_csv(&runs)?)?;
    }
    let runs = runs.into_iter().map(|run| Run {
        run: run.name,
        steps: run.steps,
        best_exact_accuracy: run.best.map(|(_, share)| share),
        best_step: run.best.map(|(step, _)| step),
        notes: run.notes,
    });
    let summary = Summary { runs: runs.collect(), out: args.out.clone(), csv: args.csv.clone() };
    output.data(&summary, text)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether there is a file that begins otherwise.
fn holds_another(path: &Path, begins: &[u8]) -> bool {
    let mut head = Vec::new();
    let opened = File::open(path).ok().filter(|file| file.metadata().is_ok_and(|found| found.is_file()));
    let read = opened.and_then(|file| file.take(begins.len() as u64).read_to_end(&mut head).ok());
    read.is_some_and(|bytes| bytes > 0) && head != begins
}

fn text(summary: &Summary) -> String {
    let mut table = Table::new(["run", "steps", "best exact accuracy", "after step"]);
    for run in &summary.runs {
        let best = run.best_exact_accuracy.map(|share| format!("{:.1} %", 100.0 * share));
        let step = run.best_step.map(|step| step.to_string());
        table.row([
            run.run.clone(),
            run.steps.to_string(),
            best.unwrap_or_default(),
            step.unwrap_or_default(),
        ]);
    }
    let files = summary.out.iter().chain(&summary.csv);
    files.fold(table.to_string(), |text, path| format!("{text}{}\n", path.display()))
}
