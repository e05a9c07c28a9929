//! `trm tune` as its users meet it: what it keeps, what takes it, and what a file that does not suit does.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{Outcome, Ran, check, command, has_adapter, ran, refuse, with_cache};

/// All tests of this file. Elsewhere than on Linux the cache folder cannot be moved.
pub fn tests() -> Vec<Trial> {
    let ignored = std::env::var_os("TRM_REQUIRE_GPU").is_none() && !has_adapter();
    let on_gpu = |name: &str, test: fn() -> Outcome| {
        Trial::test(format!("cli: {name}"), test).with_ignored_flag(ignored || !cfg!(target_os = "linux"))
    };
    vec![
        Trial::test("cli: the CPU engine has nothing to tune", nothing_on_cpu),
        on_gpu("a tuned adapter is taken as such", tuned),
        on_gpu("a choice that does not suit does no harm", unsuitable),
        on_gpu("a choice that could not be kept is not measured", unkept),
    ]
}

fn nothing_on_cpu() -> Outcome {
    refuse(
        &["tune", "--device", "cpu"],
        2,
        &["--device: the CPU engine has nothing to tune", "trm devices"],
    )?;
    refuse(&["tune", "--device", "cpu", "--seq-len", "0"], 2, &["seq_len: is 0"])
}

/// A user with a cache folder.
struct User(TempDir);

/// The smallest step there is.
const STEP: [&str; 8] = ["--recipe", "tiny-sudoku4", "--batch", "1", "--seq-len", "16", "--repetitions", "1"];

impl User {
    fn new() -> Outcome<User> {
        Ok(User(tempfile::tempdir()?))
    }

    fn trm(&self, args: &[&str]) -> Outcome<Ran> {
        let ran = ran(with_cache(&mut command(args), self.0.path()).output()?);
        check(ran.code == 0, || format!("{args:?} exits with {}: {}", ran.code, ran.stderr))?;
        Ok(ran)
    }

    fn tune(&self, more: &[&str]) -> Outcome<Ran> {
        self.trm(&[&["tune", "--device", "gpu"], &STEP[..], more].concat())
    }

    /// What a command that opens the adapter says of it.
    fn device_lines(&self, more: &[&str]) -> Outcome<String> {
        let ran = self.trm(&[&["bench", "step", "--device", "gpu"], &STEP[..], more].concat())?;
        let lines = ran.stderr.lines().filter(|line| line.starts_with("device: "));
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    fn choices(&self) -> Vec<PathBuf> {
        let folder: &Path = &self.0.path().join("trm").join("tune");
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    }
}

fn unkept() -> Outcome {
    let user = User::new()?;
    fs::write(user.0.path().join("trm"), "no folder")?;
    let args = [&["tune", "--device", "gpu"], &STEP[..]].concat();
    let ran = ran(with_cache(&mut command(&args), user.0.path()).output()?);
    check(ran.code == 1 && ran.stdout.is_empty(), || format!("exits with {}: {}", ran.code, ran.stdout))?;
    check(!ran.stderr.contains("measuring"), || format!("measures first: {}", ran.stderr))?;
    check(ran.stderr.contains("--no-tune-cache, which keeps nothing"), || ran.stderr.clone())
}

fn tuned() -> Outcome {
    let user = User::new()?;
    user.tune(&["--no-tune-cache"])?;
    check(user.choices().is_empty(), || "kept although it should not".into())?;
    let ran = user.tune(&["--json"])?;
    check(ran.stderr.contains("shapes: tiny-sudoku4, B 1, S 16, V 11\n"), || ran.stderr.clone())?;
    let report: Value = serde_json::from_str(&ran.stdout)?;
    let outcomes = report["outcomes"].as_array().ok_or("no outcomes")?;
    let chosen = outcomes.iter().filter(|one| one["chosen"] == true).count();
    check(chosen >= 3 && outcomes[0]["ratio"] == 1.0, || ran.stdout.clone())?;
    let choices = user.choices();
    check(choices.len() == 1, || format!("{choices:?}"))?;
    check(ran.stderr.contains(&choices[0].display().to_string()), || ran.stderr.clone())?;
    let shown = user.tune(&[])?.stdout;
    let kept = fs::read_to_string(&choices[0])?;
    let kept = kept.split_once("[tiles.tiled]").ok_or("no tiles")?.1.lines();
    let missing: Vec<&str> = kept.filter(|line| line.contains(" = ") && !shown.contains(line)).collect();
    let skipped = "at these shapes the same as tiled 64x64";
    check(missing.is_empty() && shown.contains(skipped), || format!("{missing:?}: {shown}"))?;
    let said = user.device_lines(&[])?;
    check(said.contains(", tuned at tiny-sudoku4, B 1, S 16, V 11 ("), || said)?;
    let said = user.device_lines(&["--no-tune-cache"])?;
    check(!said.contains("tuned"), || said)?;
    // Another precision is another choice.
    let said = user.device_lines(&["--precision", "bf16"])?;
    check(!said.contains("tuned"), || said)?;
    let listing = user.trm(&["devices", "--json"])?.stdout;
    let devices: Value = serde_json::from_str(&listing)?;
    let tuned = devices["devices"].as_array().ok_or("no devices")?.iter();
    let at = |device: &&Value| {
        let at = &device["tuned"][0];
        at["precision"] == "f32" && at["recipe"] == "tiny-sudoku4" && at["seq_len"] == 16
    };
    check(tuned.filter(at).count() == 1, || listing)?;
    let listing = user.trm(&["devices"])?.stdout;
    check(listing.contains("in f32 is tuned at tiny-sudoku4, B 1, S 16, V 11"), || listing)
}

fn unsuitable() -> Outcome {
    let user = User::new()?;
    user.tune(&[])?;
    let path = &user.choices()[0];
    let text = fs::read_to_string(path)?;
    let driver = text.lines().find(|line| line.starts_with("driver = ")).ok_or("no driver")?;
    for (changed, expected) in [
        ("garbage".to_owned(), "is no tune file"),
        (text.replace(driver, "driver = \"another\""), "for the driver \"another\""),
        (text.replace("kernels = \"", "kernels = \"0"), "for the kernels with checksum"),
    ] {
        fs::write(path, changed)?;
        let said = user.device_lines(&[])?;
        let warned = said.contains(expected) && said.contains("the table of defaults is taken");
        check(warned && !said.contains(", tuned at "), || said)?;
        let listing = user.trm(&["devices"])?.stdout;
        check(listing.contains(expected) && listing.contains("--no-tune-cache"), || listing)?;
    }
    Ok(())
}
