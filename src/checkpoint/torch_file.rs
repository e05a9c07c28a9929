//! A state dict in a file of `torch.save`: a zip archive of one pickle and the tensors' bytes, not compressed.
//!
//! Before the reader sees the file, its entries are checked (`torch.save` compresses nothing, so a compressed
//! entry, and with it a zip bomb, is refused) and its pickle, too (`pickle_check.rs`).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use pytorch_reader::{PickleValue, PytorchError, PytorchReader};
use zip::{CompressionMethod, ZipArchive};

use super::pickle_check::check_pickle;
use super::prefixed::ANCHOR;
use super::tensors::{TensorFile, TensorInfo};
use crate::files::Pieces;
use crate::text::one_line;
use crate::{Error, Result, magic};

/// No state dict of these models comes near.
const MOST_PICKLE_BYTES: u64 = 16 << 20;

const FETCH_AGAIN: &str = "fetch the file again, or save it anew with torch.save";
const SAVE_ANEW: &str = "read it with torch.load and save it again with torch.save of PyTorch 1.6 or later";
const STATE_DICT_ONLY: &str = "save only model.state_dict() with torch.save";

/// A checked file; tensors are read when asked for.
pub(super) struct TorchFile {
    path: PathBuf,
    /// What a pickle holds beside the tensors of a model, by name.
    root: PickleValue,
    /// What it would have had run.
    foreign: Vec<String>,
    file_bytes: u64,
    tensors: BTreeMap<String, TensorInfo>,
    data: HashMap<String, pytorch_reader::Tensor>,
}

impl TorchFile {
    /// Checks the file and reads the names, shapes and types of its tensors.
    pub fn open(path: &Path) -> Result<TorchFile> {
        let pieces = Pieces::open(path)?;
        let file_bytes = pieces.bytes();
        if magic::is_old_torch(&pieces.head()?) {
            let problem = "is of the format that torch.save wrote before PyTorch 1.6, expected a zip archive";
            return Err(Error::file(path, problem, SAVE_ANEW));
        }
        let file = File::open(path).map_err(Error::io(path))?;
        let foreign = check_archive(path, file)?;
        let broken = |error: PytorchError| Error::file(path, one_line(&error.to_string()), STATE_DICT_ONLY);
        let data = PytorchReader::new(path).map_err(broken)?.into_tensors();
        let root = PytorchReader::read_pickle_data(path, None).map_err(broken)?;
        let data = own(data, &root);
        let describe = |(name, tensor): (&String, &pytorch_reader::Tensor)| {
            let dtype = format!("{:?}", tensor.dtype());
            (name.clone(), TensorInfo { shape: tensor.shape().to_vec(), dtype })
        };
        let tensors = data.iter().map(describe).collect();
        Ok(TorchFile { path: path.to_path_buf(), root, foreign, file_bytes, tensors, data })
    }

    /// The functions and classes that the file names beside tensors; none was run.
    pub fn foreign(&self) -> &[String] {
        &self.foreign
    }

    /// What lies beside the tensors whose names begin with `prefix`, by name.
    pub fn beside(&self, prefix: &str) -> Vec<String> {
        let taken = self.tensors.keys().filter(|name| name.starts_with(prefix)).map(String::as_str);
        let mut beside = Vec::new();
        add_beside(&self.root, "", &taken.collect(), &mut beside);
        beside.sort_unstable();
        beside
    }
}

/// Where a model's tensors lie at the top of a file, what is in tables beside them is no part of it.
fn own(
    mut data: HashMap<String, pytorch_reader::Tensor>,
    root: &PickleValue,
) -> HashMap<String, pytorch_reader::Tensor> {
    if let PickleValue::Dict(entries) = root
        && entries.contains_key(ANCHOR)
    {
        data.retain(|name, _| entries.contains_key(name));
    }
    data
}

fn add_beside(value: &PickleValue, path: &str, taken: &BTreeSet<&str>, beside: &mut Vec<String>) {
    let PickleValue::Dict(entries) = value else { return };
    for (key, value) in entries {
        let name = format!("{path}{key}");
        let inside = format!("{name}.");
        let next = taken.range(inside.as_str()..).next();
        if next.is_some_and(|next| next.starts_with(&inside)) {
            add_beside(value, &inside, taken, beside);
        } else if !taken.contains(name.as_str()) {
            beside.push(name);
        }
    }
}

impl TensorFile for TorchFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        let broken = |problem: String| Error::file(&self.path, problem, FETCH_AGAIN);
        let tensor = self.data.get(name).ok_or_else(|| broken(format!("tensor {name} is missing")))?;
        // A view of stride 0 can be any number of times as large as what is stored.
        if tensor.byte_len() as u64 > self.file_bytes {
            let problem =
                format!("tensor {name} has {} bytes, the file {}", tensor.byte_len(), self.file_bytes);
            return Err(broken(problem));
        }
        tensor.read().map(Cow::Owned).map_err(|error| broken(one_line(&error.to_string())))
    }
}

/// Checks the entries; what its pickle names that tensors do not need.
fn check_archive(path: &Path, file: File) -> Result<Vec<String>> {
    let broken = |error: zip::result::ZipError| {
        let problem =
            format!("is cut short or no zip archive of torch.save ({})", one_line(&error.to_string()));
        Error::file(path, problem, FETCH_AGAIN)
    };
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    let mut pickles = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(broken)?;
        let name = entry.name().map_err(broken)?.escape_debug().to_string();
        let stored =
            entry.compression() == CompressionMethod::Stored && entry.size() == entry.compressed_size();
        if !stored || entry.encrypted() {
            let problem = format!(
                "entry {name} is compressed ({} bytes to {}), torch.save compresses nothing",
                entry.size(),
                entry.compressed_size()
            );
            return Err(Error::file(path, problem, "do not trust this file; take one that torch.save wrote"));
        }
        if name.ends_with("data.pkl") {
            pickles.push(check_entry(path, &name, entry.size(), entry)?);
        }
    }
    match pickles.len() {
        1 => Ok(pickles.remove(0)),
        count => Err(Error::file(path, format!("{count} entries data.pkl, expected one"), STATE_DICT_ONLY)),
    }
}

fn check_entry(path: &Path, name: &str, size: u64, entry: impl Read) -> Result<Vec<String>> {
    if size > MOST_PICKLE_BYTES {
        let problem = format!("{name} has {size} bytes, expected at most {MOST_PICKLE_BYTES}");
        return Err(Error::file(path, problem, STATE_DICT_ONLY));
    }
    let mut pickle = Vec::new();
    entry.take(MOST_PICKLE_BYTES).read_to_end(&mut pickle).map_err(Error::io(path))?;
    check_pickle(&pickle).map_err(|problem| {
        let fix = "nothing was run; do not trust this file, or save only model.state_dict() with torch.save";
        Error::file(path, format!("{name} {problem}, expected nothing but tensors"), fix)
    })
}
