//! Data sets joined into one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libtest_mimic::Trial;
use serde_json::Value;
use trm::data::arc::{self, Identifiers, OnDuplicate, Votes};
use trm::data::inspect::inspect;
use trm::data::join::{Summary, Training, join};
use trm::data::own::{self, Words};
use trm::data::sudoku::{GenerateOptions, build_generated};
use trm::data::{Batch, Dataset, Metadata, OnInvalid, Origin, Sampler, Split, read_origins};
use trm::eval::{Breakdown, Outcome, Selection};

use crate::data::{folder, refused, trials};
use crate::data_arc::{challenges, identifiers};
use crate::data_lists::build;

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 5] = [
        ("identifiers_are_added_up", identifiers_are_added_up),
        ("tasks_of_all_are_voted_on", tasks_of_all_are_voted_on),
        ("a_mixed_whole_is_one_set", a_mixed_whole_is_one_set),
        ("lists_stay_known", lists_stay_known),
        ("what_does_not_go_together_is_refused", what_does_not_go_together_is_refused),
    ];
    trials("joined", &tests)
}

/// A data set of rows of words, `<dir>/<name>`.
fn rows(dir: &Path, name: &str, train: &str, words: &str) -> PathBuf {
    let path = |end: &str| dir.join(format!("{name}{end}"));
    for end in [".train", ".test"] {
        fs::write(path(end), train).unwrap();
    }
    let vocab = Some(Words::parse(words).unwrap());
    let (train, test, out) = (path(".train"), path(".test"), path(""));
    own::build(&own::Options { out: out.clone(), train, test, vocab, seq_len: None }).unwrap();
    out
}

/// Inputs and the name of the puzzle of every example.
fn examples(dir: &Path, split: Split) -> Vec<(Vec<i32>, String)> {
    let data = Dataset::open(dir, split).unwrap();
    let names = identifiers(dir);
    let mut found = Vec::new();
    for set in data.sets() {
        for puzzle in 0..set.puzzles() {
            let name = &names[usize::try_from(set.identifier_of(puzzle)).unwrap()];
            for example in set.examples_of(puzzle) {
                let (mut inputs, mut labels) = (vec![0; 2], vec![0; 2]);
                data.read_example(set, example, &mut inputs, &mut labels).unwrap();
                found.push((inputs, name.clone()));
            }
        }
    }
    found
}

fn identifiers_are_added_up() {
    let dir = folder();
    let first = rows(dir.path(), "first", "inputs,labels,puzzle\n12,21,a\n11,11,b\n", "1..3");
    let second = rows(dir.path(), "second", "inputs,labels,puzzle\n23,32,c\n33,33,c\n", "1..3");
    let plain = rows(dir.path(), "plain", "inputs,labels\n31,13\n", "1..3");
    let out = dir.path().join("all");
    let Summary { train, test } = join(&[first.clone(), second, plain], Training::InTurns, &out).unwrap();
    assert_eq!(inspect(&out).unwrap().violations, []);
    assert_eq!((train.num_puzzle_identifiers, train.total_groups, train.total_puzzles), (4, 4, 4));
    assert_eq!(train.sets, ["all", "all1", "all2"]);
    assert_eq!(test.unwrap(), train);
    let expected = [([1, 2], "a"), ([1, 1], "b"), ([2, 3], "c"), ([3, 3], "c"), ([3, 1], "<blank>")];
    let expected = expected.map(|(inputs, name)| (inputs.to_vec(), name.to_owned()));
    for split in [Split::Train, Split::Test] {
        assert_eq!(examples(&out, split), expected);
    }
    assert_eq!(Words::load(&out).unwrap().unwrap().words(), ["1", "2", "3"]);
    // What was joined can be joined again, and the parts can go.
    fs::remove_dir_all(&first).unwrap();
    let third = rows(dir.path(), "third", "inputs,labels,puzzle\n22,22,d\n", "1..3");
    let more = join(&[out, third], Training::InTurns, &dir.path().join("more")).unwrap();
    assert_eq!(more.train.sets, ["all", "all1", "all2", "all3"]);
    assert_eq!(examples(&dir.path().join("more"), Split::Test).len(), 6);
}

fn a_mixed_whole_is_one_set() {
    let dir = folder();
    let first = rows(dir.path(), "first", "inputs,labels,puzzle\n12,21,a\n11,11,b\n22,22,a\n", "1..3");
    let second = rows(dir.path(), "second", "inputs,labels,puzzle\n23,32,c\n", "1..3");
    let (turns, mixed) = (dir.path().join("turns"), dir.path().join("mixed"));
    let parts = [first, second];
    let apart = join(&parts, Training::InTurns, &turns).unwrap();
    let Summary { train, test } = join(&parts, Training::Mixed, &mixed).unwrap();
    assert_eq!(inspect(&mixed).unwrap().violations, []);
    assert_eq!(train.sets, ["all"]);
    assert_eq!(Metadata { sets: apart.train.sets.clone(), ..train }, apart.train);
    assert_eq!(test, apart.test, "what is tested on has no order to change");
    for split in [Split::Train, Split::Test] {
        assert_eq!(examples(&mixed, split), examples(&turns, split));
    }
    // One batch has them all, which sets in turns cannot fill.
    let open = |dir: &Path| Arc::new(Dataset::open(dir, Split::Train).unwrap());
    assert!(Sampler::new(open(&turns), 3, 1, 0).is_err());
    let (mut batch, mut sampler) = (Batch::new(3, 2), Sampler::new(open(&mixed), 3, 1, 0).unwrap());
    sampler.next_batch(&mut batch).unwrap();
    let names = identifiers(&mixed);
    let mut seen: Vec<&str> =
        batch.puzzle_identifiers.iter().map(|&own| names[usize::try_from(own).unwrap()].as_str()).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, ["a", "b", "c"]);
}

fn lists_stay_known() {
    let dir = folder();
    build(dir.path(), "listed", |_| ()).unwrap();
    let generated = dir.path().join("generated");
    let small = GenerateOptions::small(generated.clone(), 9, 5);
    let options = GenerateOptions { train: 3, test: 2, num_aug: 0, ..small };
    build_generated(&options, &mut |_| ()).unwrap();
    let listed = dir.path().join("listed");
    let out = dir.path().join("all");
    join(&[listed.clone(), listed.clone(), generated], Training::Mixed, &out).unwrap();
    for split in [Split::Train, Split::Test] {
        let count = |dir: &Path| Dataset::open(dir, split).unwrap().examples();
        let own = read_origins(&listed, split, count(&listed)).unwrap();
        let of_generated = Origin { name: "generated".into(), examples: count(&out) - 2 * count(&listed) };
        let expected = [own.clone(), own, vec![of_generated]].concat();
        assert_eq!(read_origins(&out, split, count(&out)).unwrap(), expected);
    }
    let dataset = Arc::new(Dataset::open(&out, Split::Test).unwrap());
    let outcomes = vec![Some(Outcome { accuracy: 1.0, exact: true, valid: None }); dataset.examples()];
    let parts = Breakdown::of(&dataset, &Selection::all(&dataset), &outcomes).unwrap().unwrap().by_list;
    let parts: Vec<(&str, usize)> =
        parts.iter().map(|part| (part.list.as_str(), part.share.samples)).collect();
    assert_eq!(parts, [("first", 8), ("second", 4), ("generated", 2)], "a list of two data sets is one list");
}

/// The hand-made tasks of ARC with `suffix` behind their names.
fn tasks(dir: &Path, suffix: &str) -> PathBuf {
    let (train, evaluation) = challenges();
    let prefix = dir.join(format!("tasks{suffix}"));
    fs::create_dir(&prefix).unwrap();
    for (subset, tasks) in [("training", train), ("evaluation", evaluation)] {
        let renamed =
            tasks.as_object().unwrap().iter().map(|(name, task)| (name.clone() + suffix, task.clone()));
        let text = Value::Object(renamed.collect()).to_string();
        fs::write(prefix.join(format!("{subset}.json")), text).unwrap();
    }
    let out = dir.join(format!("arc{suffix}"));
    let options = arc::Options {
        out: out.clone(),
        input_file_prefix: prefix.display().to_string(),
        subsets: vec!["training".into(), "evaluation".into()],
        test_set_names: vec!["training".into(), "evaluation".into()],
        num_aug: 2,
        on_duplicate: OnDuplicate::Error,
        on_invalid: OnInvalid::Error,
        identifiers: Identifiers::Own,
        seed: 1,
    };
    // Two sets are tested on.
    assert_eq!(arc::build(&options, &mut |_, _| {}).unwrap().test_tasks, 3);
    out
}

fn tasks_of_all_are_voted_on() {
    let dir = folder();
    let parts = [tasks(dir.path(), "a"), tasks(dir.path(), "b")];
    let out = dir.path().join("both");
    join(&parts, Training::InTurns, &out).unwrap();
    assert_eq!(inspect(&out).unwrap().violations, []);
    let data = Dataset::open(&out, Split::Test).unwrap();
    let mut votes = Votes::open(&out).unwrap();
    let (mut place, mut inputs, mut labels) = (0, vec![0; 900], vec![0; 900]);
    for set in data.sets() {
        for puzzle in 0..set.puzzles() {
            for example in set.examples_of(puzzle) {
                data.read_example(set, example, &mut inputs, &mut labels).unwrap();
                let answer: Vec<i32> = labels.iter().map(|&label| label.max(0)).collect();
                votes.add(place, set.identifier_of(puzzle), &inputs, &answer, 1.0).unwrap();
                place += 1;
            }
        }
    }
    let score = votes.finish();
    assert_eq!((score.tasks.len(), score.inputs_without_prediction, score.pass_at[&1]), (6, 0, 1.0));
}

fn what_does_not_go_together_is_refused() {
    let dir = folder();
    let first = rows(dir.path(), "first", "inputs,labels,puzzle\n12,21,a\n", "1..3");
    let out = dir.path().join("out");
    let with = |name: &str, text: &str, words: &str| {
        join(&[first.clone(), rows(dir.path(), name, text, words)], Training::InTurns, &out)
    };
    refused(
        with("long", "inputs,labels\n123,321\n", "1..3"),
        &["long: does not go with ", "seq_len is 3, not 2"],
    );
    refused(with("words", "inputs,labels\n45,54\n", "4..6"), &["words: does not go", "its words are others"]);
    refused(with("twice", "inputs,labels,puzzle\n11,11,a\n", "1..3"), &["puzzle a is in another one, too"]);
    refused(join(&[first.clone(), dir.path().join("none")], Training::InTurns, &out), &["none"]);
    assert!(!out.exists());
}
