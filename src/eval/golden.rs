//! Golden vectors: two training steps of a small model, computed in f64 by an independent implementation.
//!
//! A vector is a safetensors file; `kernels-tests/golden/README.md` lists its tensors and where they come from.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::model::step::{Algorithm, Optimiser};
use crate::model::{Arch, ArchName, ModelConfig, PosEncodings, Schedule};
use crate::{Error, Result};

/// The vectors that come with trm.
const BUILT_IN: &[(&str, &[u8])] = &[
    ("hrm", include_bytes!("../../kernels-tests/golden/hrm.safetensors")),
    ("transformer", include_bytes!("../../kernels-tests/golden/transformer.safetensors")),
    ("trm_att", include_bytes!("../../kernels-tests/golden/trm_att.safetensors")),
    ("trm_hier6", include_bytes!("../../kernels-tests/golden/trm_hier6.safetensors")),
    (
        "trm_learned_padded_emb",
        include_bytes!("../../kernels-tests/golden/trm_learned_padded_emb.safetensors"),
    ),
    ("trm_mlp", include_bytes!("../../kernels-tests/golden/trm_mlp.safetensors")),
    ("trm_no_emb", include_bytes!("../../kernels-tests/golden/trm_no_emb.safetensors")),
    ("trm_qcontinue", include_bytes!("../../kernels-tests/golden/trm_qcontinue.safetensors")),
    ("trm_singlez", include_bytes!("../../kernels-tests/golden/trm_singlez.safetensors")),
];

const FOLDER: &str = "give a folder of golden vectors, or none for those that come with trm";

/// One vector, read and typed.
#[derive(Debug)]
pub struct Golden {
    /// The file's stem.
    pub name: String,
    /// The model.
    pub config: ModelConfig,
    /// B.
    pub batch: usize,
    /// Constants of the optimisers.
    pub optimiser: Optimiser,
    /// Learning rate of the weights.
    pub lr: Schedule,
    /// Learning rate of the puzzle embeddings.
    pub puzzle_emb_lr: Schedule,
    floats: BTreeMap<String, Vec<f32>>,
    ints: BTreeMap<String, Vec<i32>>,
}

/// `config` in the metadata, in the words of the reference implementation.
#[derive(Deserialize)]
struct ReferenceConfig {
    arch: ArchName,
    batch: usize,
    seq_len: usize,
    vocab: usize,
    ids: usize,
    hidden: usize,
    heads: usize,
    expansion: f64,
    layers: usize,
    h_layers: usize,
    h_cycles: usize,
    l_cycles: usize,
    mlp_t: bool,
    pos: PosEncodings,
    emb_ndim: usize,
    emb_len: usize,
    eps: f64,
    rope_theta: f64,
    halt_max: usize,
    explore: f64,
    q_continue: bool,
}

/// `optim` in the metadata.
#[derive(Deserialize)]
struct ReferenceOptim {
    lr: f64,
    emb_lr: f64,
    wd: f64,
    emb_wd: f64,
    b1: f64,
    b2: f64,
    warmup: u64,
    total: u64,
    min_ratio: f64,
    ema: f64,
}

impl From<&ReferenceConfig> for ModelConfig {
    fn from(reference: &ReferenceConfig) -> ModelConfig {
        ModelConfig {
            arch: Arch {
                name: reference.arch,
                hidden_size: reference.hidden,
                num_heads: reference.heads,
                expansion: reference.expansion,
                H_layers: reference.h_layers,
                L_layers: reference.layers,
                H_cycles: reference.h_cycles,
                L_cycles: reference.l_cycles,
                mlp_t: reference.mlp_t,
                pos_encodings: reference.pos,
                puzzle_emb_ndim: reference.emb_ndim,
                puzzle_emb_len: reference.emb_len,
                rms_norm_eps: reference.eps,
                rope_theta: reference.rope_theta,
                halt_max_steps: reference.halt_max,
                halt_exploration_prob: reference.explore,
                no_ACT_continue: !reference.q_continue,
                random_init: 0.0,
                damping: 0.0,
                noise: 0.0,
            },
            vocab_size: reference.vocab,
            seq_len: reference.seq_len,
            num_puzzle_identifiers: reference.ids,
            identifiers: None,
        }
    }
}

impl Golden {
    /// The vectors that come with trm.
    pub fn built_in() -> Result<Vec<Golden>> {
        BUILT_IN.iter().map(|(name, bytes)| Golden::parse(name, bytes)).collect()
    }

    /// All vectors of a folder, by name.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::File`] for an unreadable, empty or malformed folder.
    pub fn folder(folder: &Path) -> Result<Vec<Golden>> {
        let mut paths = Vec::new();
        let entries = std::fs::read_dir(folder).map_err(Error::io(folder));
        for entry in entries.map_err(|error| error.or_missing(FOLDER))? {
            let path = entry.map_err(Error::io(folder))?.path();
            if path.extension().is_some_and(|extension| extension == "safetensors") {
                paths.push(path);
            }
        }
        paths.sort();
        if paths.is_empty() {
            return Err(Error::file(folder, "holds no .safetensors file", FOLDER));
        }
        let read = |path: &std::path::PathBuf| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let bytes = std::fs::read(path).map_err(Error::io(path))?;
            Golden::parse(&name, &bytes).map_err(|error| match error {
                Error::File { problem, fix, .. } => Error::file(path, problem, fix),
                other => other,
            })
        };
        paths.iter().map(read).collect()
    }

    fn parse(name: &str, bytes: &[u8]) -> Result<Golden> {
        let broken = |problem: String| Error::file(name, problem, "make it again with make_golden.py");
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| broken(error.to_string()))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| broken(error.to_string()))?;
        let metadata = |key: &str| {
            let found = header.metadata().as_ref().and_then(|metadata| metadata.get(key));
            found.ok_or_else(|| broken(format!("its metadata lack {key}")))
        };
        let reference: ReferenceConfig =
            serde_json::from_str(metadata("config")?).map_err(|error| broken(format!("config: {error}")))?;
        let optim: ReferenceOptim =
            serde_json::from_str(metadata("optim")?).map_err(|error| broken(format!("optim: {error}")))?;
        let schedule = |base| Schedule {
            base,
            warmup_steps: optim.warmup,
            total_steps: optim.total,
            min_ratio: optim.min_ratio,
        };
        let mut golden = Golden {
            name: name.to_owned(),
            config: ModelConfig::from(&reference),
            batch: reference.batch,
            optimiser: Optimiser {
                algorithm: Algorithm::AdamAtan2,
                freeze_weights: false,
                betas: (optim.b1, optim.b2),
                weight_decay: optim.wd,
                puzzle_emb_weight_decay: optim.emb_wd,
                ema_rate: optim.ema,
                label_smoothing: 0.0,
                global_batch: reference.batch,
            },
            lr: schedule(optim.lr),
            puzzle_emb_lr: schedule(optim.emb_lr),
            floats: BTreeMap::new(),
            ints: BTreeMap::new(),
        };
        for (name, view) in tensors.iter() {
            match view.dtype() {
                Dtype::F32 => {
                    golden.floats.insert(name.to_owned(), bytemuck::pod_collect_to_vec(view.data()));
                }
                Dtype::I32 => {
                    golden.ints.insert(name.to_owned(), bytemuck::pod_collect_to_vec(view.data()));
                }
                other => return Err(broken(format!("{name} is {other:?}, expected F32 or I32"))),
            }
        }
        Ok(golden)
    }

    /// A float tensor.
    pub fn floats(&self, name: &str) -> Result<&[f32]> {
        self.floats.get(name).map(Vec::as_slice).ok_or_else(|| self.missing(name))
    }

    /// An integer tensor.
    pub fn ints(&self, name: &str) -> Result<&[i32]> {
        self.ints.get(name).map(Vec::as_slice).ok_or_else(|| self.missing(name))
    }

    /// Names of float tensors that start with `prefix`, without it, in order.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.floats.keys().filter_map(move |name| name.strip_prefix(prefix))
    }

    fn missing(&self, name: &str) -> Error {
        Error::file(&self.name, format!("lacks the tensor {name}"), "make it again with make_golden.py")
    }
}
