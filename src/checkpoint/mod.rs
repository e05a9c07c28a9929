//! Checkpoints: weights with their config, what a resumed run needs, and the way from and to PyTorch.
//!
//! `weights` is the native store, a folder of `model.safetensors` and `config.json` under the release's names;
//! `state` holds a run between two steps, bit for bit; `import` and `export` speak PyTorch. `tensors` is the one
//! strict way from named tensors to [`crate::model::Weights`], whatever file they lie in. Nothing read here is
//! trusted: every name, shape, type and value is checked, and no file can make this code run another program.

mod safetensors_file;
mod state;
mod tensors;
mod weights;

pub use state::{STATE_FILE, State, load_state, save_state};
pub use tensors::TensorInfo;
pub use weights::{CONFIG_FILE, WEIGHTS_FILE, load, load_config, save};
