//! `trm data table`.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::Result;
use crate::data::own::{Options, SplitSummary, Summary, Words, build};
use crate::report::say;
use crate::text::counted;

use crate::cli::output::Output;

/// Build the data set of an own task from rows of words
///
/// Each row has inputs and labels, words with spaces between them or a character each, and a puzzle id where a puzzle is
/// to have an embedding of its own. Shorter rows are padded; a label of "_" (null in JSON) is not learnt.
#[derive(clap::Args)]
pub struct Args {
    /// Folder to write
    ///
    /// It must not exist or be empty; it appears when it is complete.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Rows to learn from: CSV or JSONL
    ///
    /// With the columns or keys inputs, labels and, if you like, puzzle.
    #[arg(long, value_name = "FILE")]
    train: PathBuf,

    /// Rows to measure on: CSV or JSONL
    ///
    /// With the same columns or keys.
    #[arg(long, value_name = "FILE")]
    test: PathBuf,

    /// Words, the first of which is token 1: as 0..9, a,b,c, a single item for its characters, or a file of lines
    ///
    /// Without this, the words of the training rows, numbers first. Token 0 is padding.
    #[arg(long, value_name = "WORDS")]
    vocab: Option<String>,

    /// Tokens of every row [default: those of the longest]
    ///
    /// What rows have fewer is padded.
    #[arg(long, value_name = "S")]
    seq_len: Option<usize>,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let summary = build(&Options {
        out: args.out.clone(),
        train: args.train.clone(),
        test: args.test.clone(),
        vocab: args.vocab.as_deref().map(Words::parse).transpose()?,
        seq_len: args.seq_len,
    })?;
    summary.notes.iter().for_each(say);
    output.data(&summary, |summary| text(args, summary))?;
    Ok(ExitCode::SUCCESS)
}

fn text(args: &Args, summary: &Summary) -> String {
    let split = |split: &SplitSummary| {
        let SplitSummary { examples, puzzles, repeated, also_in_train } = split;
        let said = |count: &usize, what: &str| match count {
            0 => String::new(),
            count => format!(", {count} {what}"),
        };
        let (repeated, shared) =
            (said(repeated, "of them repeated"), said(also_in_train, "of them in the training split, too"));
        // Without identifiers each row is a puzzle of its own.
        let named =
            if puzzles == examples { String::new() } else { format!(" of {}", counted(*puzzles, "puzzle")) };
        format!("{}{named}{repeated}{shared}", counted(*examples, "row"))
    };
    let Summary { seq_len, vocab_size, words, num_puzzle_identifiers, train, test, .. } = summary;
    format!(
        "{}: {seq_len} tokens a row, {vocab_size} different ones: padding, then {}\ntrain: {}\ntest: {}\n\
         {num_puzzle_identifiers} puzzle identifiers, the blank one included\n",
        args.out.display(),
        words.join(" "),
        split(train),
        split(test),
    )
}
