//! `trm doctor`.

mod checks;
mod outlook;

use std::process::ExitCode;
use std::time::Instant;

use serde::Serialize;

use crate::Result;
use crate::cli::with_options;
use crate::engine::DeviceInfo;
use crate::report::Table;

use super::common::DeviceArgs;
use super::output::Output;
use outlook::Training;

/// Look whether this machine is fit for trm, and what it can train in what time
///
/// Device, driver and limits; memory and disk; agreement with the published model; a puzzle solved by a model that comes
/// with trm; the time of a training step, and from it what each built-in recipe would take here. Well below a minute.
/// Exits with 1 if something is wrong; every finding says what to do about it.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: DeviceArgs,
}

/// How a finding is meant.
#[derive(Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    /// It works, and might work better.
    Note,
    Wrong,
}

/// One thing that was looked at.
#[derive(Serialize)]
struct Finding {
    status: Status,
    what: &'static str,
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    trm: String,
    /// All that trm can use; with their limits.
    devices: Vec<DeviceInfo>,
    findings: Vec<Finding>,
    trainings: Vec<Training>,
    seconds: f64,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let started = Instant::now();
    let mut report = Report {
        ok: true,
        trm: checks::version(),
        devices: crate::engine::devices(),
        findings: Vec::new(),
        trainings: Vec::new(),
        seconds: 0.0,
    };
    report.look(args);
    report.ok = report.findings.iter().all(|finding| finding.status != Status::Wrong);
    report.seconds = started.elapsed().as_secs_f64();
    output.data(&report, text)?;
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Finding {
    fn ok(what: &'static str, found: impl Into<String>) -> Finding {
        Finding { status: Status::Ok, what, found: found.into(), fix: None }
    }

    fn note(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { status: Status::Note, what, found: found.into(), fix: Some(fix.into()) }
    }

    fn wrong(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { status: Status::Wrong, ..Finding::note(what, found, fix) }
    }
}

impl Report {
    /// Everything, as far as what was found before allows.
    fn look(&mut self, args: &Args) {
        self.findings.extend([checks::gpus(&self.devices), checks::threads(), checks::memory()]);
        self.findings.extend(checks::disks());
        let device = match args.device.open() {
            Ok(device) => device,
            Err(error) => {
                let fix = "name another one, as --device cpu; \"trm devices\" lists them";
                self.findings.push(Finding::wrong("device", with_options(&error.to_string()), fix));
                return;
            }
        };
        self.findings.push(checks::device(&device));
        self.findings.extend([checks::agreement(&device), checks::solving(&device)]);
        match outlook::measure(&device) {
            Ok(measured) => {
                self.findings.push(measured.finding());
                self.trainings = outlook::trainings(&device, &measured);
            }
            Err(error) => self.findings.push(checks::failed("bench", &error)),
        }
    }
}

fn text(report: &Report) -> String {
    let mut text = format!("trm {}\n\n", report.trm);
    for Finding { status, what, found, fix } in &report.findings {
        let status = match status {
            Status::Ok => "ok",
            Status::Note => "note",
            Status::Wrong => "WRONG",
        };
        text += &format!("{status:<6}{what:<11}{found}\n");
        text += &fix.as_ref().map_or_else(String::new, |fix| format!("{:<17}{fix}\n", ""));
    }
    if !report.trainings.is_empty() {
        let titles = ["recipe", "data", "steps", "at once", "memory", "a step", "all, about"];
        let mut table = Table::new(titles);
        report.trainings.iter().for_each(|training| table.row(training.cells()));
        text += &format!("\nWhat training takes here, without its evaluations:\n\n{table}");
        let refusals = report.trainings.iter().filter_map(Training::refusal);
        text += &refusals.map(|refusal| format!("{refusal}\n")).collect::<String>();
    }
    let verdict = if report.ok { "nothing is wrong" } else { "something is wrong" };
    format!("{text}\n{verdict}; looked for {:.0} s\n", report.seconds)
}
