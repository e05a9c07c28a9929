//! What AMD's compiler makes of the kernels that GPUs get: nothing spills, and nothing loses more than 5 % of the
//! estimated throughput in a kept baseline. Reported as ignored where RADV is not installed.
//!
//! A deliberate change renews the baseline:
//! `trm kernels --isa navi21,gfx1100 --json > assets/baseline-isa.json`.

use std::collections::BTreeMap;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use trm::kernels::isa::Compiled;
use trm::kernels::{Isa, radv};

const BASELINE: &str = include_str!("../assets/baseline-isa.json");

/// Cycles that a kernel may take, as a multiple of those in the baseline.
const SLACK: f64 = 1.05;

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let absent = radv::manifest().is_none();
    let trial = |name, test: fn() -> Result<(), Failed>| Trial::test(name, test).with_ignored_flag(absent);
    vec![
        trial("isa: kernels keep their throughput", throughput),
        trial("cli: a GPU named twice is compiled for once", named_twice),
    ]
}

fn throughput() -> Result<(), Failed> {
    let kept: Isa = serde_json::from_str(BASELINE)?;
    let key = |one: &Compiled| (one.isa.clone(), one.kernel.clone());
    let known: BTreeMap<_, _> = kept.compiled.iter().map(|one| (key(one), one)).collect();
    let found = compiled(&["--isa", "navi21,gfx1100"])?;
    let mut worse = Vec::new();
    for one in &found.compiled {
        if one.spills > 0 {
            worse.push(format!("{} on {}: {} spills", one.kernel, one.isa, one.spills));
        }
        // A new kernel has no history, and another version of the compiler has other estimates.
        let before = known.get(&key(one)).filter(|_| found.driver == kept.driver);
        let Some(before) = before.map(|before| before.inverse_throughput) else { continue };
        if one.inverse_throughput as f64 > SLACK * before as f64 {
            let cycles = one.inverse_throughput;
            worse.push(format!("{} on {}: {cycles} cycles against {before}", one.kernel, one.isa));
        }
    }
    if worse.is_empty() { Ok(()) } else { Err(worse.join("\n").into()) }
}

fn named_twice() -> Result<(), Failed> {
    let [once, twice] = ["navi21", "navi21,navi21"].map(|gpus| compiled(&["sum", "--isa", gpus]));
    if once? == twice? { Ok(()) } else { Err("compiled again".into()) }
}

fn compiled(arguments: &[&str]) -> Result<Isa, Failed> {
    let arguments = [&["kernels", "--json"], arguments].concat();
    let output = Command::new(env!("CARGO_BIN_EXE_trm")).args(arguments).output()?;
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout)?),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}
