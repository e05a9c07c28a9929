//! Checksums (CRC-32) of a safetensors file, kept in its own header: one of each tensor's bytes, and one of what the
//! header says. A file of another program has none and is read as it is.

use std::collections::BTreeMap;
use std::path::Path;

use crc32fast::Hasher;
use safetensors::tensor::{Metadata, TensorInfo as Place};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Where they stand among the texts of the header.
const KEY: &str = "trm_crc32";
const FIX: &str = "the disk or a copy has changed it: take another checkpoint, or a good copy of this file";

/// Of the header and of each tensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Checksums {
    /// Of its other texts and of the tensors' names, types, shapes and places; none in a file without checksums.
    header: Option<u32>,
    tensors: BTreeMap<String, u32>,
}

impl Checksums {
    /// Reads them and checks the header.
    pub fn of(path: &Path, metadata: &Metadata) -> Result<Checksums> {
        let text = metadata.metadata().as_ref().and_then(|texts| texts.get(KEY));
        let Some(text) = text else { return Ok(Checksums::default()) };
        let checksums: Checksums =
            serde_json::from_str(text).map_err(|_| Error::file(path, "its checksums are damaged", FIX))?;
        match checksums.header == Some(of_header(metadata)) {
            true => Ok(checksums),
            false => Err(Error::file(path, "its header is damaged: the checksum differs", FIX)),
        }
    }

    /// Refuses the bytes of a tensor that are not those that were written.
    pub fn check(&self, path: &Path, name: &str, bytes: &[u8]) -> Result<()> {
        let differs = self.header.is_some() && self.tensors.get(name) != Some(&crc32fast::hash(bytes));
        match differs {
            true => Err(Error::file(path, format!("tensor {name} is damaged: its checksum differs"), FIX)),
            false => Ok(()),
        }
    }
}

/// The header's JSON: `metadata` with the checksums of all tensors added, keys in a fixed order.
pub(super) fn header<'a>(
    metadata: &Metadata,
    tensors: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Header<'a> {
        #[serde(rename = "__metadata__")]
        texts: BTreeMap<&'a str, &'a str>,
        #[serde(flatten)]
        places: BTreeMap<String, &'a Place>,
    }
    let tensors = tensors.map(|(name, bytes)| (name.to_owned(), crc32fast::hash(bytes))).collect();
    let checksums = serde_json::to_string(&Checksums { header: Some(of_header(metadata)), tensors })?;
    let mut texts = texts_of(metadata);
    texts.insert(KEY, &checksums);
    serde_json::to_vec(&Header { texts, places: places_of(metadata) })
}

fn of_header(metadata: &Metadata) -> u32 {
    let mut checksum = Hasher::new();
    let mut add = |part: &str| {
        checksum.update(&(part.len() as u64).to_le_bytes());
        checksum.update(part.as_bytes());
    };
    for (key, text) in texts_of(metadata) {
        add(key);
        add(text);
    }
    for (name, place) in places_of(metadata) {
        add(&name);
        add(&format!("{:?}", (place.dtype, &place.shape, place.data_offsets)));
    }
    checksum.finalize()
}

/// The texts but the checksums themselves.
fn texts_of(metadata: &Metadata) -> BTreeMap<&str, &str> {
    let texts = metadata.metadata().iter().flatten();
    texts.map(|(key, text)| (key.as_str(), text.as_str())).filter(|(key, _)| *key != KEY).collect()
}

fn places_of(metadata: &Metadata) -> BTreeMap<String, &Place> {
    metadata.tensors().into_iter().collect()
}
