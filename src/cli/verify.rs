//! `trm verify`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::Result;
use crate::eval::golden::Golden;
use crate::eval::verify::{Case, Report, bound, verify};
use crate::report::{Table, say};

use super::common::{DeviceArgs, RecomputeArgs};
use super::output::Output;

/// Check that a device computes what the published model computes
///
/// Runs two training steps of several small models and compares every quantity with golden vectors: forward values,
/// losses, metrics, gradients, weights and halting. Worth running on a new GPU or driver. The measure is the
/// normalised mean square error, the sum of squared errors over the sum of squares. Exits with 1 past a bound.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of golden vectors [default: those that come with trm]
    ///
    /// Safetensors files of the form that kernels-tests/golden/README.md describes.
    #[arg(long, value_name = "DIR")]
    golden: Option<PathBuf>,

    #[command(flatten)]
    device: DeviceArgs,

    #[command(flatten)]
    recompute: RecomputeArgs,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let vectors = match &args.golden {
        Some(folder) => Golden::folder(folder)?,
        None => Golden::built_in()?,
    };
    let device = args.device.open()?.recomputing(args.recompute.wanted());
    let report = verify(&device, device.target(), &vectors, tell)?;
    output.data(&report, text)?;
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(case: &Case) {
    say(format!("{}: {}", case.name, verdict(case.ok)));
}

fn verdict(ok: bool) -> &'static str {
    if ok { "ok" } else { "FAILED" }
}

/// A row per vector, a column per group of quantities.
fn text(report: &Report) -> String {
    let groups: BTreeSet<&str> = report.cases.iter().flat_map(|case| case.worst.keys().copied()).collect();
    let mut table = Table::new(["worst NMSE"].into_iter().chain(groups.iter().copied()).chain(["verdict"]));
    let row = |name: &str, cells: &dyn Fn(&str) -> String, verdict: &str| {
        let cells = groups.iter().map(|group| cells(group));
        [name.to_owned()].into_iter().chain(cells).chain([verdict.to_owned()]).collect::<Vec<_>>()
    };
    for case in &report.cases {
        let cell = |group: &str| case.worst.get(group).map_or_else(|| "-".into(), |worst| number(*worst));
        let verdict = match case.ill_conditioned.is_empty() {
            true => verdict(case.ok).to_owned(),
            false => format!("ok, ill-conditioned: {}", case.ill_conditioned.join(", ")),
        };
        table.row(row(&case.name, &cell, &verdict));
    }
    table.row(row("bound", &|group| number(bound(group, report.precision)), ""));
    format!("{table}{}, {}: {}\n", report.device, report.precision, verdict(report.ok))
}

fn number(nmse: f64) -> String {
    if nmse == 0.0 { "0".to_owned() } else { format!("{nmse:.0e}") }
}
