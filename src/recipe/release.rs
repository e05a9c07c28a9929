//! The configs of the authors' release: the `all_config.yaml` beside its checkpoints, its `arch` files for Hydra, and a
//! `config.json` with such keys beside weights on a hub.
//!
//! They are read as the release would: with its defaults for keys that are missing, null where it stands for none, and
//! references to other keys resolved. A key of `arch` that the release does not know is refused: it comes from a
//! variant whose model may compute something else.

use std::path::Path;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::keys::declared;
use super::references::resolve;
use crate::model::{Arch, ArchName, PosEncodings};
use crate::text::one_line;
use crate::{Error, Result, files};

/// What a file of the architecture alone is read as.
#[derive(Deserialize)]
struct AllConfig {
    arch: ReleaseArch,
}

/// `arch`, key by key as [`Arch`] but for the class path in `name`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(non_snake_case)]
struct ReleaseArch {
    #[serde(default = "trm")]
    name: String,
    hidden_size: usize,
    num_heads: usize,
    expansion: f64,
    H_cycles: usize,
    L_cycles: Option<usize>,
    H_layers: Option<usize>,
    L_layers: Option<usize>,
    mlp_t: Option<bool>,
    #[serde(deserialize_with = "none_for_null")]
    pos_encodings: PosEncodings,
    puzzle_emb_ndim: Option<usize>,
    puzzle_emb_len: Option<usize>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    halt_max_steps: usize,
    halt_exploration_prob: f64,
    no_ACT_continue: Option<bool>,
    /// What `trm` writes beside the release's keys.
    random_init: Option<f64>,
    damping: Option<f64>,
    noise: Option<f64>,
    /// How it was trained; the model is the same.
    #[serde(rename = "loss")]
    _loss: Option<IgnoredAny>,
    /// Whoever trains here chooses the precision anew.
    #[serde(rename = "forward_dtype")]
    _forward_dtype: Option<IgnoredAny>,
    /// The release adds these before it makes a model; the data set and the weights say them here.
    #[serde(rename = "batch_size")]
    _batch_size: Option<IgnoredAny>,
    #[serde(rename = "seq_len")]
    _seq_len: Option<IgnoredAny>,
    #[serde(rename = "vocab_size")]
    _vocab_size: Option<IgnoredAny>,
    #[serde(rename = "num_puzzle_identifiers")]
    _num_puzzle_identifiers: Option<IgnoredAny>,
    #[serde(rename = "causal")]
    _causal: Option<IgnoredAny>,
}

fn trm() -> String {
    "trm".to_owned()
}

/// In the release whatever is neither rope nor learned adds no positions.
fn none_for_null<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<PosEncodings, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(PosEncodings::None))
}

const FIX: &str =
    "give the all_config.yaml of the authors' release that lies beside the checkpoint, or a recipe";

/// Reads the architecture out of an `all_config.yaml`, or a file with the keys of `arch` alone; JSON is YAML, too.
///
/// # Errors
/// [`Error::File`] naming the line or key: no YAML, a key missing, unknown or out of range, a reference that leads nowhere,
/// or a model of another family. [`Error::Io`] if the system refuses to read.
pub fn read_release_arch(path: &Path) -> Result<Arch> {
    let config = read(path)?;
    arch_of(path, &config)
}

/// A file with its references resolved.
struct Config {
    text: String,
    root: Value,
}

fn read(path: &Path) -> Result<Config> {
    let text = files::read_to_string(path).map_err(|error| error.or_missing(FIX))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let broken = |problem: String| Error::file(path, problem, FIX);
    let parse = |text: &str| -> Result<Value> {
        serde_saphyr::from_str(text).map_err(|error| broken(one_line(&error.without_snippet().to_string())))
    };
    let root = parse(text)?;
    let text = resolve(text, &root).map_err(broken)?;
    Ok(Config { root: parse(&text)?, text })
}

fn arch_of(path: &Path, Config { text, root }: &Config) -> Result<Arch> {
    // From the text once more: then what is wrong in it has a line.
    let read = match root.get("arch") {
        Some(_) => serde_saphyr::from_str(text).map(|config: AllConfig| config.arch),
        None => return flat(path, root),
    };
    let arch =
        read.map_err(|error| Error::file(path, one_line(&error.without_snippet().to_string()), FIX))?;
    to_arch(path, arch)
}

/// The keys of `arch` among others, as a hub's `config.json` has them. What else it says is about the file, and the
/// tensors' names and shapes have to agree.
fn flat(path: &Path, root: &Value) -> Result<Arch> {
    let broken = |problem: String| Error::file(path, problem, FIX);
    let table = root.as_object().filter(|table| table.contains_key("hidden_size"));
    let table = table.ok_or_else(|| broken("has neither arch nor its keys".to_owned()))?;
    let keys = declared()?;
    let known = |(key, value): &(&String, &Value)| match key.as_str() {
        "name" => value.as_str().is_some_and(|name| architecture(name).is_some()),
        key => keys.contains_key(&format!("arch.{key}")),
    };
    let table = table.iter().filter(known).map(|(key, value)| (key.clone(), value.clone()));
    let arch = serde_json::from_value(Value::Object(table.collect()));
    to_arch(path, arch.map_err(|error| broken(error.to_string()))?)
}

fn to_arch(path: &Path, arch: ReleaseArch) -> Result<Arch> {
    let name = architecture(&arch.name)
        .ok_or_else(|| Error::file(path, format!("arch.name {} is no model trm knows", arch.name), FIX))?;
    let missing = |key: &str| Error::file(path, format!("arch.{key} is missing"), FIX);
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
        mlp_t: arch.mlp_t.unwrap_or(false),
        pos_encodings: arch.pos_encodings,
        puzzle_emb_ndim: arch.puzzle_emb_ndim.unwrap_or(0),
        puzzle_emb_len: arch.puzzle_emb_len.unwrap_or(if recursive && arch.puzzle_emb_ndim > Some(0) {
            16
        } else {
            0
        }),
        rms_norm_eps: arch.rms_norm_eps.unwrap_or(1e-5),
        rope_theta: arch.rope_theta.unwrap_or(10000.0),
        halt_max_steps: arch.halt_max_steps,
        halt_exploration_prob: arch.halt_exploration_prob,
        no_ACT_continue: arch.no_ACT_continue.unwrap_or(true),
        random_init: arch.random_init.unwrap_or(0.0),
        damping: arch.damping.unwrap_or(0.0),
        noise: arch.noise.unwrap_or(0.0),
    };
    arch.validate().map_err(|error| error.in_file(path))?;
    Ok(arch)
}

/// The model behind `package.module@Class`; the module decides.
fn architecture(class_path: &str) -> Option<ArchName> {
    let module = class_path.split('@').next()?.rsplit('.').next()?;
    match module {
        "trm" => Some(ArchName::Trm),
        "trm_singlez" => Some(ArchName::TrmSinglez),
        "trm_hier6" => Some(ArchName::TrmHier6),
        "trm_one_step" => Some(ArchName::TrmOneStep),
        // The second is its name in the release of HRM itself.
        "hrm" | "hrm_act_v1" => Some(ArchName::Hrm),
        "transformers_baseline" | "transformer" => Some(ArchName::Transformer),
        _ => None,
    }
}

/// The training settings of the release that trm has, too, and what the release takes where they are missing.
const TRAIN: [(&str, Option<f64>); 13] = [
    ("global_batch_size", None),
    ("epochs", None),
    ("lr", None),
    ("lr_min_ratio", None),
    ("lr_warmup_steps", None),
    ("beta1", None),
    ("beta2", None),
    ("weight_decay", None),
    ("puzzle_emb_lr", None),
    ("puzzle_emb_weight_decay", None),
    ("ema_rate", Some(0.999)),
    ("seed", Some(0.0)),
    ("eval_interval", None),
];

/// A whole recipe from an `all_config.yaml`: its architecture and how it was trained. What the release does not know is
/// taken from `table`, a recipe.
///
/// # Errors
/// As [`read_release_arch`], of the training settings, too.
pub(super) fn recipe_table(path: &Path, mut table: toml::Table) -> Result<toml::Table> {
    let config = read(path)?;
    let broken =
        |problem: String| Error::file(path, problem, "give the all_config.yaml of a run of the release");
    let arch = toml::Value::try_from(arch_of(path, &config)?).map_err(|error| broken(error.to_string()))?;
    table.insert("arch".to_owned(), arch);
    let loss = config.root.get("arch").and_then(|arch| arch.get("loss")?.get("loss_type")?.as_str());
    if let Some(loss) = loss.filter(|loss| *loss != "stablemax_cross_entropy") {
        return Err(broken(format!(
            "arch.loss.loss_type is {loss}, trm trains with stablemax_cross_entropy"
        )));
    }
    let Some(toml::Value::Table(train)) = table.get_mut("train") else { return Ok(table) };
    let given = |key: &str| config.root.get(key).filter(|value| !value.is_null());
    for (key, fallback) in TRAIN {
        // Without an interval the release evaluates at the end.
        let found = given(key).or_else(|| given("epochs").filter(|_| key == "eval_interval"));
        let number = match (found, fallback) {
            (Some(value), _) => {
                value.as_f64().ok_or_else(|| broken(format!("{key} is {value}, expected a number")))?
            }
            (None, Some(fallback)) => fallback,
            (None, None) => return Err(broken(format!("{key} is missing"))),
        };
        let whole = train.get(key).is_some_and(toml::Value::is_integer) && number.fract() == 0.0;
        train.insert(key.to_owned(), if whole { (number as i64).into() } else { number.into() });
    }
    for key in ["ema", "freeze_weights"] {
        train.insert(key.to_owned(), given(key).and_then(Value::as_bool).unwrap_or(false).into());
    }
    Ok(table)
}
