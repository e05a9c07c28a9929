//! Which sources the program was built from.

use std::process::Command;

/// `TRM_COMMIT` of the build's environment, or what git says of the source folder while that is there.
pub(crate) fn commit() -> String {
    if let Some(commit) = option_env!("TRM_COMMIT") {
        return commit.to_owned();
    }
    let source = env!("CARGO_MANIFEST_DIR");
    let told = Command::new("git").args(["-C", source, "rev-parse", "--short", "HEAD"]).output();
    let told = told.ok().filter(|told| told.status.success());
    told.map(|told| String::from_utf8_lossy(&told.stdout).trim().to_owned()).unwrap_or_default()
}
