//! `trm data inspect`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::Result;
use crate::data::inspect::{Report, SplitReport, Spread, Violation, draw, inspect};
use crate::data::own::Words;
use crate::text::printable;

use crate::cli::output::Output;

/// Look through a data set: counts, a few examples, and every rule that it breaks
///
/// Reads all files, also those that the authors' release wrote. Exits with 1 if a rule is broken.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the data set
    ///
    /// With a train folder, a test folder or both.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let report = inspect(&args.dir)?;
    let words = Words::load(&args.dir)?;
    output.painted(&report, |report| text(report, words.as_ref(), output.colour()))?;
    Ok(if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(report: &Report, words: Option<&Words>, colour: bool) -> String {
    let mut text = format!("puzzles: {}\nnames: {}\n", report.kind, report.names);
    report.splits.iter().for_each(|split| text += &split_text(split));
    for example in &report.examples {
        let name = printable(example.name.as_deref().unwrap_or_default());
        text += &format!("\n{} example {} {name}\n", example.split, example.index);
        text += &match words {
            Some(words) => format!("  {}    {}\n", words.text(&example.inputs), words.text(&example.labels)),
            None => draw(report.kind, &example.inputs, &example.labels, colour),
        };
    }
    text += match report.violations.is_empty() {
        true => "\nsound\n",
        false => "\nbroken rules:\n",
    };
    report.violations.iter().for_each(|violation| text += &violation_text(violation));
    text
}

fn split_text(split: &SplitReport) -> String {
    let spread = |spread: &Option<Spread>| match spread {
        Some(Spread { min, mean, max }) => format!("{min} to {max}, mean {mean:.2}"),
        None => "none".to_owned(),
    };
    let tokens = |counts: &[u64]| counts.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
    format!(
        "\n{}: {} groups, {} puzzles, {} examples ({} without labels), {} tokens each\n  puzzles per group: \
         {}\n  examples per puzzle: {}\n  input tokens from 0 on: {}\n  label tokens from 0 on: {}\n  repeated examples: {}{}\n",
        split.split,
        split.groups,
        split.puzzles,
        split.examples,
        split.examples_without_labels,
        split.metadata.seq_len,
        spread(&split.puzzles_per_group),
        spread(&split.examples_per_puzzle),
        tokens(&split.input_tokens),
        tokens(&split.label_tokens),
        split.repeated,
        if split.split == "test" {
            format!("; in the training split, too: {}", split.also_in_train)
        } else {
            String::new()
        },
    )
}

fn violation_text(violation: &Violation) -> String {
    let others = match violation.count {
        0 | 1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let release = if violation.rejected_by_release { "; the authors' release rejects this" } else { "" };
    format!("  {}: {}{others}{release}\n", json!(violation.rule), printable(&violation.first))
}
