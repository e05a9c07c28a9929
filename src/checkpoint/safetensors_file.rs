//! One safetensors file: mapped for reading, streamed for writing.
//!
//! The library checks and makes the header; its own file writer is not used because it neither flushes to the
//! disk nor leaves the file readable to others, and because tables of gigabytes should not be held twice.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo as Place};

use super::checksums::{self, Checksums};
use super::tensors::{TensorFile, TensorInfo};
use crate::{Error, Result, files};

/// The header's length comes first, as a u64.
const LENGTH_BYTES: usize = 8;

const FETCH_AGAIN: &str = "the file is cut short or no safetensors file: fetch or save it again";

/// A mapped file whose header was found to fit its length.
#[derive(Debug)]
pub(super) struct SafetensorsFile {
    path: PathBuf,
    map: Mmap,
    metadata: Metadata,
    data_start: usize,
    tensors: BTreeMap<String, TensorInfo>,
    checksums: Checksums,
}

impl SafetensorsFile {
    /// Maps `path` and checks its header against its length, and against its checksum where it has one. Those of
    /// tensors are checked when they are read.
    pub fn open(path: &Path) -> Result<SafetensorsFile> {
        let map = files::map(path)?;
        let (header, metadata) = SafeTensors::read_metadata(&map)
            .map_err(|error| Error::file(path, error.to_string(), FETCH_AGAIN))?;
        let describe = |(name, place): (String, &Place)| {
            (name, TensorInfo { shape: place.shape.clone(), dtype: place.dtype.to_string() })
        };
        let tensors = metadata.tensors().into_iter().map(describe).collect();
        let checksums = Checksums::of(path, &metadata)?;
        let data_start = LENGTH_BYTES + header;
        Ok(SafetensorsFile { path: path.to_path_buf(), map, metadata, data_start, tensors, checksums })
    }

    /// The text under `key` in the header.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.metadata.metadata().as_ref()?.get(key).map(String::as_str)
    }
}

impl TensorFile for SafetensorsFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        let place = self.metadata.info(name).map(|info| info.data_offsets);
        let bytes =
            place.and_then(|(start, end)| self.map.get(self.data_start + start..self.data_start + end));
        let missing = || Error::file(&self.path, format!("tensor {name} is missing"), FETCH_AGAIN);
        let bytes = bytes.ok_or_else(missing)?;
        self.checksums.check(&self.path, name, bytes)?;
        Ok(Cow::Borrowed(bytes))
    }
}

/// One tensor to be written.
pub(super) struct Entry<'a> {
    pub name: &'a str,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Little-endian elements.
    pub bytes: &'a [u8],
}

/// Writes the tensors in the order given, with one text in the header and the checksums of all; whole or not at all.
/// The same tensors and text give the same bytes.
pub(super) fn write(path: &Path, text: (&str, String), entries: &[Entry<'_>]) -> Result<()> {
    let mut end = 0;
    let mut place = |entry: &Entry<'_>| {
        let start = end;
        end += entry.bytes.len();
        let shape = entry.shape.clone();
        (entry.name.to_owned(), Place { dtype: entry.dtype, shape, data_offsets: (start, end) })
    };
    let places: Vec<(String, Place)> = entries.iter().map(&mut place).collect();
    let broken = |problem: String| Error::file(path, problem, "this is a defect of trm; nothing was written");
    let metadata = Metadata::new(Some(HashMap::from([(text.0.to_owned(), text.1)])), places)
        .map_err(|error| broken(error.to_string()))?;
    let tensors = entries.iter().map(|entry| (entry.name, entry.bytes));
    let mut header = checksums::header(&metadata, tensors).map_err(|error| broken(error.to_string()))?;
    header.resize(header.len().next_multiple_of(LENGTH_BYTES), b' ');
    files::write_atomic_with(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        entries.iter().try_for_each(|entry| file.write_all(entry.bytes))
    })
}
