//! The answers to a test split, kept for other programs: one `.npz` file, which numpy loads.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;

use npyz::{AutoSerialize, WriterBuilder};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::stream::Look;
use crate::{Result, files};

/// The last answer to each sample of a selection.
pub struct SavedAnswers {
    seq_len: usize,
    /// Places of the samples in the test split.
    places: Vec<usize>,
    answers: Vec<Option<Answer>>,
}

struct Answer {
    identifier: i32,
    tokens: Tokens,
    q_halt: f32,
    steps: i32,
}

/// Bytes where every token is one: a test split of ARC has hundreds of millions of them.
enum Tokens {
    Bytes(Box<[u8]>),
    Words(Box<[i32]>),
}

impl SavedAnswers {
    /// Nothing yet, for the samples at `places` of a test split; `seq_len` is S.
    pub fn of(places: &[usize], seq_len: usize) -> SavedAnswers {
        let places = places.to_vec();
        let answers = places.iter().map(|_| None).collect();
        SavedAnswers { seq_len, places, answers }
    }

    /// Keeps an answer; of those to the same sample the last.
    pub fn keep(&mut self, look: Look<'_>) {
        let bytes: Option<Box<[u8]>> =
            look.predictions.iter().map(|&token| u8::try_from(token).ok()).collect();
        let tokens = bytes.map_or_else(|| Tokens::Words(look.predictions.into()), Tokens::Bytes);
        let (identifier, q_halt, steps) = (look.identifier, look.q_halt, look.step as i32);
        if let Some(place) = self.answers.get_mut(look.index) {
            *place = Some(Answer { identifier, tokens, q_halt, steps });
        }
    }

    /// Writes the samples that were answered (N) to `path`, whole or not at all: `examples` (N, i64) their places in the
    /// test split, `puzzle_identifiers` (N, i32), `predictions` (N, S; u8, or i32 where a token is none), `q_halt` (N, f32)
    /// and `steps` (N, i32), the supervision steps that were taken.
    ///
    /// # Errors
    /// [`crate::Error::Io`] if the disk refuses, [`crate::Error::File`] for a folder that is not there.
    pub fn write(&self, path: &Path) -> Result<()> {
        let answered =
            || self.answers.iter().zip(&self.places).filter_map(|(a, place)| Some((a.as_ref()?, *place)));
        let count = answered().count() as u64;
        let whole = [count, self.seq_len as u64];
        let bytes = answered().all(|(answer, _)| matches!(answer.tokens, Tokens::Bytes(_)));
        files::write_atomic_with(path, |file| {
            let mut archive = ZipWriter::new(file);
            array(&mut archive, "examples", &[count], answered().map(|(_, place)| place as i64))?;
            array(
                &mut archive,
                "puzzle_identifiers",
                &[count],
                answered().map(|(answer, _)| answer.identifier),
            )?;
            if bytes {
                array(
                    &mut archive,
                    "predictions",
                    &whole,
                    answered().flat_map(|(answer, _)| answer.tokens.bytes()),
                )?;
            } else {
                array(
                    &mut archive,
                    "predictions",
                    &whole,
                    answered().flat_map(|(answer, _)| answer.tokens.words()),
                )?;
            }
            array(&mut archive, "q_halt", &[count], answered().map(|(answer, _)| answer.q_halt))?;
            array(&mut archive, "steps", &[count], answered().map(|(answer, _)| answer.steps))?;
            archive.finish()?;
            Ok(())
        })
    }
}

impl Tokens {
    fn words(&self) -> Box<dyn Iterator<Item = i32> + '_> {
        match self {
            Tokens::Bytes(bytes) => Box::new(bytes.iter().map(|&token| i32::from(token))),
            Tokens::Words(words) => Box::new(words.iter().copied()),
        }
    }

    /// As they are where they are bytes.
    fn bytes(&self) -> impl Iterator<Item = u8> + '_ {
        self.words().map(|token| token as u8)
    }
}

/// One array of an archive; `values` in the order of C.
fn array<T: AutoSerialize>(
    archive: &mut ZipWriter<impl Write + io::Seek>,
    name: impl Display,
    shape: &[u64],
    values: impl Iterator<Item = T>,
) -> io::Result<()> {
    // Arrays of ARC may pass 4 GiB.
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
    archive.start_file(format!("{name}.npy"), options)?;
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(archive).begin_nd()?;
    writer.extend(values)?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::*;
    use crate::model::Metrics;

    fn look<'a>(index: usize, step: usize, predictions: &'a [i32]) -> Look<'a> {
        let (last, identifier, q_halt) = (true, 7 + index as i32, 0.5 - index as f32);
        let (residual, stats) = (0.0, Metrics::default());
        Look { index, step, last, inputs: &[], labels: &[], identifier, predictions, q_halt, residual, stats }
    }

    /// The numbers of an array and its shape.
    fn read<T: npyz::Deserialize>(path: &Path, name: &str) -> (Vec<T>, Vec<u64>) {
        let mut archive = zip::ZipArchive::new(File::open(path).unwrap()).unwrap();
        let mut bytes = Vec::new();
        archive.by_name(&format!("{name}.npy")).unwrap().read_to_end(&mut bytes).unwrap();
        let array = npyz::NpyFile::new(&bytes[..]).unwrap();
        let shape = array.shape().to_vec();
        (array.into_vec().unwrap(), shape)
    }

    #[test]
    fn answers_are_read_back_without_those_that_are_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.npz");
        let mut answers = SavedAnswers::of(&[3, 5, 9], 2);
        answers.keep(look(2, 4, &[1, 255]));
        answers.keep(look(0, 1, &[9, 9]));
        answers.keep(look(0, 2, &[0, 3]));
        answers.write(&path).unwrap();
        assert_eq!(read::<i64>(&path, "examples"), (vec![3, 9], vec![2]));
        assert_eq!(read::<u8>(&path, "predictions"), (vec![0, 3, 1, 255], vec![2, 2]));
        assert_eq!(read::<i32>(&path, "puzzle_identifiers").0, [7, 9]);
        assert_eq!(read::<f32>(&path, "q_halt").0, [0.5, -1.5]);
        assert_eq!(read::<i32>(&path, "steps").0, [2, 4]);
        answers.keep(look(1, 1, &[256, 0]));
        answers.write(&path).unwrap();
        assert_eq!(read::<i32>(&path, "predictions"), (vec![0, 3, 256, 0, 1, 255], vec![3, 2]));
    }
}
