//! `trm export`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::checkpoint::{Card, PREFIXES, export_folder, export_pytorch};
use crate::engine::Element;
use crate::{Result, files};

use super::common::WeightsArgs;
use super::output::Output;

/// Write weights for Python: a PyTorch state dict, or a folder as model hubs like it
///
/// The state dict loads with torch.load(..., weights_only=True) and into the authors' release. The folder holds
/// model.safetensors, config.json and a README.md card.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("target").required(true).multiple(true))]
pub struct Args {
    #[command(flatten)]
    weights: WeightsArgs,

    /// State dict to write
    ///
    /// An existing file is replaced.
    #[arg(long, value_name = "FILE", group = "target")]
    pytorch: Option<PathBuf>,

    /// What to put before the tensors' names of --pytorch
    ///
    /// The release's own checkpoints have _orig_mod.model.inner. where they were compiled, else model.inner.
    #[arg(long, value_name = "PREFIX", default_value = PREFIXES[0], value_parser = PREFIXES)]
    prefix: String,

    /// Folder to write
    ///
    /// It must not exist or be empty; it appears when it is complete.
    #[arg(long, value_name = "DIR", group = "target")]
    safetensors: Option<PathBuf>,

    /// How --safetensors stores weights: f32, bf16 or f16
    ///
    /// Halves take half the room and are rounded to the nearest; all of trm reads them, and computes as with any weights.
    #[arg(long, value_name = "DTYPE", default_value = "f32", requires = "safetensors")]
    dtype: Element,

    /// Title of the card [default: the folder's name]
    ///
    /// The model's name.
    #[arg(long, value_name = "NAME", requires = "safetensors")]
    name: Option<String>,

    /// What "trm eval --json" printed, for the card
    ///
    /// Its numbers make the card's table.
    #[arg(long, value_name = "FILE", requires = "dataset")]
    metrics: Option<PathBuf>,

    /// On what --metrics was measured, for the card
    ///
    /// The data set's name.
    #[arg(long, value_name = "NAME", requires = "metrics")]
    dataset: Option<String>,
}

#[derive(Serialize)]
struct Summary {
    written: Vec<PathBuf>,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let (config, weights) = args.weights.load()?;
    let card = args.safetensors.as_ref().map(|folder| card(args, folder)).transpose()?;
    let mut written = Vec::new();
    if let Some(file) = &args.pytorch {
        export_pytorch(file, &config, &weights, &args.prefix)?;
        written.push(file.clone());
    }
    if let (Some(folder), Some(card)) = (&args.safetensors, card) {
        export_folder(folder, &config, &weights, args.dtype, &card)?;
        written.push(folder.clone());
    }
    output.data(&Summary { written }, |summary| {
        summary.written.iter().map(|path| format!("{}\n", path.display())).collect()
    })?;
    Ok(ExitCode::SUCCESS)
}

fn card(args: &Args, folder: &Path) -> Result<Card> {
    let folder_name = || folder.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(Card {
        name: args.name.clone().or_else(folder_name).unwrap_or_default(),
        dataset: args.dataset.clone().unwrap_or_default(),
        metrics: args.metrics.as_ref().map_or(Ok(Vec::new()), |path| numbers(path))?,
    })
}

/// The numbers that `trm eval --json` printed; those one level down get a dotted name, as `pass_at.2`.
fn numbers(path: &Path) -> Result<Vec<(String, f64)>> {
    let fix = "give the file that \"trm eval --json\" was directed to";
    let document: Map<String, Value> = files::read_json(path, fix).map_err(|error| error.or_missing(fix))?;
    let mut found = Vec::new();
    for (name, value) in &document {
        let inner = value.as_object().into_iter().flatten();
        found.extend(inner.filter_map(|(key, value)| Some((format!("{name}.{key}"), value.as_f64()?))));
        found.extend(value.as_f64().map(|value| (name.clone(), value)));
    }
    Ok(found)
}
