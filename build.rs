//! Tells the program which commit it is built from, for the records of runs.

use std::path::Path;
use std::process::Command;

/// What git answers, in one line; empty where there is no git, or no repository.
fn git(arguments: &[&str]) -> String {
    let told = Command::new("git").args(arguments).output().ok().filter(|told| told.status.success());
    told.map(|told| String::from_utf8_lossy(&told.stdout).trim().to_owned()).unwrap_or_default()
}

fn main() {
    println!("cargo::rerun-if-env-changed=TRM_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    // Sources that lie unpacked in somebody's repository are none of its commits.
    let own = git(&["rev-parse", "--show-prefix"]).is_empty();
    // Every commit and checkout is written down there.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]);
    if own && Path::new(&log).exists() {
        println!("cargo::rerun-if-changed={log}");
    }
    let head = || if own { git(&["rev-parse", "--short", "HEAD"]) } else { String::new() };
    let commit = std::env::var("TRM_COMMIT").unwrap_or_else(|_| head());
    println!("cargo::rustc-env=TRM_COMMIT={commit}");
}
