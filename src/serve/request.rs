//! The body of `POST /solve`: puzzles, and how they are to be thought about.

use serde_json::{Map, Value};

use crate::eval::{Select, Wishes};

const FORM: &str = "expected {\"puzzles\": [...]}";
/// What may stand beside the puzzles.
const NAMES: &str = "rollouts, augment, noise, random_states, select, steps and seed";

/// What is asked.
pub struct Body {
    /// Each by itself, so that one that cannot be used does not spoil the others.
    pub puzzles: Vec<Value>,
    /// How all of them are thought about.
    pub wishes: Wishes,
}

impl Body {
    /// Reads it; else says what is wrong with it.
    pub fn read(text: &[u8]) -> Result<Body, String> {
        let body = serde_json::from_slice(text).map_err(|error| {
            let problem = error.to_string().replace("recursion limit exceeded", "nested too deeply");
            format!("no JSON that can be read: {problem}; {FORM}")
        })?;
        let mut body = match body {
            Value::Object(body) => body,
            other => return Err(format!("the body is {}; {FORM}", what(&other))),
        };
        let puzzles = match body.remove("puzzles") {
            Some(Value::Array(puzzles)) => puzzles,
            Some(other) => return Err(format!("puzzles: {}; {FORM}", what(&other))),
            None => return Err(format!("no puzzles; {FORM}")),
        };
        if puzzles.is_empty() {
            return Err(format!("no puzzles in the list; {FORM}"));
        }
        let wishes = wishes(&mut body)?;
        nothing_else(&body, &format!("beside puzzles there may be {NAMES}"))?;
        Ok(Body { puzzles, wishes })
    }
}

/// Refuses the first name that is left over, and says which there are.
pub fn nothing_else(left: &Map<String, Value>, known: &str) -> Result<(), String> {
    left.keys().next().map_or(Ok(()), |name| Err(format!("unknown: {}; {known}", quoted(name))))
}

/// The beginning of a text from outside.
fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

fn wishes(body: &mut Map<String, Value>) -> Result<Wishes, String> {
    Ok(Wishes {
        rollouts: whole(body, "rollouts")?,
        augment: whole(body, "augment")?,
        noise: deviation(body, "noise")?,
        random_states: deviation(body, "random_states")?,
        select: rule(body, "select")?,
        steps: whole(body, "steps")?,
        seed: whole(body, "seed")?,
    })
}

fn whole<T: TryFrom<u64>>(body: &mut Map<String, Value>, name: &str) -> Result<Option<T>, String> {
    let number = |value: &Value| T::try_from(value.as_u64()?).ok();
    take(body, name, "a whole number from 0 on", number)
}

fn deviation(body: &mut Map<String, Value>, name: &str) -> Result<Option<f32>, String> {
    take(body, name, "a standard deviation, as 0.1", |value| value.as_f64().map(|number| number as f32))
}

fn rule(body: &mut Map<String, Value>, name: &str) -> Result<Option<Select>, String> {
    let rules = format!("one of {}", Select::ALL.map(|select| quoted(select.name())).join(", "));
    take(body, name, &rules, |value| value.as_str()?.parse().ok())
}

/// What `read` makes of the value under a name, if there is one.
fn take<T>(
    body: &mut Map<String, Value>,
    name: &str,
    expected: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Option<T>, String> {
    let Some(value) = body.remove(name) else { return Ok(None) };
    let given = || value.as_str().map_or_else(|| what(&value), quoted);
    read(&value).map(Some).ok_or_else(|| format!("{name}: {}; expected {expected}", given()))
}

/// A value in words, numbers as they are.
fn what(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(_) => "a text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_another_shape_is_told_in_plain_words() {
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        for (text, expected) in [
            ("[]", "the body is a list; expected {"),
            ("7", "the body is 7; "),
            ("\"1...\"", "the body is a text; "),
            ("null", "the body is null; "),
            ("{}", "no puzzles; "),
            ("{\"puzzles\": 5}", "puzzles: 5; "),
            ("{\"puzzles\": {\"a\": 1}}", "puzzles: an object; "),
            ("{\"puzzles\": []}", "no puzzles in the list; "),
            ("{\"puzzles\": [", "no JSON that can be read: EOF while parsing"),
            (&deep, "no JSON that can be read: nested too deeply"),
            ("{\"puzzles\": [1], \"more\": 1}", "unknown: \"more\"; "),
            ("{\"puzzles\": [1], \"rollouts\": -1}", "rollouts: -1; expected a whole number"),
            ("{\"puzzles\": [1], \"steps\": 1.5}", "steps: 1.5; expected a whole number"),
            ("{\"puzzles\": [1], \"noise\": \"much\"}", "noise: \"much\"; expected a standard deviation"),
            (
                "{\"puzzles\": [1], \"select\": \"best\"}",
                "select: \"best\"; expected one of \"vote\", \"halt\", \"residual\", \"valid\"",
            ),
        ] {
            let said = Body::read(text.as_bytes()).err().unwrap_or_default();
            assert!(said.starts_with(expected), "{text}: {said}");
            assert!(!said.contains("struct") && !said.contains("u64") && !said.contains("::"), "{said}");
        }
        let text = br#"{"puzzles": [1, "2"], "rollouts": 4, "noise": 1, "select": "halt", "seed": 18446744073709551615}"#;
        let Body { puzzles, wishes } = Body::read(text).unwrap();
        let expected = Wishes {
            rollouts: Some(4),
            noise: Some(1.0),
            select: Some(Select::Halt),
            seed: Some(u64::MAX),
            ..Wishes::default()
        };
        assert_eq!((puzzles.len(), wishes), (2, expected));
    }
}
