//! Two runs side by side.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Measurement;
use crate::plan::Element;
use crate::{Error, Result, files};

const FIX: &str = "give a file with what a \"trm bench\" printed as JSON";

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
    /// The precisions of both runs where these differ and were left out of the keys to pair them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precisions: Option<[Element; 2]>,
    /// The devices of both runs where each is of one and these differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapters: Option<[String; 2]>,
}

/// What a card, one JSON document, has of them.
#[derive(Deserialize)]
struct Card {
    roofline: Part<Measurement>,
    steps: Part<Measurement>,
    kernels: Part<Kernels>,
}

#[derive(Deserialize)]
struct Part<T> {
    measured: Vec<T>,
}

#[derive(Deserialize)]
struct Kernels {
    measured: Vec<Measurement>,
}

/// The measurements of a file with one JSON object a line, as `trm bench --json` prints them, or of a card.
///
/// # Errors
/// [`Error::Io`] for an unreadable file, [`Error::File`] for a missing or empty one or with the line that is no
/// measurement.
pub fn read(path: &Path) -> Result<Vec<Measurement>> {
    let text = files::read_to_string(path).map_err(|error| error.or_missing(FIX))?;
    if let Ok(card) = serde_json::from_str::<Card>(&text) {
        let kernels = card.kernels.measured.into_iter().flat_map(|one| one.measured);
        return Ok(card.roofline.measured.into_iter().chain(card.steps.measured).chain(kernels).collect());
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed = lines.map(|(number, line)| {
        serde_json::from_str(line).map_err(|error| {
            let problem = format!("line {} is no measurement: {error}", number + 1);
            Error::file(path, problem, FIX)
        })
    });
    let measured: Vec<Measurement> = parsed.collect::<Result<_>>()?;
    if measured.is_empty() {
        return Err(Error::file(path, "holds no measurement", FIX));
    }
    Ok(measured)
}

/// Pairs two runs by key; where one has a key twice, its best counts. Where all of one run is in another precision than
/// all of the other, that part of the keys is left out, and the comparison says so.
pub fn compare(first: &[Measurement], second: &[Measurement]) -> Comparison {
    let precisions = precision(first).zip(precision(second)).map(|(first, second)| [first, second]);
    let precisions = precisions.filter(|[first, second]| first != second);
    let adapters = adapter(first).zip(adapter(second)).map(|(first, second)| [first, second]);
    let adapters = adapters.filter(|[first, second]| first != second);
    let (first, second) = (best(first, precisions.is_some()), best(second, precisions.is_some()));
    let pairs: Vec<Pair> = first
        .iter()
        .filter_map(|(key, &first)| {
            let second = *second.get(key)?;
            Some(Pair { key: key.clone(), first, second, speedup: first / second })
        })
        .collect();
    let alone = |one: &BTreeMap<String, f64>, other: &BTreeMap<String, f64>| -> Vec<String> {
        one.keys().filter(|key| !other.contains_key(*key)).cloned().collect()
    };
    let logs: f64 = pairs.iter().map(|pair| pair.speedup.ln()).sum();
    let mean_speedup = if pairs.is_empty() { 0.0 } else { (logs / pairs.len() as f64).exp() };
    let unpaired = [alone(&first, &second), alone(&second, &first)].concat();
    Comparison { mean_speedup, pairs, unpaired, precisions, adapters }
}

/// The halves that a part of a key names.
fn halves(part: &str) -> Option<Element> {
    part.parse().ok().filter(|element| *element != Element::F32)
}

/// The one precision of a run, limits of devices left out, which have none; None where there are several.
fn precision(measured: &[Measurement]) -> Option<Element> {
    let of_steps = measured.iter().filter(|one| !one.key.starts_with("roofline/"));
    let mut found = of_steps.map(|one| one.key.split('/').find_map(halves).unwrap_or(Element::F32));
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

/// The one device of a run; None where there are several.
fn adapter(measured: &[Measurement]) -> Option<String> {
    let first = &measured.first()?.origin.adapter;
    measured.iter().all(|one| one.origin.adapter == *first).then(|| first.clone())
}

fn best(measured: &[Measurement], any_precision: bool) -> BTreeMap<String, f64> {
    let mut best = BTreeMap::<String, f64>::new();
    for one in measured {
        let parts = one.key.split('/').filter(|part| !any_precision || halves(part).is_none());
        let known = best.entry(parts.collect::<Vec<_>>().join("/")).or_insert(one.seconds);
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
    fn runs_in_two_precisions_are_paired_by_the_rest_of_the_key() {
        let whole = run(&[("step/r/B8/S81/eval", 2.0), ("roofline/copy", 1.0)]);
        let halves = run(&[("step/r/B8/S81/bf16/eval", 1.0), ("roofline/copy", 1.0)]);
        let compared = compare(&whole, &halves);
        let speedups: Vec<_> = compared.pairs.iter().map(|pair| (pair.key.as_str(), pair.speedup)).collect();
        assert_eq!(speedups, [("roofline/copy", 1.0), ("step/r/B8/S81/eval", 2.0)]);
        assert_eq!(compared.precisions, Some([Element::F32, Element::Bf16]));
        // A run of both is paired key by key.
        let both = [whole.clone(), halves].concat();
        let compared = compare(&whole, &both);
        assert_eq!((compared.pairs.len(), compared.precisions), (2, None));
        assert_eq!(compared.unpaired, ["step/r/B8/S81/bf16/eval"]);
    }

    #[test]
    fn devices_that_differ_are_told() {
        let on = |adapter: &str| {
            let mut run = run(&[("a", 1.0)]);
            run[0].origin.adapter = adapter.into();
            run
        };
        assert_eq!(compare(&on("one"), &on("one")).adapters, None);
        let named = Some(["one".to_owned(), "two".to_owned()]);
        assert_eq!(compare(&on("one"), &on("two")).adapters, named);
        let both = [on("one"), on("two")].concat();
        assert_eq!(compare(&on("one"), &both).adapters, None);
    }

    #[test]
    fn a_line_comes_back_as_it_was() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let measured = run(&[("a", 0.25)]);
        std::fs::write(file.path(), serde_json::to_string(&measured[0]).unwrap() + "\n\n").unwrap();
        assert_eq!(read(file.path()).unwrap(), measured);
        std::fs::write(file.path(), "{}\n").unwrap();
        assert!(read(file.path()).unwrap_err().to_string().contains("line 1"));
        std::fs::write(file.path(), "\n").unwrap();
        assert!(read(file.path()).unwrap_err().to_string().contains("holds no measurement"));
    }
}
