//! Two runs side by side.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::Measurement;
use crate::{Error, Result, files};

/// What two runs say of one thing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// What was measured.
    pub key: String,
    /// Seconds in the first run.
    pub first: f64,
    /// Seconds in the second.
    pub second: f64,
    /// How many times faster the second is.
    pub speedup: f64,
}

/// Pairs of two runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// By key.
    pub pairs: Vec<Pair>,
    /// Geometric mean of the speed-ups; 0 without pairs.
    pub mean_speedup: f64,
    /// Keys of one run only.
    pub unpaired: Vec<String>,
}

/// The measurements of a file with one JSON object a line, as `trm bench --json` prints them.
///
/// # Errors
/// [`Error::Io`] for an unreadable file, [`Error::File`] with the line that is no measurement.
pub fn read(path: &Path) -> Result<Vec<Measurement>> {
    let text = files::read_to_string(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed = lines.map(|(number, line)| {
        serde_json::from_str(line).map_err(|error| {
            let problem = format!("line {} is no measurement: {error}", number + 1);
            Error::file(path, problem, "give a file that \"trm bench --json\" printed")
        })
    });
    parsed.collect()
}

/// Pairs two runs by key; where one has a key twice, its best counts.
pub fn compare(first: &[Measurement], second: &[Measurement]) -> Comparison {
    let (first, second) = (best(first), best(second));
    let pairs: Vec<Pair> = first
        .iter()
        .filter_map(|(key, &first)| {
            let second = *second.get(key)?;
            Some(Pair { key: (*key).to_owned(), first, second, speedup: first / second })
        })
        .collect();
    let alone = |one: &BTreeMap<&str, f64>, other: &BTreeMap<&str, f64>| -> Vec<String> {
        one.keys().filter(|key| !other.contains_key(*key)).map(|key| (*key).to_owned()).collect()
    };
    let logs: f64 = pairs.iter().map(|pair| pair.speedup.ln()).sum();
    let mean_speedup = if pairs.is_empty() { 0.0 } else { (logs / pairs.len() as f64).exp() };
    Comparison { mean_speedup, pairs, unpaired: [alone(&first, &second), alone(&second, &first)].concat() }
}

fn best(measured: &[Measurement]) -> BTreeMap<&str, f64> {
    let mut best = BTreeMap::<&str, f64>::new();
    for one in measured {
        let known = best.entry(&one.key).or_insert(one.seconds);
        *known = known.min(one.seconds);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(times: &[(&str, f64)]) -> Vec<Measurement> {
        let one = |&(key, seconds): &(&str, f64)| Measurement {
            key: key.into(),
            seconds,
            ..Measurement::default()
        };
        times.iter().map(one).collect()
    }

    #[test]
    fn runs_are_paired_by_key() {
        let compared = compare(&run(&[("a", 2.0), ("b", 1.0), ("c", 1.0)]), &run(&[("b", 4.0), ("a", 0.5)]));
        assert_eq!(compared.pairs.iter().map(|pair| pair.speedup).collect::<Vec<_>>(), [4.0, 0.25]);
        assert!((compared.mean_speedup - 1.0).abs() < 1e-12);
        assert_eq!(compared.unpaired, ["c"]);
    }

    #[test]
    fn a_line_comes_back_as_it_was() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let measured = run(&[("a", 0.25)]);
        std::fs::write(file.path(), serde_json::to_string(&measured[0]).unwrap() + "\n\n").unwrap();
        assert_eq!(read(file.path()).unwrap(), measured);
        std::fs::write(file.path(), "{}\n").unwrap();
        assert!(read(file.path()).unwrap_err().to_string().contains("line 1"));
    }
}
