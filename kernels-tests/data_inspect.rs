//! Inspection: counts and kinds of sound data sets, the first violation of each rule, and drawings.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tempfile::TempDir;
use trm::data::inspect::{Kind, Report, Rule, draw, inspect};
use trm::data::maze::GenerateOptions;
use trm::data::{maze, sudoku};

use crate::data_arc::{Source, build, grid, identifiers, widen};

/// This file's tests.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 8] = [
        ("sound_data_sets_are_counted", sound_data_sets),
        ("kinds_are_told_apart", kinds),
        ("layouts_are_checked", layouts),
        ("tokens_and_puzzles_are_checked", contents),
        ("test_puzzles_and_names_are_checked", test_puzzles),
        ("the_totals_of_the_release_pass", release_totals),
        ("folders_without_data_are_refused", no_data),
        ("examples_are_drawn", drawings),
    ];
    let trial = |(name, test): (&str, fn())| {
        Trial::test(format!("data_inspect::{name}"), move || {
            test();
            Ok(())
        })
    };
    tests.into_iter().map(trial).collect()
}

/// Bytes before the first element of an array.
const HEADER: usize = 128;

/// Data sets to be broken, each in a folder of its own.
struct Fixture {
    _folder: TempDir,
    dir: PathBuf,
}

impl Fixture {
    fn maze(rows: usize, cols: usize, aug: bool) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("out");
        let options = GenerateOptions {
            out: dir.clone(),
            train: 10,
            test: 4,
            rows,
            cols,
            min_path: rows.min(cols) - 1,
            aug,
            seed: 1,
        };
        maze::build_generated(&options).unwrap();
        Fixture { _folder: folder, dir }
    }

    fn sudoku(size: usize) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("out");
        let options = sudoku::GenerateOptions {
            out: dir.clone(),
            size,
            train: 6,
            test: 3,
            min_clues: None,
            max_clues: None,
            num_aug: 2,
            seed: 1,
        };
        sudoku::build_generated(&options, &mut |_| {}).unwrap();
        Fixture { _folder: folder, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Overwrites bytes of an array from element byte `at` on.
    fn patch(&self, name: &str, at: usize, bytes: &[u8]) -> &Fixture {
        patch(&self.path(name), at, bytes);
        self
    }

    /// Sets keys of a JSON object.
    fn set(&self, name: &str, values: Value) -> &Fixture {
        let path = self.path(name);
        let mut object: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for (key, value) in values.as_object().unwrap() {
            object[key] = value.clone();
        }
        fs::write(path, object.to_string()).unwrap();
        self
    }
}

fn patch(path: &Path, at: usize, bytes: &[u8]) {
    let mut content = fs::read(path).unwrap();
    content[HEADER + at..HEADER + at + bytes.len()].copy_from_slice(bytes);
    fs::write(path, content).unwrap();
}

/// Fails unless the rules violated are exactly these, each with a first violation that has the text.
fn expect(dir: &Path, expected: &[(Rule, &str)]) -> Report {
    let report = inspect(dir).unwrap();
    let rules: Vec<Rule> = report.violations.iter().map(|violation| violation.rule).collect();
    assert_eq!(rules, expected.iter().map(|(rule, _)| *rule).collect::<Vec<_>>(), "{:?}", report.violations);
    for (violation, (_, text)) in report.violations.iter().zip(expected) {
        assert!(violation.first.contains(text), "{violation:?} lacks {text:?}");
    }
    report
}

fn sound_data_sets() {
    let report = expect(&Fixture::maze(6, 6, true).dir, &[]);
    let [train, test] = &report.splits[..] else { panic!("{} splits", report.splits.len()) };
    assert_eq!((train.split, train.groups, train.puzzles, train.examples), ("train", 10, 80, 80));
    assert_eq!((test.split, test.groups, test.puzzles, test.examples), ("test", 4, 4, 4));
    let spread = train.puzzles_per_group.unwrap();
    assert_eq!((spread.min, spread.mean, spread.max), (8, 8.0, 8));
    assert_eq!(train.input_tokens.iter().sum::<u64>(), 80 * 36);
    assert_eq!((train.input_tokens[3], train.input_tokens[4], train.input_tokens[5]), (80, 80, 0));
    assert_eq!(train.label_tokens[2] + train.label_tokens[5], train.input_tokens[2]);
    assert_eq!(report.examples.iter().map(|example| example.index).collect::<Vec<_>>(), [0, 39, 79, 0, 1, 3]);

    let source = Source::new();
    let options = source.options(3);
    build(&options);
    let report = expect(&options.out, &[]);
    assert_eq!((report.kind, report.names, report.splits[1].examples_without_labels), (Kind::Arc, 13, 0));
    assert_eq!(report.examples[0].name.as_deref(), Some("flip"));
    let spread = report.splits[0].examples_per_puzzle.unwrap();
    assert_eq!((spread.min, spread.max), (2, 3));
    expect(&Fixture::sudoku(4).dir, &[]);
}

fn kinds() {
    let kind = |fixture: Fixture| inspect(&fixture.dir).unwrap().kind;
    for size in [4, 6, 9] {
        assert_eq!(kind(Fixture::sudoku(size)), Kind::Sudoku { size });
    }
    for (rows, cols) in [(4, 4), (9, 9), (5, 8), (8, 5), (4, 9)] {
        assert_eq!(kind(Fixture::maze(rows, cols, false)), Kind::Maze { rows, cols });
    }
    assert_eq!(Kind::of_example(99, &[1, 2], &[1, 2]), Kind::Other);
    // One name for people and programs; older files have another.
    let own = serde_json::json!({"puzzle": Kind::Other.to_string()});
    assert_eq!(serde_json::to_value(Kind::Other).unwrap(), own);
    let read = |text: &str| serde_json::from_str::<Kind>(text).unwrap();
    assert_eq!([read(&own.to_string()), read(r#"{"puzzle":"other"}"#)], [Kind::Other; 2]);
}

fn layouts() {
    let fixture = || Fixture::maze(6, 6, false);
    let int = |value: i32| value.to_le_bytes();
    let (groups, identifiers) = ("train/all__group_indices.npy", "train/all__puzzle_identifiers.npy");
    let json = "train/dataset.json";

    let broken = fixture();
    broken.set(json, json!({"pad_id": 6, "total_groups": 11}));
    expect(
        &broken.dir,
        &[
            (Rule::Metadata, "pad_id is 6, expected less than vocab_size, 6"),
            (Rule::Totals, "total_groups is 11, the arrays have 10"),
        ],
    );

    let broken = fixture();
    broken.patch(groups, 8, &int(9)).patch(identifiers, 4, &int(1)).patch(identifiers, 8, &int(-1));
    let report = expect(
        &broken.dir,
        &[
            (Rule::Indices, "element 3 is 3 after 9, expected a rise of at least 1"),
            (Rule::Identifiers, "puzzle 1 has identifier 1, expected less than 1"),
        ],
    );
    assert_eq!(report.violations[1].count, 2);
    assert!(report.violations.iter().all(|violation| violation.rejected_by_release));

    let broken = fixture();
    broken.patch(groups, 40, &int(11)).patch("test/all__puzzle_indices.npy", 0, &int(1));
    expect(&broken.dir, &[(Rule::Indices, "train/all__group_indices.npy: ends with 11, expected 10")]);

    let broken = fixture();
    broken.set(json, json!({"vocab_size": 1_000_000_000_000_000u64}));
    expect(&broken.dir, &[(Rule::Metadata, "vocab_size is 1000000000000000, expected at most 65536")]);

    let broken = fixture();
    broken.set(json, json!({"seq_len": 35, "mean_puzzle_examples": 2.0}));
    expect(&broken.dir, &[(Rule::Lengths, "36 tokens per example, dataset.json says 35")]);

    let broken = fixture();
    let labels = broken.path("test/all__labels.npy");
    fs::write(&labels, &fs::read(&labels).unwrap()[..200]).unwrap();
    fs::remove_file(broken.path("test/all__inputs.npy")).unwrap();
    let report = expect(&broken.dir, &[(Rule::Arrays, "test/all__inputs.npy: ")]);
    assert_eq!(report.violations[0].count, 2);

    let broken = fixture();
    fs::write(broken.path("test/dataset.json"), "{\"pad_id\": 0}").unwrap();
    fs::remove_file(broken.path("identifiers.json")).unwrap();
    let report = expect(&broken.dir, &[(Rule::Metadata, "missing field"), (Rule::Names, "identifiers.json")]);
    assert_eq!(report.splits.len(), 1);
    assert!(!report.violations[1].rejected_by_release);
}

fn contents() {
    let broken = Fixture::maze(6, 6, false);
    broken.patch("train/all__inputs.npy", 36 * 3 + 5, &[6]).patch("train/all__inputs.npy", 36 * 7, &[255]);
    broken.patch("train/all__labels.npy", 36 * 2 + 1, &[9]);
    broken.patch("test/all__labels.npy", 36, &[3; 36]);
    let report = expect(
        &broken.dir,
        &[
            (Rule::Tokens, "train/all__inputs.npy: example 3, position 5: token 6, expected less than 6"),
            (Rule::Labels, "train/all__labels.npy: example 2, position 1: label 9, expected less than 6"),
            (Rule::Puzzles, "test/all__labels.npy: example 1: the answer changes token"),
        ],
    );
    assert_eq!(report.violations.iter().map(|violation| violation.count).collect::<Vec<_>>(), [2, 1, 1]);

    let broken = Fixture::sudoku(6);
    broken.patch("train/all__labels.npy", 36 * 4, &[2, 2]);
    expect(&broken.dir, &[(Rule::Puzzles, "example 4: the answer has")]);

    let (source, shifted) = (Source::new(), grid(&[&[1]]).encode((3, 3)));
    let options = source.options(0);
    build(&options);
    patch(&options.out.join("test/all__inputs.npy"), 0, &shifted);
    expect(
        &options.out,
        &[
            (Rule::Puzzles, "example 0: the input lies at (3, 3)"),
            (Rule::TestPuzzles, "test example 0: task swap has no such test input"),
        ],
    );
    patch(&options.out.join("train/all__labels.npy"), 900 * 2 + 4, &[5; 30]);
    patch(&options.out.join("train/all__inputs.npy"), 900 * 4 + 400, &[1]);
    let report = inspect(&options.out).unwrap();
    assert!(report.violations[0].first.contains("example 2: the label is no grid at the place of the input"));
    assert_eq!(report.violations[0].count, 3);
}

fn test_puzzles() {
    let source = Source::new();
    let options = source.options(2);
    build(&options);
    // One puzzle of the test split takes the identifier of a training task.
    patch(&options.out.join("test/all__puzzle_identifiers.npy"), 4, &1i32.to_le_bytes());
    let report = expect(&options.out, &[(Rule::TestPuzzles, "test example 2: no task flip")]);
    assert_eq!(report.violations[0].count, 2);
    let mut names = identifiers(&options.out);
    names.swap(0, 1);
    fs::write(options.out.join("identifiers.json"), json!(names).to_string()).unwrap();
    let report = inspect(&options.out).unwrap();
    assert!(report.violations[0].first.contains("element 0 is \"flip\""), "{:?}", report.violations);
    fs::write(options.out.join("identifiers.json"), json!(["<blank>", "flip", "flip"]).to_string()).unwrap();
    fs::remove_file(options.out.join("test_puzzles.json")).unwrap();
    let report = expect(
        &options.out,
        &[(Rule::Names, "3 names, dataset.json says 10"), (Rule::TestPuzzles, "test_puzzles.json")],
    );
    assert!(report.violations[0].rejected_by_release);
}

/// The release counts groups where it says puzzles, for mazes and Sudoku; that is no violation.
fn release_totals() {
    let fixture = Fixture::maze(6, 6, true);
    fixture.set("train/dataset.json", json!({"total_puzzles": 10}));
    expect(&fixture.dir, &[]);
    fixture.set("train/dataset.json", json!({"total_puzzles": 11}));
    let report = expect(&fixture.dir, &[(Rule::Totals, "total_puzzles is 11, the arrays have 80")]);
    assert!(!report.violations[0].rejected_by_release);
}

fn no_data() {
    let folder = tempfile::tempdir().unwrap();
    let message = inspect(folder.path()).unwrap_err().to_string();
    assert!(message.contains("no train/dataset.json and no test/dataset.json"), "{message}");
    assert!(inspect(&folder.path().join("none")).is_err());
}

fn drawings() {
    let maze = Kind::Maze { rows: 2, cols: 3 };
    let (question, answer) = ([3, 2, 1, 1, 2, 4], [3, 5, 1, 1, 5, 4]);
    assert_eq!(draw(maze, &question, &answer, false), "S #    So#\n# G    #oG\n");
    let coloured = draw(maze, &question, &answer, true);
    assert!(coloured.contains("\x1b[30;43m  \x1b[0m") && coloured.lines().count() == 2);

    let clues = [1, 3, 1, 1, 1, 1, 1, 5, 1, 1, 1, 1, 1, 1, 1, 1];
    let drawn = draw(Kind::Sudoku { size: 4 }, &clues, &[2; 16], false);
    assert_eq!(drawn.lines().next(), Some(". 2 | . .    1 1 | 1 1"));
    let coloured = draw(Kind::Sudoku { size: 4 }, &clues, &clues, true);
    assert!(coloured.starts_with(". \x1b[1m2\x1b[0m | . .    . \x1b[1m2"));

    let canvas = widen(&grid(&[&[0, 9], &[3, 4]]).encode((5, 7)));
    assert_eq!(draw(Kind::Arc, &canvas, &[0; 900], false), "0 9     (no grid)\n3 4\n");
    assert!(draw(Kind::Arc, &canvas, &canvas, true).contains("\x1b[48;2;135;12;37m  \x1b[0m"));
    assert_eq!(draw(Kind::Other, &[1, 20], &[3, 4], false), "   1  20       3   4\n");
}
