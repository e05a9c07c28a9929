//! From a file to its text: gzip and byte order mark taken off, other wrappings named.

use std::fs::File;
use std::io::{self, BufReader, Cursor, ErrorKind, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::{Error, Result};

/// Enough for the first lines of any table.
const HEAD_BYTES: u64 = 1 << 16;
/// No puzzle comes near; a file without line ends must not fill memory.
const LONGEST_LINE: usize = 1 << 22;

const GZIP: &[u8] = b"\x1f\x8b";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// How files begin that hold a table in some other way.
const WRAPPED: [(&[u8], &str); 6] = [
    (b"PK\x03\x04", "is a zip archive"),
    (b"PAR1", "is a Parquet file"),
    (b"\xfd7zXZ", "is packed by xz"),
    (b"BZh", "is packed by bzip2"),
    (b"\x28\xb5\x2f\xfd", "is packed by zstd"),
    (b"\xff\xfe", "is UTF-16 text"),
];

/// The text of a file.
pub(super) struct Text {
    /// Its first bytes.
    pub head: Vec<u8>,
    /// All of it.
    pub all: Box<dyn Read + Send>,
}

pub(super) fn text(path: &Path) -> Result<Text> {
    let file = File::open(path).map_err(Error::io(path));
    let mut raw = file.map_err(|error| error.or_missing("name a CSV file or a list of puzzles"))?;
    let start = take(&mut raw, GZIP.len() as u64).map_err(Error::io(path))?;
    let packed = start == GZIP;
    let raw = Cursor::new(start).chain(raw);
    let mut text: Box<dyn Read + Send> =
        if packed { Box::new(MultiGzDecoder::new(BufReader::new(raw))) } else { Box::new(raw) };
    let mut head = take(&mut text, HEAD_BYTES).map_err(Error::io(path))?;
    if let Some((_, problem)) = WRAPPED.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(Error::file(path, *problem, "unpack it, or save it as a CSV file in UTF-8"));
    }
    if head.starts_with(BYTE_ORDER_MARK) {
        head.drain(..BYTE_ORDER_MARK.len());
    }
    let all = Box::new(ShortLines { inner: Cursor::new(head.clone()).chain(text), length: 0 });
    Ok(Text { head, all })
}

fn take(reader: &mut impl Read, bytes: u64) -> io::Result<Vec<u8>> {
    let mut taken = Vec::new();
    reader.take(bytes).read_to_end(&mut taken)?;
    Ok(taken)
}

/// The one of comma, semicolon and tab that the first line has most of.
pub(super) fn separator(head: &[u8], comments: bool) -> u8 {
    let lines = head.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let mut told = lines.filter(|line| !line.is_empty() && !(comments && line.starts_with(b"#")));
    let first = told.next().unwrap_or_default();
    let count = |separator: &u8| first.iter().filter(|byte| *byte == separator).count();
    // The last of equals is taken: a comma where there is none of them.
    [b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',')
}

/// Refuses text whose lines have no end.
struct ShortLines<R> {
    inner: R,
    /// Bytes since the last line ended.
    length: usize,
}

impl<R: Read> Read for ShortLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.length = match buffer[..count].iter().rposition(|&byte| byte == b'\n') {
            Some(end) => count - end - 1,
            None => self.length + count,
        };
        if self.length > LONGEST_LINE {
            let problem = format!("has a line of more than {LONGEST_LINE} bytes");
            return Err(io::Error::new(ErrorKind::InvalidData, problem));
        }
        Ok(count)
    }
}
