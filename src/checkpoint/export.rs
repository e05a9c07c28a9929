//! Weights as model hubs like them: a folder with a card.

use std::path::Path;

use super::weights::{CONFIG_FILE, WEIGHTS_FILE, save_as};
use crate::Result;
use crate::files::{self, OutputFolder};
use crate::model::init::Weights;
use crate::model::params::Home;
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
