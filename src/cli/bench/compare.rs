//! `trm bench compare`.

use std::path::PathBuf;

use crate::bench::compare::{self, Comparison};
use crate::report::{Table, say};
use crate::{Error, Result};

use super::super::output::Output;

#[derive(clap::Args)]
pub struct Args {
    /// The run to compare with
    first: PathBuf,

    /// The run to judge
    second: PathBuf,
}

impl Args {
    pub fn compare(&self, output: &Output) -> Result<()> {
        let compared = compare::compare(&compare::read(&self.first)?, &compare::read(&self.second)?);
        if !compared.unpaired.is_empty() {
            say(format!("in one run only: {}", compared.unpaired.join(", ")));
        }
        if compared.pairs.is_empty() {
            let fix = "compare runs of one recipe and batch";
            return Err(Error::usage("bench compare", "the two runs have no measurement in common", fix));
        }
        output.data(&compared, comparison)
    }
}

fn comparison(compared: &Comparison) -> String {
    let mut table = Table::new(["measurement", "first ms", "second ms", "times faster"]);
    for pair in &compared.pairs {
        let times = [pair.first, pair.second].map(|seconds| format!("{:.3}", seconds * 1e3));
        let cells = [pair.key.clone()].into_iter().chain(times);
        table.row(cells.chain([format!("{:.2}", pair.speedup)]));
    }
    let precisions = compared.precisions.map(|[first, second]| {
        format!("precisions differ, {first} and {second}: paired by the rest of what was measured\n")
    });
    let adapters = compared.adapters.as_ref();
    let adapters = adapters.map(|[first, second]| format!("devices differ: {first} and {second}\n"));
    let differences = [precisions, adapters].map(Option::unwrap_or_default).concat();
    format!("{table}geometric mean: {:.3}\n{differences}", compared.mean_speedup)
}
