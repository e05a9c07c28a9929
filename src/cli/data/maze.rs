//! `trm data maze`.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::data::OnInvalid;
use crate::data::maze::{CsvOptions, GenerateOptions, Summary, build_from_csv, build_generated};
use crate::report::say;
use crate::{Error, Result};

use crate::cli::output::Output;

/// Build a maze data set from tables, lists or generated mazes
///
/// Either give --train-csv and --test-csv, or --generate, --test and --size. Tables may have any names of columns, comma,
/// semicolon or tab between them, and be packed by gzip; lists have a maze a line and are solved here. The shortest path of
/// a generated maze is unique. No test maze is a symmetry of another generated one.
#[derive(clap::Args)]
pub struct Args {
    /// Folder to write
    ///
    /// It must not exist or be empty; it appears when it is complete.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Table or list of mazes to learn from
    ///
    /// As the columns question and answer of Maze-Hard: a maze is one line of '#', ' ', 'S', 'G', its answer has a shortest
    /// path of 'o' as well.
    #[arg(long, value_name = "FILE", requires = "test_csv", conflicts_with = "train")]
    train_csv: Option<PathBuf>,

    /// Table or list of mazes to measure on
    ///
    /// Of the same size; its columns may be others. It is not augmented.
    #[arg(long, value_name = "FILE", requires = "train_csv")]
    test_csv: Option<PathBuf>,

    /// Take at most so many training mazes, drawn at random
    ///
    /// Maze-Hard has 1,000.
    #[arg(long, value_name = "N", requires = "train_csv")]
    subsample: Option<usize>,

    /// What becomes of rows whose answer is no shortest path: error or skip
    ///
    /// Skipped rows are counted and named. Without this, lists without answers lose the mazes that have no single shortest
    /// path, and tables with a wrong answer are refused.
    #[arg(long, value_name = "HOW", requires = "train_csv")]
    on_invalid: Option<OnInvalid>,

    /// Generate so many training mazes
    ///
    /// These are not the mazes of Maze-Hard, whose generator was not published.
    #[arg(long = "generate", value_name = "N", requires_all = ["test", "size"])]
    train: Option<usize>,

    /// Generate so many test mazes
    ///
    /// None is a symmetry of a training maze.
    #[arg(long, value_name = "M", requires = "train")]
    test: Option<usize>,

    /// Width and height of the mazes, as 9x9
    ///
    /// From 3x3 to 30x30. Mazes from CSV files are squares unless this says otherwise.
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    size: Option<(usize, usize)>,

    /// Least number of moves from start to goal of generated mazes
    ///
    /// Longer paths are harder to find and rarer.
    #[arg(long, value_name = "K", default_value_t = 1)]
    min_path: usize,

    /// Add the other symmetries of each training maze
    ///
    /// Seven more of a square, three more of a rectangle.
    #[arg(long)]
    aug: bool,

    /// Seed of all random choices
    ///
    /// The same options and seed give the same bytes.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
}

/// (columns, rows) of a text like 9x7.
fn parse_size(text: &str) -> std::result::Result<(usize, usize), String> {
    let parsed =
        text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    parsed.ok_or_else(|| "expected width and height as 9x9".to_owned())
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let summary = match (&args.train_csv, &args.test_csv, args.train, args.test, args.size) {
        (Some(train_csv), Some(test_csv), ..) => build_from_csv(&CsvOptions {
            out: args.out.clone(),
            train_csv: train_csv.clone(),
            test_csv: test_csv.clone(),
            size: args.size.map(|(cols, rows)| (rows, cols)),
            subsample: args.subsample,
            aug: args.aug,
            on_invalid: args.on_invalid,
            seed: args.seed,
        })?,
        (_, _, Some(train), Some(test), Some((cols, rows))) => build_generated(&GenerateOptions {
            out: args.out.clone(),
            train,
            test,
            rows,
            cols,
            min_path: args.min_path,
            aug: args.aug,
            seed: args.seed,
        })?,
        _ => {
            let fix = "give --train-csv and --test-csv, or --generate, --test and --size";
            return Err(Error::usage("trm data maze", "no source of mazes", fix));
        }
    };
    summary.notes.iter().for_each(say);
    output.data(&summary, |summary| text(args, summary))?;
    Ok(ExitCode::SUCCESS)
}

fn text(args: &Args, summary: &Summary) -> String {
    let Summary { rows, cols, train, test, repeated, also_in_train, .. } = summary;
    let said = |count: &usize, what: &str| match count {
        0 => String::new(),
        count => format!(", {count} {what}"),
    };
    let symmetries = match train.total_puzzles {
        puzzles if puzzles == train.total_groups => String::new(),
        puzzles => format!(", {puzzles} with their symmetries"),
    };
    format!(
        "{}: mazes of {cols}x{rows}{}\ntrain: {} mazes{symmetries}\ntest: {} mazes{}\n",
        args.out.display(),
        said(repeated, "of them repeated in their split"),
        train.total_groups,
        test.total_groups,
        said(also_in_train, "of them in the training split, too"),
    )
}
