//! `trm man`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap_mangen::Man;

use crate::{Error, Result, files};

use super::output::Output;

/// Write man pages of all commands
///
/// One for each, as trm.1 and trm-data-sudoku.1; what else is in the folder stays.
#[derive(clap::Args)]
pub struct Args {
    /// Folder to write them into
    ///
    /// It is made if it does not exist. "man" finds pages in the folder man1 of those on its path.
    #[arg(value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    std::fs::create_dir_all(&args.out).map_err(Error::io(&args.out))?;
    let mut definitions = super::definitions().disable_help_subcommand(true);
    definitions.build();
    let mut written = Vec::new();
    write_pages(&definitions, &args.out, &mut written)?;
    output.data(&written, |written| format!("{} pages in {}\n", written.len(), args.out.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn write_pages(command: &clap::Command, out: &Path, written: &mut Vec<PathBuf>) -> Result<()> {
    let page = Man::new(command.clone());
    let path = out.join(page.get_filename());
    let mut text = Vec::new();
    page.render(&mut text).map_err(Error::io(&path))?;
    files::write_atomic(&path, &text)?;
    written.push(path);
    command.get_subcommands().try_for_each(|command| write_pages(command, out, written))
}
