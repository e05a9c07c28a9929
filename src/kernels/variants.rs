//! Which kernels the built-in recipes launch, with which constants, on which kind of adapter.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Result;
use crate::engine::gpu::table;
use crate::model::step::{Batches, eval_plan, train_plan};
use crate::model::{Arch, ModelConfig};
use crate::ops::KERNELS;
use crate::plan::{
    Element, Entry, Kernel, Matrices, Plan, SHARED_BYTES, Specialisation, Target, Tile, Tiles,
};
use crate::recipe::Recipe;

/// Batch of the plans that are walked: the one that the project's measurements use.
const BATCH: usize = 8;

/// (V, S) of 9x9 Sudoku and of 30x30 mazes.
const DATA: [(usize, usize); 2] = [(11, 81), (6, 900)];

/// Head sizes that attention is built for, whatever the recipes have.
const HEAD_DIMS: [usize; 3] = [32, 64, 128];

/// The kind of adapter that most plans are laid out for.
pub const GPU: &str = "gpu";

/// AMD's GPUs, by the table of defaults.
pub const AMD: &str = "amd";

/// The kind of adapter with cooperative matrices, in f16.
pub const COOPERATIVE: &str = "cooperative";

/// Apple's GPUs, in f16: their matrices are smaller.
pub const APPLE: &str = "apple";

/// The kinds of adapter that plans are laid out for.
fn targets() -> Vec<(&'static str, Target)> {
    // As on the AMD GPUs that `--isa` compiles for.
    let cooperative = on_units(Matrices { subgroup: 64, ..Matrices::default() }, 4 * SHARED_BYTES);
    let apple = on_units(Matrices::APPLE, 2 * SHARED_BYTES);
    let halves = [Element::Bf16, Element::F16];
    let halves = halves.map(|precision| (precision.name(), Target { precision, ..Target::default() }));
    let whole = [(GPU, Target::default()), (COOPERATIVE, cooperative), (APPLE, apple)];
    let amd = (AMD, Target { tiles: table::of(table::AMD, "discrete").tiles, ..roomy() });
    let large = Tile::ALL.into_iter().filter(|&tile| tile != Tile::SMALL);
    let large = large.map(|tile| (tile.name(), Target { tiles: Tiles::all(tile, 0), ..roomy() }));
    whole.into_iter().chain(halves).chain([amd]).chain(large).collect()
}

/// An adapter with as much shared memory as GPUs have.
fn roomy() -> Target {
    Target { shared_bytes: 2 * SHARED_BYTES, ..Target::default() }
}

fn on_units(units: Matrices, shared_bytes: u32) -> Target {
    Target { matrices: Some(units), precision: Element::F16, shared_bytes, ..Target::default() }
}

/// One entry point with its constants specialised.
#[derive(Clone, Debug, Serialize)]
pub struct Variant {
    /// The kernel.
    #[serde(serialize_with = "kernel_name")]
    pub kernel: &'static Kernel,
    /// Its entry point.
    #[serde(serialize_with = "entry_name")]
    pub entry: &'static Entry,
    /// Values of the shader's constants, as the dispatch gives them.
    #[serde(serialize_with = "as_map")]
    pub constants: Specialisation,
    /// Kinds of adapter whose plans launch it: [`GPU`], [`COOPERATIVE`], [`APPLE`], [`AMD`], GPUs in `bf16` or `f16`,
    /// or those that take a larger tile, by its name.
    pub targets: Vec<&'static str>,
    /// Built-in recipes that launch it.
    pub recipes: Vec<&'static str>,
}

fn kernel_name<S: serde::Serializer>(
    kernel: &&'static Kernel,
    out: S,
) -> std::result::Result<S::Ok, S::Error> {
    out.serialize_str(kernel.name)
}

fn entry_name<S: serde::Serializer>(entry: &&'static Entry, out: S) -> std::result::Result<S::Ok, S::Error> {
    out.serialize_str(entry.name)
}

fn as_map<S: serde::Serializer>(constants: &Specialisation, out: S) -> std::result::Result<S::Ok, S::Error> {
    out.collect_map(constants.iter().map(|(name, value)| (name, value)))
}

impl Variant {
    /// `kernel.entry`, and the constants in brackets where there are any.
    pub fn name(&self) -> String {
        let name = format!("{}.{}", self.kernel.name, self.entry.name);
        let constants: Vec<String> =
            self.constants.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if constants.is_empty() { name } else { format!("{name}[{}]", constants.join(",")) }
    }
}

/// Whether a user who typed `wanted` means this entry point: by its kernel, or as `kernel.entry`.
pub fn is(kernel: &Kernel, entry: &Entry, wanted: &str) -> bool {
    wanted == kernel.name || wanted == format!("{}.{}", kernel.name, entry.name)
}

/// Every variant that the built-in recipes launch, for every kind of adapter, and, as their files have them, the
/// entry points that none of them launches. Sorted by name.
///
/// # Errors
/// [`crate::Error::Kernel`] for a defect of a kernel.
pub fn variants() -> Result<Vec<Variant>> {
    let mut found = BTreeMap::<String, Variant>::new();
    for recipe in Recipe::names() {
        for (target, plan) in plans(recipe)? {
            note(&mut found, recipe, target, &plan);
        }
    }
    for &kernel in KERNELS {
        for entry in kernel.entries {
            let bare =
                Variant { kernel, entry, constants: Vec::new(), targets: Vec::new(), recipes: Vec::new() };
            if !found
                .values()
                .any(|variant| (variant.kernel.name, variant.entry.name) == (kernel.name, entry.name))
            {
                found.insert(bare.name(), bare);
            }
        }
    }
    Ok(found.into_values().collect())
}

/// A recipe's architecture, with attention for every head size.
fn architectures(arch: &Arch) -> Vec<Arch> {
    if arch.mlp_t {
        return vec![arch.clone()];
    }
    let with_heads = |head_dim| Arch { num_heads: arch.hidden_size / head_dim, ..arch.clone() };
    HEAD_DIMS.map(with_heads).to_vec()
}

/// The training and evaluation plans of a recipe for every target and kind of data.
fn plans(recipe: &str) -> Result<Vec<(&'static str, Plan)>> {
    let recipe = Recipe::load(recipe, &[])?;
    let mut plans = Vec::new();
    for (vocab_size, seq_len) in DATA {
        for arch in architectures(&recipe.arch) {
            let config =
                ModelConfig { arch, vocab_size, seq_len, num_puzzle_identifiers: 1, identifiers: None };
            for (name, target) in targets() {
                let batches = Batches { augment: recipe.train.symmetries_of(&config), ..BATCH.into() };
                plans.push((name, train_plan(&config, &recipe.train.optimiser(), batches, target)?));
                plans.push((name, eval_plan(&config, BATCH, target)?));
            }
        }
    }
    Ok(plans)
}

fn note(found: &mut BTreeMap<String, Variant>, recipe: &'static str, target: &'static str, plan: &Plan) {
    for dispatch in &plan.dispatches {
        let new = Variant {
            kernel: dispatch.kernel,
            entry: dispatch.entry,
            constants: dispatch.constants.clone(),
            targets: Vec::new(),
            recipes: Vec::new(),
        };
        let variant = found.entry(new.name()).or_insert(new);
        if !variant.targets.contains(&target) {
            variant.targets.push(target);
        }
        if !variant.recipes.contains(&recipe) {
            variant.recipes.push(recipe);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_point_is_listed() {
        let variants = variants().unwrap();
        for kernel in KERNELS {
            for entry in kernel.entries {
                let name = format!("{}.{}", kernel.name, entry.name);
                let listed = variants.iter().any(|variant| is(variant.kernel, variant.entry, &name));
                assert!(listed, "{name}");
            }
        }
        assert!(variants.iter().any(|variant| variant.targets.len() == targets().len()));
    }
}
