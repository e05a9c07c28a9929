//! Arguments that several commands share.

use clap::Args;

use trm::Result;
use trm::engine::{Device, select};
use trm::recipe::Recipe;

use super::output::say;

/// Where to compute.
#[derive(Args)]
pub struct DeviceArgs {
    /// Where to compute: auto, cpu, gpu, an index or part of a name
    ///
    /// "auto" takes a discrete GPU, else an integrated one, else the CPU engine. "gpu" takes the best adapter, even
    /// one in software. An index or a part of a name, in any case, chooses one that "trm devices" lists.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
}

impl DeviceArgs {
    /// Opens the device and says which one it is and why.
    pub fn open(&self) -> Result<Device> {
        let (device, reason) = select(&self.device)?;
        say(format!("device: {} ({reason})", device.info().name));
        Ok(device)
    }
}

/// What to run.
#[derive(Args)]
pub struct RecipeArgs {
    /// Recipe: a built-in name or a TOML file
    ///
    /// Built in are tiny-sudoku4 and tiny-sudoku6, which train in minutes on a CPU, and the official sudoku-mlp and
    /// sudoku-att. A file needs every key; start from a copy in assets/recipes.
    #[arg(long, value_name = "NAME|FILE")]
    pub recipe: String,

    /// Change one key of the recipe, for example train.lr=1e-4
    ///
    /// The key is written with dots as arch.hidden_size, the value as in TOML; words need no quotes. Can be given
    /// several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl RecipeArgs {
    /// The recipe with its changes.
    pub fn load(&self) -> Result<Recipe> {
        Recipe::load(&self.recipe, &self.set)
    }
}
