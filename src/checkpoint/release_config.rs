//! The `all_config.yaml` that the authors' release leaves beside its checkpoints.
//!
//! Only its `arch` table is read, with the release's defaults for keys that it does not write. A key that the
//! release does not know is refused: it comes from a variant whose model may compute something else.

use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::weights::at_file;
use crate::model::{Arch, ArchName, PosEncodings};
use crate::text::one_line;
use crate::{Error, Result, files};

/// The whole file; the settings of the training run are of no use here.
#[derive(Deserialize)]
struct AllConfig {
    arch: ReleaseArch,
}

/// `arch`, key by key as [`Arch`] but for the class path in `name`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(non_snake_case)]
struct ReleaseArch {
    name: String,
    hidden_size: usize,
    num_heads: usize,
    expansion: f64,
    H_cycles: usize,
    L_cycles: Option<usize>,
    H_layers: Option<usize>,
    L_layers: Option<usize>,
    #[serde(default)]
    mlp_t: bool,
    pos_encodings: PosEncodings,
    #[serde(default)]
    puzzle_emb_ndim: usize,
    puzzle_emb_len: Option<usize>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    halt_max_steps: usize,
    halt_exploration_prob: f64,
    no_ACT_continue: Option<bool>,
    /// How it was trained; the model is the same.
    #[serde(rename = "loss")]
    _loss: Option<IgnoredAny>,
    /// Everything is computed in f32 here.
    #[serde(rename = "forward_dtype")]
    _forward_dtype: Option<IgnoredAny>,
}

/// Reads the architecture out of an `all_config.yaml`.
///
/// # Errors
/// [`Error::File`] naming the line or key: no YAML, a key missing, unknown or out of range, or a model of another
/// family. [`Error::Io`] if the system refuses to read.
pub fn read_release_config(path: &Path) -> Result<Arch> {
    let fix = "give the all_config.yaml of the authors' release that lies beside the checkpoint, or a recipe";
    let text = files::read_to_string(path).map_err(|error| error.or_missing(fix))?;
    let AllConfig { arch } = serde_saphyr::from_str(&text)
        .map_err(|error| Error::file(path, one_line(&error.without_snippet().to_string()), fix))?;
    let name = architecture(&arch.name)
        .ok_or_else(|| Error::file(path, format!("arch.name {} is no model trm knows", arch.name), fix))?;
    let missing = |key: &str| Error::file(path, format!("arch.{key} is missing"), fix);
    // The plain transformer has neither latents nor a second net, its configs lack their keys.
    let or_missing = |value: Option<usize>, key: &str| match (value, name) {
        (Some(value), _) => Ok(value),
        (None, ArchName::Transformer) => Ok(1),
        (None, _) => Err(missing(key)),
    };
    let recursive = !matches!(name, ArchName::Hrm | ArchName::Transformer);
    let arch = Arch {
        name,
        hidden_size: arch.hidden_size,
        num_heads: arch.num_heads,
        expansion: arch.expansion,
        H_layers: arch.H_layers.unwrap_or(0),
        L_layers: or_missing(arch.L_layers, "L_layers")?,
        H_cycles: arch.H_cycles,
        L_cycles: or_missing(arch.L_cycles, "L_cycles")?,
        mlp_t: arch.mlp_t,
        pos_encodings: arch.pos_encodings,
        puzzle_emb_ndim: arch.puzzle_emb_ndim,
        puzzle_emb_len: arch.puzzle_emb_len.unwrap_or(if recursive { 16 } else { 0 }),
        rms_norm_eps: arch.rms_norm_eps.unwrap_or(1e-5),
        rope_theta: arch.rope_theta.unwrap_or(10000.0),
        halt_max_steps: arch.halt_max_steps,
        halt_exploration_prob: arch.halt_exploration_prob,
        no_ACT_continue: arch.no_ACT_continue.unwrap_or(true),
    };
    arch.validate().map_err(|error| at_file(path, error))?;
    Ok(arch)
}

/// The model behind `package.module@Class`; the module decides.
fn architecture(class_path: &str) -> Option<ArchName> {
    let module = class_path.split('@').next()?.rsplit('.').next()?;
    match module {
        "trm" => Some(ArchName::Trm),
        "trm_singlez" => Some(ArchName::TrmSinglez),
        "trm_hier6" => Some(ArchName::TrmHier6),
        // The second is its name in the release of HRM itself.
        "hrm" | "hrm_act_v1" => Some(ArchName::Hrm),
        "transformers_baseline" => Some(ArchName::Transformer),
        _ => None,
    }
}
