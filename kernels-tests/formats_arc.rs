//! ARC tasks as people have them: single files, folders of folders, lists of pairs, names that come twice.

use std::fs;

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tempfile::TempDir;
use trm::data::arc::{self, Identifiers, OnDuplicate, Options, Summary};
use trm::data::{Dataset, OnInvalid, Split};

use crate::data::{folder, refused, trials};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 5] = [
        ("folders_of_folders_are_read", folders_of_folders_are_read),
        ("single_files_are_read", single_files_are_read),
        ("lists_of_pairs_are_demonstrations", lists_of_pairs_are_demonstrations),
        ("names_that_come_twice", names_that_come_twice),
        ("tasks_that_cannot_be_used", tasks_that_cannot_be_used),
    ];
    trials("formats_arc", &tests)
}

fn pair(cell: usize) -> Value {
    json!({"input": [[cell, 0]], "output": [[0, cell]]})
}

/// A task whose test input has `cell` in it.
fn task(cell: usize) -> Value {
    json!({"train": [pair(1), pair(2)], "test": [pair(cell)]})
}

struct Source(TempDir);

impl Source {
    fn of(files: &[(&str, String)]) -> Source {
        let source = Source(folder());
        for (name, text) in files {
            let path = source.0.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        source
    }

    /// Builds from what is called `prefix`; the last subset is tested on.
    fn build(
        &self,
        prefix: &str,
        subsets: &[&str],
        change: impl Fn(&mut Options),
    ) -> trm::Result<(Summary, Vec<String>)> {
        let mut options = Options {
            out: folder().path().join("out"),
            input_file_prefix: self.0.path().join(prefix).display().to_string(),
            subsets: subsets.iter().map(|&subset| subset.to_owned()).collect(),
            test_set_names: vec![subsets.last().unwrap().to_string()],
            num_aug: 0,
            on_duplicate: OnDuplicate::Error,
            identifiers: Identifiers::Own,
            on_invalid: OnInvalid::Error,
            seed: 0,
        };
        change(&mut options);
        let summary = arc::build(&options, &mut |_, _| {})?;
        let names = fs::read(options.out.join("identifiers.json")).unwrap();
        let names: Vec<String> = serde_json::from_slice(&names).unwrap();
        Dataset::open(&options.out, Split::Train).unwrap().check_tokens().unwrap();
        fs::remove_dir_all(options.out.parent().unwrap()).unwrap();
        Ok((summary, names[1..].to_vec()))
    }
}

fn folders_of_folders_are_read() {
    let source = Source::of(&[
        ("corpus/Above/Above1.json", task(3).to_string()),
        ("corpus/Above/Above2.json", format!("\u{feff}{}", task(4))),
        ("corpus/Below/Below1.json", task(5).to_string()),
        ("corpus/notes.txt", "no task".to_owned()),
    ]);
    let expected = ["Above1", "Above2", "Below1"];
    let (summary, names) = source.build("", &["corpus"], |_| ()).unwrap();
    assert_eq!(
        (summary.tasks, summary.test_tasks, names.as_slice()),
        (3, 3, &expected.map(String::from)[..])
    );
    let (summary, names) = source.build("corpus", &["Below", "Above"], |_| ()).unwrap();
    assert_eq!((summary.tasks, summary.test_tasks, names[0].as_str()), (3, 2, "Below1"));
    refused(
        source.build("", &["copus"], |_| ()),
        &["input_file_prefix: neither the file", "check the prefix"],
    );
}

fn single_files_are_read() {
    let solutions = json!({"b": [[[0, 7]]]});
    let mut challenge = task(7);
    challenge["test"][0].as_object_mut().unwrap().remove("output");
    let source = Source::of(&[
        ("a.json", task(6).to_string()),
        ("tasks/one.json", task(8).to_string()),
        ("kaggle/arc-agi_test-challenges.json", json!({"b": challenge}).to_string()),
        ("kaggle/arc_agi_test_solutions.json", solutions.to_string()),
    ]);
    // A file alone, a folder alone: what was taken for what is said.
    for (prefix, name) in [("a.json", "a"), ("tasks", "one")] {
        let (summary, names) = source.build(prefix, &["training", "evaluation"], |_| ()).unwrap();
        assert_eq!((summary.tasks, summary.test_tasks, names), (1, 1, vec![name.to_owned()]));
        assert!(summary.notes[0].contains("all of it is taken as one subset"), "{summary:?}");
    }
    let (summary, _) = source.build("tasks", &["one"], |_| ()).unwrap();
    assert_eq!((summary.tasks, summary.notes), (1, vec![]));
    // Hyphens and underscores are alike; the prefix may also be the folder.
    for prefix in ["kaggle/arc_agi", "kaggle/arc-agi", "kaggle"] {
        let (summary, names) = source.build(prefix, &["test"], |_| ()).unwrap();
        assert_eq!((summary.solutions_missing, names), (0, vec!["b".to_owned()]), "{prefix}");
    }
}

fn lists_of_pairs_are_demonstrations() {
    let source = Source::of(&[
        ("re_arc/00d6.json", json!([pair(1), pair(2), pair(3)]).to_string()),
        ("eval/x.json", task(4).to_string()),
    ]);
    let (summary, names) = source.build("", &["re-arc", "eval"], |_| ()).unwrap();
    assert_eq!(names, ["00d6", "x"]);
    assert_eq!((summary.train.total_puzzles, summary.test_tasks), (2, 1));
    assert_eq!(summary.train.mean_puzzle_examples, 2.5, "three pairs and two");
    let tested = source.build("", &["eval", "re-arc"], |_| ());
    refused(tested, &["task 00d6 is a list of pairs, without test inputs; test on another subset"]);
}

fn names_that_come_twice() {
    let source = Source::of(&[
        ("x_training_challenges.json", json!({"a": task(1), "b": task(2)}).to_string()),
        ("x_evaluation_challenges.json", json!({"b": task(3), "c": task(4)}).to_string()),
    ]);
    let subsets = ["training", "evaluation"];
    let build = |on_duplicate| source.build("x", &subsets, |options| options.on_duplicate = on_duplicate);
    refused(build(OnDuplicate::Error), &["subset evaluation: task b is also in another subset", "renamed"]);
    let (summary, names) = build(OnDuplicate::Skip).unwrap();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(summary.test_tasks, 2, "what is tested on stays, so that it is not learnt");
    assert!(summary.notes[0].contains("1 tasks have names that were there already and were left out: b of"));
    let (summary, names) = build(OnDuplicate::Rename).unwrap();
    assert_eq!(names, ["a", "b", "b-evaluation", "c"]);
    assert!(summary.notes[0].contains("renamed: b of evaluation, now b-evaluation"), "{summary:?}");
}

fn tasks_that_cannot_be_used() {
    let wide = json!({"train": [{"input": [vec![0; 32]], "output": [[0]]}], "test": [pair(1)]});
    let files = [
        ("x_training_challenges.json", json!({"a": task(1), "wide": wide}).to_string()),
        ("y/evaluation/b.json", task(2).to_string()),
        ("y/evaluation/c.json", "{".to_owned()),
        ("y/training/d.json", task(3).to_string()),
    ];
    let source = Source::of(&files);
    let skip = |options: &mut Options| options.on_invalid = OnInvalid::Skip;
    refused(source.build("x", &["training"], |_| ()), &["task wide, train[0].input: ", "1 x 32 cells"]);
    let (summary, names) = source.build("x", &["training"], skip).unwrap();
    assert_eq!(names, ["a"]);
    assert!(summary.notes[0].contains("left out: ") && summary.notes[0].contains("task wide"), "{summary:?}");
    refused(source.build("y", &["training", "evaluation"], |_| ()), &["c.json: EOF while parsing"]);
    let (summary, names) = source.build("y", &["training", "evaluation"], skip).unwrap();
    assert_eq!((names, summary.notes.len()), (vec!["d".to_owned(), "b".to_owned()], 1));
}
