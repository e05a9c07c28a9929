//! NumPy's `.npy` arrays of integers: read row by row, streamed for writing.
//!
//! An [`Array`] has one or two dimensions and holds u8, i32 or i64 (the authors' builder leaves augmented Sudoku
//! as i64); rows are converted to i32 as they are read. A [`Stream`] is told its rows one by one and
//! writes the header last, when their number is known: the reason why it is not the library's writer, which
//! needs the shape of a matrix in advance.

use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use npyz::{DType, NpyHeader, Order};

use rayon::prelude::*;

use crate::files::Pieces;
use crate::text::counted;
use crate::{Error, Result};

/// What to do about a broken data set.
pub(super) const REBUILD: &str = "rebuild the data set with \"trm data\"";

const HEADER_BYTES: usize = 128;
/// The longest header that is read; NumPy's first version cannot have a longer one.
const MOST_HEADER_BYTES: u64 = 1 << 16;
/// Bytes converted at once.
const PIECE: usize = 4096;
/// Elements looked at by one thread at once.
const BLOCK: usize = 1 << 16;
const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    U8,
    I32,
    I64,
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Element::U8 => 1,
            Element::I32 => 4,
            Element::I64 => 8,
        }
    }
}

/// A matrix (rows, columns) of integers on disk; a vector has one column.
#[derive(Debug)]
pub(super) struct Array {
    pieces: Pieces,
    data_start: u64,
    element: Element,
    rows: usize,
    columns: usize,
}

impl Array {
    /// Opens the file and checks its header and length; `dimensions` is 1 or 2.
    pub fn open(path: &Path, dimensions: usize) -> Result<Array> {
        let broken = |problem: String| Error::file(path, problem, REBUILD);
        if !path.is_file() {
            return Err(broken("no such file".to_owned()));
        }
        let pieces = Pieces::open(path)?;
        let mut start = vec![0; pieces.bytes().min(MOST_HEADER_BYTES) as usize];
        pieces.read(0, &mut start)?;
        let mut rest: &[u8] = &start;
        let header =
            NpyHeader::from_reader(&mut rest).map_err(|error| broken(format!("no .npy file ({error})")))?;
        let data_start = (start.len() - rest.len()) as u64;
        let data_bytes = pieces.bytes() - data_start;
        let element = element(&header).map_err(broken)?;
        let shape = header.shape();
        if shape.len() != dimensions {
            return Err(broken(format!("shape {shape:?}, expected {}", counted(dimensions, "dimension"))));
        }
        if header.order() == Order::Fortran && dimensions > 1 {
            return Err(broken("Fortran order, expected C order (rows one after the other)".into()));
        }
        let promised = shape.iter().try_fold(element.bytes() as u64, |bytes, &size| bytes.checked_mul(size));
        if promised.is_none_or(|promised| promised > data_bytes) {
            return Err(broken(format!("truncated: {data_bytes} bytes of data, shape {shape:?} needs more")));
        }
        let size = |dimension: usize| shape.get(dimension).map_or(1, |&size| size as usize);
        let (rows, columns) = (size(0), size(1));
        Ok(Array { pieces, data_start, element, rows, columns })
    }

    pub fn path(&self) -> &Path {
        self.pieces.path()
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Copies row `row` to `out` (columns); an i64 beyond i32 becomes `i32::MIN`, which no check lets pass.
    ///
    /// # Errors
    /// [`Error::Failed`] where the file was cut short since it was opened.
    pub fn read_row(&self, row: usize, out: &mut [i32]) -> Result<()> {
        self.read(row * self.columns, out)
    }

    /// The whole vector, for the small index arrays.
    pub fn to_vec(&self) -> Result<Vec<i32>> {
        let mut values = vec![0; self.rows * self.columns];
        self.read(0, &mut values)?;
        Ok(values)
    }

    /// (row, column, value) of the first element that is not `fine`, if there is one.
    pub fn first_not(&self, fine: impl Fn(i32) -> bool + Sync) -> Result<Option<(usize, usize, i32)>> {
        let elements = self.rows * self.columns;
        let search = |first: usize| {
            let mut values = vec![0; BLOCK.min(elements - first)];
            if let Err(error) = self.read(first, &mut values) {
                return Some(Err(error));
            }
            let at = values.iter().position(|&value| !fine(value))?;
            Some(Ok(((first + at) / self.columns, (first + at) % self.columns, values[at])))
        };
        (0..elements.div_ceil(BLOCK))
            .into_par_iter()
            .find_map_first(|block| search(block * BLOCK))
            .transpose()
    }

    fn read(&self, first: usize, out: &mut [i32]) -> Result<()> {
        let size = self.element.bytes();
        let mut buffer = [0; PIECE];
        for (index, out) in out.chunks_mut(PIECE / size).enumerate() {
            let bytes = &mut buffer[..out.len() * size];
            let element = first + index * (PIECE / size);
            self.pieces.read(self.data_start + (element * size) as u64, bytes)?;
            self.convert(bytes, out);
        }
        Ok(())
    }

    fn convert(&self, bytes: &[u8], out: &mut [i32]) {
        match self.element {
            Element::U8 => out.iter_mut().zip(bytes).for_each(|(out, &byte)| *out = i32::from(byte)),
            Element::I32 => {
                let words = bytes.as_chunks::<4>().0;
                out.iter_mut().zip(words).for_each(|(out, &word)| *out = i32::from_le_bytes(word));
            }
            Element::I64 => {
                let words = bytes.as_chunks::<8>().0;
                let narrow = |word| i32::try_from(i64::from_le_bytes(word)).unwrap_or(i32::MIN);
                out.iter_mut().zip(words).for_each(|(out, &word)| *out = narrow(word));
            }
        }
    }
}

fn element(header: &NpyHeader) -> std::result::Result<Element, String> {
    let dtype = header.dtype();
    let name = match &dtype {
        DType::Plain(name) => name.to_string(),
        other => other.descr(),
    };
    match name.trim_start_matches(['|', '<']) {
        "u1" => Ok(Element::U8),
        "i4" => Ok(Element::I32),
        "i8" => Ok(Element::I64),
        _ => Err(format!("dtype {name}, expected |u1 (u8), <i4 (i32) or <i8 (i64)")),
    }
}

/// Writes the rows of all `arrays`, matrices of as many columns, one after the other: as u8 where all are, or else as i32.
///
/// # Errors
/// [`Error::Io`], and [`Error::Failed`] for one that was cut short since it was opened.
pub(super) fn concatenate(arrays: &[Array], path: PathBuf) -> Result<()> {
    let columns = arrays.first().map_or(0, Array::columns);
    let bytes = arrays.iter().all(|array| array.element == Element::U8);
    let mut out = Stream::create(path, if bytes { "|u1" } else { "<i4" }, Some(columns))?;
    let (mut values, mut narrow) = (vec![0; columns], vec![0; columns]);
    for array in arrays {
        for row in 0..array.rows() {
            array.read_row(row, &mut values)?;
            if bytes {
                narrow.iter_mut().zip(&values).for_each(|(byte, &value)| *byte = value as u8);
                out.append(&narrow)?;
            } else {
                values.iter_mut().for_each(|value| *value = value.to_le());
                out.append(bytemuck::cast_slice(&values))?;
            }
        }
    }
    out.finish()
}

/// An array written row by row in bounded memory.
pub(super) struct Stream {
    path: PathBuf,
    file: BufWriter<File>,
    descr: &'static str,
    columns: Option<usize>,
    rows: usize,
}

impl Stream {
    /// A u8 matrix of `columns` columns.
    pub fn matrix(path: PathBuf, columns: usize) -> Result<Stream> {
        Stream::create(path, "|u1", Some(columns))
    }

    /// An i32 vector.
    pub fn vector(path: PathBuf) -> Result<Stream> {
        Stream::create(path, "<i4", None)
    }

    fn create(path: PathBuf, descr: &'static str, columns: Option<usize>) -> Result<Stream> {
        let mut file = BufWriter::new(File::create_new(&path).map_err(Error::io(&path))?);
        file.write_all(&[0; HEADER_BYTES]).map_err(Error::io(&path))?;
        Ok(Stream { path, file, descr, columns, rows: 0 })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Appends one row of a matrix.
    pub fn row(&mut self, row: &[u8]) -> Result<()> {
        if self.columns != Some(row.len()) {
            let columns = self.columns.unwrap_or(1);
            let problem = format!("row {} has {} tokens, expected {columns}", self.rows, row.len());
            return Err(Error::file(&self.path, problem, "give every example the same length"));
        }
        self.append(row)
    }

    /// Appends one element of a vector.
    pub fn value(&mut self, value: i32) -> Result<()> {
        self.append(&value.to_le_bytes())
    }

    /// Appends a count, which the layout stores as i32.
    pub fn count(&mut self, count: usize) -> Result<()> {
        let limit = |_| {
            Error::file(&self.path, format!("{count} rows, the layout's limit is 2^31 - 1"), "build fewer")
        };
        let count = i32::try_from(count).map_err(limit)?;
        self.value(count)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.rows += 1;
        self.file.write_all(bytes).map_err(Error::io(&self.path))
    }

    /// Puts the header in front and flushes.
    pub fn finish(mut self) -> Result<()> {
        let shape = match self.columns {
            Some(columns) => format!("({}, {columns})", self.rows),
            None => format!("({},)", self.rows),
        };
        let text = format!("{{'descr': '{}', 'fortran_order': False, 'shape': {shape}, }}", self.descr);
        let text_bytes = HEADER_BYTES - MAGIC.len() - 2;
        let mut header = MAGIC.to_vec();
        header.extend((text_bytes as u16).to_le_bytes());
        header.extend(format!("{text:<width$}\n", width = text_bytes - 1).bytes());
        let written =
            self.file.rewind().and_then(|()| self.file.write_all(&header)).and_then(|()| self.file.flush());
        written.map_err(Error::io(&self.path))
    }
}
