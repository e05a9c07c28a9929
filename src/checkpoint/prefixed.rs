//! A file of tensors seen from inside of what stands before their names: `_orig_mod.model.inner.` in the release's
//! checkpoints, and whatever else wraps a model.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use super::tensors::{TensorFile, TensorInfo};
use crate::{Error, Result};

/// What the release puts before the model's tensor names: with torch.compile, without it, and nothing.
pub const PREFIXES: [&str; 3] = ["_orig_mod.model.inner.", "model.inner.", ""];

/// A tensor that every model has.
pub(super) const ANCHOR: &str = "embed_tokens.embedding_weight";

/// The tensors of `file` whose names begin with `prefix`, by the rest of their names.
pub(super) struct Prefixed<F> {
    file: F,
    prefix: String,
    tensors: BTreeMap<String, TensorInfo>,
    /// Other prefixes under which there is a model.
    others: Vec<String>,
}

impl<F: TensorFile> Prefixed<F> {
    /// Finds the prefix: one of the release's before any other, weights before their moving average.
    ///
    /// # Errors
    /// [`Error::File`] where no tensor is one that every model has.
    pub fn of(file: F) -> Result<Prefixed<F>> {
        let before = |name: &String| name.strip_suffix(ANCHOR).map(str::to_owned);
        let inner = |prefix: &String| prefix.is_empty() || prefix.ends_with('.');
        let mut prefixes: Vec<String> = file.tensors().keys().filter_map(before).filter(inner).collect();
        prefixes.sort_by_key(|prefix| {
            let known = PREFIXES.iter().position(|known| known == prefix).unwrap_or(PREFIXES.len());
            (known, prefix.to_lowercase().contains("ema"), prefix.len())
        });
        if prefixes.is_empty() {
            let first = file.tensors().keys().next();
            let first = first.map_or("no tensor at all".to_owned(), |name| format!("tensor {name}, ..."));
            let problem = format!("{first}, expected {ANCHOR}, alone or behind a prefix");
            return Err(Error::file(file.path(), problem, "give a checkpoint of a Tiny Recursion Model"));
        }
        let prefix = prefixes.remove(0);
        let own = |(name, info): (&String, &TensorInfo)| {
            Some((name.strip_prefix(&prefix)?.to_owned(), info.clone()))
        };
        let tensors = file.tensors().iter().filter_map(own).collect();
        Ok(Prefixed { file, prefix, tensors, others: prefixes })
    }

    /// What stands before the names.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Other prefixes under which there is a model, too.
    pub fn others(&self) -> &[String] {
        &self.others
    }

    /// The file as it is.
    pub fn file(&self) -> &F {
        &self.file
    }
}

impl<F: TensorFile> TensorFile for Prefixed<F> {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        self.file.bytes(&format!("{}{name}", self.prefix))
    }
}
