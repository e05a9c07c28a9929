//! `trm data join`.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::Result;
use crate::data::Metadata;
use crate::data::join::{Summary, Training, join};

use crate::cli::output::Output;

/// Join data sets into one, with a puzzle embedding for each puzzle of all of them
///
/// Their sizes and tokens must be the same. Training goes through them in turns, as the release does with several data
/// paths, or with --mix through all together; the test splits of all are tested on. Arrays are linked where the disk
/// allows it, and then take no room. What lists the puzzles come from stays known to `trm eval`.
#[derive(clap::Args)]
pub struct Args {
    /// Data sets to join
    #[arg(value_name = "DIR", num_args = 2.., required = true)]
    data: Vec<PathBuf>,

    /// Train on all together instead of in turns
    ///
    /// They become one set: a batch has examples of all, as many of each as its share of the groups is.
    #[arg(long)]
    mix: bool,

    /// Folder to write
    ///
    /// It must not exist or be empty; it appears when it is complete.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let training = if args.mix { Training::Mixed } else { Training::InTurns };
    let summary = join(&args.data, training, &args.out)?;
    output.data(&summary, |summary| text(args, summary))?;
    Ok(ExitCode::SUCCESS)
}

fn text(args: &Args, summary: &Summary) -> String {
    let counts = |name: &str, split: &Metadata| {
        let examples = (split.total_puzzles as f64 * split.mean_puzzle_examples).round();
        let Metadata { total_groups, total_puzzles, sets, .. } = split;
        let sets = sets.join(", ");
        format!(
            "{name}: {total_groups} groups, {total_puzzles} puzzles, {examples} examples in the sets {sets}\n"
        )
    };
    let mut text = format!(
        "{}: {} data sets, {} puzzle identifiers, the blank one included\n",
        args.out.display(),
        args.data.len(),
        summary.train.num_puzzle_identifiers,
    );
    text += &counts("train", &summary.train);
    text += &summary.test.as_ref().map_or(String::new(), |test| counts("test", test));
    text
}
