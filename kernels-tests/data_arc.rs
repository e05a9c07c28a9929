//! ARC data sets: both file layouts, the folder that comes out, and every bad input.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tempfile::TempDir;
use trm::data::arc::{self, Augmentation, CANVAS, Grid, Options, SEQ_LEN, Summary, Task, read_subset};
use trm::data::{Dataset, IGNORE_LABEL, OnInvalid, Split};

/// This file's tests.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 8] = [
        ("splits_groups_and_identifiers", splits_groups_and_identifiers),
        ("examples_are_the_augmented_pairs", examples_are_the_augmented_pairs),
        ("both_layouts_give_the_same_data", both_layouts),
        ("the_seed_decides", the_seed_decides),
        ("identifiers_are_the_release_s", identifiers_are_the_release_s),
        ("missing_solutions_are_ignored_and_marked", missing_solutions),
        ("bad_tasks_are_refused_by_place", bad_tasks),
        ("bad_options_are_refused", bad_options),
    ];
    let trial = |(name, test): (&str, fn())| {
        Trial::test(format!("data_arc::{name}"), move || {
            test();
            Ok(())
        })
    };
    tests.into_iter().map(trial).collect()
}

/// Two hand-made tasks to learn from, `flip` (a mirror) and `one` (a single colour), and one to be
/// tested on, `swap`, with two test inputs.
pub fn challenges() -> (Value, Value) {
    let train = json!({
        "flip": {
            "train": [
                {"input": [[1, 2, 3], [4, 5, 6]], "output": [[3, 2, 1], [6, 5, 4]]},
                {"input": [[7, 0], [0, 8]], "output": [[0, 7], [8, 0]]},
            ],
            "test": [{"input": [[9, 0, 0, 1]], "output": [[1, 0, 0, 9]]}],
        },
        "one": {
            "train": [{"input": [[5]], "output": [[5, 5], [5, 5]]}],
            "test": [{"input": [[5, 5], [5, 5]], "output": [[5]]}],
        },
    });
    let evaluation = json!({
        "swap": {
            "train": [
                {"input": [[1, 2], [2, 0]], "output": [[2, 1], [1, 0]]},
                {"input": [[3, 4, 0]], "output": [[4, 3, 0]]},
                {"input": [[5, 5], [6, 6]], "output": [[6, 6], [5, 5]]},
            ],
            "test": [
                {"input": [[7, 8], [0, 8]], "output": [[8, 7], [0, 7]]},
                {"input": [[1, 9]], "output": [[9, 1]]},
            ],
        },
    });
    (train, evaluation)
}

/// Takes the outputs out of the test pairs: (challenges, solutions) in the competition's layout.
fn without_solutions(tasks: &Value) -> (Value, Value) {
    let (mut challenges, mut solutions) = (tasks.clone(), json!({}));
    for (id, task) in challenges.as_object_mut().unwrap() {
        let pairs = task["test"].as_array_mut().unwrap();
        let outputs: Vec<Value> =
            pairs.iter_mut().map(|pair| pair.as_object_mut().unwrap().remove("output").unwrap()).collect();
        solutions[id] = json!(outputs);
    }
    (challenges, solutions)
}

/// Task files in the competition's layout, and where a data set may go.
pub struct Source {
    folder: TempDir,
}

impl Source {
    /// The hand-made tasks, as `<folder>/p_training_*.json` and `<folder>/p_evaluation_*.json`.
    pub fn new() -> Source {
        let source = Source { folder: tempfile::tempdir().unwrap() };
        let (train, evaluation) = challenges();
        for (subset, tasks) in [("training", train), ("evaluation", evaluation)] {
            let (challenges, solutions) = without_solutions(&tasks);
            source.write(&format!("p_{subset}_challenges.json"), &challenges.to_string());
            source.write(&format!("p_{subset}_solutions.json"), &solutions.to_string());
        }
        source
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.folder.path().join(name)).unwrap();
    }

    /// Options for the hand-made tasks.
    pub fn options(&self, num_aug: usize) -> Options {
        Options {
            out: self.folder.path().join("out"),
            input_file_prefix: self.folder.path().join("p").display().to_string(),
            subsets: vec!["training".into(), "evaluation".into()],
            test_set_names: vec!["evaluation".into()],
            num_aug,
            on_duplicate: arc::OnDuplicate::Error,
            on_invalid: OnInvalid::Error,
            identifiers: arc::Identifiers::Own,
            seed: 7,
        }
    }

    /// What is in the folder beside the task files.
    fn leftovers(&self) -> Vec<PathBuf> {
        let paths = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.is_dir() && !path.ends_with("p")).collect()
    }
}

/// Builds the data set.
pub fn build(options: &Options) -> Summary {
    arc::build(options, &mut |_, _| {}).unwrap()
}

/// Fails unless the build is refused with a message that has all of `parts`, and leaves nothing behind.
fn refused(source: &Source, options: &Options, parts: &[&str]) {
    let message =
        arc::build(options, &mut |_, _| {}).expect_err(&format!("an error with {parts:?}")).to_string();
    assert!(parts.iter().all(|part| message.contains(part)), "{message:?} lacks one of {parts:?}");
    assert_eq!(source.leftovers(), Vec::<PathBuf>::new());
}

/// A grid of these rows.
pub fn grid(rows: &[&[i64]]) -> Grid {
    Grid::from_rows(&rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>()).unwrap()
}

/// Tokens as a batch holds them.
pub fn widen(tokens: &[u8]) -> Vec<i32> {
    tokens.iter().map(|&token| i32::from(token)).collect()
}

/// The hand-made tasks.
pub fn tasks() -> Vec<Task> {
    let source = Source::new();
    let prefix = source.options(0).input_file_prefix;
    ["training", "evaluation"].iter().flat_map(|subset| read_subset(&prefix, subset).unwrap()).collect()
}

/// The names in `identifiers.json`.
pub fn identifiers(out: &Path) -> Vec<String> {
    serde_json::from_slice(&fs::read(out.join("identifiers.json")).unwrap()).unwrap()
}

fn splits_groups_and_identifiers() {
    for (num_aug, of_one) in [(0, 1), (20, 9)] {
        let (source, puzzles) = (Source::new(), num_aug + 1);
        let options = source.options(num_aug);
        let mut steps = Vec::new();
        let summary = arc::build(&options, &mut |done, of| steps.push((done, of))).unwrap();
        assert_eq!(steps, vec![(1, 3), (2, 3), (3, 3)]);
        assert_eq!((summary.tasks, summary.test_tasks, summary.solutions_missing), (3, 1, 0));
        assert_eq!(summary.tasks_not_full, usize::from(num_aug > 0));
        let names = identifiers(&options.out);
        assert_eq!(
            (names.len(), names[0].as_str(), names[1].as_str()),
            (1 + 2 * puzzles + of_one, "<blank>", "flip")
        );
        assert_eq!(names[1 + puzzles].as_str(), "one");

        let train = Dataset::open(&options.out, Split::Train).unwrap();
        let set = &train.sets()[0];
        assert_eq!(train.metadata().num_puzzle_identifiers, names.len());
        assert_eq!((train.metadata().vocab_size, train.metadata().seq_len), (12, 900));
        let sizes = |range: std::ops::Range<usize>| {
            range.map(|puzzle| set.examples_of(puzzle).len()).collect::<Vec<_>>()
        };
        assert_eq!(set.groups(), 3);
        assert_eq!(sizes(set.puzzles_of(0)), vec![3; puzzles]);
        assert_eq!(sizes(set.puzzles_of(1)), vec![2; of_one]);
        assert_eq!(sizes(set.puzzles_of(2)), vec![3; puzzles]);
        let order: Vec<i32> = (0..set.puzzles()).map(|puzzle| set.identifier_of(puzzle)).collect();
        assert!(order.into_iter().eq(1..names.len() as i32));

        let test = Dataset::open(&options.out, Split::Test).unwrap();
        let set = &test.sets()[0];
        assert_eq!((set.groups(), set.puzzles(), set.examples()), (1, puzzles, 2 * puzzles));
        let order: Vec<i32> = (0..puzzles).map(|puzzle| set.identifier_of(puzzle)).collect();
        assert!(order.into_iter().eq((1 + puzzles + of_one) as i32..names.len() as i32));
        let written: Value =
            serde_json::from_slice(&fs::read(options.out.join("test_puzzles.json")).unwrap()).unwrap();
        assert_eq!(written, challenges().1);
    }
}

/// Reads example `example` as tokens, ignored labels as padding.
pub fn example(dataset: &Dataset, example: usize) -> (Vec<i32>, Vec<i32>) {
    let (mut inputs, mut labels) = (vec![0; SEQ_LEN], vec![0; SEQ_LEN]);
    dataset.read_example(&dataset.sets()[0], example, &mut inputs, &mut labels).unwrap();
    labels.iter_mut().filter(|label| **label == IGNORE_LABEL).for_each(|label| *label = 0);
    (inputs, labels)
}

/// The first row and the first column with a colour in it.
fn offset(tokens: &[i32]) -> (usize, usize) {
    let coloured = || tokens.iter().enumerate().filter(|(_, token)| **token > 1).map(|(at, _)| at);
    (coloured().map(|at| at / CANVAS).min().unwrap(), coloured().map(|at| at % CANVAS).min().unwrap())
}

fn examples_are_the_augmented_pairs() {
    let source = Source::new();
    let options = source.options(40);
    build(&options);
    let (names, tasks) = (identifiers(&options.out), tasks());
    let mut offsets = std::collections::BTreeSet::new();
    for split in [Split::Train, Split::Test] {
        let dataset = Dataset::open(&options.out, split).unwrap();
        let set = &dataset.sets()[0];
        for puzzle in 0..set.puzzles() {
            let (id, augmentation) = Augmentation::parse(&names[set.identifier_of(puzzle) as usize]).unwrap();
            let task = tasks.iter().find(|task| task.id == id).unwrap();
            let trained =
                task.train.iter().chain(task.test.iter().filter(|_| id != "swap")).collect::<Vec<_>>();
            let pairs = if split == Split::Train { trained } else { task.test.iter().collect() };
            assert_eq!(set.examples_of(puzzle).len(), pairs.len());
            let mut in_corner = 0;
            for (at, pair) in set.examples_of(puzzle).zip(pairs) {
                let (inputs, labels) = example(&dataset, at);
                let output = pair.output.as_ref().unwrap();
                // The label's place is read off where its grid is, since colour 0 is a colour as well.
                let place = offset(&labels);
                assert_eq!(widen(&augmentation.apply(output).encode(place)), labels);
                assert_eq!(widen(&augmentation.apply(&pair.input).encode(place)), inputs);
                in_corner += usize::from(place == (0, 0));
                offsets.insert(place);
            }
            assert!(
                in_corner >= if split == Split::Train { 1 } else { task.test.len() },
                "{split:?} puzzle {puzzle}: {in_corner} examples in the corner"
            );
        }
    }
    assert!(offsets.len() > 150, "only {} different offsets", offsets.len())
}

/// All files of a data set, by name.
fn contents(out: &Path) -> Vec<(String, Vec<u8>)> {
    let folders = [out.to_path_buf(), out.join("train"), out.join("test")];
    let files =
        folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    let read =
        |path: PathBuf| (path.strip_prefix(out).unwrap().display().to_string(), fs::read(&path).unwrap());
    let mut contents: Vec<_> = files.filter(|path| path.is_file()).map(read).collect();
    contents.sort();
    contents
}

fn both_layouts() {
    let source = Source::new();
    let competition = source.options(5);
    build(&competition);
    let (train, evaluation) = challenges();
    for (subset, tasks) in [("training", train), ("evaluation", evaluation)] {
        for (id, task) in tasks.as_object().unwrap() {
            source.write(&format!("p/{subset}/{id}.json"), &task.to_string());
        }
        source.remove(&format!("p_{subset}_challenges.json"));
    }
    let folders = Options { out: source.folder.path().join("other"), ..competition.clone() };
    build(&folders);
    assert_eq!(contents(&folders.out), contents(&competition.out))
}

fn the_seed_decides() {
    let built = |seed| {
        let source = Source::new();
        let options = Options { seed, ..source.options(5) };
        build(&options);
        contents(&options.out)
    };
    assert_eq!(built(1), built(1));
    assert!(built(1) != built(2), "two seeds give the same data")
}

/// What the release's builder writes of the hand-made tasks with seed 42 and 7 augmentations.
const OF_THE_RELEASE: &str = "[\"<blank>\", \"one\", \"one|||t3|||0614732958\", \"one|||t7|||0178296345\", \"one|||t2|||0265918743\", \
     \"one|||t6|||0936842715\", \"one|||t6|||0317568492\", \"one|||t6|||0356281749\", \"one|||t4|||0132874659\", \
     \"flip\", \"flip|||t2|||0238596147\", \"flip|||t5|||0682731549\", \"flip|||t2|||0487231569\", \
     \"flip|||t5|||0357269418\", \"flip|||t1|||0427968513\", \"flip|||t1|||0842391576\", \
     \"flip|||t4|||0215934786\", \"swap\", \"swap|||t6|||0319724586\", \"swap|||t6|||0827653491\", \
     \"swap|||t2|||0825164973\", \"swap|||t7|||0685943127\", \"swap|||t6|||0965812473\", \
     \"swap|||t0|||0824761395\", \"swap|||t7|||0527981643\"]";

fn identifiers_are_the_release_s() {
    let source = Source::new();
    let options = Options { identifiers: arc::Identifiers::Release, seed: 42, ..source.options(7) };
    build(&options);
    assert_eq!(fs::read_to_string(options.out.join("identifiers.json")).unwrap(), OF_THE_RELEASE);
    fs::remove_dir_all(&options.out).unwrap();
    refused(&source, &Options { seed: 1 << 32, ..options.clone() }, &["seed: numpy has seeds below 2^32"]);
    let skipping = Options { on_duplicate: arc::OnDuplicate::Skip, ..options };
    refused(&source, &skipping, &["identifiers: the release's builder neither skips nor renames"]);
}

fn missing_solutions() {
    let source = Source::new();
    source.remove("p_training_solutions.json");
    source.remove("p_evaluation_solutions.json");
    let options = source.options(2);
    let summary = build(&options);
    assert_eq!(summary.solutions_missing, 4);
    let train = Dataset::open(&options.out, Split::Train).unwrap();
    assert_eq!(train.sets()[0].examples_of(0).len(), 2);
    let test = Dataset::open(&options.out, Split::Test).unwrap();
    for at in 0..test.examples() {
        let (inputs, labels) = example(&test, at);
        assert!(labels.iter().all(|&label| label == 0), "example {at} has a label");
        assert!(!Grid::crop(&inputs).is_empty(), "example {at} has no input");
    }
    let path = options.out.join("test_puzzles.json");
    let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(&written["swap"]["test"][0]["output"], &json!([[0]]));
    assert_eq!(&written["swap"]["test"][1]["solution_missing"], &json!(true));
    let read = arc::read_tasks(&path).unwrap();
    assert!(read[0].test.iter().all(|pair| pair.output.is_none()), "the mark is not read back")
}

fn bad_tasks() {
    let pair = json!({"input": [[1]], "output": [[2]]});
    let task = |train: Value, test: Value| json!({"flip": {"train": train, "test": test}}).to_string();
    let cases = [
        ("{\"flip\": ".to_owned(), "EOF while parsing"),
        ("[]".to_owned(), "no train pairs, expected at least one"),
        ("3".to_owned(), "an object with one entry per task"),
        ("{}".to_owned(), "no tasks"),
        (json!({"flip": {"train": [pair]}}).to_string(), "missing field `test`"),
        (task(json!([]), json!([pair])), "task flip, no train pairs"),
        (task(json!([pair]), json!([])), "task flip, no test pairs"),
        (task(json!([{"input": [[1]]}]), json!([pair])), "task flip, train[0] has no output"),
        (
            task(json!([pair, {"input": [[1, 2], [3]], "output": [[1]]}]), json!([pair])),
            "train[1].input: row 1 has 1 cells, row 0 has 2",
        ),
        (
            task(json!([{"input": [[1, 10]], "output": [[1]]}]), json!([pair])),
            "train[0].input: row 0 column 1: colour 10",
        ),
        (
            task(json!([{"input": [[1]], "output": [[-1]]}]), json!([pair])),
            "train[0].output: row 0 column 0: colour -1",
        ),
        (task(json!([{"input": vec![[0]; 31], "output": [[1]]}]), json!([pair])), "31 x 1 cells"),
        (task(json!([{"input": [vec![0; 31]], "output": [[1]]}]), json!([pair])), "1 x 31 cells"),
        (task(json!([{"input": [], "output": [[1]]}]), json!([pair])), "0 x 0 cells"),
        (task(json!([{"input": [[]], "output": [[1]]}]), json!([pair])), "1 x 0 cells"),
        (task(json!([{"input": [["1"]], "output": [[1]]}]), json!([pair])), "invalid type: string \"1\""),
        (
            task(json!([{"input": [[1.5]], "output": [[1]]}]), json!([pair])),
            "invalid type: floating point `1.5`",
        ),
        (json!({"a|||b": {"train": [pair], "test": [pair]}}).to_string(), "contains |||"),
        (
            format!("{{\"x\": {0}, \"x\": {0}}}", json!({"train": [pair], "test": [pair]})),
            "task x comes twice",
        ),
    ];
    for (text, expected) in cases {
        let source = Source::new();
        source.write("p_training_challenges.json", &text);
        refused(&source, &source.options(1), &["p_training_challenges.json: ", expected]);
    }
    for (text, expected) in [
        ("{\"flip\": [[[1]], [[1]]]}", "task flip, 2 solutions, the challenges have 1 test inputs"),
        ("{\"flip\": [[[11]]]}", "task flip, solution 0: row 0 column 0: colour 11"),
        ("{\"flip\": 1}", "expected a sequence"),
    ] {
        let source = Source::new();
        source.write("p_training_solutions.json", text);
        refused(&source, &source.options(1), &["p_training_solutions.json: ", expected]);
    }
}

fn bad_options() {
    let source = Source::new();
    let options = source.options(1);
    let subsets = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let unknown = Options {
        subsets: subsets(&["training", "exam"]),
        test_set_names: vec!["exam".into()],
        ..options.clone()
    };
    refused(&source, &unknown, &["p_exam_challenges.json nor the folder"]);
    let untested = Options { test_set_names: vec!["exam".into()], ..options.clone() };
    refused(&source, &untested, &["test_set_name: exam is none of the subsets (training, evaluation)"]);
    source.write("p_again_challenges.json", &challenges().0.to_string());
    let twice = Options { subsets: subsets(&["training", "again", "evaluation"]), ..options.clone() };
    refused(&source, &twice, &["subset again: task flip is also in another subset"]);
    build(&options);
    let error = arc::build(&options, &mut |_, _| {}).expect_err("an output folder in use");
    assert_eq!(error.exit_code(), 2);
}
