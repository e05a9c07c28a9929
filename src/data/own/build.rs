//! Builds the data set of an own task.
//!
//! Rows of the same puzzle id are the examples of one puzzle, which is a group of its own; without ids every row is a
//! puzzle with the blank identifier.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::read::{IGNORED, Row, read};
use super::vocabulary::Words;
use crate::data::table::{Repeats, Seen};
use crate::data::{Split, Vocabulary, Writer, write_identifiers};
use crate::files::OutputFolder;
use crate::{Error, Result};

const SET: &str = "all";
const BLANK: &str = "<blank>";
/// Padding, and the label that is ignored.
const PAD: u8 = 0;
/// No position is further away.
const LONGEST: usize = 1 << 20;

/// What to build.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder to write; it must not exist or be empty.
    pub out: PathBuf,
    /// The rows to learn from.
    pub train: PathBuf,
    /// The rows to measure on.
    pub test: PathBuf,
    /// The words; those of the training rows if not given.
    pub vocab: Option<Words>,
    /// S; the longest row of both files if not given.
    pub seq_len: Option<usize>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// S.
    pub seq_len: usize,
    /// Tokens, padding included.
    pub vocab_size: usize,
    /// The words of tokens 1, 2, ...
    pub words: Vec<String>,
    /// Identifiers, the blank one included.
    pub num_puzzle_identifiers: usize,
    /// The training split.
    pub train: SplitSummary,
    /// The test split.
    pub test: SplitSummary,
    /// What to tell of the files: puzzles that training lacks, rows that come again.
    pub notes: Vec<String>,
}

/// What was written of one split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SplitSummary {
    /// Rows.
    pub examples: usize,
    /// Puzzles, which are groups, too.
    pub puzzles: usize,
    /// Rows that the split has before.
    pub repeated: usize,
    /// Of the test split: rows that the training split has, too.
    pub also_in_train: usize,
}

/// A row in tokens.
pub(super) struct Example {
    /// Which row of its file it is.
    pub line: u64,
    pub inputs: Vec<u8>,
    pub labels: Vec<u8>,
    pub identifier: i32,
}

/// Writes the data set, whole or not at all.
///
/// # Errors
/// [`Error::File`] with the line for a row that cannot be used, [`Error::Usage`] for a vocabulary or length that does not
/// fit or an output folder in use, [`Error::Io`] if the system refuses.
pub fn build(options: &Options) -> Result<Summary> {
    let out = OutputFolder::create(&options.out)?;
    let (train, test) = (read(&options.train)?, read(&options.test)?);
    let (train, test, words) = match &options.vocab {
        Some(words) => {
            let is_word = |text: &str| words.token(text).is_some();
            (divided(train, is_word), divided(test, is_word), words.clone())
        }
        None => {
            // Where some texts have spaces, one without is a word.
            let spaced = train.iter().chain(&test).any(Row::has_spaces);
            let (train, test) = (divided(train, |_| spaced), divided(test, |_| spaced));
            let said = train.iter().flat_map(|row| row.inputs.iter().chain(&row.labels));
            let words = Words::found(said.map(String::as_str).filter(|word| *word != IGNORED))?;
            (train, test, words)
        }
    };
    let mut names = Names::default();
    let train = tokens(&options.train, train, &words, &mut names)?;
    let trained = names.names.len();
    let test = tokens(&options.test, test, &words, &mut names)?;
    let longest =
        train.iter().chain(&test).map(|row| row.inputs.len().max(row.labels.len())).max().unwrap_or(1);
    let seq_len = options.seq_len.unwrap_or(longest);
    if longest > seq_len || seq_len > LONGEST {
        let problem = format!("{seq_len}, the longest row has {longest} tokens");
        return Err(Error::usage("seq_len", problem, format!("give {longest} or more, at most {LONGEST}")));
    }
    let new = names.names.len() - trained;
    let unknown = (new > 0).then(|| {
        let test = options.test.display();
        format!("{test}: {new} puzzle ids are not in the training rows, so their embeddings are never learnt")
    });
    let (train, test) = ((options.train.as_path(), train), (options.test.as_path(), test));
    write(out, Rows { words, seq_len, names: names.names, train, test }, unknown.into_iter().collect())
}

/// All rows of a data set, and what they are made of.
pub(super) struct Rows<'a> {
    pub words: Words,
    pub seq_len: usize,
    /// Of identifiers 1, 2, ...
    pub names: Vec<String>,
    /// With what notes call them.
    pub train: (&'a Path, Vec<Example>),
    /// The same.
    pub test: (&'a Path, Vec<Example>),
}

/// Writes them, and adds to the notes which of them come again.
pub(super) fn write(out: OutputFolder, rows: Rows<'_>, mut notes: Vec<String>) -> Result<Summary> {
    let Rows { words, seq_len, names, train, test } = rows;
    let vocabulary = Vocabulary {
        pad_id: i32::from(PAD),
        ignore_label_id: Some(i32::from(PAD)),
        blank_identifier_id: 0,
        vocab_size: words.vocab_size(),
        num_puzzle_identifiers: names.len() + 1,
    };
    let mut seen = Seen::default();
    let mut split = |split, (path, rows)| {
        write_split(out.path(), (split, path), rows, seq_len, vocabulary.clone(), &mut seen, &mut notes)
    };
    let (train, test) = (split(Split::Train, train)?, split(Split::Test, test)?);
    write_identifiers(out.path(), std::iter::once(BLANK).chain(names.iter().map(String::as_str)))?;
    words.save(out.path())?;
    out.commit()?;
    let (vocab_size, num_puzzle_identifiers) = (vocabulary.vocab_size, vocabulary.num_puzzle_identifiers);
    let words = words.words().to_vec();
    Ok(Summary { seq_len, vocab_size, words, num_puzzle_identifiers, train, test, notes })
}

/// A row in words.
struct Divided {
    line: u64,
    inputs: Vec<String>,
    labels: Vec<String>,
    puzzle: Option<String>,
}

fn divided(rows: Vec<Row>, is_word: impl Fn(&str) -> bool) -> Vec<Divided> {
    let divide = |row: Row| Divided {
        line: row.line,
        inputs: row.inputs.words(&is_word),
        labels: row.labels.words(&is_word),
        puzzle: row.puzzle,
    };
    rows.into_iter().map(divide).collect()
}

/// Names of puzzles; the first is identifier 1.
#[derive(Default)]
struct Names {
    names: Vec<String>,
    identifiers: HashMap<String, i32>,
}

impl Names {
    fn identifier(&mut self, name: Option<String>) -> i32 {
        let Some(name) = name else { return 0 };
        *self.identifiers.entry(name).or_insert_with_key(|name| {
            self.names.push(name.clone());
            self.names.len() as i32
        })
    }
}

fn tokens(path: &Path, rows: Vec<Divided>, words: &Words, names: &mut Names) -> Result<Vec<Example>> {
    let token = |line: u64, word: &String| {
        words.token(word).ok_or_else(|| {
            let problem = format!("line {line}: \"{word}\" is none of the {} words", words.words().len());
            Error::file(path, problem, "add it to the vocabulary, or mend the line")
        })
    };
    let mut example = |row: Divided| {
        let label = |word: &String| match word.as_str() {
            IGNORED if words.token(IGNORED).is_none() => Ok(PAD),
            _ => token(row.line, word),
        };
        let inputs = row.inputs.iter().map(|word| token(row.line, word)).collect::<Result<Vec<u8>>>()?;
        let labels = row.labels.iter().map(label).collect::<Result<Vec<u8>>>()?;
        Ok(Example { line: row.line, inputs, labels, identifier: names.identifier(row.puzzle) })
    };
    rows.into_iter().map(&mut example).collect()
}

fn write_split(
    dir: &Path,
    (split, path): (Split, &Path),
    rows: Vec<Example>,
    seq_len: usize,
    vocabulary: Vocabulary,
    seen: &mut Seen,
    notes: &mut Vec<String>,
) -> Result<SplitSummary> {
    let mut repeats = Repeats::default();
    rows.iter().for_each(|row| seen.add(split, &(row.identifier, &row.inputs), row.line, &mut repeats));
    notes.extend(repeats.named.iter().map(|note| format!("{}: {note}", path.display())));
    let (mut writer, examples) = (Writer::create(dir, split, SET, seq_len)?, rows.len());
    let mut puzzles: Vec<(i32, Vec<Example>)> = Vec::new();
    let mut places: HashMap<i32, usize> = HashMap::new();
    for row in rows {
        let known = places.get(&row.identifier).filter(|_| row.identifier > 0);
        match known {
            Some(&place) => puzzles[place].1.push(row),
            None => {
                places.insert(row.identifier, puzzles.len());
                puzzles.push((row.identifier, vec![row]));
            }
        }
    }
    let padded = |tokens: &[u8]| [tokens, &vec![PAD; seq_len - tokens.len()]].concat();
    for (identifier, rows) in &puzzles {
        for row in rows {
            writer.example(&padded(&row.inputs), &padded(&row.labels))?;
        }
        writer.end_puzzle(*identifier)?;
        writer.end_group()?;
    }
    writer.finish(vocabulary)?;
    let Repeats { repeated, also_in_train, .. } = repeats;
    Ok(SplitSummary { examples, puzzles: puzzles.len(), repeated, also_in_train })
}
