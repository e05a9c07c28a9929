//! The words of an own task and their tokens.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::read::Cell;
use crate::{Error, Result, files};

/// The list of words by token, in the folder of a data set.
pub const VOCABULARY_FILE: &str = "vocabulary.json";

/// How padding is called in that list.
const PADDING: &str = "<pad>";
/// Tokens are stored in a byte, 0 is padding.
const MOST_WORDS: usize = 255;

/// Whether a folder holds the data set of an own task.
pub(in crate::data) fn is_own(data: &Path) -> bool {
    data.join(VOCABULARY_FILE).is_file()
}

/// Words, the first of which is token 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<String>", try_from = "Vec<String>")]
pub struct Words {
    words: Vec<String>,
    tokens: HashMap<String, u8>,
}

impl From<Words> for Vec<String> {
    fn from(words: Words) -> Vec<String> {
        words.words
    }
}

impl TryFrom<Vec<String>> for Words {
    type Error = Error;

    fn try_from(words: Vec<String>) -> Result<Words> {
        Words::of(words)
    }
}

impl Words {
    /// Words as they are typed: separated by commas, `0..9` for all numbers in between, a single item for its
    /// characters; or the name of a file with one a line.
    ///
    /// # Errors
    /// [`Error::Usage`] for no words, too many, or one that comes twice.
    pub fn parse(text: &str) -> Result<Words> {
        let path = Path::new(text);
        if path.is_file() {
            let lines = files::read_to_string(path)?;
            return Words::of(
                lines.lines().map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned),
            );
        }
        let items: Vec<&str> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
        let range = |item: &str| {
            let (first, last) = item.split_once("..")?;
            let (first, last) = (first.parse::<i64>().ok()?, last.parse::<i64>().ok()?);
            // One more than there can be is enough to be refused.
            Some((first..=last).take(MOST_WORDS + 1).map(|number| number.to_string()).collect::<Vec<_>>())
        };
        let words: Vec<String> = match items.as_slice() {
            [item] if range(item).is_none() => item.chars().map(String::from).collect(),
            items => items
                .iter()
                .flat_map(|item| range(item).unwrap_or_else(|| vec![(*item).to_owned()]))
                .collect(),
        };
        Words::of(words)
    }

    /// The words of rows: numbers by their size, then the others in order.
    ///
    /// # Errors
    /// [`Error::Usage`] for no words, or too many.
    pub(super) fn found<'a>(words: impl Iterator<Item = &'a str>) -> Result<Words> {
        let words: BTreeSet<(i64, &str)> =
            words.map(|word| (word.parse().unwrap_or(i64::MAX), word)).collect();
        Words::of(words.into_iter().map(|(_, word)| word.to_owned()))
    }

    fn of(words: impl IntoIterator<Item = String>) -> Result<Words> {
        let refuse = |problem: String, fix: &str| Err(Error::usage("vocab", problem, fix));
        let words: Vec<String> = words.into_iter().take(MOST_WORDS + 1).collect();
        if words.is_empty() {
            return refuse("has no words".to_owned(), "give some, as 0..9 or a,b,c");
        }
        if words.len() > MOST_WORDS {
            return refuse(format!("has more than {MOST_WORDS} words"), "use fewer: a token is a byte");
        }
        let mut tokens = HashMap::new();
        for (word, token) in words.iter().zip(1..) {
            if tokens.insert(word.clone(), token).is_some() {
                return refuse(format!("has \"{word}\" twice"), "give each word once");
            }
        }
        Ok(Words { words, tokens })
    }

    /// Reads `vocabulary.json` of a data set; none where it has none.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is no list of words, [`Error::Io`] if the system refuses to read.
    pub fn load(data: &Path) -> Result<Option<Words>> {
        let path = data.join(VOCABULARY_FILE);
        if !is_own(data) {
            return Ok(None);
        }
        let fix = "build the data set anew";
        let words: Vec<String> = files::read_json(&path, fix)?;
        let words = Words::of(words.into_iter().skip(1));
        words.map(Some).map_err(|error| Error::file(path, error.to_string(), fix))
    }

    pub(super) fn save(&self, data: &Path) -> Result<()> {
        let path = data.join(VOCABULARY_FILE);
        let words: Vec<&str> =
            std::iter::once(PADDING).chain(self.words.iter().map(String::as_str)).collect();
        let json = serde_json::to_vec(&words).map_err(|error| Error::io(&path)(error.into()))?;
        files::write_atomic(&path, &json)
    }

    /// All words, in the order of their tokens.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// How many tokens there are, padding included.
    pub fn vocab_size(&self) -> usize {
        self.words.len() + 1
    }

    pub(super) fn token(&self, word: &str) -> Option<u8> {
        self.tokens.get(word).copied()
    }

    /// The tokens of words with spaces between them; without any, of what is no word itself, a token for each character.
    ///
    /// # Errors
    /// Which word is unknown.
    pub fn tokens(&self, text: &str) -> std::result::Result<Vec<i32>, String> {
        self.tokens_of(Cell::Text(text.to_owned()))
    }

    pub(super) fn tokens_of(&self, cell: Cell) -> std::result::Result<Vec<i32>, String> {
        let token = |word: &String| {
            let known =
                self.token(word).ok_or_else(|| format!("{word:?} is none of the {} words", self.words.len()));
            known.map(i32::from)
        };
        cell.words(|word| self.token(word).is_some()).iter().map(token).collect()
    }

    /// Tokens as words with spaces between them; padding at the end is left out, elsewhere it is a `_`.
    pub fn text(&self, tokens: &[i32]) -> String {
        let word = |token: &i32| {
            let at = usize::try_from(*token).ok().and_then(|token| token.checked_sub(1));
            at.and_then(|at| self.words.get(at)).map_or("_", String::as_str)
        };
        let end = tokens.iter().rposition(|token| *token > 0).map_or(0, |last| last + 1);
        tokens[..end].iter().map(word).collect::<Vec<_>>().join(" ")
    }
}
