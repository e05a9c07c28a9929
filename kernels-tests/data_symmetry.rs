//! Samples that are drawn as symmetries of their examples: sound, evenly, anew each time, and the same after a resume.

use std::collections::HashSet;
use std::sync::Arc;

use libtest_mimic::Trial;
use tempfile::TempDir;
use trm::data::dihedral::Dihedral;
use trm::data::maze::{self, solution_fault};
use trm::data::sudoku::{self, Canonical, Grid, Puzzle, Shape, is_valid_solution};
use trm::data::{Batch, Dataset, Sampler, SamplerState, Split, Vocabulary, Writer};

use crate::cli::{Outcome, Workshop, borrowed, check, refuse, succeed, trm};
use crate::cli_runs::{resume_args, same_run};
use crate::data::{folder, refused, trials};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 5] = [
        ("sudokus_come_in_all_clothes", sudokus_come_in_all_clothes),
        ("mazes_come_in_all_turns", mazes_come_in_all_turns),
        ("draws_resume_anywhere", draws_resume_anywhere),
        ("draws_stay_what_they_are", draws_stay_what_they_are),
        ("other_puzzles_are_refused", other_puzzles_are_refused),
    ];
    let resumed = Trial::test("data_symmetry::a_resumed_run_is_the_same", resumed_run);
    let planned = Trial::test("data_symmetry::plans_are_those_of_training", planned);
    trials("data_symmetry", &tests).into_iter().chain([resumed, planned]).collect()
}

const PUZZLES: usize = 12;

fn sudokus(size: usize) -> (TempDir, Arc<Dataset>) {
    let dir = folder();
    let (min_clues, max_clues) = (None, None);
    let options = sudoku::GenerateOptions {
        out: dir.path().join("set"),
        size,
        train: PUZZLES,
        test: 1,
        min_clues,
        max_clues,
        num_aug: 0,
        seed: 1,
    };
    sudoku::build_generated(&options, &mut |_| {}).unwrap();
    opened(dir)
}

fn mazes(rows: usize, cols: usize) -> (TempDir, Arc<Dataset>) {
    let dir = folder();
    let (out, aug) = (dir.path().join("set"), false);
    let options =
        maze::GenerateOptions { out, train: PUZZLES, test: 1, rows, cols, min_path: 3, aug, seed: 1 };
    maze::build_generated(&options).unwrap();
    opened(dir)
}

fn opened(dir: TempDir) -> (TempDir, Arc<Dataset>) {
    let dataset = Arc::new(Dataset::open(&dir.path().join("set"), Split::Train).unwrap());
    (dir, dataset)
}

/// Samples of `batch_size`, epochs of one iteration 1, and the seed.
fn sampler(dataset: &Arc<Dataset>, batch_size: usize, seed: u64) -> Sampler {
    Sampler::new(dataset.clone(), batch_size, 1, seed).unwrap().augmented().unwrap()
}

/// The next samples, inputs and labels of each.
fn next(sampler: &mut Sampler, batch_size: usize, seq_len: usize) -> Vec<Sample> {
    let mut batch = Batch::new(batch_size, seq_len);
    sampler.next_batch(&mut batch).unwrap();
    sampler.vary(&mut batch);
    let rows = batch.inputs.chunks(seq_len).zip(batch.labels.chunks(seq_len));
    rows.map(|(inputs, labels)| (inputs.to_vec(), labels.to_vec())).collect()
}

fn examples(dataset: &Dataset) -> Vec<Sample> {
    let seq_len = dataset.metadata().seq_len;
    let read = |example| {
        let (mut inputs, mut labels) = (vec![0; seq_len], vec![0; seq_len]);
        dataset.read_example(&dataset.sets()[0], example, &mut inputs, &mut labels).unwrap();
        (inputs, labels)
    };
    (0..dataset.examples()).map(read).collect()
}

fn sudokus_come_in_all_clothes() {
    for shape in Shape::ALL {
        let (_dir, dataset) = sudokus(shape.size());
        let canonical = Canonical::new(shape);
        let forms = |samples: &[Sample]| {
            let form = |(inputs, labels): &Sample| {
                let (question, answer) = (Grid::from_tokens(shape, inputs), Grid::from_tokens(shape, labels));
                assert!(is_valid_solution(&question, &answer));
                canonical.of(&Puzzle { question, answer })
            };
            let mut forms: Vec<String> =
                samples.iter().map(form).map(|form| format!("{}{}", form.answer, form.question)).collect();
            forms.sort_unstable();
            forms
        };
        let as_stored = forms(&examples(&dataset));
        let mut sampler = sampler(&dataset, PUZZLES, 7);
        let mut seen = HashSet::new();
        for _epoch in 0..4 {
            let samples = next(&mut sampler, PUZZLES, shape.cells());
            assert_eq!(forms(&samples), as_stored, "{shape}: every puzzle once in an epoch");
            seen.extend(samples);
        }
        // Of size 4 there are few: now and then one comes twice.
        let least = if shape.size() == 4 { 40 } else { 4 * PUZZLES };
        assert!(seen.len() >= least, "{shape}: {} of {} samples differ", seen.len(), 4 * PUZZLES);
    }
}

fn mazes_come_in_all_turns() {
    for (rows, cols, variants) in [(5, 5, 8), (5, 7, 4)] {
        let (_dir, dataset) = mazes(rows, cols);
        let stored = examples(&dataset);
        let mut sampler = sampler(&dataset, PUZZLES, 7);
        let mut turns = HashSet::new();
        for _epoch in 0..10 {
            for (inputs, labels) in next(&mut sampler, PUZZLES, rows * cols) {
                assert_eq!(solution_fault(cols, &inputs, &labels), None);
                let turned = |turn: &Dihedral| {
                    let keeps = rows == cols || turn.keeps_shape();
                    let same = |(stored_inputs, stored_labels): &Sample| {
                        turn.apply(rows, cols, stored_inputs) == inputs
                            && turn.apply(rows, cols, stored_labels) == labels
                    };
                    keeps && stored.iter().any(same)
                };
                let found = Dihedral::ALL.into_iter().find(turned).expect("a turn of a stored maze");
                turns.insert(found.index());
            }
        }
        assert_eq!(turns.len(), variants, "{rows}x{cols}");
    }
}

fn draws_resume_anywhere() {
    let (_dir, dataset) = sudokus(6);
    let mut whole = sampler(&dataset, 5, 9);
    let run: Vec<(SamplerState, _)> = (0..12).map(|_| (whole.state(), next(&mut whole, 5, 36))).collect();
    for (step, (state, _)) in run.iter().enumerate() {
        let mut resumed = sampler(&dataset, 5, 9);
        resumed.restore(*state).unwrap();
        for (state, samples) in &run[step..] {
            assert_eq!((*state, samples), (resumed.state(), &next(&mut resumed, 5, 36)), "resumed at {step}");
        }
    }
    let plain = |seed| Sampler::new(dataset.clone(), 5, 1, seed).unwrap();
    assert_eq!(plain(9).state(), run[0].0);
    assert_ne!(next(&mut plain(9), 5, 36), run[0].1, "off, examples are as they lie on disk");
    assert_ne!(next(&mut sampler(&dataset, 5, 10), 5, 36), run[0].1, "another seed, other draws");
}

/// Checksums of the first batches, which recorded runs were made of.
fn draws_stay_what_they_are() {
    let square = ([3, 2, 2, 1, 1, 2, 4, 2, 2], [3, 5, 5, 1, 1, 5, 4, 5, 5]);
    let rectangle = ([3, 2, 2, 2, 1, 1, 1, 4], [3, 5, 5, 5, 1, 1, 1, 4]);
    let cases: [(&str, usize, Vec<Sample>, u32); 5] = [
        ("4x4", 6, solved(Shape::ALL[0]), 0x52e8_8901),
        ("6x6", 8, solved(Shape::ALL[1]), 0xd2d0_6b1b),
        ("9x9", 11, solved(Shape::ALL[2]), 0xd263_2676),
        ("mazes of 3x3", 6, walked(&square.0, &square.1), 0xd05e_4a0a),
        ("mazes of 4x2", 6, walked(&rectangle.0, &rectangle.1), 0x6dd2_352c),
    ];
    for (name, vocab_size, examples, golden) in cases {
        let (_dir, dataset) = written(vocab_size, &examples);
        let mut sampler = Sampler::new(dataset, 3, 2, (7 << 32) + 9).unwrap().augmented().unwrap();
        let mut hasher = crc32fast::Hasher::new();
        for _batch in 0..40 {
            for (inputs, labels) in next(&mut sampler, 3, examples[0].0.len()) {
                [inputs, labels].concat().iter().for_each(|token| hasher.update(&token.to_le_bytes()));
            }
        }
        let found = hasher.finalize();
        assert_eq!(found, golden, "{name}: draws {found:#010x}, recorded runs {golden:#010x}");
    }
}

/// Inputs and labels of an example.
type Sample = (Vec<i32>, Vec<i32>);

/// Solved grids by a formula, some cells blank; from the second on, some labels ignored and some inputs padding.
fn solved(shape: Shape) -> Vec<Sample> {
    let (size, rows) = (shape.size(), shape.box_rows());
    let digit = |cell: usize, shift: usize| {
        let (row, column) = (cell / size, cell % size);
        ((row % rows) * shape.box_columns() + row / rows + column + shift) % size
    };
    let example = |number: usize| {
        let labels = (0..shape.cells()).map(|cell| match (number, cell % 5) {
            (1.., 4) => 0,
            _ => digit(cell, number) as i32 + 2,
        });
        let inputs = (0..shape.cells()).map(|cell| match ((cell + number) % 3, cell % 11) {
            (0, _) => 1,
            (_, 10) if number > 0 => 0,
            _ => digit(cell, number) as i32 + 2,
        });
        (inputs.collect(), labels.collect())
    };
    (0..5).map(example).collect()
}

/// A maze, then the same cells with other tokens.
fn walked(inputs: &[i32], labels: &[i32]) -> Vec<Sample> {
    let shifted = |tokens: &[i32], by: i32| {
        let moved = |(cell, token): (usize, &i32)| (token + by * (1 + cell as i32)) % 6;
        tokens.iter().enumerate().map(moved).collect::<Vec<i32>>()
    };
    (0..5).map(|number| (shifted(inputs, number), shifted(labels, number))).collect()
}

/// A data set of these examples, each a group of its own; labels of 0 are ignored.
fn written(vocab_size: usize, examples: &[Sample]) -> (TempDir, Arc<Dataset>) {
    let dir = folder();
    let mut writer =
        Writer::create(&dir.path().join("set"), Split::Train, "all", examples[0].0.len()).unwrap();
    for (inputs, labels) in examples {
        let bytes = |tokens: &[i32]| tokens.iter().map(|&token| token as u8).collect::<Vec<u8>>();
        writer.example(&bytes(inputs), &bytes(labels)).unwrap();
        writer.end_puzzle(0).unwrap();
        writer.end_group().unwrap();
    }
    let vocabulary = Vocabulary {
        pad_id: 0,
        ignore_label_id: Some(0),
        blank_identifier_id: 0,
        vocab_size,
        num_puzzle_identifiers: 1,
    };
    writer.finish(vocabulary).unwrap();
    opened(dir)
}

fn other_puzzles_are_refused() {
    let (_dir, dataset) = written(99, &[(vec![1, 2, 3], vec![3, 2, 1])]);
    let augmented = Sampler::new(dataset, 1, 1, 0).unwrap().augmented().map(|_| ());
    refused(augmented, &["train.augment: is true", "neither Sudokus nor mazes", "set it to false"]);
}

/// `trm plan` lays down what `trm train` runs, and refuses what that refuses.
fn planned() -> Outcome {
    let takes = |args: &[&str], expected: &str| {
        let plan =
            [&["plan", "--recipe", "tiny-maze", "--set", "train.augment=true", "--json"], args].concat();
        let plan = trm(&plan)?.stdout;
        let found: Vec<&str> = ["symmetry.sudoku", "symmetry.maze", "carry.take_samples"]
            .into_iter()
            .filter(|kernel| plan.contains(&format!("\"{kernel}\"")))
            .collect();
        check(found == [expected], || format!("{args:?} takes samples by {found:?}, not {expected}"))
    };
    takes(&[], "symmetry.sudoku")?;
    takes(&["--eval"], "carry.take_samples")?;
    takes(&["--set", "train.augment=false"], "carry.take_samples")?;
    takes(&["--seq-len", "35", "--vocab-size", "6"], "symmetry.maze")?;
    takes(&["--seq-len", "35", "--vocab-size", "7"], "carry.take_samples")?;
    let (dir, _) = mazes(5, 7);
    takes(&["--data", &dir.path().join("set").display().to_string()], "symmetry.maze")?;

    let (dir, _) = written(99, &[(vec![1, 2, 3], vec![3, 2, 1])]);
    let (data, out) = (dir.path().join("set").display().to_string(), dir.path().join("run"));
    let named = ["--recipe", "tiny-maze", "--set", "train.augment=true", "--data", &data];
    let said = ["train.augment: is true, and", "holds neither Sudokus nor mazes; set it to false"];
    refuse(&[&["plan"], &named[..]].concat(), 2, &said)?;
    let train = ["train", "--set", "train.global_batch_size=1", "--out", &out.display().to_string()];
    let train = trm(&[&train, &named[..]].concat())?;
    let refused = train.code == 2 && said.iter().all(|part| train.stderr.contains(part));
    check(refused, || format!("exits with {}: {}", train.code, train.stderr))?;
    check(!out.exists(), || "a refused training leaves a folder".into())
}

/// Taken up again in the middle of an iteration, a run with draws ends with the bits of one that went through.
fn resumed_run() -> Outcome {
    let workshop = Workshop::new()?;
    let train = |run: &str, more: &[&str]| {
        let args = workshop.train_args(run, 4);
        succeed(&[&borrowed(&args)[..], &["--set", "train.augment=true"], more].concat())
    };
    let kept = ["--set", "train.checkpoint_every=3", "--set", "train.keep=9"];
    train("whole", &kept)?;
    train("run", &kept)?;
    let resume = resume_args(&workshop, "run", &[]);
    succeed(&[&borrowed(&resume)[..], &["--at", "6"]].concat())?;
    same_run(&workshop, "run", "whole", 16)?;
    succeed(&borrowed(&workshop.train_args("plain", 4)))?;
    let differs = same_run(&workshop, "plain", "whole", 16).is_err();
    check(differs, || "train.augment changes nothing".into())
}
