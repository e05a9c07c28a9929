//! References in YAML files, as Hydra writes and resolves them: `${.hidden_size}` is the key beside, `${..lr}` one in the
//! table around, `${arch.num_heads}` one from the top on.

use std::collections::BTreeMap;

use serde_json::Value;

/// References that lead to references.
const MOST_HOPS: usize = 16;

/// The text with every reference in it replaced by the value that it leads to.
///
/// # Errors
/// The key with a reference that leads to no plain value.
pub(super) fn resolve(text: &str, root: &Value) -> Result<String, String> {
    let mut values = BTreeMap::new();
    collect(root, root, &mut Vec::new(), &mut values)?;
    Ok(values.into_iter().fold(text.to_owned(), |text, (reference, value)| text.replace(&reference, &value)))
}

fn collect<'a>(
    root: &Value,
    value: &'a Value,
    place: &mut Vec<&'a str>,
    values: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    match value {
        Value::Object(table) => table.iter().try_for_each(|(key, value)| {
            place.push(key);
            collect(root, value, place, values)?;
            place.pop();
            Ok(())
        }),
        Value::Array(list) => list.iter().try_for_each(|value| collect(root, value, place, values)),
        Value::String(text) => references(text).try_for_each(|reference| {
            let found = follow(root, place, reference, MOST_HOPS);
            let found = found.ok_or_else(|| format!("{}: {reference} leads to no value", place.join(".")))?;
            // The same words at two places may mean two keys.
            match values.insert(reference.to_owned(), found.clone()) {
                Some(other) if other != found => {
                    Err(format!("{reference} is {other} at one place and {found} at another"))
                }
                _ => Ok(()),
            }
        }),
        _ => Ok(()),
    }
}

/// Everything of the form `${...}`.
fn references(text: &str) -> impl Iterator<Item = &str> {
    let starts = text.match_indices("${").map(|(start, _)| start);
    starts.filter_map(move |start| text[start..].find('}').map(|end| &text[start..=start + end]))
}

/// The plain value behind a reference that stands at `place`.
fn follow(root: &Value, place: &[&str], reference: &str, hops: usize) -> Option<String> {
    let path = reference.strip_prefix("${")?.strip_suffix('}')?.trim();
    let keys = path.trim_start_matches('.');
    let dots = path.len() - keys.len();
    let start = if dots == 0 { 0 } else { place.len().checked_sub(dots)? };
    let whole: Vec<&str> = place[..start].iter().copied().chain(keys.split('.')).collect();
    match whole.iter().try_fold(root, |value, key| value.get(key))? {
        Value::String(text) if references(text).next() == Some(text) => {
            hops.checked_sub(1).and_then(|hops| follow(root, &whole, text, hops))
        }
        Value::String(text) if text.contains("${") => None,
        Value::String(text) => Some(text.clone()),
        Value::Null => Some("null".to_owned()),
        Value::Object(_) | Value::Array(_) => None,
        plain => Some(plain.to_string()),
    }
}
