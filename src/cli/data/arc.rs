//! `trm data arc`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use crate::Result;
use crate::data::OnInvalid;
use crate::data::arc::{Identifiers, OnDuplicate, Options, Summary, build};
use crate::report::say;

use crate::cli::output::Output;

/// Build an ARC data set from task files
///
/// All demonstrations are learnt from; the test inputs of one subset are the test split. The defaults are the paper's
/// for ARC-AGI-1. Tasks are streamed to disk: a thousand augmentations of 960 tasks take some 8 GB there.
#[derive(clap::Args)]
pub struct Args {
    /// Folder to write
    ///
    /// It must not exist or be empty; it appears when it is complete.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// What the names of the task files start with, or their folder
    ///
    /// Reads <P>_<subset>_challenges.json and <P>_<subset>_solutions.json, the Kaggle layout; <P>/<subset> with a JSON file
    /// per task, in folders of folders, too, as in the ARC-AGI and ConceptARC repositories; or <P>/<subset>.json. A file is a
    /// task, many by name or, as in re-arc, a list of pairs, all of them demonstrations. Where <P> is such a file or a folder
    /// of them, without subsets, all of it is tested on. Hyphens and underscores are alike. Solutions may be missing.
    #[arg(long, value_name = "P")]
    input_file_prefix: String,

    /// Subsets to take
    ///
    /// For ARC-AGI-2 the paper takes training2, evaluation2 and concept.
    #[arg(long, value_name = "NAME", num_args = 1.., default_values = ["training", "evaluation", "concept"])]
    subsets: Vec<String>,

    /// Subsets whose test inputs are tested on
    ///
    /// One of --subsets, or several, as the release's --test-set-name2. Their solutions are never learnt from.
    #[arg(long, value_name = "NAME", num_args = 1.., default_values = ["evaluation"])]
    test_set_name: Vec<String>,

    /// Augmentations of each task, beside the original
    ///
    /// Colours are permuted and grids turned; tasks of little variety get fewer. The paper takes 1,000.
    #[arg(long, value_name = "K", default_value_t = 1000)]
    num_aug: usize,

    /// What becomes of a task whose name another one has: error, skip or rename
    ///
    /// Many tasks of ARC-AGI-1 are in ARC-AGI-2, too. Skipping keeps the one that is tested on, else the first; renaming adds
    /// the name of the subset. All are named.
    #[arg(long, value_name = "HOW", default_value = "error")]
    on_duplicate: OnDuplicate,

    /// What becomes of a task that cannot be used: error or skip
    ///
    /// As one with a grid of more than 30 rows or columns. Skipped tasks are named.
    #[arg(long, value_name = "HOW", default_value = "error")]
    on_invalid: OnInvalid,

    /// Whose identifiers puzzles get: own or release
    ///
    /// "release" draws augmentations in the order and with the random numbers of the authors' builder, so that
    /// identifiers.json is theirs, byte by byte, and their checkpoints find their puzzles. It needs the files that they
    /// used, the same --subsets, --num-aug and --seed.
    #[arg(long, value_name = "WHOSE", default_value = "own")]
    identifiers: Identifiers,

    /// Seed of augmentations and offsets
    ///
    /// The same options and seed give the same bytes.
    #[arg(long, value_name = "SEED", default_value_t = 42)]
    seed: u64,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let options = Options {
        out: args.out.clone(),
        input_file_prefix: args.input_file_prefix.clone(),
        subsets: args.subsets.clone(),
        test_set_names: args.test_set_name.clone(),
        num_aug: args.num_aug,
        on_duplicate: args.on_duplicate,
        on_invalid: args.on_invalid,
        identifiers: args.identifiers,
        seed: args.seed,
    };
    let mut told = Instant::now();
    let summary = build(&options, &mut |done, tasks| {
        if told.elapsed().as_secs() >= 5 {
            told = Instant::now();
            say(format!("{done}/{tasks} tasks"));
        }
    })?;
    summary.notes.iter().for_each(say);
    output.data(&summary, |summary| text(args, summary))?;
    Ok(ExitCode::SUCCESS)
}

fn text(args: &Args, summary: &Summary) -> String {
    let Summary { tasks, test_tasks, tasks_not_full, solutions_missing, train, test, .. } = summary;
    let examples =
        |split: &crate::data::Metadata| (split.total_puzzles as f64 * split.mean_puzzle_examples).round();
    format!(
        "{}: {tasks} tasks, {test_tasks} of them tested on, {} puzzle identifiers\ntrain: {} puzzles, {} examples\n\
         test: {} puzzles, {} examples\n{tasks_not_full} tasks have fewer than {} augmentations; {solutions_missing} \
         test inputs have no solution\n",
        args.out.display(),
        train.num_puzzle_identifiers,
        train.total_puzzles,
        examples(train),
        test.total_puzzles,
        examples(test),
        args.num_aug,
    )
}
