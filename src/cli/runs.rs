//! `trm runs`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::checkpoint;
use crate::report::Table;
use crate::train::{At, Checkpoint};
use crate::{Error, Result};

use super::output::Output;

/// List the checkpoints of a run
///
/// Reads each to its end: one that is damaged says what is wrong with it, and the exit code is 1 then. "trm eval", "solve"
/// and "export" take any of them with --run DIR --at STEP, "trm train --resume" with --at STEP.
#[derive(clap::Args)]
pub struct Args {
    /// Run folder
    #[arg(value_name = "DIR")]
    run: PathBuf,
}

#[derive(Serialize)]
struct Listing {
    run: PathBuf,
    checkpoints: Vec<Listed>,
    /// Steps of the one with the highest exact accuracy, which is what --at best takes.
    best: Option<u64>,
    /// Steps of the one from which --resume continues, which is what --at latest takes.
    latest: Option<u64>,
}

#[derive(Serialize)]
struct Listed {
    step: u64,
    /// On the test split; none where it was not evaluated.
    exact_accuracy: Option<f64>,
    bytes: u64,
    /// When it was written, UTC.
    time: String,
    whole: bool,
    /// What is wrong with it.
    fault: Option<String>,
    /// What is wrong with the note beside it.
    note_fault: Option<String>,
    file: PathBuf,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let all = Checkpoint::list(&args.run)?;
    if all.is_empty() {
        let fix = "name the folder of a run that was started with \"trm train\"";
        if !args.run.exists() {
            return Err(Error::missing(&args.run, fix));
        }
        return Err(Error::file(&args.run, "holds no checkpoint of a run", fix));
    }
    let checkpoints = all.iter().map(listed).collect::<Result<Vec<_>>>()?;
    let read = |one: &Checkpoint| match checkpoints.iter().find(|listed| listed.step == one.step) {
        Some(Listed { fault: Some(fault), .. }) => Err(Error::file(&one.path, fault, "choose another")),
        _ => Ok(()),
    };
    let choose = |at| Checkpoint::choose(&args.run, &all, at, read).ok().map(|found| found.checkpoint.step);
    let (best, latest) = (choose(At::Best), choose(At::Latest));
    let damaged = checkpoints.iter().any(|listed| !listed.whole || listed.note_fault.is_some());
    output.data(&Listing { run: args.run.clone(), checkpoints, best, latest }, text)?;
    Ok(if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn listed(checkpoint: &Checkpoint) -> Result<Listed> {
    let damage = checkpoint::check_state(&checkpoint.path).err().map(|error| error.to_string());
    let diverged = checkpoint.note.diverged.clone();
    Ok(Listed {
        step: checkpoint.step,
        exact_accuracy: checkpoint.note.exact_accuracy,
        bytes: checkpoint.bytes()?,
        time: humantime::format_rfc3339_seconds(checkpoint.written()?).to_string(),
        whole: damage.is_none(),
        fault: damage.or(diverged),
        note_fault: checkpoint.note_fault.clone(),
        file: checkpoint.path.clone(),
    })
}

fn text(listing: &Listing) -> String {
    let mut table = Table::new(["step", "exact accuracy", "bytes", "written", "state"]);
    for listed in &listing.checkpoints {
        let accuracy = listed.exact_accuracy.map(|share| format!("{:.1} %", 100.0 * share));
        let marks = [("best", listing.best), ("latest", listing.latest)];
        let marks = marks.iter().filter(|(_, step)| *step == Some(listed.step)).map(|(name, _)| *name);
        let state = match (&listed.fault, listed.whole) {
            (None, _) => marks.fold("whole".to_owned(), |state, mark| format!("{state}, {mark}")),
            (Some(_), true) => "given up".to_owned(),
            (Some(_), false) => "damaged".to_owned(),
        };
        let (step, accuracy) = (listed.step.to_string(), accuracy.unwrap_or_default());
        table.row([step, accuracy, listed.bytes.to_string(), listed.time.clone(), state]);
    }
    let faults = listing
        .checkpoints
        .iter()
        .flat_map(|listed| listed.fault.iter().chain(&listed.note_fault).map(|fault| (listed.step, fault)));
    faults.fold(table.to_string(), |text, (step, fault)| format!("{text}step {step}: {fault}\n"))
}
