//! A run between two steps: all that it needs besides its recipe and data to continue as if it had never stopped.
//!
//! One safetensors file of named flat buffers of 32-bit words, whose bits mean f32 or i32 as the plan says, with
//! everything else as JSON in the header. The words come back bit for bit.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::Dtype;
use serde::{Deserialize, Serialize};

use super::safetensors_file::{Entry, SafetensorsFile, write};
use super::tensors::TensorFile;
use super::weights::at_file;
use crate::data::SamplerState;
use crate::model::ModelConfig;
use crate::{Error, Result};

/// The state's file in a run folder.
pub const STATE_FILE: &str = "state.safetensors";

const HEADER_KEY: &str = "trm_state";
const FORMAT: u32 = 1;
const RESUME_FIX: &str = "resume with the settings of the run, or start a new run";

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
}

/// Writes `state.safetensors` into `folder`, whole or not at all.
///
/// # Errors
/// [`Error::Io`] if the folder or file cannot be written.
pub fn save_state(folder: &Path, state: &State) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let path = folder.join(STATE_FILE);
    let State { step, sampler, config, batch, data, buffers } = state;
    let header = Header {
        format: FORMAT,
        step: *step,
        sampler: *sampler,
        config: config.clone(),
        batch: *batch,
        data: data.clone(),
    };
    let text = serde_json::to_string(&header)
        .map_err(|error| Error::file(&path, error.to_string(), "mend the config"))?;
    let entries: Vec<Entry<'_>> = buffers
        .iter()
        .map(|(name, words)| Entry {
            name,
            dtype: Dtype::U32,
            shape: vec![words.len()],
            bytes: bytemuck::cast_slice(words),
        })
        .collect();
    write(&path, Some((HEADER_KEY, text)), &entries)
}

/// Reads what [`save_state`] wrote.
///
/// # Errors
/// [`Error::File`] for a missing or broken file or one of another format version; [`Error::Io`] if the system
/// refuses to read.
pub fn load_state(folder: &Path) -> Result<State> {
    let path = folder.join(STATE_FILE);
    if !path.is_file() {
        let fix = "name the folder of a run that was saved, or start a new run";
        return Err(Error::file(path, "no such file", fix));
    }
    let file = SafetensorsFile::open(&path)?;
    let Header { step, sampler, config, batch, data, .. } = read_header(&file)?;
    let mut buffers = BTreeMap::new();
    for (name, info) in file.tensors() {
        if info.dtype != "U32" || info.shape.len() != 1 {
            let problem = format!("buffer {name} is {} {:?}, expected U32 [words]", info.dtype, info.shape);
            return Err(Error::file(&path, problem, RESUME_FIX));
        }
        buffers.insert(name.clone(), bytemuck::pod_collect_to_vec(&file.bytes(name)?));
    }
    Ok(State { step, sampler, config, batch, data, buffers })
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
    header.config.validate().map_err(|error| at_file(file.path(), error))?;
    Ok(header)
}

impl State {
    /// Refuses a state that was saved in `folder` by a run of another model, batch, data set (by its identity) or set
    /// of buffers (name and words each). A state that does not say its data set may go on with any.
    ///
    /// # Errors
    /// [`Error::File`] naming the first key or buffer that differs.
    pub fn check<'a>(
        &self,
        folder: &Path,
        config: &ModelConfig,
        batch: usize,
        data: &str,
        buffers: impl IntoIterator<Item = (&'a str, usize)>,
    ) -> Result<()> {
        let refuse = |problem: String| Err(Error::file(folder.join(STATE_FILE), problem, RESUME_FIX));
        if let Some((key, saved, wanted)) = first_difference(&self.config, config) {
            return refuse(format!("saved with {key} = {saved}, expected {wanted}"));
        }
        if self.batch != batch {
            return refuse(format!("saved with a batch of {}, expected {batch}", self.batch));
        }
        if let Some(saved) = self.data.as_deref().filter(|saved| *saved != data) {
            let problem = format!("saved with a data set of {saved}, this one has {data}");
            let fix = "resume with the data set of the run, or start a new run on this one, with --init-from";
            return Err(Error::file(folder.join(STATE_FILE), problem, fix));
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
