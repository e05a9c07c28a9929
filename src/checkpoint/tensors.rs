//! From named tensors to [`Weights`], strictly: every tensor of the model is there once, no other is, shapes and
//! types fit and all values are finite. The container (safetensors, a PyTorch file) is behind [`TensorFile`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use half::slice::HalfFloatSliceExt;

use crate::model::Params;
use crate::model::init::Weights;
use crate::{Error, Result};

/// What to do about tensors that belong to another model.
const OTHER_CONFIG: &str = "use the config that these weights were trained with";

/// One tensor as its file declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Rows first.
    pub shape: Vec<usize>,
    /// The element type in the words of the safetensors format: F32, BF16, F16, I64, ...
    pub dtype: String,
}

/// A file of named tensors.
pub(super) trait TensorFile {
    /// Where it lies.
    fn path(&self) -> &Path;

    /// What it holds, by the model's names (without a prefix).
    fn tensors(&self) -> &BTreeMap<String, TensorInfo>;

    /// The little-endian elements of the tensor called `name`, row by row.
    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>>;
}

/// Reads all tensors of `params`.
///
/// # Errors
/// [`Error::File`] naming the file and the tensor: missing, unknown, of another shape, of an element type that is
/// no float of 16 or 32 bits, truncated, or with a value that is not finite.
pub(super) fn read_weights(file: &impl TensorFile, params: &Params) -> Result<Weights> {
    check_names(file, params)?;
    for param in &params.table {
        check_shape(file, &param.name, &param.shape)?;
    }
    let mut weights = Weights::zeros(params);
    for param in &params.table {
        read_floats(file, &param.name, weights.get_mut(param))?;
    }
    Ok(weights)
}

/// Refuses tensors that are missing or that no model of `params` has.
pub(super) fn check_names(file: &impl TensorFile, params: &Params) -> Result<()> {
    let found = file.tensors();
    let missing = || params.table.iter().map(|param| &param.name).filter(|name| !found.contains_key(*name));
    if let Some(name) = missing().next() {
        let problem =
            format!("tensor {name} is missing ({} of {} are)", missing().count(), params.table.len());
        return Err(Error::file(file.path(), problem, OTHER_CONFIG));
    }
    match found.keys().find(|name| params.get(name).is_none()) {
        Some(name) => {
            Err(Error::file(file.path(), format!("tensor {name} is none of this model's"), OTHER_CONFIG))
        }
        None => Ok(()),
    }
}

/// Refuses the tensor called `name` unless it has `shape` and floats of 16 or 32 bits.
pub(super) fn check_shape(file: &impl TensorFile, name: &str, shape: &[usize]) -> Result<()> {
    let info = info(file, name)?;
    if info.shape != shape {
        let problem = format!("tensor {name} has shape {:?}, expected {shape:?}", info.shape);
        return Err(Error::file(file.path(), problem, OTHER_CONFIG));
    }
    match info.dtype.as_str() {
        "F32" | "BF16" | "F16" => Ok(()),
        other => {
            let problem = format!("tensor {name} holds {other}, expected F32, BF16 or F16");
            Err(Error::file(file.path(), problem, "save the weights as one of these"))
        }
    }
}

/// Reads the tensor called `name`, checked by [`check_shape`], into `out` as f32.
pub(super) fn read_floats(file: &impl TensorFile, name: &str, out: &mut [f32]) -> Result<()> {
    let bytes = file.bytes(name)?;
    let half_width = info(file, name)?.dtype != "F32";
    let expected = out.len() * if half_width { 2 } else { 4 };
    if bytes.len() != expected {
        let problem = format!("tensor {name} has {} bytes, expected {expected}", bytes.len());
        return Err(Error::file(file.path(), problem, "fetch or save the file again"));
    }
    match info(file, name)?.dtype.as_str() {
        "BF16" => bytemuck::pod_collect_to_vec::<u8, half::bf16>(&bytes).convert_to_f32_slice(out),
        "F16" => bytemuck::pod_collect_to_vec::<u8, half::f16>(&bytes).convert_to_f32_slice(out),
        _ => bytemuck::cast_slice_mut(out).copy_from_slice(&bytes),
    }
    match out.iter().position(|value| !value.is_finite()) {
        Some(at) => {
            let problem = format!("tensor {name}: element {at} is {}, expected a finite number", out[at]);
            Err(Error::file(file.path(), problem, "take a checkpoint from before the training diverged"))
        }
        None => Ok(()),
    }
}

/// What the file says about the tensor called `name`.
pub(super) fn info<'a>(file: &'a impl TensorFile, name: &str) -> Result<&'a TensorInfo> {
    let missing = || Error::file(file.path(), format!("tensor {name} is missing"), OTHER_CONFIG);
    file.tensors().get(name).ok_or_else(missing)
}
