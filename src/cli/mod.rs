//! The command line: arguments in, library calls, text or JSON out. One file per command, glue only.
//!
//! Data goes to standard output, as text or, with `--json`, as one JSON document; everything said to people
//! goes to standard error. A reader that closes standard output early is no failure.

mod bench;
mod common;
mod completions;
mod data;
mod demo;
mod devices;
mod doctor;
mod eval;
mod examples;
mod export;
mod import;
mod kernels;
mod man;
mod output;
mod plan;
mod ranks;
mod report;
mod runs;
#[cfg(feature = "serve")]
mod serve;
mod solve;
mod stop;
mod sweep;
mod thinking;
mod train;
mod tune;
mod verify;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::report::say;
use crate::{Error, Result};
use output::Output;

const AFTERWORD: &str = "The CPU engine and data builders take a thread for each processor; --threads or RAYON_NUM_THREADS choose.\n\
     Exit codes: 0 success, 1 failed work, 2 arguments, recipes or files that are missing or cannot be used,\n  \
     124 out of time, 128 and a signal's number after that signal (130 for Ctrl-C).";

/// Train Tiny Recursion Models and solve puzzles with them, on GPUs through Vulkan, Metal or DX12, or on the CPU.
#[derive(Parser)]
#[command(name = "trm", version, after_help = AFTERWORD, arg_required_else_help = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Print data as JSON
    ///
    /// One JSON document on standard output, with the names of the metrics log; one line for each puzzle of "solve"
    /// and for each measurement of "bench". What is said to people stays on standard error.
    #[arg(long, global = true)]
    json: bool,

    /// Threads of the CPU engine and of data builders [default: RAYON_NUM_THREADS, or one for each processor]
    ///
    /// Results do not depend on it.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    threads: Option<u32>,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Data(data::Args),
    Train(train::Args),
    Runs(runs::Args),
    Report(report::Args),
    Eval(eval::Args),
    Solve(solve::Args),
    #[cfg(feature = "serve")]
    Serve(serve::Args),
    Import(import::Args),
    Export(export::Args),
    Verify(verify::Args),
    Plan(plan::Args),
    Devices(devices::Args),
    Doctor(doctor::Args),
    Kernels(kernels::Args),
    Bench(bench::Args),
    Tune(tune::Args),
    Completions(completions::Args),
    Man(man::Args),
}

impl Command {
    fn run(&self, output: &Output) -> Result<ExitCode> {
        match self {
            Command::Demo(args) => demo::run(args, output),
            Command::Data(args) => data::run(args, output),
            Command::Train(args) => train::run(args, output),
            Command::Runs(args) => runs::run(args, output),
            Command::Report(args) => report::run(args, output),
            Command::Eval(args) => ranks::only_one("eval").and_then(|()| eval::run(args, output)),
            Command::Solve(args) => ranks::only_one("solve").and_then(|()| solve::run(args, output)),
            #[cfg(feature = "serve")]
            Command::Serve(args) => ranks::only_one("serve").and_then(|()| serve::run(args, output)),
            Command::Import(args) => import::run(args, output),
            Command::Export(args) => export::run(args, output),
            Command::Verify(args) => verify::run(args, output),
            Command::Plan(args) => plan::run(args, output),
            Command::Devices(args) => devices::run(args, output),
            Command::Doctor(args) => doctor::run(args, output),
            Command::Kernels(args) => kernels::run(args, output),
            Command::Bench(args) => bench::run(args, output),
            Command::Tune(args) => tune::run(args, output),
            Command::Completions(args) => completions::run(args, output),
            Command::Man(args) => man::run(args, output),
        }
    }
}

/// Parses the command line, runs the command and says what went wrong, in one line.
pub fn main() -> ExitCode {
    let parsed = definitions().try_get_matches();
    let cli = match parsed.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches)) {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    let threads = cli.threads.map(|threads| threads as usize);
    match common::set_threads(threads).and_then(|()| cli.command.run(&Output::new(cli.json))) {
        Ok(code) => code,
        Err(error) => {
            let error = as_typed(error);
            say(with_options(&format!("error: {error}")));
            ranks::abort(error.exit_code());
            ExitCode::from(error.exit_code())
        }
    }
}

/// All commands, options and examples: what is parsed, completed and printed on man pages.
fn definitions() -> clap::Command {
    examples::shown(with_negative_values(Cli::command()))
}

/// Has `--seed -1` refused for its value, not for an option -1 that nobody meant.
fn with_negative_values(command: clap::Command) -> clap::Command {
    let takes_values = |arg: &clap::Arg| arg.get_action().takes_values() && !arg.is_positional();
    let changed = command.mut_args(|arg| match takes_values(&arg) {
        true => arg.allow_negative_numbers(true),
        false => arg,
    });
    changed.mut_subcommands(with_negative_values)
}

/// The library speaks of options by the names of its fields; people typed `--num-aug` for `num_aug`.
fn as_typed(error: Error) -> Error {
    match error {
        Error::Usage { argument, problem, fix } => {
            Error::Usage { argument: option(&typed().0, &argument).unwrap_or(argument), problem, fix }
        }
        other => other,
    }
}

/// The option of `command` that a field of the library is called as.
fn option(command: &clap::Command, field: &str) -> Option<String> {
    let flag = field.replace('_', "-");
    let mut arguments = command.get_arguments();
    let arg = arguments.find(|arg| arg.get_id() == field || arg.get_long() == Some(&flag))?;
    arg.get_long().map(|long| format!("--{long}"))
}

/// What the library says, in which fields stand in backticks, with options as they are typed. Other commands than the one
/// that was typed have theirs, too: what helps may be one of theirs.
pub(crate) fn with_options(said: &str) -> String {
    let command = typed().0;
    let name = |field: &str| {
        let known = option(&command, field)
            .or_else(|| Cli::command().get_subcommands().find_map(|other| option(other, field)));
        known.unwrap_or_else(|| field.to_owned())
    };
    let is_field =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let mut text = String::new();
    let mut rest = said;
    while let Some((before, after)) = rest.split_once('`') {
        text += before;
        rest = match after.split_once('`') {
            Some((field, after)) if is_field(field) => {
                text += &name(field);
                after
            }
            _ => {
                text.push('`');
                after
            }
        };
    }
    text + rest
}

/// The command that was typed, as far as there is one: `trm bench step`.
fn typed_command() -> String {
    typed().1.join(" ")
}

fn typed() -> (clap::Command, Vec<String>) {
    let (mut command, mut names) = (Cli::command(), vec!["trm".to_owned()]);
    let words = std::env::args_os().skip(1).filter_map(|word| word.into_string().ok());
    for word in words.filter(|word| !word.starts_with('-')) {
        // The value of an option, as in "trm --threads 2 plan", or an argument.
        let Some(found) = command.find_subcommand(&word).cloned() else { continue };
        command = found;
        names.push(word);
    }
    (command, names)
}

/// Help and version are answers; anything else is put in one line: what clap says, without its usage text.
fn refused(error: &clap::Error) -> ExitCode {
    let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if is_answer || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Nobody is left to tell when the text cannot be written.
        let _ = error.print();
        return ExitCode::from(if is_answer { 0 } else { 2 });
    }
    let text = error.render().to_string();
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let said =
        lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let said = said.collect::<Vec<_>>().join(" ");
    // What Rust says of a number with a sign or a point.
    let said = said.replace("invalid digit found in string", "expected a whole number of at least 0");
    let said = said.replace(" tip: ", "; ");
    say(format!("{said}; see \"{} --help\"", typed_command()));
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{Cli, with_options};

    fn check(command: &clap::Command) {
        for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
            assert!(argument.get_help().is_some(), "{} {argument} has no short help", command.get_name());
            let named = argument.get_long().is_some() && argument.get_id() != "version";
            assert!(
                !named || argument.get_long_help().is_some(),
                "{} {argument} has no long help",
                command.get_name()
            );
        }
        command.get_subcommands().for_each(check);
    }

    #[test]
    fn fields_are_said_as_they_are_typed() {
        let said = with_options("use `precision` bf16, `no_tune_cache` or `nothing_such`; not `a b` or `");
        assert_eq!(said, "use --precision bf16, --no-tune-cache or nothing_such; not `a b` or `");
    }

    #[test]
    fn every_flag_has_short_and_long_help() {
        Cli::command().debug_assert();
        check(&Cli::command());
    }
}
