//! A run between two steps: all that it needs besides its recipe and data to continue as if it had never stopped.
//!
//! One safetensors file of named flat buffers of 32-bit words, whose bits mean f32 or i32 as the plan says, with
//! everything else as JSON in the header. The words come back bit for bit.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use safetensors::Dtype;
use serde::{Deserialize, Serialize};

use super::safetensors_file::{Entry, SafetensorsFile, write};
use super::tensors::TensorFile;
use crate::data::SamplerState;
use crate::model::init::Weights;
use crate::model::{ModelConfig, Params};
use crate::{Error, Result};

/// The only state's file in the run folders of older versions.
pub const STATE_FILE: &str = "state.safetensors";

const HEADER_KEY: &str = "trm_state";
const FORMAT: u32 = 1;
const RESUME_FIX: &str = "resume with the settings and the data set of the run, or start a new run";

/// What [`save_state`] keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Supervision steps done.
    pub step: u64,
    /// Where the sampler stands.
    pub sampler: SamplerState,
    /// The model.
    pub config: ModelConfig,
    /// B.
    pub batch: usize,
    /// [`crate::data::Dataset::identity`] of the training split; None in states from before it was kept.
    pub data: Option<String>,
    /// How many times the learning rates of the run were halved, after it had diverged.
    pub lr_halvings: u32,
    /// Flat buffers by their names in the plan: moments, moving average, raw weights, `carry.*`.
    pub buffers: BTreeMap<String, Vec<u32>>,
}

/// All but the buffers, as it stands in the header.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    step: u64,
    sampler: SamplerState,
    config: ModelConfig,
    batch: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    lr_halvings: u32,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Writes the file `path`, whole or not at all.
///
/// # Errors
/// [`Error::Io`] if it cannot be written.
pub fn save_state(path: &Path, state: &State) -> Result<()> {
    let State { step, sampler, config, batch, data, lr_halvings, buffers } = state;
    let header = Header {
        format: FORMAT,
        step: *step,
        sampler: *sampler,
        config: config.clone(),
        batch: *batch,
        data: data.clone(),
        lr_halvings: *lr_halvings,
    };
    let text = serde_json::to_string(&header)
        .map_err(|error| Error::failed(path, error.to_string(), "mend the config"))?;
    let entries: Vec<Entry<'_>> = buffers
        .iter()
        .map(|(name, words)| Entry {
            name,
            dtype: Dtype::U32,
            shape: vec![words.len()],
            bytes: bytemuck::cast_slice(words),
        })
        .collect();
    write(path, (HEADER_KEY, text), &entries)
}

/// Reads what [`save_state`] wrote.
///
/// # Errors
/// [`Error::File`] for a missing, broken or damaged file or one of another format version; [`Error::Io`] if the system
/// refuses to read.
pub fn load_state(path: &Path) -> Result<State> {
    let file = open(path)?;
    let Header { step, sampler, config, batch, data, lr_halvings, .. } = read_header(&file)?;
    let names = file.tensors().keys();
    let buffers = names.map(|name| Ok((name.clone(), read_buffer(&file, name)?))).collect::<Result<_>>()?;
    Ok(State { step, sampler, config, batch, data, lr_halvings, buffers })
}

/// The weights for use among what [`save_state`] wrote, with their model: the moving average, which is the weights
/// themselves in a run without one.
///
/// # Errors
/// Those of [`load_state`].
pub fn load_state_weights(path: &Path) -> Result<(ModelConfig, Weights)> {
    let file = open(path)?;
    let config = read_header(&file)?.config;
    let weights = weights_of(path, &config, |name| read_buffer(&file, name).map(Cow::Owned))?;
    Ok((config, weights))
}

fn weights_of<'a>(
    path: &Path,
    config: &ModelConfig,
    buffer: impl Fn(&str) -> Result<Cow<'a, [u32]>>,
) -> Result<Weights> {
    let mut weights = Weights::zeros(&Params::of(config));
    let fill = |name: &str, floats: &mut [f32]| {
        let (words, count) = (buffer(name)?, floats.len());
        let Some(floats) = floats.get_mut(..words.len()) else {
            let problem = format!("buffer {name} has {} words, its model {count}", words.len());
            return Err(Error::file(path, problem, RESUME_FIX));
        };
        floats.copy_from_slice(bytemuck::cast_slice(&words));
        Ok(())
    };
    fill("ema", &mut weights.trained)?;
    fill("initial_states", &mut weights.initial_states)?;
    if !weights.puzzle_emb.is_empty() {
        fill("puzzle_emb", &mut weights.puzzle_emb)?;
    }
    Ok(weights)
}

/// Reads a state to its end without keeping it: whether it is whole.
///
/// # Errors
/// Those of [`load_state`].
pub fn check_state(path: &Path) -> Result<()> {
    let file = open(path)?;
    read_header(&file)?;
    file.tensors().keys().try_for_each(|name| file.bytes(name).map(drop))
}

/// Steps done in a state.
///
/// # Errors
/// Those of [`load_state`].
pub fn state_step(path: &Path) -> Result<u64> {
    Ok(read_header(&open(path)?)?.step)
}

fn open(path: &Path) -> Result<SafetensorsFile> {
    if !path.is_file() {
        let fix = "name the folder of a run that was saved, or start a new run";
        return Err(Error::missing(path, fix));
    }
    SafetensorsFile::open(path)
}

fn read_buffer(file: &SafetensorsFile, name: &str) -> Result<Vec<u32>> {
    match file.tensors().get(name) {
        Some(info) if info.dtype != "U32" || info.shape.len() != 1 => {
            let problem = format!("buffer {name} is {} {:?}, expected U32 [words]", info.dtype, info.shape);
            Err(Error::file(file.path(), problem, RESUME_FIX))
        }
        _ => Ok(bytemuck::pod_collect_to_vec(&file.bytes(name)?)),
    }
}

fn read_header(file: &SafetensorsFile) -> Result<Header> {
    /// Read first, so that a file of another version is named as such, whatever else differs.
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let broken = |problem: String| Error::file(file.path(), problem, "name a state that trm has saved");
    let text = file.text(HEADER_KEY).ok_or_else(|| broken(format!("its header lacks {HEADER_KEY}")))?;
    let version: Version = serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
    if version.format != FORMAT {
        let problem = format!("format {}, this trm reads format {FORMAT}", version.format);
        return Err(Error::file(file.path(), problem, "resume with the version of trm that wrote it"));
    }
    let header: Header = serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
    header.config.validate().map_err(|error| error.in_file(file.path()))?;
    Ok(header)
}

impl State {
    /// Its weights for use, as [`load_state_weights`] has them.
    ///
    /// # Errors
    /// [`Error::File`] at `path` for a buffer that is missing or too large.
    pub fn weights(&self, path: &Path) -> Result<Weights> {
        let missing = |name: &str| Error::file(path, format!("buffer {name} is missing"), RESUME_FIX);
        let words = |name: &str| self.buffers.get(name).map(|words| Cow::Borrowed(words.as_slice()));
        weights_of(path, &self.config, |name| words(name).ok_or_else(|| missing(name)))
    }

    /// Refuses a state that was saved in the file `path` by a run of another model, batch, data set (by its identity) or set
    /// of buffers (name and words each). A state that does not say its data set may go on with any.
    ///
    /// # Errors
    /// [`Error::File`] naming the first key or buffer that differs.
    pub fn check<'a>(
        &self,
        path: &Path,
        config: &ModelConfig,
        batch: usize,
        data: &str,
        buffers: impl IntoIterator<Item = (&'a str, usize)>,
    ) -> Result<()> {
        let refuse = |problem: String| Err(Error::file(path, problem, RESUME_FIX));
        if let Some((key, saved, wanted)) = first_difference(&self.config, config) {
            return refuse(format!("saved with {key} = {saved}, expected {wanted}"));
        }
        if self.batch != batch {
            return refuse(format!("saved with a batch of {}, expected {batch}", self.batch));
        }
        if let Some(saved) = self.data.as_deref().filter(|saved| *saved != data) {
            let problem = format!("saved with a data set of {saved}, this one has {data}");
            let fix = "resume with the data set of the run, or start a new run on this one, from its weights";
            return Err(Error::file(path, problem, fix));
        }
        let wanted: BTreeMap<&str, usize> = buffers.into_iter().collect();
        for (name, &words) in &wanted {
            match self.buffers.get(*name).map(Vec::len) {
                Some(saved) if saved == words => {}
                Some(saved) => return refuse(format!("buffer {name} has {saved} words, expected {words}")),
                None => return refuse(format!("buffer {name} is missing")),
            }
        }
        match self.buffers.keys().find(|name| !wanted.contains_key(name.as_str())) {
            Some(name) => refuse(format!("buffer {name} is none of this run's")),
            None => Ok(()),
        }
    }
}

/// The first key in which two configs differ, with both values.
fn first_difference(saved: &ModelConfig, wanted: &ModelConfig) -> Option<(String, String, String)> {
    let flat = |config: &ModelConfig| -> BTreeMap<String, String> {
        let mut keys = BTreeMap::new();
        flatten("", &serde_json::to_value(config).unwrap_or_default(), &mut keys);
        keys
    };
    let wanted = flat(wanted);
    let differs = |(key, saved): (String, String)| {
        let other = wanted.get(&key)?;
        (*other != saved).then(|| (key, saved, other.clone()))
    };
    flat(saved).into_iter().find_map(differs)
}

/// Dotted keys and values of a JSON tree.
fn flatten(prefix: &str, value: &serde_json::Value, keys: &mut BTreeMap<String, String>) {
    match value.as_object() {
        Some(table) => {
            for (key, value) in table {
                let prefix = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&prefix, value, keys);
            }
        }
        None => {
            keys.insert(prefix.to_owned(), value.to_string());
        }
    }
}
