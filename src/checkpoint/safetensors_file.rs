//! One safetensors file: read tensor by tensor, streamed for writing.
//!
//! The library checks and makes what is in the header; its own file writer is not used because it neither flushes to the
//! disk nor leaves the file readable to others, and because tables of gigabytes should not be held twice.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorInfo as Place};

use super::checksums::{self, Checksums};
use super::tensors::{TensorFile, TensorInfo};
use crate::files::{self, Pieces};
use crate::{Error, Result, magic};

/// The header's length comes first, as a u64.
const LENGTH_BYTES: usize = 8;
/// As in the library: no file of tensors comes near.
const MOST_HEADER_BYTES: u64 = 100_000_000;

const FETCH_AGAIN: &str = "the file is cut short or no safetensors file: fetch or save it again";

/// A file whose header was found to fit its length.
#[derive(Debug)]
pub(super) struct SafetensorsFile {
    pieces: Pieces,
    metadata: Metadata,
    data_start: u64,
    tensors: BTreeMap<String, TensorInfo>,
    checksums: Checksums,
}

impl SafetensorsFile {
    /// Opens `path` and checks its header against its length, and against its checksum where it has one. Those of
    /// tensors are checked when they are read.
    pub fn open(path: &Path) -> Result<SafetensorsFile> {
        let pieces = Pieces::open(path)?;
        if magic::is_torch(&pieces.head()?) {
            let problem = "is a checkpoint of PyTorch, expected safetensors";
            return Err(Error::file(path, problem, "make weights of it with \"trm import\""));
        }
        SafetensorsFile::of(pieces)
    }

    /// The same of a file that is open.
    pub fn of(pieces: Pieces) -> Result<SafetensorsFile> {
        let broken = |problem: String| Error::file(pieces.path(), problem, FETCH_AGAIN);
        let room = pieces.bytes().checked_sub(LENGTH_BYTES as u64);
        let room =
            room.ok_or_else(|| broken(format!("has {} bytes, fewer than any header", pieces.bytes())))?;
        let mut length = [0; LENGTH_BYTES];
        pieces.read(0, &mut length)?;
        let length = u64::from_le_bytes(length);
        if length > room.min(MOST_HEADER_BYTES) {
            return Err(broken(format!(
                "its header is to have {length} bytes, the file has {}",
                pieces.bytes()
            )));
        }
        let mut header = vec![0; length as usize];
        pieces.read(LENGTH_BYTES as u64, &mut header)?;
        let metadata: Metadata =
            serde_json::from_slice(&header).map_err(|error| broken(error.to_string()))?;
        if metadata.data_len() as u64 != room - length {
            let (promised, found) = (metadata.data_len(), room - length);
            return Err(broken(format!("its tensors have {promised} bytes, the file has {found} of them")));
        }
        let describe = |(name, place): (String, &Place)| {
            (name, TensorInfo { shape: place.shape.clone(), dtype: place.dtype.to_string() })
        };
        let tensors = metadata.tensors().into_iter().map(describe).collect();
        let checksums = Checksums::of(pieces.path(), &metadata)?;
        let data_start = LENGTH_BYTES as u64 + length;
        Ok(SafetensorsFile { pieces, metadata, data_start, tensors, checksums })
    }

    /// The text under `key` in the header.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.metadata.metadata().as_ref()?.get(key).map(String::as_str)
    }
}

impl TensorFile for SafetensorsFile {
    fn path(&self) -> &Path {
        self.pieces.path()
    }

    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        let missing = || Error::file(self.path(), format!("tensor {name} is missing"), FETCH_AGAIN);
        let (start, end) = self.metadata.info(name).map(|info| info.data_offsets).ok_or_else(missing)?;
        let mut bytes = vec![0; end - start];
        self.pieces.read(self.data_start + start as u64, &mut bytes)?;
        self.checksums.check(self.path(), name, &bytes)?;
        Ok(Cow::Owned(bytes))
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
    let broken =
        |problem: String| Error::failed(path, problem, "this is a defect of trm; nothing was written");
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
