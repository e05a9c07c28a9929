//! The keys of a recipe and the kinds of their values, as the first built-in recipe declares them.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{BUILT_IN, SEE, parse};
use crate::text::one_line;
use crate::{Error, Result};

/// Largest size of anything in a model; products of a few of them still fit 64 bits.
const LARGEST_SIZE: i64 = 65_536;

/// Jaro-Winkler likeness below which nobody can have meant a key.
const LEAST_LIKENESS: f64 = 0.75;

/// All values that are no tables, by dotted key.
pub(crate) fn leaves(table: &Table) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => leaves
                .extend(self::leaves(inner).into_iter().map(|(rest, leaf)| (format!("{key}.{rest}"), leaf))),
            leaf => {
                leaves.insert(key.clone(), leaf.clone());
            }
        }
    }
    leaves
}

/// Every key that a recipe has, with an example of its value.
pub(super) fn declared() -> Result<BTreeMap<String, Value>> {
    let (name, text) = BUILT_IN[0];
    Ok(leaves(&parse(name, text)?))
}

/// Gives an older recipe the keys that came later, with the values that compute what its run did.
pub(super) fn complete(table: &mut Table) {
    if let Some(Value::Table(arch)) = table.get_mut("arch") {
        for key in ["random_init", "damping", "noise"] {
            arch.entry(key).or_insert_with(|| 0.0.into());
        }
    }
    if let Some(Value::Table(train)) = table.get_mut("train") {
        train.entry("augment").or_insert_with(|| false.into());
        train.entry("optimizer").or_insert_with(|| "adam_atan2".into());
        train.entry("label_smoothing").or_insert_with(|| 0.0.into());
        train.entry("curriculum").or_insert_with(|| 0.0.into());
        train.entry("precision").or_insert_with(|| "f32".into());
        train.entry("recompute").or_insert_with(|| false.into());
        train.entry("eval_examples").or_insert_with(|| 0.into());
        train.entry("eval_halt").or_insert_with(|| false.into());
        train.entry("micro_batch").or_insert_with(|| 0.into());
        train.entry("max_submission_ms").or_insert_with(|| 250.into());
        train.entry("checkpoint_minutes").or_insert_with(|| 10.0.into());
        train.entry("keep").or_insert_with(|| 3.into());
        train.entry("on_divergence").or_insert_with(|| "stop".into());
    }
}

pub(super) fn check_keys(found: &BTreeMap<String, Value>, declared: &BTreeMap<String, Value>) -> Result<()> {
    for (key, value) in found {
        let example = declared.get(key).ok_or_else(|| unknown(key, declared.keys()))?;
        check_value(key, value, example)?;
    }
    match declared.iter().find(|(key, _)| !found.contains_key(*key)) {
        Some((key, example)) => {
            let fix = format!("add it, as in the recipe sudoku-mlp: {example}");
            Err(Error::recipe(key, "is missing", fix))
        }
        None => Ok(()),
    }
}

/// The nearest known key is one of a similar name, wherever it is, as `lr` for `train.lr`.
fn unknown<'a>(key: &str, known: impl Iterator<Item = &'a String>) -> Error {
    let name = |key: &'a str| key.rsplit('.').next().unwrap_or(key);
    let own_name = key.rsplit('.').next().unwrap_or(key);
    // Sections, which many keys share, tell only equal names apart.
    let likeness =
        |known: &'a str| (strsim::jaro_winkler(own_name, name(known)), strsim::jaro_winkler(key, known));
    let nearest = known.max_by(|a, b| {
        let (a, b) = (likeness(a), likeness(b));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    let nearest = nearest.filter(|known| likeness(known).0 >= LEAST_LIKENESS);
    let fix = nearest.map_or_else(|| SEE.to_owned(), |nearest| format!("did you mean {nearest}?"));
    Error::recipe(key, "is no key of a recipe", fix)
}

fn check_value(key: &str, value: &Value, example: &Value) -> Result<()> {
    let most = if key.starts_with("arch.") { LARGEST_SIZE } else { i64::MAX };
    let (fits, expected) = match (example, value) {
        (Value::Integer(_), Value::Integer(integer)) if (0..=most).contains(integer) => return Ok(()),
        (Value::Integer(_), _) => (false, format!("an integer from 0 to {most}")),
        (Value::Float(_), _) => (value.is_float() || value.is_integer(), "a number".to_owned()),
        (Value::Boolean(_), _) => (value.is_bool(), "true or false".to_owned()),
        _ => (value.is_str(), "a string".to_owned()),
    };
    let problem = || format!("is {}, expected {expected}", one_line(&value.to_string()));
    if fits { Ok(()) } else { Err(Error::recipe(key, problem(), format!("for example {example}"))) }
}

/// Refuses a string that is none of the names of `T`, listing them.
pub(super) fn check_choice<T: DeserializeOwned>(table: &Table, section: &str, key: &str) -> Result<()> {
    let value = table.get(section).and_then(|section| section.get(key)).cloned();
    match value.map(Value::try_into::<T>) {
        Some(Err(error)) => {
            let problem = one_line(error.message());
            Err(Error::recipe(format!("{section}.{key}"), problem, "choose one of these"))
        }
        _ => Ok(()),
    }
}
