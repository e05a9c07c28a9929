//! Puzzles in JSON: an object with a question or an array of puzzles, in a line or in a whole text, become lines as people
//! paste them.

use std::borrow::Cow;

use serde_json::Value;

use super::table::{ANSWER, QUESTION};

/// A line with its number, from 1 on.
pub(super) type Line<'t> = (usize, Cow<'t, str>);

/// The lines of a text, those of JSON as what they hold.
pub(super) fn lines(text: &str) -> Vec<Line<'_>> {
    if let Some(texts) = texts(text) {
        let mut rest = text;
        return texts.iter().flat_map(|puzzle| placed(text, &mut rest, puzzle)).collect();
    }
    let held = |(number, line)| match texts(line) {
        None => vec![(number, Cow::Borrowed(line))],
        Some(texts) => {
            let lines = texts.iter().flat_map(|text| text.lines().map(str::to_owned));
            lines.map(|line| (number, Cow::Owned(line))).collect()
        }
    };
    (1..).zip(text.lines()).flat_map(held).collect()
}

/// The lines of a puzzle that a whole text holds, with the number of the one where it stands; of cells in arrays that is
/// where the puzzle before it stood.
fn placed(text: &str, rest: &mut &str, puzzle: &str) -> Vec<Line<'static>> {
    let first = puzzle.lines().next().unwrap_or_default().split(',').next().unwrap_or_default();
    if let Some(at) = rest.find(first) {
        *rest = &rest[at..];
    }
    let number = 1 + text[..text.len() - rest.len()].matches('\n').count();
    *rest = rest.get(first.len()..).filter(|_| rest.starts_with(first)).unwrap_or(rest);
    puzzle.lines().map(|line| (number, Cow::Owned(line.to_owned()))).collect()
}

/// The puzzles that JSON holds; none where `text` is something else, or holds none.
pub(super) fn texts(text: &str) -> Option<Vec<String>> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let value: Value =
        if text.starts_with(['{', '[']) { serde_json::from_str(text).ok()? } else { return None };
    Some(puzzles(&value)).filter(|texts| !texts.is_empty())
}

fn puzzles(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => {
            cells(list).map_or_else(|| list.iter().flat_map(puzzles).collect(), |one| vec![one])
        }
        // Tasks of ARC are grids, too.
        Value::Object(keys) if keys.contains_key("train") => Vec::new(),
        Value::Object(keys) => {
            let named = |names: &[&str]| {
                names.iter().find_map(|name| {
                    keys.iter().find(|(key, _)| key.to_lowercase() == *name).map(|(_, value)| puzzles(value))
                })
            };
            let Some(mut question) = named(&QUESTION) else {
                return keys.values().filter(|value| !value.is_string()).flat_map(puzzles).collect();
            };
            // Beside a puzzle in one line there is room for its answer.
            if let ([one], Some([answer])) = (&mut question[..], named(&ANSWER).as_deref())
                && !one.contains('\n')
            {
                *one += &format!(",{answer}");
            }
            question
        }
        _ => Vec::new(),
    }
}

/// All cells of a grid in a line: a list of cells, or of rows of as many cells.
fn cells(list: &[Value]) -> Option<String> {
    let cell = |value: &Value| match value {
        Value::Null => Some('.'),
        Value::Number(number) => {
            number.as_u64().and_then(|digit| char::from_digit(u32::try_from(digit).ok()?, 10))
        }
        Value::String(text) if text.trim().is_empty() => Some('.'),
        Value::String(text) => text.chars().next().filter(|_| text.chars().count() == 1),
        _ => None,
    };
    let row = |value: &Value| {
        let row = value.as_array().filter(|row| row.len() == list.len())?;
        row.iter().map(cell).collect::<Option<String>>()
    };
    let all: Option<String> = list.iter().map(cell).collect();
    all.or_else(|| list.iter().map(row).collect()).filter(|cells| !cells.is_empty())
}
