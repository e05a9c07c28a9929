//! The native store of weights: a folder with `model.safetensors` under the release's tensor names and
//! `config.json` with its keys. Padding between the tensors of the flat buffers is not stored.

use std::path::Path;

use safetensors::Dtype;

use super::safetensors_file::{Entry, SafetensorsFile, write};
use super::tensors::read_weights;
use crate::model::init::Weights;
use crate::model::{ModelConfig, Params};
use crate::{Error, Result, files};

/// The tensors' file in a checkpoint folder.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// The model's config beside it.
pub const CONFIG_FILE: &str = "config.json";

/// Writes `model.safetensors` (f32, one tensor per entry of [`Params`], in its order) and `config.json` into
/// `folder`, which is made if it is not there. Each file appears whole or not at all.
///
/// # Errors
/// [`Error::Io`] if the folder or a file cannot be written.
pub fn save(folder: &Path, config: &ModelConfig, weights: &Weights) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    save_config(&folder.join(CONFIG_FILE), config)?;
    let params = Params::of(config);
    let entries: Vec<Entry<'_>> = params
        .table
        .iter()
        .map(|param| Entry {
            name: &param.name,
            dtype: Dtype::F32,
            shape: param.shape.clone(),
            bytes: bytemuck::cast_slice(weights.get(param)),
        })
        .collect();
    // The entry that other tools ask for before they take a file.
    let format = ("format", "pt".to_owned());
    write(&folder.join(WEIGHTS_FILE), format, &entries)
}

/// Reads what [`save`] wrote: `path` is the folder, or its `.safetensors` file with `config.json` beside it.
/// Tensors may also be BF16 or F16; they become f32.
///
/// # Errors
/// [`Error::File`] for a missing or broken file; naming the tensor, for one that is missing, unknown, mis-shaped,
/// of another type or not finite. [`Error::Io`] if the system refuses to read.
pub fn load(path: &Path) -> Result<(ModelConfig, Weights)> {
    let file = if path.is_dir() { path.join(WEIGHTS_FILE) } else { path.to_path_buf() };
    if !file.is_file() {
        let fix = format!("name a folder with {WEIGHTS_FILE} and {CONFIG_FILE}, or the .safetensors file");
        return Err(Error::file(file, "no such file", fix));
    }
    let config = load_config(&file.with_file_name(CONFIG_FILE))?;
    let weights = read_weights(&SafetensorsFile::open(&file)?, &Params::of(&config))?;
    Ok((config, weights))
}

/// Reads and checks a `config.json`.
///
/// # Errors
/// [`Error::File`] naming the key that is missing, unknown or out of range.
pub fn load_config(path: &Path) -> Result<ModelConfig> {
    if !path.is_file() {
        return Err(Error::file(path, "no such file", "put the config.json of these weights beside them"));
    }
    let config: ModelConfig = files::read_json(path, "take the config.json of these weights")?;
    config.validate().map_err(|error| error.in_file(path))?;
    Ok(config)
}

fn save_config(path: &Path, config: &ModelConfig) -> Result<()> {
    let mut text = serde_json::to_string_pretty(config)
        .map_err(|error| Error::file(path, error.to_string(), "mend the config"))?;
    text.push('\n');
    files::write_atomic(path, text.as_bytes())
}
