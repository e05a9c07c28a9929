//! The example programs run, at tiny sizes, and so do the rules for what the library's sources say.

use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;

use crate::cli::{Outcome, check, has_adapter};

#[path = "../examples/own_task.rs"]
mod own_task;
#[path = "../examples/solve_batch.rs"]
mod solve_batch;
#[path = "../examples/time_kernel.rs"]
mod time_kernel;
#[path = "../examples/time_steps.rs"]
mod time_steps;

/// This program is one of the examples where it is set: their arguments and output are their own then.
const ASKED: &str = "TRM_TEST_EXAMPLE";

type Main = fn() -> trm::Result<()>;

/// With arguments for a run that takes a moment, and what it prints.
const EXAMPLES: [(&str, Main, &[&str], &str); 5] = [
    ("own_task", own_task::main, &["1"], "of lists that it has not seen"),
    ("solve_batch", solve_batch::main, &["assets/checkpoints/sudoku4"], "\n1"),
    (
        "time_kernel",
        time_kernel::main,
        &["cpu", "8", "10"],
        "agrees with its twin: NMSE 0.0e0\nrms_norm of (8, 10): ",
    ),
    ("time_kernel", time_kernel::main, &["gpu", "7", "9"], "agrees with its twin: NMSE "),
    ("time_steps", time_steps::main, &["cpu", "1"], "  1 at once: "),
];

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let no_adapter = std::env::var_os("TRM_REQUIRE_GPU").is_none() && !has_adapter();
    let examples = EXAMPLES.iter().map(|&(name, _, args, expected)| {
        let test =
            Trial::test(format!("examples::{name} {}", args.join(" ")), move || run(name, args, expected));
        test.with_ignored_flag(args.contains(&"gpu") && no_adapter)
    });
    let listed = Trial::test("examples::all_are_run", all_are_run);
    examples
        .chain([listed, Trial::test("sources::no_flags_in_the_library", no_flags_in_the_library)])
        .collect()
}

/// What the example came to that this program is asked to be, if it is.
pub fn asked() -> Option<trm::Result<()>> {
    let name = std::env::var(ASKED).ok()?;
    EXAMPLES.iter().find(|(known, ..)| *known == name).map(|(_, main, ..)| main())
}

fn run(name: &str, args: &[&str], expected: &str) -> Outcome {
    let mut program = Command::new(std::env::current_exe()?);
    program.args(args).env(ASKED, name).env("XDG_RUNTIME_DIR", std::env::temp_dir());
    let ran = program.current_dir(env!("CARGO_MANIFEST_DIR")).output()?;
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    check(ran.status.success() && text.contains(expected), || {
        format!("{name}: {}: {text}{}", ran.status, String::from_utf8_lossy(&ran.stderr))
    })
}

fn all_are_run() -> Outcome {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"))? {
        let file = entry?.file_name().to_string_lossy().into_owned();
        let known = EXAMPLES.iter().any(|(name, ..)| file == format!("{name}.rs"));
        check(known, || format!("{file} is not run"))?;
    }
    Ok(())
}

/// Who embeds the library typed no option: it speaks of fields, in backticks, and the command line of options.
fn no_flags_in_the_library() -> Outcome {
    let (mut folders, mut looked_at) = (vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.extend((!path.ends_with("src/cli")).then_some(path));
                continue;
            }
            looked_at += 1;
            for (number, line) in fs::read_to_string(&path)?.lines().enumerate() {
                let comment = line.trim_start().starts_with("//");
                check(comment || !has_flag(line), || format!("{}:{}: {line}", path.display(), number + 1))?;
            }
        }
    }
    check(looked_at > 100 && has_flag("\"use --device cpu\"") && has_flag("(--batch)"), || {
        looked_at.to_string()
    })
}

/// Custom properties of style sheets, `var(--bar)` and `;--bar:`, are none.
fn has_flag(line: &str) -> bool {
    let line = line.replace("var(--", "");
    let opens = |before: Option<char>| before.is_none_or(|before| " \"(`".contains(before));
    line.match_indices("--").any(|(at, _)| {
        opens(line[..at].chars().next_back())
            && line[at + 2..].starts_with(|next: char| next.is_ascii_lowercase())
    })
}
