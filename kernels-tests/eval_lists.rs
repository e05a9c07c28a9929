//! Accuracy by list and by clues: counts that are right, whatever was selected and done.

use std::fs;
use std::sync::Arc;

use libtest_mimic::Trial;
use serde_json::Value;
use trm::data::sudoku::Shape;
use trm::data::{Dataset, Split};
use trm::eval::{Breakdown, Outcome, Selection};

use crate::cli::{Outcome as Tested, Workshop, check, succeed};
use crate::data::{folder, refused, trials};
use crate::data_lists::build;
use crate::data_sudoku::read;

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let parts = trials("eval_lists", &[("parts_are_counted", parts_are_counted)]);
    let command = Trial::test("eval_lists::the_command_says_the_parts", command);
    parts.into_iter().chain([command]).collect()
}

fn parts_are_counted() {
    let dir = folder();
    build(dir.path(), "set", |_| ()).unwrap();
    let out = dir.path().join("set");
    let dataset = Arc::new(Dataset::open(&out, Split::Test).unwrap());
    let clues: Vec<usize> =
        read(&out, Split::Test, Shape::ALL[2]).iter().map(|puzzle| puzzle.question.clues()).collect();
    let outcome = |exact: bool| Some(Outcome { accuracy: if exact { 1.0 } else { 0.5 }, exact, valid: None });
    let outcomes = [outcome(true), outcome(false), None, outcome(true), outcome(true), outcome(false)];
    let of =
        |selection: &Selection, outcomes: &[Option<Outcome>]| Breakdown::of(&dataset, selection, outcomes);
    let all = of(&Selection::all(&dataset), &outcomes).unwrap().unwrap();
    let lists = |breakdown: &Breakdown| -> Vec<(String, usize, usize, f64)> {
        let part = |part: &trm::eval::OfList| {
            (part.list.clone(), part.share.samples, part.share.exact, part.share.accuracy)
        };
        breakdown.by_list.iter().map(part).collect()
    };
    // Of the first list are four.
    assert_eq!(lists(&all), [("first".into(), 3, 2, 2.5 / 3.0), ("second".into(), 2, 1, 0.75)]);
    assert_eq!(all.by_list[1].share.exact_accuracy, 0.5);
    for part in &all.by_clues {
        let own = || clues.iter().zip(&outcomes).filter(|(clues, _)| **clues == part.clues);
        let done = own().filter(|(_, outcome)| outcome.is_some()).count();
        let exact = own().filter(|(_, outcome)| outcome.is_some_and(|outcome| outcome.exact)).count();
        assert_eq!((part.share.samples, part.share.exact), (done, exact), "{} clues", part.clues);
    }
    assert_eq!(all.by_clues.iter().map(|part| part.share.samples).sum::<usize>(), 5);

    let some = Selection::at(&dataset, &[1, 5]).unwrap();
    let some = of(&some, &[outcome(true), outcome(false)]).unwrap().unwrap();
    assert_eq!(lists(&some), [("first".into(), 1, 1, 1.0), ("second".into(), 1, 0, 0.5)]);
    let later = of(&Selection::at(&dataset, &[4]).unwrap(), &[outcome(true)]).unwrap().unwrap();
    assert_eq!(lists(&later), [("second".into(), 1, 1, 1.0)], "a list without samples is left out");

    let file = out.join("test/lists.json");
    fs::write(&file, r#"{"lists":[{"name":"a","examples":5}]}"#).unwrap();
    let parts = ["lists.json: counts 5 examples, the split has 6", "build the data set anew"];
    refused(of(&Selection::all(&dataset), &outcomes), &parts);
    fs::remove_file(&file).unwrap();
    let unnamed = of(&Selection::all(&dataset), &outcomes).unwrap().unwrap();
    assert_eq!((unnamed.by_list.len(), unnamed.by_clues), (0, all.by_clues));
}

fn command() -> Tested {
    let workshop = Workshop::new()?;
    workshop.train("run", 2)?;
    let args = ["eval", "--device", "cpu", "--run", &workshop.path("run"), "--data", &workshop.path("data")];
    let found: Value = serde_json::from_str(&succeed(&[&args[..], &["--json"]].concat())?)?;
    let parts: Vec<Value> = found["by_clues"].as_array().cloned().unwrap_or_default();
    let sum = |key: &str| parts.iter().filter_map(|part| part[key].as_u64()).sum::<u64>();
    let exact = found["exact_accuracy"].as_f64().unwrap_or_default() * 6.0;
    check(sum("samples") == 6 && (sum("exact") as f64 - exact).abs() < 1e-6, || found.to_string())?;
    check(found.get("by_list").is_none(), || found.to_string())?;
    let text = succeed(&args)?;
    let heading = text.lines().any(|line| {
        line.split_whitespace().collect::<Vec<_>>()
            == ["clues", "samples", "exact", "exact", "accuracy", "accuracy"]
    });
    check(heading, || text)
}
