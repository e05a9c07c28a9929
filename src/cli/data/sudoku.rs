//! `trm data sudoku`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use serde::Serialize;

use crate::data::OnInvalid;
use crate::data::sudoku::{
    CsvOptions, GenerateOptions, ListOptions, SplitSummary, Summary, build_from_csv, build_from_lists,
    build_generated, write_generated,
};
use crate::report::{Table, say};
use crate::text::counted;
use crate::{Error, Result};

use crate::cli::output::Output;

/// Build a Sudoku data set from tables, lists or generated puzzles
///
/// Give --train-csv and --test-csv, or --lists and --test to have both drawn from the same lists, or --generate and --test.
/// Tables may have any names of columns (puzzle,
/// quizzes, question; solution, answer) or none, comma, semicolon or tab between them, and be packed by gzip; lists have a
/// puzzle a line and are solved here. No solution of a generated test puzzle occurs among the training puzzles or their
/// augmentations; no test puzzle drawn from lists is a symmetry of a training puzzle.
#[derive(clap::Args)]
pub struct Args {
    /// Folder to write
    ///
    /// It must not exist or be empty; it appears when it is complete.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Table or list of puzzles to learn from
    ///
    /// A puzzle is one line of 16, 36 or 81 digits, with 0 or one of . _ - * x ? for blanks; lines that begin with # are
    /// comments. What was taken for what is said where it is not clear.
    #[arg(long, value_name = "FILE", requires = "test_csv", conflicts_with = "train", group = "files")]
    train_csv: Option<PathBuf>,

    /// Table or list of puzzles to measure on
    ///
    /// Of the same size; its columns may be others. It is not augmented.
    #[arg(long, value_name = "FILE", requires = "train_csv")]
    test_csv: Option<PathBuf>,

    /// Lists or tables of puzzles that both splits are drawn from
    ///
    /// Files as for --train-csv. Puzzles that are symmetries of others before them are left out, and so are training puzzles
    /// whose answer is a symmetry of the answer to a test puzzle. Each split takes the same share of each list.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "test", groups = ["files", "drawn"])]
    lists: Vec<PathBuf>,

    /// Take at most so many training puzzles, drawn at random
    ///
    /// The paper takes 1,000 of Sudoku-Extreme.
    #[arg(long, value_name = "N", requires = "files")]
    subsample: Option<usize>,

    /// Take only puzzles with at least this rating
    ///
    /// Applies to all files, which need ratings then; those of Sudoku-Extreme count the guesses that a solver needs, and so
    /// do those of lists without answers.
    #[arg(long, value_name = "RATING", requires = "files")]
    min_difficulty: Option<f64>,

    /// What becomes of rows whose answer is wrong, or that have no single one: error or skip
    ///
    /// Skipped rows are counted and named. Without this, lists without answers lose such puzzles, and tables with one are
    /// refused.
    #[arg(long, value_name = "HOW", requires = "files")]
    on_invalid: Option<OnInvalid>,

    /// Generate so many training puzzles
    ///
    /// Each has a single solution. Generated puzzles are easier than those of Sudoku-Extreme. Without --test, and with --out
    /// FILE.csv, they are written as a table with their ratings, to be named among --lists, from which
    /// --min-difficulty takes the hard ones.
    #[arg(long = "generate", value_name = "N", group = "drawn")]
    train: Option<usize>,

    /// Generate so many test puzzles, or draw so many from --lists
    ///
    /// Their solutions differ from all training solutions. What is drawn depends on lists and seed alone, whatever there is to
    /// learn from.
    #[arg(long, value_name = "M", requires = "drawn")]
    test: Option<usize>,

    /// Side length of generated grids: 4, 6 or 9 [default: 9]
    ///
    /// Boxes are 2x2, 2 rows by 3 columns, and 3x3.
    #[arg(long, value_name = "SIZE", requires = "train")]
    size: Option<usize>,

    /// Fewest clues of generated puzzles [default: by size]
    ///
    /// Fewer clues make harder puzzles and take longer to generate.
    #[arg(long, value_name = "N", requires = "train")]
    min_clues: Option<usize>,

    /// Most clues of generated puzzles [default: by size]
    ///
    /// At least what a puzzle with a single solution needs.
    #[arg(long, value_name = "N", requires = "train")]
    max_clues: Option<usize>,

    /// Augmentations of each training puzzle, beside the original
    ///
    /// Digits, bands, stacks, rows and columns are permuted and the grid transposed. The paper takes 1,000.
    #[arg(long, value_name = "K", default_value_t = 0)]
    num_aug: usize,

    /// Seed of all random choices
    ///
    /// The same options and seed give the same bytes.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let mut progress = told_of("puzzles written, each with its augmentations");
    let summary = match (&args.train_csv, &args.test_csv, args.train, args.test) {
        (Some(train_csv), Some(test_csv), ..) => build_from_csv(
            &CsvOptions {
                out: args.out.clone(),
                train_csv: train_csv.clone(),
                test_csv: test_csv.clone(),
                subsample: args.subsample,
                num_aug: args.num_aug,
                min_difficulty: args.min_difficulty,
                on_invalid: args.on_invalid,
                seed: args.seed,
            },
            &mut progress,
        )?,
        (_, _, Some(train), Some(test)) => build_generated(&args.generated(train, test), &mut progress)?,
        (_, _, Some(train), None) => return write_table(args, train, output),
        (_, _, _, Some(test)) if !args.lists.is_empty() => build_from_lists(
            &ListOptions {
                out: args.out.clone(),
                lists: args.lists.clone(),
                subsample: args.subsample,
                test,
                num_aug: args.num_aug,
                min_difficulty: args.min_difficulty,
                on_invalid: args.on_invalid,
                seed: args.seed,
            },
            &mut told_of("puzzles read"),
            &mut progress,
        )?,
        _ => {
            let fix = "give --train-csv and --test-csv, --lists and --test, or --generate and --test";
            return Err(Error::usage("trm data sudoku", "no source of puzzles", fix));
        }
    };
    summary.train.notes.iter().chain(&summary.test.notes).for_each(say);
    output.data(&summary, |summary| text(args, summary))?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn generated(&self, train: usize, test: usize) -> GenerateOptions {
        GenerateOptions {
            out: self.out.clone(),
            size: self.size.unwrap_or(9),
            train,
            test,
            min_clues: self.min_clues,
            max_clues: self.max_clues,
            num_aug: self.num_aug,
            seed: self.seed,
        }
    }
}

/// Generated puzzles that belong to no split.
fn write_table(args: &Args, count: usize, output: &Output) -> Result<ExitCode> {
    if args.out.extension().is_none_or(|extension| extension != "csv") || args.num_aug > 0 {
        let problem = "is missing: a data set has puzzles to measure on";
        return Err(Error::usage(
            "--test",
            problem,
            "give it, or have a table written: --out FILE.csv without --num-aug",
        ));
    }
    write_generated(&args.generated(count, 0))?;
    #[derive(Serialize)]
    struct Written<'a> {
        table: &'a Path,
        puzzles: usize,
    }
    output.data(&Written { table: &args.out, puzzles: count }, |written| {
        format!("{}: {}\n", written.table.display(), counted(written.puzzles, "puzzle"))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Says every few seconds how many there are.
fn told_of(what: &str) -> impl FnMut(usize) {
    let mut told = None;
    move |puzzles| {
        let told = told.get_or_insert_with(Instant::now);
        if told.elapsed().as_secs() >= 5 {
            *told = Instant::now();
            say(format!("{puzzles} {what}"));
        }
    }
}

fn text(args: &Args, summary: &Summary) -> String {
    let split = |split: &SplitSummary| {
        let SplitSummary { puzzles, examples, mean_clues, repeated, also_in_train, .. } = split;
        let said = |count: &usize, what: &str| match count {
            0 => String::new(),
            count => format!(", {count} {what}"),
        };
        let repeated = said(repeated, "of them repeated");
        let shared = said(also_in_train, "of them in the training split, too");
        format!("{puzzles} puzzles, {examples} examples, {mean_clues:.1} clues on average{repeated}{shared}")
    };
    let (out, size) = (args.out.display(), summary.size);
    let (train, test) = (split(&summary.train), split(&summary.test));
    let mut text = format!("{out}: Sudoku {size}x{size}\ntrain: {train}\ntest: {test}\n");
    if !summary.lists.is_empty() {
        let mut table = Table::new(["list", "puzzles", "repeated", "too near", "train", "test"]);
        for list in &summary.lists {
            let counts = [list.puzzles, list.repeated, list.too_near, list.train, list.test];
            table.row([list.list.clone()].into_iter().chain(counts.map(|count| count.to_string())));
        }
        text += &format!("\n{table}");
    }
    text
}
