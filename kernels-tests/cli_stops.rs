//! Runs that are stopped, killed or shared: what they save, how they exit, and who may write to a run folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use libtest_mimic::Trial;
use serde_json::Value;

use crate::cli::{Outcome, Ran, Test, Workshop, borrowed, check, command, ran, refuse, succeed, trm};
use crate::cli_runs::{resume_args, same_run};

/// All tests of this file; all but the last need the signals of Unix.
pub fn tests() -> Vec<Trial> {
    let trials: [Test; 7] = [
        ("an interrupted run continues bit-identically", interrupted_run),
        ("a run that outlives its terminal is not hung up", hangup_ignored),
        ("a killed run continues bit-identically", killed_run),
        ("a run folder belongs to one training", shared_run),
        ("a run folder that is removed ends its training", removed_run),
        ("time alone asks for checkpoints", saved_by_time),
        ("time is over", time_over),
    ];
    let unix = |test: &Test| cfg!(unix) || test.0 == "time is over";
    trials
        .into_iter()
        .filter(unix)
        .map(|(name, test)| Trial::test(format!("cli_stops: {name}"), test))
        .collect()
}

/// Starts training and waits until `ready` says of the run folder that it has come far enough.
fn start(args: &[String], ready: impl Fn(&Path) -> bool) -> Outcome<Child> {
    let run = args.iter().skip_while(|arg| *arg != "--out").nth(1).ok_or("no --out")?;
    let mut child = command(&borrowed(args)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    wait_for(&mut child, || ready(Path::new(run)))?;
    Ok(child)
}

/// Waits until `ready` or the end of the program.
fn wait_for(child: &mut Child, ready: impl Fn() -> bool) -> Outcome {
    while !ready() && child.try_wait()?.is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Ok(())
}

/// Some steps are done.
fn steps(count: usize) -> impl Fn(&Path) -> bool {
    move |run| {
        fs::read(run.join("metrics.jsonl")).is_ok_and(|log| log.split(|&byte| byte == b'\n').count() > count)
    }
}

fn signal(child: &Child, name: &str) -> Outcome {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status()?;
    check(sent.success(), || format!("{name} cannot be sent"))
}

fn ended(child: Child) -> Outcome<Ran> {
    Ok(ran(child.wait_with_output()?))
}

/// Steps done according to what a training printed.
fn step_of(stopped: &Ran) -> Outcome<usize> {
    let summary: Value = serde_json::from_str(&stopped.stdout)?;
    check(summary["finished"] == false, || stopped.stdout.clone())?;
    Ok(summary["step"].as_u64().ok_or("no step")? as usize)
}

/// Stops a run that would never end, resumes it, and compares it with one that was left alone.
fn interrupted_run() -> Outcome {
    for (name, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let workshop = Workshop::new()?;
        let child = start(&workshop.train_args("run", 1_000_000), steps(3))?;
        signal(&child, name)?;
        let stopped = ended(child)?;
        check(stopped.code == code, || format!("exits with {}: {}", stopped.code, stopped.stderr))?;
        goes_on(&workshop, step_of(&stopped)?)?;
    }
    Ok(())
}

/// Resumes a run stopped after `step` steps and compares it with one that was left alone.
fn goes_on(workshop: &Workshop, step: usize) -> Outcome {
    let epochs = (step / 4 + 2).next_multiple_of(2);
    succeed(&borrowed(&resume_args(workshop, "run", &[&format!("train.epochs={epochs}")])))?;
    workshop.train("whole", epochs)?;
    same_run(workshop, "run", "whole", 4 * epochs as u64)
}

/// nohup has hangups ignored, and so it stays; other signals count.
fn hangup_ignored() -> Outcome {
    let workshop = Workshop::new()?;
    let args = workshop.train_args("run", 1_000_000);
    let mut wrapped = Command::new("sh");
    wrapped.args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_trm")]).args(&args);
    let mut child = wrapped.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let run = PathBuf::from(workshop.path("run"));
    wait_for(&mut child, || steps(1)(&run))?;
    signal(&child, "-HUP")?;
    let log = fs::read(run.join("metrics.jsonl"))?;
    let lines = log.split(|&byte| byte == b'\n').count();
    wait_for(&mut child, || steps(lines + 20)(&run))?;
    signal(&child, "-TERM")?;
    let stopped = ended(child)?;
    check(stopped.code == 143, || format!("exits with {}: {}", stopped.code, stopped.stderr))
}

/// Killed again and again, wherever it is: the end is that of a run that was left alone.
fn killed_run() -> Outcome {
    let workshop = Workshop::new()?;
    let epochs = 20;
    let mut args = workshop.train_args("run", epochs);
    args.extend(["--set", "train.checkpoint_every=1"].map(str::to_owned));
    let mut seed = 88_172_645_463_325_252u64;
    let mut kills = 0;
    for _ in 0..8 {
        // A little later than the last time, which is another place each time.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let done = fs::read(Path::new(&workshop.path("run")).join("metrics.jsonl")).unwrap_or_default();
        let lines = done.split(|&byte| byte == b'\n').count();
        let mut child = start(&args, steps(lines + (seed % 8) as usize))?;
        std::thread::sleep(std::time::Duration::from_micros(seed % 8000));
        kills += usize::from(child.try_wait()?.is_none());
        child.kill()?;
        ended(child)?;
        args = resume_args(&workshop, "run", &[]);
    }
    check(kills > 3, || format!("only {kills} of 8 kills met a run"))?;
    succeed(&borrowed(&args))?;
    let mut whole = workshop.train_args("whole", epochs);
    whole.extend(["--set", "train.checkpoint_every=1"].map(str::to_owned));
    succeed(&borrowed(&whole))?;
    same_run(&workshop, "run", "whole", 4 * epochs as u64)
}

fn shared_run() -> Outcome {
    let workshop = Workshop::new()?;
    let child = start(&workshop.train_args("run", 1_000_000), steps(1))?;
    let owner = format!("is in use by process {} on ", child.id());
    refuse(&borrowed(&resume_args(&workshop, "run", &[])), 1, &[&owner, "wait for it or stop it"])?;
    signal(&child, "-KILL")?;
    ended(child)?;
    // The dead hold nothing.
    succeed(&borrowed(&resume_args(&workshop, "run", &["train.epochs=2"]))).map(drop)
}

fn removed_run() -> Outcome {
    let workshop = Workshop::new()?;
    let mut args = workshop.train_args("run", 1_000_000);
    args.extend(["--set", "train.checkpoint_every=20"].map(str::to_owned));
    let child = start(&args, steps(1))?;
    let run = workshop.path("run");
    while Path::new(&run).exists() {
        // A checkpoint that is being written may keep its folder for a moment.
        let _ = fs::remove_dir_all(&run);
    }
    let stopped = ended(child)?;
    let said = ["error: ", "is no run folder any more"];
    check(stopped.code == 1 && said.iter().all(|part| stopped.stderr.contains(part)), || stopped.stderr)?;
    check(!Path::new(&run).exists(), || "the folder is back".into())
}

/// Without evaluations, and with no checkpoints by steps.
fn saved_by_time() -> Outcome {
    let workshop = Workshop::new()?;
    let mut args = workshop.train_args("run", 1_000_000);
    for set in ["train.eval_interval=1000000", "train.checkpoint_minutes=1e-5"] {
        args.extend(["--set", set].map(str::to_owned));
    }
    let count = |run: &Path| fs::read_dir(run.join("checkpoints")).map_or(0, Iterator::count);
    let child = start(&args, |run| count(run) > 2 || steps(5000)(run))?;
    let found = count(Path::new(&workshop.path("run")));
    signal(&child, "-TERM")?;
    let stopped = ended(child)?;
    check(stopped.code == 143 && found > 2, || format!("{found} files: {}", stopped.stderr))
}

fn time_over() -> Outcome {
    let workshop = Workshop::new()?;
    let mut args = workshop.train_args("run", 1_000_000);
    args.extend(["--time-limit", "300ms"].map(str::to_owned));
    let stopped = trm(&borrowed(&args))?;
    check(stopped.code == 124, || format!("exits with {}: {}", stopped.code, stopped.stderr))?;
    goes_on(&workshop, step_of(&stopped)?)
}
