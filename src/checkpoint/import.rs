//! Checkpoints of the authors' PyTorch release, and of its followers, become a config and weights: files of `torch.save`,
//! safetensors files, and folders with one of them.
//!
//! The file says how many tokens and puzzle identifiers there are, and for some architectures how long a puzzle
//! is; the data set says the rest. Any other number of puzzle identifiers than the file's is only taken on request.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::prefixed::Prefixed;
use super::safetensors_file::SafetensorsFile;
use super::tensors::{TensorFile, TensorInfo, info, read_weights};
#[cfg(feature = "torch")]
use super::torch_file::TorchFile;
use super::weights::{CONFIG_FILE, WEIGHTS_FILE};
use crate::data::Metadata;
use crate::files::Pieces;
use crate::model::init::Weights;
use crate::model::params::Home;
use crate::model::recursion::Recursion;
use crate::model::{Arch, ModelConfig, Params, PosEncodings};
use crate::{Error, Result, magic};

const OTHER_MODEL: &str = "use the config and data set that these weights were trained with";

/// What [`import_pytorch`] read.
#[derive(Debug)]
pub struct Imported {
    /// The architecture with the sizes that the file or the data set gave.
    pub config: ModelConfig,
    /// All tensors as f32.
    pub weights: Weights,
    /// What stood before the tensors' names.
    pub prefix: String,
    /// What to tell of the file: other models in it, what was skipped.
    pub notes: Vec<String>,
    /// The tensors as the file has them, without the prefix.
    pub tensors: BTreeMap<String, TensorInfo>,
    /// Rows of the file's puzzle embedding, where they were replaced by their mean.
    pub reset_from: Option<usize>,
}

/// Reads a state dict that `torch.save` wrote, alone or with anything beside it, a safetensors file, or a folder with
/// `model.safetensors`, for the data set `dataset` where one is given. Executes nothing.
///
/// With `reset_puzzle_emb`, a data set of another number of puzzle identifiers is taken and each of its rows
/// starts as the mean of the file's, as in the release.
///
/// # Errors
/// [`Error::File`] for a file that is broken, asks to run code, or has a tensor missing, unknown, mis-shaped or not
/// finite, or that does not fit the data set; [`Error::Usage`] if only the data set could tell the puzzle length;
/// [`Error::Recipe`] for an impossible `arch`; those of [`check_checkpoint`]; [`Error::Io`] if the system refuses to read.
pub fn import_pytorch(
    path: &Path,
    arch: &Arch,
    dataset: Option<&Metadata>,
    reset_puzzle_emb: bool,
) -> Result<Imported> {
    arch.validate()?;
    let path = &checkpoint_file(path)?;
    if is_safetensors(path)? {
        let file = Prefixed::of(SafetensorsFile::open(path)?)?;
        return import(&file, arch, dataset, reset_puzzle_emb);
    }
    import_torch(path, arch, dataset, reset_puzzle_emb)
}

/// Refuses what [`import_pytorch`] could not read under any architecture.
///
/// # Errors
/// [`Error::Missing`] where there is nothing, [`Error::File`] for what is no checkpoint.
pub fn check_checkpoint(path: &Path) -> Result<()> {
    let path = &checkpoint_file(path)?;
    if is_safetensors(path)? { SafetensorsFile::open(path).map(drop) } else { check_torch(path) }
}

/// Whether a file is read as one, by its name, unless its first bytes know better.
fn is_safetensors(path: &Path) -> Result<bool> {
    let named = path.extension().is_some_and(|extension| extension == "safetensors");
    Ok(named && !magic::is_torch(&Pieces::open(path)?.head()?))
}

#[cfg(feature = "torch")]
fn import_torch(path: &Path, arch: &Arch, dataset: Option<&Metadata>, reset: bool) -> Result<Imported> {
    let file = Prefixed::of(TorchFile::open(path)?)?;
    let mut imported = import(&file, arch, dataset, reset)?;
    let (beside, foreign) = (file.file().beside(file.prefix()), file.file().foreign());
    imported.notes.extend(
        (!beside.is_empty()).then(|| format!("skipped what lies beside the weights: {}", list(&beside))),
    );
    imported.notes.extend((!foreign.is_empty()).then(|| format!("neither run nor read: {}", list(foreign))));
    Ok(imported)
}

#[cfg(feature = "torch")]
fn check_torch(path: &Path) -> Result<()> {
    TorchFile::open(path).map(drop)
}

#[cfg(not(feature = "torch"))]
fn import_torch(path: &Path, _: &Arch, _: Option<&Metadata>, _: bool) -> Result<Imported> {
    Err(needs_torch(path))
}

#[cfg(not(feature = "torch"))]
fn check_torch(path: &Path) -> Result<()> {
    Err(needs_torch(path))
}

#[cfg(not(feature = "torch"))]
fn needs_torch(path: &Path) -> Error {
    Error::file(path, "is no .safetensors file", "build trm with the feature torch to read others")
}

/// Where the config of a checkpoint lies: in its folder, or beside it.
pub fn find_release_config(checkpoint: &Path) -> Option<PathBuf> {
    let folder = if checkpoint.is_dir() { checkpoint } else { checkpoint.parent()? };
    CONFIGS.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

/// Names of the files that say an architecture.
const CONFIGS: [&str; 3] = ["all_config.yaml", "config.yaml", CONFIG_FILE];

/// Names one by one that are told.
const NAMED: usize = 6;

fn list(names: &[String]) -> String {
    match names.len() {
        0..=NAMED => names.join(", "),
        count => format!("{}, ... ({count} in all)", names[..NAMED].join(", ")),
    }
}

/// The file with the tensors of a checkpoint: in a folder, `model.safetensors`.
///
/// # Errors
/// [`Error::Missing`] where there is nothing, [`Error::File`] for a folder without it.
fn checkpoint_file(path: &Path) -> Result<PathBuf> {
    const FIX: &str =
        "name a file that torch.save wrote, a .safetensors file or a folder with model.safetensors";
    let file = if path.is_dir() { path.join(WEIGHTS_FILE) } else { path.to_path_buf() };
    match file.exists() {
        true => Ok(file),
        false if path.is_dir() => {
            Err(Error::file(path, format!("is a folder without {WEIGHTS_FILE}, no checkpoint"), FIX))
        }
        false => Err(Error::missing(path, FIX)),
    }
}

fn import<F: TensorFile>(
    file: &Prefixed<F>,
    arch: &Arch,
    dataset: Option<&Metadata>,
    reset_puzzle_emb: bool,
) -> Result<Imported> {
    let path = file.path();
    let mut config = read_config(file, arch, dataset)?;
    let mut weights = read_weights(file, &Params::of(&config))?;
    let found = config.num_puzzle_identifiers;
    let wanted = dataset.map_or(found, |dataset| dataset.num_puzzle_identifiers);
    if wanted != found {
        if !reset_puzzle_emb {
            let problem =
                format!("tensor puzzle_emb.weights has {found} rows, the data set {wanted} identifiers");
            return Err(Error::file(
                path,
                problem,
                "have the puzzle embeddings reset to start each from the mean row",
            ));
        }
        self::reset_puzzle_emb(&mut config, &mut weights, wanted);
    }
    let reset_from = (wanted != found).then_some(found);
    let (prefix, tensors) = (file.prefix().to_owned(), file.tensors().clone());
    let others = file
        .others()
        .iter()
        .map(|other| format!("there is another model behind \"{other}\", which was not taken"));
    Ok(Imported { config, weights, prefix, notes: others.collect(), tensors, reset_from })
}

/// Gives the model `identifiers` puzzle embeddings, each the mean of those it had, as the release does where a
/// checkpoint meets another data set.
pub fn reset_puzzle_emb(config: &mut ModelConfig, weights: &mut Weights, identifiers: usize) {
    let width = config.arch.puzzle_emb_ndim;
    let rows = config.num_puzzle_identifiers;
    config.num_puzzle_identifiers = identifiers;
    if width == 0 {
        return;
    }
    let mut sums = vec![0.0f64; width];
    for row in weights.puzzle_emb.chunks_exact(width).take(rows) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let mean: Vec<f32> = sums.iter().map(|sum| (sum / rows as f64) as f32).collect();
    weights.puzzle_emb = vec![0.0; Params::of(config).buffer_elements(Home::PuzzleEmb)];
    let rows = weights.puzzle_emb.chunks_exact_mut(width).take(identifiers);
    rows.for_each(|row| row.copy_from_slice(&mean));
}

/// The sizes as the file has them, and the data set's where the file does not tell.
fn read_config(file: &impl TensorFile, arch: &Arch, dataset: Option<&Metadata>) -> Result<ModelConfig> {
    let seq_len = match length_tensor(arch) {
        Some(name) => {
            let (length, prefix) = (rows(file, &name)?, arch.prefix());
            let problem =
                || format!("tensor {name} has {length} rows, expected more than puzzle_emb_len {prefix}");
            let tokens = length.checked_sub(prefix).filter(|&tokens| tokens > 0);
            tokens.ok_or_else(|| Error::file(file.path(), problem(), OTHER_MODEL))?
        }
        None => dataset.map(|dataset| dataset.seq_len).ok_or_else(|| {
            let problem = "is not given, and attention without learned positions fits puzzles of any length";
            Error::usage("data", problem, "name the data set that these weights were trained on")
        })?,
    };
    let num_puzzle_identifiers = match arch.puzzle_emb_ndim {
        0 => dataset.map_or(1, |dataset| dataset.num_puzzle_identifiers),
        _ => rows(file, "puzzle_emb.weights")?,
    };
    let vocab_size = rows(file, "embed_tokens.embedding_weight")?;
    let config =
        ModelConfig { arch: arch.clone(), vocab_size, seq_len, num_puzzle_identifiers, identifiers: None };
    config.validate().map_err(|error| error.in_file(file.path()))?;
    if let Some(dataset) = dataset {
        agree(file, "vocab_size", vocab_size, dataset.vocab_size)?;
        agree(file, "seq_len", seq_len, dataset.seq_len)?;
    }
    Ok(config)
}

/// The tensor whose rows are positions, if the architecture has one.
fn length_tensor(arch: &Arch) -> Option<String> {
    if arch.pos_encodings == PosEncodings::Learned {
        return Some("embed_pos.embedding_weight".to_owned());
    }
    let recursion = Recursion::of(arch);
    let net = recursion.nets.first().filter(|_| arch.mlp_t)?;
    Some(format!("{}.layers.0.mlp_t.down_proj.weight", net.name))
}

fn rows(file: &impl TensorFile, name: &str) -> Result<usize> {
    let info = info(file, name)?;
    info.shape.first().copied().ok_or_else(|| {
        let problem = format!("tensor {name} has shape [], expected two dimensions");
        Error::file(file.path(), problem, OTHER_MODEL)
    })
}

fn agree(file: &impl TensorFile, key: &str, found: usize, wanted: usize) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    let problem = format!("its tensors have {key} {found}, the data set {wanted}");
    Err(Error::file(file.path(), problem, OTHER_MODEL))
}
