//! The way back to Python: a `.pt` state dict for the authors' release.

use std::borrow::Cow;
use std::path::Path;

use half::bf16;

use super::torch_writer::{TorchTensor, write_torch};
use crate::Result;
use crate::model::init::Weights;
use crate::model::params::{Home, Param};
use crate::model::{ModelConfig, Params};

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
