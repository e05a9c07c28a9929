//! Data sets on disk and the order in which they are seen, as properties and by the messages of bad input.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use libtest_mimic::Trial;
use trm::data::{
    Batch, Dataset, IGNORE_LABEL, Sampler, SamplerState, Split, TestBatches, Vocabulary, Writer,
};
use trm::files::{self, OutputFolder};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 12] = [
        ("output_goes_where_a_name_leads", output_goes_where_a_name_leads),
        ("output_is_whole_or_absent", output_is_whole_or_absent),
        ("written_data_sets_read_back", written_data_sets_read_back),
        ("wide_integers_are_read", wide_integers_are_read),
        ("broken_data_sets_are_named", broken_data_sets_are_named),
        ("broken_tokens_are_named", broken_tokens_are_named),
        ("sampler_takes_each_group_once_per_epoch", sampler_takes_each_group_once_per_epoch),
        ("sampler_fills_batches_without_replacement", sampler_fills_batches_without_replacement),
        ("sampler_draws_evenly", sampler_draws_evenly),
        ("sampler_resumes_anywhere", sampler_resumes_anywhere),
        ("sampler_refuses_small_data_sets", sampler_refuses_small_data_sets),
        ("test_batches_are_padded", test_batches_are_padded),
    ];
    trials("data", &tests)
}

/// One trial per function, named `<room>::<name>`.
pub fn trials(room: &str, tests: &[(&str, fn())]) -> Vec<Trial> {
    let trial = |&(name, test): &(&str, fn())| {
        let run = move || {
            test();
            Ok(())
        };
        Trial::test(format!("{room}::{name}"), run)
    };
    tests.iter().map(trial).collect()
}

/// A folder that goes away with the test.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Fails unless `result` is an error whose message has all of `parts`.
pub fn refused<T: Debug>(result: trm::Result<T>, parts: &[&str]) {
    let message = result.expect_err(&format!("expected an error with {parts:?}")).to_string();
    assert!(parts.iter().all(|part| message.contains(part)), "{message:?} lacks one of {parts:?}");
    assert!(!message.contains('\n'), "{message:?} is more than one line");
}

fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).expect("a folder").count()
}

fn output_is_whole_or_absent() {
    let dir = folder();
    let out = dir.path().join("deep/out");
    let unfinished = OutputFolder::create(&out).unwrap();
    fs::write(unfinished.path().join("a"), "1").unwrap();
    assert!(!out.exists());
    drop(unfinished);
    assert_eq!(entries(&dir.path().join("deep")), 0);

    fs::create_dir(&out).unwrap();
    let finished = OutputFolder::create(&out).unwrap();
    fs::write(finished.path().join("a"), "1").unwrap();
    finished.commit().unwrap();
    assert_eq!((entries(&out), entries(&dir.path().join("deep"))), (1, 1));
    refused(OutputFolder::create(&out), &["deep/out: exists and is not empty"]);
    refused(OutputFolder::create(&out.join("a")), &["out/a: ", "not a readable folder"]);

    let file = out.join("a");
    files::write_atomic(&file, b"22").unwrap();
    fs::write(out.join("plain"), "").unwrap();
    assert_eq!((files::read(&file).unwrap(), entries(&out)), (b"22".to_vec(), 2));
    let mode = |path: &Path| format!("{:?}", fs::metadata(path).unwrap().permissions());
    assert_eq!(mode(&file), mode(&out.join("plain")), "permissions of any new file");
    refused(files::read(&out.join("b")), &["out/b: "]);
}

/// Links stay links, and pipes pipes.
fn output_goes_where_a_name_leads() {
    #[cfg(unix)]
    {
        use std::io::Read;
        let dir = folder();
        let [file, link, pipe] = ["file", "link", "pipe"].map(|name| dir.path().join(name));
        fs::write(&file, "1").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        files::write_atomic(&link, b"22").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"22");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // Who opens both ends waits for nobody.
        let mut reader = fs::File::options().read(true).write(true).open(&pipe).unwrap();
        assert_eq!(files::obstacle(&pipe), None);
        files::write_atomic(&pipe, b"3").unwrap();
        assert!(!fs::metadata(&pipe).unwrap().is_file());
        let mut read = [0];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"3");
    }
}

const SEQ_LEN: usize = 3;

/// Writes groups of puzzles of so many examples. Example k has inputs (k, 0, 7) and labels (0, k, 7), where
/// label 0 is ignored; puzzle p has identifier p.
fn write_toy(dir: &Path, split: Split, groups: &[&[usize]]) {
    let mut writer = Writer::create(dir, split, "all", SEQ_LEN).unwrap();
    let (mut example, mut puzzle) = (0, 0);
    for group in groups {
        for &examples in *group {
            for _ in 0..examples {
                writer.example(&[example, 0, 7], &[0, example, 7]).unwrap();
                example += 1;
            }
            writer.end_puzzle(puzzle).unwrap();
            puzzle += 1;
        }
        writer.end_group().unwrap();
    }
    let vocabulary = Vocabulary {
        pad_id: 5,
        ignore_label_id: Some(0),
        blank_identifier_id: 1,
        vocab_size: 200,
        num_puzzle_identifiers: 50,
    };
    let metadata = writer.finish(vocabulary).unwrap();
    assert_eq!((metadata.total_groups, metadata.total_puzzles), (groups.len(), puzzle as usize));
}

fn toy(groups: &[&[usize]]) -> (tempfile::TempDir, Arc<Dataset>) {
    let dir = folder();
    write_toy(dir.path(), Split::Train, groups);
    let dataset = Arc::new(Dataset::open(dir.path(), Split::Train).unwrap());
    (dir, dataset)
}

/// The example each row of a batch of toy examples holds.
fn examples(batch: &Batch) -> Vec<i32> {
    batch.inputs.chunks(SEQ_LEN).map(|row| row[0]).collect()
}

fn written_data_sets_read_back() {
    let (_dir, dataset) = toy(&[&[2, 1], &[3]]);
    assert_eq!((dataset.groups(), dataset.puzzles(), dataset.examples()), (2, 3, 6));
    assert_eq!(dataset.metadata().mean_puzzle_examples, 2.0);
    let set = &dataset.sets()[0];
    assert_eq!((set.puzzles_of(0), set.puzzles_of(1)), (0..2, 2..3));
    assert_eq!((set.examples_of(1), set.identifier_of(2)), (2..3, 2));
    let (mut inputs, mut labels) = ([0; SEQ_LEN], [0; SEQ_LEN]);
    for example in 0..6 {
        dataset.read_example(set, example, &mut inputs, &mut labels).unwrap();
        let k = example as i32;
        assert_eq!(inputs, [k, 0, 7]);
        assert_eq!(labels, [IGNORE_LABEL, if k == 0 { IGNORE_LABEL } else { k }, 7]);
    }
}

/// Replaces an array of the toy data set.
fn replace<T: npyz::AutoSerialize + Copy>(
    dir: &Path,
    field: &str,
    shape: &[u64],
    order: npyz::Order,
    values: &[T],
) {
    use npyz::WriterBuilder;
    let file = fs::File::create(dir.join(format!("train/all__{field}.npy"))).unwrap();
    let options = npyz::WriteOptions::new().default_dtype().shape(shape).order(order).writer(file);
    let mut writer = options.begin_nd().unwrap();
    writer.extend(values.iter().copied()).unwrap();
    writer.finish().unwrap();
}

/// The authors' own builder leaves Sudoku inputs as i64.
fn wide_integers_are_read() {
    let (dir, _) = toy(&[&[1], &[1]]);
    replace(dir.path(), "inputs", &[2, 3], npyz::Order::C, &[9i64, 8, 7, 6, 5, 4]);
    replace(dir.path(), "labels", &[2, 3], npyz::Order::C, &[1i32, 2, 3, 4, 5, 6]);
    replace(dir.path(), "group_indices", &[3], npyz::Order::C, &[0i64, 1, 2]);
    let dataset = Dataset::open(dir.path(), Split::Train).unwrap();
    let (mut inputs, mut labels) = ([0; SEQ_LEN], [0; SEQ_LEN]);
    dataset.read_example(&dataset.sets()[0], 1, &mut inputs, &mut labels).unwrap();
    assert_eq!((inputs, labels), ([6, 5, 4], [4, 5, 6]));
}

fn broken_data_sets_are_named() {
    use npyz::Order::{C, Fortran};
    let edit = |from: &'static str, to: &'static str| {
        move |dir: &Path| {
            let path = dir.join("train/dataset.json");
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{text}");
            fs::write(&path, text.replace(from, to)).unwrap();
        }
    };
    type Case<'a> = (Box<dyn Fn(&Path)>, &'a [&'a str]);
    let cases: Vec<Case> = vec![
        (
            Box::new(|dir| fs::remove_file(dir.join("train/all__labels.npy")).unwrap()),
            &["train/all__labels.npy: no such file; rebuild", "trm data"],
        ),
        (
            Box::new(|dir| {
                let path = dir.join("train/all__inputs.npy");
                let bytes = fs::read(&path).unwrap();
                fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
            }),
            &["all__inputs.npy", "truncated: 11 bytes", "[4, 3]", "trm data"],
        ),
        (Box::new(|dir| fs::write(dir.join("train/all__inputs.npy"), "").unwrap()), &["no .npy file"]),
        (
            Box::new(|dir| fs::write(dir.join("train/all__inputs.npy"), "PK 12345678").unwrap()),
            &["no .npy file"],
        ),
        (Box::new(|dir| replace(dir, "inputs", &[4, 3], C, &[0f32; 12])), &["dtype <f4", "|u1"]),
        (Box::new(|dir| replace(dir, "labels", &[4, 3], Fortran, &[0u8; 12])), &["Fortran"]),
        (Box::new(|dir| replace(dir, "labels", &[12], C, &[0u8; 12])), &["[12]", "expected 2 dimension"]),
        (Box::new(|dir| replace(dir, "labels", &[3, 3], C, &[0u8; 9])), &["3 examples, the inputs have 4"]),
        (
            Box::new(|dir| replace(dir, "inputs", &[4, 4], C, &[0u8; 16])),
            &["train/all__inputs.npy: 4 tokens per example, dataset.json says 3", "trm data"],
        ),
        (
            Box::new(|dir| replace(dir, "group_indices", &[3], C, &[1i32, 2, 3])),
            &["starts with 1, expected 0"],
        ),
        (
            Box::new(|dir| replace(dir, "group_indices", &[4], C, &[0i32, 2, 2, 3])),
            &["element 2 is 2 after 2"],
        ),
        (
            Box::new(|dir| replace(dir, "puzzle_indices", &[4], C, &[0i32, 2, 1, 4])),
            &["element 2 is 1 after 2"],
        ),
        (
            Box::new(|dir| replace(dir, "puzzle_indices", &[4], C, &[0i32, 1, 2, 5])),
            &["ends with 5", "examples, 4"],
        ),
        (Box::new(|dir| replace::<i32>(dir, "group_indices", &[0], C, &[])), &["is empty"]),
        (
            Box::new(|dir| replace(dir, "puzzle_identifiers", &[2], C, &[0i32; 2])),
            &["2 identifiers", "3 puzzles"],
        ),
        (
            Box::new(|dir| replace(dir, "puzzle_identifiers", &[3], C, &[0, 50, 0])),
            &["puzzle 1 has identifier 50"],
        ),
        (
            Box::new(|dir| fs::remove_file(dir.join("train/dataset.json")).unwrap()),
            &["train/dataset.json: no such file or folder; name the folder of a data set"],
        ),
        (Box::new(edit("\"pad_id\":5,", "")), &["dataset.json", "pad_id"]),
        (Box::new(edit("\"pad_id\":5", "\"pad_id\":200")), &["pad_id 200", "vocab_size 200"]),
        (Box::new(edit("identifier_id\":1", "identifier_id\":-1")), &["blank_identifier_id -1"]),
        (Box::new(edit("total_groups\":2", "total_groups\":7")), &["total_groups 7, the arrays have 2"]),
        (Box::new(edit("total_puzzles\":3", "total_puzzles\":9")), &["total_puzzles 9, the arrays have 3"]),
        (Box::new(edit("examples\":1.3", "examples\":2.3")), &["mean_puzzle_examples 2.3", "have 1.3"]),
        (Box::new(edit("[\"all\"]", "[]")), &["no sets"]),
    ];
    for (damage, parts) in cases {
        let (dir, _) = toy(&[&[1, 1], &[2]]);
        damage(dir.path());
        refused(Dataset::open(dir.path(), Split::Train), parts);
    }
    let (dir, _) = toy(&[&[1, 1], &[2]]);
    edit("total_puzzles\":3", "total_puzzles\":2")(dir.path());
    Dataset::open(dir.path(), Split::Train).expect("the release counts groups here");
}

fn broken_tokens_are_named() {
    let cases: [(&str, [i64; 6], &[&str]); 4] = [
        (
            "inputs",
            [0, 0, 0, 0, 200, 0],
            &["all__inputs.npy: example 1, position 1: token 200", "vocab_size 200"],
        ),
        ("inputs", [0, 0, 0, 0, 0, 1 << 32], &["example 1, position 2: token"]),
        (
            "labels",
            [0, 0, -1, 0, 0, 0],
            &["all__labels.npy: example 0, position 2: label -1", "vocab_size 200"],
        ),
        ("labels", [0, 0, 0, 300, 0, 0], &["example 1, position 0: label 300"]),
    ];
    for (field, values, parts) in cases {
        let (dir, _) = toy(&[&[1], &[1]]);
        replace(dir.path(), field, &[2, 3], npyz::Order::C, &values);
        let dataset = Arc::new(Dataset::open(dir.path(), Split::Train).unwrap());
        let mut batch = Batch::new(2, SEQ_LEN);
        refused(TestBatches::new(dataset.clone(), 2).next_batch(&mut batch), parts);
        refused(Sampler::new(dataset, 2, 1, 0).unwrap().next_batch(&mut batch), parts);
    }
}

fn sampler_takes_each_group_once_per_epoch() {
    let (_dir, dataset) = toy(&[&[1][..]; 6]);
    let mut sampler = Sampler::new(dataset, 3, 2, 1).unwrap();
    let mut orders = HashSet::new();
    for _epoch in 0..20 {
        let mut seen = Vec::new();
        for _ in 0..2 {
            let batch = next(&mut sampler, 3);
            assert_eq!(batch.puzzle_identifiers, examples(&batch), "identifiers stay with their examples");
            seen.extend(examples(&batch));
        }
        orders.insert(seen.clone());
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
    }
    assert!(orders.len() > 15, "every epoch has an order of its own");
}

fn sampler_fills_batches_without_replacement() {
    // One puzzle of 5 and one of 4 examples: each batch of 6 is one whole puzzle and a part of the other, each
    // iteration of 3 epochs gives 4 batches (two groups each) less a remainder that is dropped.
    let (_dir, dataset) = toy(&[&[5], &[4]]);
    let mut sampler = Sampler::new(dataset, 6, 3, 1).unwrap();
    let mut partial = HashSet::new();
    for step in 0..60 {
        let batch = next(&mut sampler, 6);
        assert_eq!(
            (sampler.state().iteration, sampler.state().groups_taken),
            (step / 3, (step as usize % 3 + 1) * 2)
        );
        let seen = examples(&batch);
        assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 6, "{seen:?} repeats an example");
        let first = seen.iter().filter(|&&example| example < 5).count();
        assert!(first == 5 || first == 2, "{seen:?}");
        partial.insert(seen);
    }
    assert!(partial.len() > 30, "the examples of a puzzle are drawn at random");

    let (_dir, dataset) = toy(&[&[2], &[2], &[2]]);
    let mut sampler = Sampler::new(dataset, 4, 1, 1).unwrap();
    for iteration in 0..5 {
        next(&mut sampler, 4);
        assert_eq!(sampler.state().iteration, iteration, "the third group is dropped each time");
    }
}

fn sampler_draws_evenly() {
    let (_dir, dataset) = toy(&[&[1, 1, 1, 1], &[1]]);
    let mut sampler = Sampler::new(dataset, 2, 1, 1).unwrap();
    let mut counts = [0; 5];
    for _ in 0..400 {
        examples(&next(&mut sampler, 2)).iter().for_each(|&example| counts[example as usize] += 1);
    }
    assert_eq!(counts[4], 400);
    assert!(counts[..4].iter().all(|count| (60..140).contains(count)), "{counts:?}");

    let (_dir, dataset) = toy(&[&[4]]);
    let mut sampler = Sampler::new(dataset, 2, 1, 1).unwrap();
    let mut pairs = HashMap::new();
    (0..2400).for_each(|_| *pairs.entry(examples(&next(&mut sampler, 2))).or_insert(0) += 1);
    assert_eq!(pairs.len(), 12, "two of four examples, in either order");
    assert!(pairs.values().all(|count| (150..250).contains(count)), "{pairs:?}");
}

fn sampler_resumes_anywhere() {
    let (_dir, dataset) = toy(&[&[2, 3], &[4], &[1, 1], &[3]]);
    let new = |seed| Sampler::new(dataset.clone(), 5, 3, seed).unwrap();
    let mut whole = new(9);
    let run: Vec<(SamplerState, Batch)> = (0..40).map(|_| (whole.state(), next(&mut whole, 5))).collect();
    for (step, (state, _)) in run.iter().enumerate() {
        let saved = serde_json::to_string(state).unwrap();
        let mut resumed = new(9);
        resumed.restore(serde_json::from_str(&saved).unwrap()).unwrap();
        for (state, batch) in &run[step..] {
            assert_eq!((state, batch), (&resumed.state(), &next(&mut resumed, 5)), "resumed at {step}");
        }
    }
    assert_ne!(run[0].1, next(&mut new(10), 5), "another seed, another order");
    let beyond = SamplerState { groups_taken: 13, ..run[0].0 };
    let parts = ["train.eval_interval: 3 epoch(s)", "12 groups", "group 13", "resume with that of the run"];
    refused(whole.restore(beyond), &parts);
}

fn next(sampler: &mut Sampler, batch_size: usize) -> Batch {
    let mut batch = Batch::new(batch_size, SEQ_LEN);
    sampler.next_batch(&mut batch).unwrap();
    batch
}

fn sampler_refuses_small_data_sets() {
    let (_dir, dataset) = toy(&[&[1, 3], &[1]]);
    let new = |batch_size, epochs| Sampler::new(dataset.clone(), batch_size, epochs, 0).map(|_| ());
    refused(new(5, 2), &["global_batch_size", "batch of 5", "2 epoch(s)", "only 4 examples", "lower it"]);
    refused(new(0, 1), &["global_batch_size"]);
    refused(new(1, 0), &["global_batch_size", "only 0 examples"]);
    new(4, 2).unwrap();
    new(1, usize::MAX).unwrap();
}

fn test_batches_are_padded() {
    let dir = folder();
    write_toy(dir.path(), Split::Test, &[&[2, 0], &[0, 3]]);
    let dataset = Arc::new(Dataset::open(dir.path(), Split::Test).unwrap());
    let batches = TestBatches::new(dataset.clone(), 3);
    let batches: Vec<_> = batches.collect::<trm::Result<_>>().unwrap();
    let [(full, 3), (padded, 2)] = &batches[..] else { panic!("{batches:?}") };
    assert_eq!((examples(full), &full.puzzle_identifiers), (vec![0, 1, 2], &vec![0, 0, 3]));
    assert_eq!((examples(padded), &padded.puzzle_identifiers), (vec![3, 4, 5], &vec![3, 3, 1]));
    assert_eq!(padded.inputs[6..], [5; SEQ_LEN], "pad_id");
    assert_eq!(padded.labels[6..], [IGNORE_LABEL; SEQ_LEN]);

    let exact = TestBatches::new(dataset, 5).collect::<trm::Result<Vec<_>>>().unwrap();
    assert_eq!(exact.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [5]);
}
