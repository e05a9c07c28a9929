//! `trm data batches`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use crate::data::{Dataset, Split};
use crate::train::write_batches;
use crate::{Error, Result, files};

use crate::cli::common::RecipeArgs;
use crate::cli::output::Output;

/// Write the batches that a training takes, for programs that train the same elsewhere
///
/// One NumPy array of int32 with the axes step, slot and column. Columns are the fewest supervision steps with which
/// exploration lets the slot's sample halt in that step (mostly 0), those with which it halts in any case, the puzzle
/// identifier, the input tokens and the labels, -100 where ignored. A slot takes what comes in where its sample has
/// halted, all of them in the first step.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,

    /// Data set to train on
    ///
    /// A folder with train/dataset.json, as "trm data" and the authors' release write it.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// Training steps
    ///
    /// From the first one on; more than the recipe's epochs come to go on with further epochs.
    #[arg(long, value_name = "N")]
    steps: u32,

    /// .npy file to write
    ///
    /// An existing file is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Summary<'a> {
    out: &'a PathBuf,
    shape: [u64; 3],
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    if let Some(obstacle) = files::obstacle(&args.out) {
        let problem = format!("{} {obstacle}", args.out.display());
        return Err(Error::usage("--out", problem, "name another file"));
    }
    let (_, recipe) = args.recipe.load()?;
    let dataset = Arc::new(Dataset::open(&args.data, Split::Train)?);
    let shape = write_batches(&recipe, dataset, args.steps, &args.out)?;
    output.data(&Summary { out: &args.out, shape }, |Summary { out, shape: [steps, batch, columns] }| {
        format!("{}: {steps} steps of {batch} samples, {columns} columns each\n", out.display())
    })?;
    Ok(ExitCode::SUCCESS)
}
