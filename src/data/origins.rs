//! Which list the examples of a split come from, in a file that lies beside the release's and that its readers ignore.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Split;
use crate::{Error, Result, files};

const FILE: &str = "lists.json";

/// Examples of a split that lie one after the other and come from one list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The list's name.
    pub name: String,
    /// How many there are.
    pub examples: usize,
}

/// The content of the file, in the order of the examples.
#[derive(Serialize, Deserialize)]
struct Origins {
    lists: Vec<Origin>,
}

fn path_of(dir: &Path, split: Split) -> PathBuf {
    dir.join(split.name()).join(FILE)
}

/// Says where the examples of a split in `dir` come from.
///
/// # Errors
/// [`Error::Io`] if it cannot be written.
pub(super) fn write_origins(dir: &Path, split: Split, lists: Vec<Origin>) -> Result<()> {
    let path = path_of(dir, split);
    let json = serde_json::to_vec(&Origins { lists }).map_err(|error| Error::io(&path)(error.into()))?;
    files::write_atomic(&path, &json)
}

/// Where the examples of a split with so many of them come from, in their order; nothing where nobody said.
///
/// # Errors
/// [`Error::Io`] or [`Error::File`] if the file cannot be read, or counts other examples than there are.
pub fn read_origins(dir: &Path, split: Split, examples: usize) -> Result<Vec<Origin>> {
    let path = path_of(dir, split);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let fix = "build the data set anew, or remove the file";
    let Origins { lists } = files::read_json(&path, fix)?;
    let counted = lists.iter().fold(0usize, |sum, origin| sum.saturating_add(origin.examples));
    if counted != examples {
        return Err(Error::file(path, format!("counts {counted} examples, the split has {examples}"), fix));
    }
    Ok(lists)
}
