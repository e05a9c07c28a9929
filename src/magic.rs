//! What a file is by its first bytes.

/// Enough of a file's beginning to tell.
pub(crate) const HEAD_BYTES: usize = 16;

/// How a zip archive begins, as `torch.save` writes them.
const ZIP: &[u8] = b"PK\x03\x04";
/// What follows a pickle's protocol where `torch.save` of PyTorch before 1.6 began with its number,
/// 0x1950a86a20f9469cfc6c.
const OLD_TORCH: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// How files begin that hold no text, or in some other way than as UTF-8.
const WRAPPED: [(&[u8], &str); 10] = [
    (ZIP, "is a zip archive"),
    (b"\x1f\x8b", "is packed by gzip"),
    (b"PAR1", "is a Parquet file"),
    (b"\xfd7zXZ", "is packed by xz"),
    (b"BZh", "is packed by bzip2"),
    (b"\x28\xb5\x2f\xfd", "is packed by zstd"),
    (b"\xff\xfe", "is UTF-16 text"),
    (b"\xfe\xff", "is UTF-16 text"),
    (b"\x93NUMPY", "is an array of NumPy"),
    (b"\x89PNG", "is a picture"),
];

/// Why a file that begins so is no UTF-8 text, where that can be said of the beginning.
pub(crate) fn wrapping(head: &[u8]) -> Option<&'static str> {
    if is_old_torch(head) {
        return Some("is a checkpoint of PyTorch");
    }
    let known = WRAPPED.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, what)| *what);
    known.or_else(|| head.contains(&0).then_some("is binary: it holds zero bytes, which no text does"))
}

/// Whether a file that begins so is what `torch.save` writes, now or before PyTorch 1.6.
pub(crate) fn is_torch(head: &[u8]) -> bool {
    head.starts_with(ZIP) || is_old_torch(head)
}

/// Whether a file that begins so was written by `torch.save` before PyTorch 1.6, or as then.
pub(crate) fn is_old_torch(head: &[u8]) -> bool {
    head.first() == Some(&0x80) && head.get(2..).is_some_and(|rest| rest.starts_with(OLD_TORCH))
}
