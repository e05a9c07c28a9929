//! `trm data`: one file per kind of puzzle, and the inspector.

mod arc;
mod batches;
mod inspect;
mod join;
mod maze;
mod sudoku;
mod table;

use std::process::ExitCode;

use clap::Subcommand;

use crate::Result;

use super::output::Output;
use super::stop::clean_up_on_signals;

/// Build data sets, and look into them
///
/// Data sets have the layout of the authors' release: train and test folders with dataset.json and .npy arrays. They
/// appear when they are complete; Ctrl-C leaves nothing, and what a killed build left is removed by the next.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Sudoku(sudoku::Args),
    Maze(maze::Args),
    Arc(arc::Args),
    Table(table::Args),
    Join(join::Args),
    Inspect(inspect::Args),
    Batches(batches::Args),
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    clean_up_on_signals()?;
    match &args.command {
        Command::Sudoku(args) => sudoku::run(args, output),
        Command::Maze(args) => maze::run(args, output),
        Command::Arc(args) => arc::run(args, output),
        Command::Table(args) => table::run(args, output),
        Command::Join(args) => join::run(args, output),
        Command::Inspect(args) => inspect::run(args, output),
        Command::Batches(args) => batches::run(args, output),
    }
}
