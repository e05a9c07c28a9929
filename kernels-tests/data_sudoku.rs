//! Sudoku: solver, generator, augmentation, CSV files and text, as properties and by the messages of bad input.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use trm::data::sudoku::{
    Augmentation, CsvOptions, GenerateOptions, Grid, Puzzle, Shape, Summary, build_from_csv, build_generated,
    count_solutions, default_clues, is_valid_solution, random_puzzle, solution_fault, unique_solution,
};
use trm::data::{Dataset, Split};
use trm::rng::Rng;

use crate::data::{folder, refused, trials};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 10] = [
        ("solver_counts_as_brute_force", solver_counts_as_brute_force),
        ("solver_solves_a_published_puzzle", solver_solves_a_published_puzzle),
        ("augmentations_keep_solutions", augmentations_keep_solutions),
        ("augmentations_reach_every_legal_placing", augmentations_reach_every_legal_placing),
        ("generated_puzzles_are_unique_and_apart", generated_puzzles_are_unique_and_apart),
        ("generation_is_reproducible", generation_is_reproducible),
        ("impossible_requests_are_refused", impossible_requests_are_refused),
        ("csv_files_become_data_sets", csv_files_become_data_sets),
        ("broken_csv_files_are_named", broken_csv_files_are_named),
        ("grids_parse_draw_and_judge", grids_parse_draw_and_judge),
    ];
    trials("data_sudoku", &tests)
}

/// The example that encyclopaedias show, and its solution.
const PUBLISHED: &str = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79";
const SOLUTION: &str = "534678912672195348198342567859761423426853791713924856961537284287419635345286179";

fn grid(text: &str) -> Grid {
    Grid::parse(text).unwrap()
}

pub fn puzzles(shape: Shape, count: usize) -> Vec<Puzzle> {
    let mut rng = Rng::new(3, 0);
    let draw = || random_puzzle(shape, &default_clues(shape), &mut rng);
    std::iter::repeat_with(draw).flatten().take(count).collect()
}

/// All 288 grids of size 4, by trying every combination of four rows.
pub fn all_grids_of_size_4() -> Vec<Grid> {
    let digits = "1234";
    let mut rows = Vec::new();
    for code in 0..256 {
        let row: String = (0..4).map(|place| &digits[code >> (2 * place) & 3..][..1]).collect();
        if digits.chars().all(|digit| row.contains(digit)) {
            rows.push(row);
        }
    }
    let blank = grid(&".".repeat(16));
    let mut grids = vec![String::new()];
    for _ in 0..4 {
        grids = grids.iter().flat_map(|grid| rows.iter().map(move |row| format!("{grid}{row}"))).collect();
    }
    grids.iter().map(|text| grid(text)).filter(|answer| is_valid_solution(&blank, answer)).collect()
}

fn solver_counts_as_brute_force() {
    let grids = all_grids_of_size_4();
    assert_eq!(grids.len(), 288);
    let mut rng = Rng::new(1, 0);
    let mut counts = [0; 3];
    for _ in 0..500 {
        let answer = grids[rng.below(grids.len())].to_string();
        let clues = 2 + rng.below(5);
        let kept = &rng.permutation(16)[..clues];
        let text: String = answer
            .chars()
            .enumerate()
            .map(|(cell, digit)| if kept.contains(&cell) { digit } else { '.' })
            .collect();
        let question = grid(&text);
        let solutions: Vec<_> = grids.iter().filter(|answer| is_valid_solution(&question, answer)).collect();
        assert_eq!(count_solutions(&question), Some(solutions.len().min(2)), "{question}");
        assert_eq!(unique_solution(&question), (solutions.len() == 1).then(|| *solutions[0]));
        counts[solutions.len().min(2)] += 1;
    }
    assert!(counts[1] > 20 && counts[2] > 20, "{counts:?}");
    for contradiction in ["11..............", "1...1...........", "1....1..........", "123....4........"] {
        assert_eq!(count_solutions(&grid(contradiction)), Some(0), "{contradiction}");
    }
}

fn solver_solves_a_published_puzzle() {
    assert_eq!(unique_solution(&grid(PUBLISHED)), Some(grid(SOLUTION)));
    assert_eq!(count_solutions(&Grid::blank(Shape::ALL[2])), Some(2));
}

fn augmentations_keep_solutions() {
    for shape in Shape::ALL {
        let mut rng = Rng::new(2, 0);
        for Puzzle { question, answer } in puzzles(shape, 40) {
            assert_eq!(Augmentation::identity(shape).apply(&question), question);
            for _ in 0..20 {
                let augmentation = Augmentation::random(shape, &mut rng);
                let (moved, solution) = (augmentation.apply(&question), augmentation.apply(&answer));
                assert_eq!(solution_fault(&moved, &solution), None);
                assert_eq!(moved.clues(), question.clues());
                assert_eq!(unique_solution(&moved), Some(solution));
                assert_eq!(augmentation.inverse().apply(&moved), question);
                assert_eq!(augmentation.inverse().inverse(), augmentation);
            }
        }
    }
}

/// Every legal placing of the clues, enumerated from the rules, is drawn sooner or later, and no other.
fn augmentations_reach_every_legal_placing() {
    for (shape, text) in
        [(Shape::ALL[0], "1...2.....3....."), (Shape::ALL[1], "1.....2.......3.....................")]
    {
        let (size, question) = (shape.size(), grid(text));
        let clues: Vec<usize> = (0..shape.cells()).filter(|&cell| question.cells()[cell] > 0).collect();
        let place = |rows: &[usize], columns: &[usize], transpose: bool| {
            let mut placed: Vec<usize> = clues
                .iter()
                .map(|&cell| (rows[cell / size], columns[cell % size]))
                .map(|(row, column)| if transpose { column * size + row } else { row * size + column })
                .collect();
            placed.sort_unstable();
            placed
        };
        let transposes =
            if shape.box_rows() == shape.box_columns() { vec![false, true] } else { vec![false] };
        let (rows, columns) = (legal_orders(size, shape.box_rows()), legal_orders(size, shape.box_columns()));
        let mut legal = HashSet::new();
        for (rows, columns) in rows.iter().flat_map(|rows| columns.iter().map(move |columns| (rows, columns)))
        {
            legal.extend(transposes.iter().map(|&transpose| place(rows, columns, transpose)));
        }
        let mut rng = Rng::new(4, 0);
        let drawn = (0..60_000).map(|_| Augmentation::random(shape, &mut rng).apply(&question));
        let drawn: HashSet<Vec<usize>> =
            drawn.map(|grid| (0..shape.cells()).filter(|&cell| grid.cells()[cell] > 0).collect()).collect();
        assert_eq!(drawn, legal, "{shape}");
    }
}

/// The orders of `size` lines in which each block of `block` lines stays a block.
fn legal_orders(size: usize, block: usize) -> Vec<Vec<usize>> {
    let mut orders = vec![vec![]];
    for place in 0..size {
        let longer = |order: &Vec<usize>| -> Vec<Vec<usize>> {
            let fits = |line: &usize| {
                let together = |(at, other): (usize, &usize)| {
                    (at / block == place / block) == (other / block == line / block)
                };
                !order.contains(line) && order.iter().enumerate().all(together)
            };
            (0..size).filter(fits).map(|line| [&order[..], &[line]].concat()).collect()
        };
        orders = orders.iter().flat_map(longer).collect();
    }
    orders
}

fn options(out: PathBuf, size: usize, train: usize, test: usize) -> GenerateOptions {
    GenerateOptions { out, size, train, test, min_clues: None, max_clues: None, num_aug: 0, seed: 5 }
}

/// The examples of a split, checked to be valid puzzles.
pub fn read(dir: &Path, split: Split, shape: Shape) -> Vec<Puzzle> {
    let dataset = Dataset::open(dir, split).unwrap();
    let metadata = dataset.metadata();
    assert_eq!((metadata.vocab_size, metadata.seq_len), (shape.size() + 2, shape.cells()));
    let (mut inputs, mut labels) = (vec![0; shape.cells()], vec![0; shape.cells()]);
    let mut read = |example| {
        dataset.read_example(&dataset.sets()[0], example, &mut inputs, &mut labels).unwrap();
        let grid = |tokens: &[i32]| Grid::from_tokens(shape, tokens);
        let puzzle = Puzzle { question: grid(&inputs), answer: grid(&labels) };
        assert!(is_valid_solution(&puzzle.question, &puzzle.answer));
        puzzle
    };
    (0..dataset.examples()).map(&mut read).collect()
}

fn generated_puzzles_are_unique_and_apart() {
    for (shape, num_aug) in [(Shape::ALL[0], 30), (Shape::ALL[1], 2), (Shape::ALL[2], 1)] {
        let dir = folder();
        let out = dir.path().join("set");
        let summary = build_generated(
            &GenerateOptions { num_aug, ..options(out.clone(), shape.size(), 60, 40) },
            &mut |_| {},
        )
        .unwrap();
        assert_eq!((summary.size, summary.train.puzzles, summary.test.puzzles), (shape.size(), 60, 40));
        assert_eq!((summary.train.examples, summary.test.examples), (60 * (1 + num_aug), 40));
        let (train, test) = (read(&out, Split::Train, shape), read(&out, Split::Test, shape));
        for puzzle in train.iter().step_by(1 + num_aug).chain(&test) {
            assert_eq!(unique_solution(&puzzle.question), Some(puzzle.answer));
            assert!(default_clues(shape).contains(&puzzle.question.clues()));
        }
        let questions: HashSet<Grid> =
            train.iter().step_by(1 + num_aug).chain(&test).map(|puzzle| puzzle.question).collect();
        assert_eq!(questions.len(), 100, "no puzzle twice");
        let held_out: HashSet<Grid> = test.iter().map(|puzzle| puzzle.answer).collect();
        assert!(train.iter().all(|puzzle| !held_out.contains(&puzzle.answer)), "augmentations included");
        let dataset = Dataset::open(&out, Split::Train).unwrap();
        assert_eq!((dataset.groups(), dataset.puzzles()), (60, 60 * (1 + num_aug)));
        assert_eq!(fs::read_to_string(out.join("identifiers.json")).unwrap(), "[\"<blank>\"]");
    }
}

fn generation_is_reproducible() {
    let dir = folder();
    let build = |name: &str, seed| {
        let out = dir.path().join(name);
        build_generated(
            &GenerateOptions { num_aug: 1, seed, ..options(out.clone(), 6, 300, 50) },
            &mut |_| {},
        )
        .unwrap();
        fs::read(out.join("train/all__inputs.npy")).unwrap()
    };
    let first = build("a", 1);
    assert_eq!(first, build("b", 1));
    assert_ne!(first, build("c", 2));
}

fn impossible_requests_are_refused() {
    let dir = folder();
    let base = options(dir.path().join("set"), 4, 10, 10);
    let cases: [(GenerateOptions, &[&str]); 7] = [
        (GenerateOptions { size: 5, ..base.clone() }, &["size: 5", "4, 6 or 9"]),
        (GenerateOptions { train: 0, ..base.clone() }, &["train: 0"]),
        (GenerateOptions { test: 0, ..base.clone() }, &["test: 0"]),
        (GenerateOptions { max_clues: Some(3), ..base.clone() }, &["max_clues: 3", "4 to 16"]),
        (GenerateOptions { max_clues: Some(17), ..base.clone() }, &["max_clues: 17", "4 to 16"]),
        (GenerateOptions { min_clues: Some(9), max_clues: Some(8), ..base.clone() }, &["min_clues: 9", "8"]),
        // With all 16 clues, a puzzle is its own solution: there are 288.
        (
            GenerateOptions {
                train: 200,
                test: 89,
                min_clues: Some(16),
                max_clues: Some(16),
                ..base.clone()
            },
            &["train: found 19", "of 200 training", "4x4 with 16 to 16 clues", "fewer"],
        ),
    ];
    for (options, parts) in cases {
        refused(build_generated(&options, &mut |_| {}), parts);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    }
    let all =
        GenerateOptions { train: 200, test: 88, min_clues: Some(16), max_clues: Some(16), ..base.clone() };
    build_generated(&all, &mut |_| {}).unwrap();
    refused(build_generated(&all, &mut |_| {}), &["exists and is not empty"]);
    let only = GenerateOptions { out: dir.path().join("only"), train: 1, test: 287, num_aug: 3, ..all };
    build_generated(&only, &mut |_| {}).unwrap();
}

/// Writes `train.csv` of `lines` and a good `test.csv`, and builds a data set of them.
fn build_csv(dir: &Path, lines: &[String], change: impl Fn(&mut CsvOptions)) -> trm::Result<Summary> {
    let write = |name: &str, lines: &[String]| {
        let path = dir.join(name);
        fs::write(&path, format!("source,question,answer,rating\n{}\n", lines.join("\n"))).unwrap();
        path
    };
    let train_csv = write("train.csv", lines);
    let test_csv = write("test.csv", &[format!("s,{PUBLISHED},{SOLUTION},7")]);
    let out = dir.join("set");
    let mut options = CsvOptions {
        out,
        train_csv,
        test_csv,
        subsample: None,
        num_aug: 0,
        min_difficulty: None,
        on_invalid: None,
        seed: 1,
    };
    change(&mut options);
    build_from_csv(&options, &mut |_| {})
}

fn csv_files_become_data_sets() {
    let shape = Shape::ALL[2];
    let source = puzzles(shape, 12);
    let line =
        |(rating, puzzle): (usize, &Puzzle)| format!("x,{},{},{rating}", puzzle.question, puzzle.answer);
    let lines: Vec<String> = source.iter().enumerate().map(line).collect();

    let dir = folder();
    let summary = build_csv(dir.path(), &lines, |options| options.num_aug = 2).unwrap();
    assert_eq!((summary.train.puzzles, summary.train.examples, summary.test.examples), (12, 36, 1));
    let out = dir.path().join("set");
    let train = read(&out, Split::Train, shape);
    assert_eq!(train.iter().step_by(3).copied().collect::<Vec<_>>(), source, "the originals come first");
    let test = read(&out, Split::Test, shape);
    assert_eq!(test, [Puzzle { question: grid(PUBLISHED), answer: grid(SOLUTION) }]);
    let tokens: String = fs::read(out.join("test/all__inputs.npy")).unwrap()[128..]
        .iter()
        .map(|&token| if token == 1 { '.' } else { char::from(b'0' + token - 1) })
        .collect();
    assert_eq!(tokens, PUBLISHED, "1 for a blank, 2 to 10 for the digits");

    let dir = folder();
    let summary = build_csv(dir.path(), &lines, |options| options.min_difficulty = Some(7.0)).unwrap();
    assert_eq!((summary.train.puzzles, summary.test.puzzles), (5, 1));
    let dir = folder();
    build_csv(dir.path(), &lines, |options| options.subsample = Some(4)).unwrap();
    let chosen = read(&dir.path().join("set"), Split::Train, shape);
    assert!(chosen.len() == 4 && chosen.iter().all(|puzzle| source.contains(puzzle)));
    assert_eq!(chosen.iter().map(|puzzle| puzzle.question).collect::<HashSet<_>>().len(), 4);
}

fn broken_csv_files_are_named() {
    let good = format!("s,{PUBLISHED},{SOLUTION},7");
    let small = "s,1...............,1234341221434321,1".to_owned();
    let changed = SOLUTION.replacen('5', "6", 1);
    let cases: [(String, &[&str]); 8] = [
        (format!("s,{},{SOLUTION},7", &PUBLISHED[1..]), &["line 3: question: 80 characters", "81 (9x9)"]),
        (format!("s,{PUBLISHED},{SOLUTION}1,7"), &["line 3: answer: 82 characters"]),
        (format!("s,{},{SOLUTION},7", PUBLISHED.replacen('7', "y", 1)), &["line 3: question: column 5: 'y'"]),
        (small, &["line 3: question is 4x4, the lines before are 9x9"]),
        (
            format!("s,{PUBLISHED},{changed},7"),
            &["line 3: answer has 6 at row 1, column 1, the puzzle gives 5"],
        ),
        (format!("s,{},{changed},7", ".".repeat(81)), &["line 3: answer has two 6 in"]),
        (format!("s,{PUBLISHED},{PUBLISHED},7"), &["line 3: answer leaves row 1, column 3 blank"]),
        (format!("s,{PUBLISHED},{SOLUTION}"), &["line 3: 3 fields, the first line has 4"]),
    ];
    for (line, parts) in cases {
        let dir = folder();
        let result = build_csv(dir.path(), &[good.clone(), line], |_| ());
        refused(result, &[&["train.csv: "], parts].concat());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing but the CSV files is left");
    }
    let dir = folder();
    let lines = [good];
    let other = dir.path().join("other.csv");
    let build = |change: &dyn Fn(&mut CsvOptions)| build_csv(dir.path(), &lines, change);
    refused(build(&|options| options.train_csv = other.clone()), &["other.csv: "]);
    refused(
        build(&|options| options.min_difficulty = Some(8.0)),
        &["train.csv", "least 8", "ask for an easier one"],
    );
    refused(build(&|options| options.subsample = Some(0)), &["subsample: 0"]);
    fs::write(&other, "source,rating\n").unwrap();
    refused(build(&|options| options.test_csv = other.clone()), &["other.csv: line 1: no column of puzzles"]);
    fs::write(&other, "source,question,answer,rating\n").unwrap();
    refused(build(&|options| options.test_csv = other.clone()), &["other.csv: no puzzles"]);
    fs::write(&other, "source,question,answer,rating\ns,1...............,1234341221434321,1\n").unwrap();
    refused(build(&|options| options.test_csv = other.clone()), &["other.csv: puzzles of 4x4", "has 9x9"]);
    fs::write(&other, b"source,question,answer,rating\ns,\xff,1,1\n").unwrap();
    refused(build(&|options| options.test_csv = other.clone()), &["other.csv: line 2"]);
}

fn grids_parse_draw_and_judge() {
    let puzzle = grid(PUBLISHED);
    assert_eq!(grid(&PUBLISHED.replace('.', "0")), puzzle);
    assert_eq!(puzzle.to_string(), PUBLISHED);
    let mut buffer = [0; 81];
    let tokens: Vec<i32> = puzzle.write_tokens(&mut buffer).iter().map(|&token| i32::from(token)).collect();
    assert_eq!(tokens[..3], [6, 4, 1]);
    assert_eq!(Grid::from_tokens(puzzle.shape(), &tokens), puzzle);
    assert_eq!(Grid::from_tokens(Shape::ALL[0], &[0, 1, 2, 5, 6, -9]).to_string(), "..14............");

    refused(Grid::parse(&PUBLISHED[..80]), &["PUZZLE: 80 characters", "81 (9x9)"]);
    refused(Grid::parse("12345..........."), &["column 5: '5', expected 1 to 4"]);
    refused(Grid::parse(&"\u{e9}".repeat(16)), &["column 1: '\u{e9}'"]);
    refused(Grid::parse(""), &["0 characters"]);

    let six = grid("123456......................6.......").draw();
    assert_eq!(
        six.lines().take(4).collect::<Vec<_>>(),
        ["1 2 3 | 4 5 6", ". . . | . . .", "------+------", ". . . | . . ."]
    );
    assert_eq!(grid(PUBLISHED).draw().lines().nth(3), Some("------+-------+------"));

    assert!(is_valid_solution(&puzzle, &grid(SOLUTION)));
    assert_eq!(solution_fault(&puzzle, &puzzle).as_deref(), Some("leaves row 1, column 3 blank"));
    let blank = Grid::blank(Shape::ALL[0]);
    let fault = |answer: &str| solution_fault(&blank, &grid(answer)).unwrap();
    assert_eq!(fault("1231341221434321"), "has two 1 in row 1");
    assert_eq!(fault("1234341212343412"), "has two 1 in column 1");
    assert_eq!(fault("1234214334124321"), "has two 2 in box 1");
    assert_eq!(fault(PUBLISHED), "is 9x9, the puzzle is 4x4");
}
