//! `trm completions`.

use std::process::ExitCode;

use clap_complete::Shell;

use crate::{Error, Result};

use super::output::Output;

/// Print what has a shell complete commands and options
///
/// A script in the shell's own language, for it to read at its start.
#[derive(clap::Args)]
pub struct Args {
    /// Shell that completes
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::definitions(), "trm", &mut script);
    let script = String::from_utf8(script)
        .map_err(|error| Error::io("standard output")(std::io::Error::other(error)))?;
    output.painted(&script, String::clone)?;
    Ok(ExitCode::SUCCESS)
}
