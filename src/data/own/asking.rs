//! Questions line by line: in words, or as rows of a table as `trm data table` takes them, whose labels are then known.

use super::dialogue::Dialogue;
use super::read::{Cell, IGNORED, INPUTS, LABELS, json_row};
use crate::data::IGNORE_LABEL;
use crate::data::table::separator;

/// Reads questions out of the lines of a text.
#[derive(Default)]
pub struct Asking {
    /// The columns of inputs and labels, once a header has named them.
    columns: Option<(usize, usize)>,
}

/// A question.
pub struct Asked {
    /// (S) tokens.
    pub inputs: Vec<i32>,
    /// (S) tokens of the right answer where it is given, [`IGNORE_LABEL`] where nothing is asked for.
    pub labels: Option<Vec<i32>>,
}

impl Asking {
    /// What a line asks; nothing where it is empty or a header.
    ///
    /// # Errors
    /// Which word is unknown, or how many there are too many.
    pub fn line(&mut self, dialogue: &Dialogue, text: &str) -> Option<Result<Asked, String>> {
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            return None;
        }
        if text.starts_with('{') {
            let row = json_row(text).map_err(|error| format!("is no row of JSON: {error}"));
            return Some(row.and_then(|(inputs, labels)| asked(dialogue, inputs, labels)));
        }
        let fields = fields(text);
        let named = |names: &[&str]| fields.iter().position(|field| names.contains(&&*field.to_lowercase()));
        if let (Some(inputs), Some(labels)) = (named(&INPUTS), named(&LABELS)) {
            self.columns = Some((inputs, labels));
            return None;
        }
        let whole = asked(dialogue, Cell::Text(text.to_owned()), None);
        // Separators may be words.
        let (inputs, labels) = match self.columns {
            None if whole.is_ok() || fields.len() < 2 => return Some(whole),
            columns => columns.unwrap_or((0, 1)),
        };
        let cell = |at: usize| fields.get(at).filter(|field| !field.is_empty()).cloned().map(Cell::Text);
        let row = cell(inputs).ok_or_else(|| "has no inputs".to_owned());
        Some(row.and_then(|row| asked(dialogue, row, cell(labels))))
    }
}

fn asked(dialogue: &Dialogue, inputs: Cell, labels: Option<Cell>) -> Result<Asked, String> {
    let label = |word: &str| match dialogue.words().token(word) {
        None if word == IGNORED => Some(IGNORE_LABEL),
        token => token.map(i32::from),
    };
    let labels = labels.map(|labels| {
        let words = labels.words(|word| label(word).is_some());
        let tokens: Option<Vec<i32>> = words.iter().map(|word| label(word)).collect();
        let mut tokens = tokens.ok_or("has labels that are none of the words")?;
        tokens.resize(dialogue.seq_len().max(tokens.len()), IGNORE_LABEL);
        Ok::<_, String>(tokens)
    });
    Ok(Asked { inputs: dialogue.tokens(inputs)?, labels: labels.transpose()? })
}

/// The fields of a line of CSV.
fn fields(line: &str) -> Vec<String> {
    let mut reader = csv::ReaderBuilder::new();
    reader.delimiter(separator(line.as_bytes(), false)).has_headers(false);
    let record = reader.from_reader(line.as_bytes()).into_records().next().and_then(Result::ok);
    record.iter().flatten().map(|field| field.trim().to_owned()).collect()
}
