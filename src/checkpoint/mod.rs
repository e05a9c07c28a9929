//! Checkpoints: weights with their config, what a resumed run needs, and the way from and to PyTorch.
//!
//! `weights` is the native store, a folder of `model.safetensors` and `config.json` under the release's names;
//! `shipped` has those that come with trm; `state` holds a run between two steps, bit for bit; `import` and `export` speak PyTorch. `tensors` is the one
//! strict way from named tensors to [`crate::model::init::Weights`], whatever file they lie in. Nothing read here is
//! trusted: every name, shape, type and value is checked, and no file can make this code run another program.

mod checksums;
mod export;
#[cfg(feature = "torch")]
mod export_torch;
mod import;
#[cfg(feature = "torch")]
mod pickle_check;
mod prefixed;
mod safetensors_file;
mod shipped;
mod state;
mod tensors;
#[cfg(feature = "torch")]
mod torch_file;
#[cfg(feature = "torch")]
mod torch_writer;
mod weights;

pub use export::{Card, export_folder};
#[cfg(feature = "torch")]
pub use export_torch::export_pytorch;
pub use import::{Imported, check_checkpoint, find_release_config, import_pytorch, reset_puzzle_emb};
pub use prefixed::PREFIXES;
pub use shipped::Shipped;
pub use state::{STATE_FILE, State, check_state, load_state, load_state_weights, save_state, state_step};
pub use tensors::TensorInfo;
pub use weights::{CONFIG_FILE, Model, WEIGHTS_FILE, load, load_config, save, save_as};
