//! `trm import`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use crate::checkpoint::{self, Imported, find_release_config, import_pytorch};
use crate::data::{Dataset, Split};
use crate::files::OutputFolder;
use crate::model::Arch;
use crate::recipe::{Recipe, read_release_arch};
use crate::report::{Table, say};
use crate::{Error, Result};

use super::output::Output;

/// Read a checkpoint of the authors' release or of one of its followers
///
/// Finds the model whatever stands before its tensors' names, and says what it skipped; executes nothing that the file
/// contains. Writes model.safetensors and config.json, which eval, solve, export and
/// train --init-from take.
#[derive(clap::Args)]
pub struct Args {
    /// Checkpoint: what torch.save wrote, a .safetensors file or a folder with model.safetensors
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The all_config.yaml of the checkpoint, or another file with the keys of arch [default: the one beside it]
    ///
    /// Also looked for as config.yaml and config.json. Only its architecture is read, as Hydra would resolve it.
    #[arg(long, value_name = "FILE", conflicts_with = "recipe")]
    config: Option<PathBuf>,

    /// Recipe whose architecture to take instead: a built-in name, a TOML file or an all_config.yaml
    ///
    /// For a checkpoint without its all_config.yaml.
    #[arg(long, value_name = "NAME|FILE")]
    recipe: Option<String>,

    /// Data set that the weights are for
    ///
    /// Tells the puzzle length where the checkpoint does not, and the number of puzzle identifiers.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Take a checkpoint for another number of puzzle identifiers than the data set's
    ///
    /// Every puzzle embedding then is the mean of those in the checkpoint, as in the release.
    #[arg(long, requires = "data")]
    reset_puzzle_emb: bool,

    /// Folder to write
    ///
    /// It must not exist or be empty; it appears when it is complete.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Summary<'a> {
    out: &'a Path,
    prefix: &'a str,
    notes: &'a [String],
    tensors: BTreeMap<&'a str, Tensor<'a>>,
    parameters: usize,
    puzzle_identifiers: usize,
    /// Rows of the checkpoint's puzzle embeddings, where they were replaced by their mean.
    reset_from: Option<usize>,
}

#[derive(Serialize)]
struct Tensor<'a> {
    shape: &'a [usize],
    dtype: &'a str,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let dataset = args.data.as_ref().map(|dir| Dataset::open(dir, Split::Train)).transpose()?;
    let metadata = dataset.as_ref().map(Dataset::metadata);
    let mut imported = import_pytorch(&args.file, &arch(args)?, metadata, args.reset_puzzle_emb)?;
    imported.config.identifiers = dataset.as_ref().and_then(Dataset::identifiers).map(str::to_owned);
    let folder = OutputFolder::create(&args.out)?;
    checkpoint::save(folder.path(), &imported.config, &imported.weights)?;
    folder.commit()?;
    imported.notes.iter().for_each(say);
    let rows = imported.config.num_puzzle_identifiers;
    if let (Some(data), None, 2..) = (&args.data, imported.reset_from, rows) {
        say(format!(
            "puzzle embeddings: {rows} rows, taken for the puzzles of {} in their order: right if its identifiers.json is the one of the checkpoint (\"trm data arc --identifiers release\" draws the release's)",
            data.display()
        ));
    }
    output.data(&summary(args, &imported), text)?;
    Ok(ExitCode::SUCCESS)
}

fn arch(args: &Args) -> Result<Arch> {
    let beside = find_release_config(&args.file).filter(|_| args.config.is_none() && args.recipe.is_none());
    beside.iter().for_each(|config| say(format!("the architecture is that of {}", config.display())));
    match (args.config.as_ref().or(beside.as_ref()), &args.recipe) {
        (Some(config), _) => read_release_arch(config),
        (_, Some(recipe)) => Ok(Recipe::load(recipe, &[])?.arch),
        _ => {
            checkpoint::check_checkpoint(&args.file)?;
            let fix = "give --config all_config.yaml, or --recipe";
            Err(Error::usage("trm import", "the checkpoint does not say its architecture", fix))
        }
    }
}

fn summary<'a>(args: &'a Args, imported: &'a Imported) -> Summary<'a> {
    let tensors = imported.tensors.iter();
    Summary {
        out: &args.out,
        prefix: &imported.prefix,
        notes: &imported.notes,
        tensors: tensors
            .map(|(name, info)| (name.as_str(), Tensor { shape: &info.shape, dtype: &info.dtype }))
            .collect(),
        parameters: imported.tensors.values().map(|info| info.shape.iter().product::<usize>()).sum(),
        puzzle_identifiers: imported.config.num_puzzle_identifiers,
        reset_from: imported.reset_from,
    }
}

fn text(summary: &Summary<'_>) -> String {
    let mut table = Table::new(["tensor", "shape", "type"]);
    for (name, tensor) in &summary.tensors {
        table.row([(*name).to_owned(), format!("{:?}", tensor.shape), tensor.dtype.to_owned()]);
    }
    let reset = summary.reset_from.map_or(String::new(), |rows| {
        format!(
            "puzzle embeddings: {} rows, each the mean of the checkpoint's {rows}\n",
            summary.puzzle_identifiers
        )
    });
    let (out, parameters, count) = (summary.out.display(), summary.parameters, summary.tensors.len());
    let prefix = summary.prefix;
    format!("{table}{reset}{out}: {parameters} parameters in {count} tensors, prefix \"{prefix}\" removed\n")
}
