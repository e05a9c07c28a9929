//! The native store of weights: a folder with `model.safetensors` under the release's tensor names and
//! `config.json` with its keys. Padding between the tensors of the flat buffers is not stored.

use std::borrow::Cow;
use std::path::Path;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;

use super::safetensors_file::{Entry, SafetensorsFile, write};
use super::shipped::Shipped;
use super::tensors::read_weights;
use crate::model::init::Weights;
use crate::model::params::Param;
use crate::model::{ModelConfig, Params};
use crate::plan::Element;
use crate::{Error, Result, files};

/// The tensors' file in a checkpoint folder.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// The model's config beside it.
pub const CONFIG_FILE: &str = "config.json";

/// A model as a whole: its sizes and its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Its architecture and sizes.
    pub config: ModelConfig,
    /// The values of its tensors.
    pub weights: Weights,
}

impl Model {
    /// One that has learnt nothing yet.
    pub fn fresh(config: ModelConfig, seed: u64) -> Model {
        Model { weights: Weights::fresh(&config, seed), config }
    }

    /// [`load`]: of a run folder, or wherever weights lie.
    ///
    /// # Errors
    /// Those of [`load`].
    pub fn load(path: impl AsRef<Path>) -> Result<Model> {
        let (config, weights) = load(path.as_ref())?;
        Ok(Model { config, weights })
    }

    /// [`save`] into a folder, from which it is loaded.
    ///
    /// # Errors
    /// Those of [`save`].
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        save(folder.as_ref(), &self.config, &self.weights)
    }
}

/// Writes `model.safetensors` (f32, one tensor per entry of [`Params`], in its order) and `config.json` into
/// `folder`, which is made if it is not there. Each file appears whole or not at all.
///
/// # Errors
/// [`Error::Io`] if the folder or a file cannot be written.
pub fn save(folder: &Path, config: &ModelConfig, weights: &Weights) -> Result<()> {
    save_as(folder, config, weights, Element::F32)
}

/// The same with elements of another type: halves take half the room, each weight rounded to the nearest.
///
/// # Errors
/// As [`save`]; [`Error::Usage`] for a weight that no f16 holds.
pub fn save_as(folder: &Path, config: &ModelConfig, weights: &Weights, dtype: Element) -> Result<()> {
    let params = Params::of(config);
    let tensors = params.table.iter().map(|param| Ok((param, stored(param, weights, dtype)?)));
    let tensors = tensors.collect::<Result<Vec<_>>>()?;
    let entries: Vec<Entry<'_>> = tensors.iter().map(|(param, bytes)| entry(param, bytes, dtype)).collect();
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    save_config(&folder.join(CONFIG_FILE), config)?;
    // The entry that other tools ask for before they take a file.
    let format = ("format", "pt".to_owned());
    write(&folder.join(WEIGHTS_FILE), format, &entries)
}

/// Little-endian elements of `param`.
fn stored<'a>(param: &Param, weights: &'a Weights, dtype: Element) -> Result<Cow<'a, [u8]>> {
    let values = weights.get(param);
    match dtype {
        Element::F32 => Ok(Cow::Borrowed(bytemuck::cast_slice(values))),
        Element::Bf16 => {
            let mut halves = vec![bf16::ZERO; values.len()];
            halves.convert_from_f32_slice(values);
            Ok(Cow::Owned(bytemuck::cast_slice(&halves).to_vec()))
        }
        Element::F16 => {
            let mut halves = vec![f16::ZERO; values.len()];
            halves.convert_from_f32_slice(values);
            if let Some(at) = halves.iter().position(|half| !half.is_finite()) {
                let problem = format!("f16 ends at 65504, tensor {} holds {}", param.name, values[at]);
                return Err(Error::usage("dtype", problem, "take bf16 or f32"));
            }
            Ok(Cow::Owned(bytemuck::cast_slice(&halves).to_vec()))
        }
    }
}

fn entry<'a>(param: &'a Param, bytes: &'a [u8], dtype: Element) -> Entry<'a> {
    let dtype = match dtype {
        Element::F32 => Dtype::F32,
        Element::Bf16 => Dtype::BF16,
        Element::F16 => Dtype::F16,
    };
    Entry { name: &param.name, dtype, shape: param.shape.clone(), bytes }
}

/// Reads what [`save`] wrote: `path` is the folder, or its `.safetensors` file with `config.json` beside it, or
/// `shipped:NAME` for weights that are built in ([`Shipped`]). Tensors may also be BF16 or F16; they become f32.
///
/// # Errors
/// [`Error::Missing`] where one of the files is not there; [`Error::File`] for a broken one; naming the tensor, for one that is missing, unknown, mis-shaped,
/// of another type or not finite. [`Error::Io`] if the system refuses to read.
pub fn load(path: &Path) -> Result<(ModelConfig, Weights)> {
    if let Some(shipped) = Shipped::at(path)? {
        return shipped.load();
    }
    let file = if path.is_dir() { path.join(WEIGHTS_FILE) } else { path.to_path_buf() };
    if !file.is_file() {
        let fix = format!("name a folder with {WEIGHTS_FILE} and {CONFIG_FILE}, or the .safetensors file");
        return Err(Error::missing(file, fix));
    }
    let tensors = SafetensorsFile::open(&file)?;
    let config = load_config(&file.with_file_name(CONFIG_FILE))?;
    let weights = read_weights(&tensors, &Params::of(&config))?;
    Ok((config, weights))
}

/// Reads and checks a `config.json`.
///
/// # Errors
/// [`Error::Missing`], [`Error::File`] naming the key that is missing, unknown or out of range.
pub fn load_config(path: &Path) -> Result<ModelConfig> {
    if !path.is_file() {
        return Err(Error::missing(path, "put the config.json of these weights beside them"));
    }
    let config: ModelConfig = files::read_json(path, "take the config.json of these weights")?;
    config.validate().map_err(|error| error.in_file(path))?;
    Ok(config)
}

fn save_config(path: &Path, config: &ModelConfig) -> Result<()> {
    let mut text = serde_json::to_string_pretty(config)
        .map_err(|error| Error::failed(path, error.to_string(), "mend the config"))?;
    text.push('\n');
    files::write_atomic(path, text.as_bytes())
}
