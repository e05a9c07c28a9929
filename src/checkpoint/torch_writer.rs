//! The file that `torch.save` writes for a dict of tensors: a zip archive, nothing compressed, of a pickle that
//! rebuilds the tensors, and one entry of raw bytes per tensor.
//!
//! The pickle (protocol 2) names nothing but what `torch.load(..., weights_only=True)` allows. Byte order, version
//! and alignment are the release's; times are left out, so that the same tensors give the same file.

use std::borrow::Cow;
use std::io::Write;
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::{Result, files};

/// The archive's folder; `torch.save` takes the file's name, `torch.load` any.
const ROOT: &str = "archive";
/// PyTorch aligns tensors so that they can be memory-mapped.
const ALIGNMENT_BYTES: u16 = 64;

/// One tensor to be written, contiguous.
pub(super) struct TorchTensor<'a> {
    /// Its key in the dict.
    pub name: String,
    pub shape: &'a [usize],
    /// The class of its storage in `torch`: FloatStorage, BFloat16Storage.
    pub storage: &'static str,
    /// Little-endian elements.
    pub bytes: Cow<'a, [u8]>,
}

/// Writes `path`, whole or not at all.
pub(super) fn write_torch(path: &Path, tensors: &[TorchTensor<'_>]) -> Result<()> {
    let pickle = pickle(tensors);
    files::write_atomic_with(path, |file| {
        let mut archive = ZipWriter::new(file);
        let mut entry = |name: &str, bytes: &[u8]| {
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Stored)
                .with_alignment(ALIGNMENT_BYTES)
                .large_file(u32::try_from(bytes.len()).is_err());
            archive.start_file(format!("{ROOT}/{name}"), options)?;
            archive.write_all(bytes)
        };
        entry("data.pkl", &pickle)?;
        entry("byteorder", b"little")?;
        for (key, tensor) in tensors.iter().enumerate() {
            entry(&format!("data/{key}"), &tensor.bytes)?;
        }
        entry("version", b"3\n")?;
        archive.finish()?;
        Ok(())
    })
}

/// `OrderedDict` of name to tensor, as instructions for Python's unpickler.
fn pickle(tensors: &[TorchTensor<'_>]) -> Vec<u8> {
    let mut pickle = Pickle(vec![0x80, 2]);
    pickle.empty_ordered_dict();
    pickle.mark();
    for (key, tensor) in tensors.iter().enumerate() {
        pickle.text(&tensor.name);
        pickle.tensor(key, tensor);
    }
    pickle.0.extend(b"u.");
    pickle.0
}

/// Instructions written so far.
struct Pickle(Vec<u8>);

impl Pickle {
    fn mark(&mut self) {
        self.0.push(b'(');
    }

    /// A tuple of all since the last mark.
    fn tuple(&mut self) {
        self.0.push(b't');
    }

    fn global(&mut self, module: &str, name: &str) {
        self.0.extend(format!("c{module}\n{name}\n").bytes());
    }

    fn text(&mut self, text: &str) {
        self.0.push(b'X');
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.bytes());
    }

    /// A long integer of eight bytes, whose last is 0 for every size there is: so it is positive.
    fn size(&mut self, value: usize) {
        self.0.extend([0x8a, 8]);
        self.0.extend((value as u64).to_le_bytes());
    }

    fn sizes(&mut self, values: &[usize]) {
        self.mark();
        values.iter().for_each(|&value| self.size(value));
        self.tuple();
    }

    fn empty_ordered_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.0.extend(b")R");
    }

    /// `_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, backward_hooks)`.
    fn tensor(&mut self, key: usize, tensor: &TorchTensor<'_>) {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.mark();
        self.storage(key, tensor);
        self.size(0);
        self.sizes(tensor.shape);
        self.sizes(&strides(tensor.shape));
        self.0.push(0x89);
        self.empty_ordered_dict();
        self.tuple();
        self.0.push(b'R');
    }

    /// The persistent id `("storage", class, key, device, elements)`, resolved by `torch.load`.
    fn storage(&mut self, key: usize, tensor: &TorchTensor<'_>) {
        self.mark();
        self.text("storage");
        self.global("torch", tensor.storage);
        self.text(&key.to_string());
        self.text("cpu");
        self.size(tensor.shape.iter().product());
        self.tuple();
        self.0.push(b'Q');
    }
}

/// Elements from one index to the next, in each dimension of a contiguous tensor.
fn strides(shape: &[usize]) -> Vec<usize> {
    (1..=shape.len()).map(|after| shape[after..].iter().product()).collect()
}
