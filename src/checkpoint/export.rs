//! The way back to Python: a `.pt` state dict for the authors' release, and a folder as model hubs like it.

use std::borrow::Cow;
use std::path::Path;

use half::bf16;

use super::torch_writer::{TorchTensor, write_torch};
use super::weights::{CONFIG_FILE, WEIGHTS_FILE, save_as};
use crate::Result;
use crate::files::{self, OutputFolder};
use crate::model::init::Weights;
use crate::model::params::{Home, Param};
use crate::model::{ModelConfig, Params};
use crate::plan::Element;

/// What the card of an exported model says; measured by `trm eval`.
#[derive(Clone, Debug, Default)]
pub struct Card {
    /// The model's name, the title.
    pub name: String,
    /// On what it was measured.
    pub dataset: String,
    /// Names and values as `trm eval` reports them.
    pub metrics: Vec<(String, f64)>,
}

/// Writes a state dict that `torch.load(..., weights_only=True)` and the release's `load_state_dict` accept. The
/// names get `prefix` in front, one of [`super::PREFIXES`]. An existing file is replaced.
///
/// Tensors are f32. Initial states are bf16, the release's type for them, wherever that loses nothing, as with
/// all imported models.
///
/// # Errors
/// [`crate::Error::Io`] if the file cannot be written; nothing is half-written.
pub fn export_pytorch(path: &Path, config: &ModelConfig, weights: &Weights, prefix: &str) -> Result<()> {
    let params = Params::of(config);
    let tensors: Vec<TorchTensor<'_>> = params
        .table
        .iter()
        .map(|param| {
            let (storage, bytes) = stored(param, weights);
            TorchTensor { name: format!("{prefix}{}", param.name), shape: &param.shape, storage, bytes }
        })
        .collect();
    write_torch(path, &tensors)
}

/// Writes a folder of `model.safetensors` with elements of `dtype`, `config.json` and a `README.md` card; it appears
/// whole or not at all.
///
/// # Errors
/// [`crate::Error::Usage`] if `folder` exists and is not empty, or for a weight that `dtype` cannot hold;
/// [`crate::Error::Io`] if it cannot be written.
pub fn export_folder(
    folder: &Path,
    config: &ModelConfig,
    weights: &Weights,
    dtype: Element,
    card: &Card,
) -> Result<()> {
    let output = OutputFolder::create(folder)?;
    save_as(output.path(), config, weights, dtype)?;
    files::write_atomic(&output.path().join("README.md"), card_text(config, card).as_bytes())?;
    output.commit()
}

/// The storage class and bytes of a tensor.
fn stored<'a>(param: &Param, weights: &'a Weights) -> (&'static str, Cow<'a, [u8]>) {
    let values = weights.get(param);
    match param.home {
        Home::InitialStates if fits_bf16(values) => ("BFloat16Storage", Cow::Owned(to_bf16(values))),
        _ => ("FloatStorage", Cow::Borrowed(bytemuck::cast_slice(values))),
    }
}

fn fits_bf16(values: &[f32]) -> bool {
    values.iter().all(|&value| bf16::from_f32(value).to_f32() == value)
}

fn to_bf16(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect()
}

/// Metadata between two lines of `---`, then what a reader wants to know.
fn card_text(config: &ModelConfig, card: &Card) -> String {
    let (params, arch) = (Params::of(config), &config.arch);
    let name = serde_json::to_value(arch.name).unwrap_or_default();
    let model = format!(
        "A Tiny Recursion Model ({}) with {} trained weights and {} x {} puzzle embeddings, for puzzles of {} \
         tokens out of {}.",
        name.as_str().unwrap_or_default(),
        params.count(Home::Trained),
        config.num_puzzle_identifiers,
        arch.puzzle_emb_ndim,
        config.seq_len,
        config.vocab_size,
    );
    let files = format!(
        "`{WEIGHTS_FILE}` holds the tensors under the names of the authors' PyTorch release (arXiv 2510.04871), \
         `{CONFIG_FILE}` the sizes under its keys."
    );
    let (index, table) = (model_index(card), metrics_table(card));
    let front = "library_name: trm\ntags:\n- tiny-recursion-model\n";
    format!("---\n{front}{index}---\n\n# {}\n\n{model}\n\n{table}{files}\n", card.name)
}

/// The metrics as model hubs read them.
fn model_index(card: &Card) -> String {
    if card.metrics.is_empty() {
        return String::new();
    }
    // A JSON string is a YAML string.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let metric =
        |(name, value): &(String, f64)| format!("    - type: {}\n      value: {value}\n", quoted(name));
    let metrics: String = card.metrics.iter().map(metric).collect();
    format!(
        "model-index:\n- name: {}\n  results:\n  - task:\n      type: other\n    dataset:\n      name: {}\n      \
         type: other\n    metrics:\n{metrics}",
        quoted(&card.name),
        quoted(&card.dataset),
    )
}

/// The metrics as people read them.
fn metrics_table(card: &Card) -> String {
    if card.metrics.is_empty() {
        return String::new();
    }
    let rows: String = card.metrics.iter().map(|(name, value)| format!("| {name} | {value} |\n")).collect();
    format!("Measured on {}:\n\n| metric | value |\n|---|---|\n{rows}\n", card.dataset)
}
