//! From a file to its text: gzip and byte order mark taken off, other wrappings named.

use std::fs::File;
use std::io::{self, BufReader, Cursor, ErrorKind, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::{Error, Result, magic};

/// Enough for the first lines of any table.
const HEAD_BYTES: u64 = 1 << 16;
/// No puzzle comes near; a file without line ends must not fill memory.
const LONGEST_LINE: usize = 1 << 22;

const GZIP: &[u8] = b"\x1f\x8b";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The text of a file.
pub(in crate::data) struct Text {
    /// Its first bytes.
    pub head: Vec<u8>,
    /// All of it.
    pub all: Box<dyn Read + Send>,
}

pub(in crate::data) fn text(path: &Path) -> Result<Text> {
    let file = File::open(path).map_err(Error::io(path));
    let mut raw = file.map_err(|error| error.or_missing("give a CSV file or a list of puzzles"))?;
    let start = take(&mut raw, GZIP.len() as u64).map_err(Error::io(path))?;
    let packed = start == GZIP;
    let raw = Cursor::new(start).chain(raw);
    let mut text: Box<dyn Read + Send> =
        if packed { Box::new(MultiGzDecoder::new(BufReader::new(raw))) } else { Box::new(raw) };
    let mut head = take(&mut text, HEAD_BYTES).map_err(Error::io(path))?;
    if let Some(problem) = magic::wrapping(&head) {
        let problem = format!("{problem}, expected a table or a list of puzzles");
        return Err(Error::file(path, problem, "unpack it, or save it as a CSV file in UTF-8"));
    }
    if head.starts_with(BYTE_ORDER_MARK) {
        head.drain(..BYTE_ORDER_MARK.len());
    }
    // With an end to the last line, too.
    let inner = Cursor::new(head.clone()).chain(text).chain(&b"\n"[..]);
    let all = Box::new(Lines { inner, length: 0, after_return: false });
    Ok(Text { head, all })
}

/// Whether a file is packed with gzip.
pub(in crate::data) fn is_packed(path: &Path) -> Result<bool> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    Ok(take(&mut file, GZIP.len() as u64).map_err(Error::io(path))? == GZIP)
}

fn take(reader: &mut impl Read, bytes: u64) -> io::Result<Vec<u8>> {
    let mut taken = Vec::new();
    reader.take(bytes).read_to_end(&mut taken)?;
    Ok(taken)
}

/// The one of comma, semicolon and tab that the first line has most of.
pub(in crate::data) fn separator(head: &[u8], comments: bool) -> u8 {
    let mut lines = head.split(|byte| b"\r\n".contains(byte)).map(<[u8]>::trim_ascii);
    let silent = |line: &&[u8]| line.is_empty() || (comments && line.starts_with(b"#"));
    let first = lines.find(|line| !silent(line)).unwrap_or_default();
    let count = |separator: &u8| first.iter().filter(|byte| *byte == separator).count();
    // The last of equals is taken: a comma where there is none of them.
    [b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',')
}

/// Text whose lines end as on Unix, wherever it was written; lines without an end are refused.
struct Lines<R> {
    inner: R,
    /// Bytes since the last line ended.
    length: usize,
    after_return: bool,
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.inner.read(buffer)?;
            let mut kept = 0;
            for at in 0..count {
                let byte = buffer[at];
                let second = std::mem::replace(&mut self.after_return, byte == b'\r') && byte == b'\n';
                if !second {
                    buffer[kept] = if byte == b'\r' { b'\n' } else { byte };
                    self.length = if buffer[kept] == b'\n' { 0 } else { self.length + 1 };
                    kept += 1;
                }
            }
            if self.length > LONGEST_LINE {
                let problem = format!("has a line of more than {LONGEST_LINE} bytes");
                return Err(io::Error::new(ErrorKind::InvalidData, problem));
            }
            // Nothing is the end; what was but the second half of a line's end is not.
            if kept > 0 || count == 0 {
                return Ok(kept);
            }
        }
    }
}
