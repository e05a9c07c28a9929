//! Mazes: exact search, generator, symmetries, CSV files and the folder that comes out.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use libtest_mimic::Trial;
use tempfile::TempDir;
use trm::data::dihedral::Dihedral;
use trm::data::maze::{
    self, CHARACTERS, CsvOptions, GOAL, GenerateOptions, Generator, Maze, OPEN, PATH, START, WALL,
};
use trm::data::{Dataset, Split};
use trm::rng::Rng;

/// This file's tests.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 9] = [
        ("search_agrees_with_relaxation", search_agrees_with_relaxation),
        ("generated_paths_are_unique_shortest_and_long", generated_paths),
        ("generated_mazes_differ_in_every_symmetry", generated_mazes_differ),
        ("the_seed_decides", the_seed_decides),
        ("unsatisfiable_requests_end", unsatisfiable_requests_end),
        ("symmetries_are_the_puzzles_of_a_group", symmetries_are_puzzles),
        ("csv_files_become_data_sets", csv_files),
        ("rectangles_come_with_a_size", rectangles),
        ("bad_rows_are_refused_by_line", bad_rows),
    ];
    let trial = |(name, test): (&str, fn())| {
        Trial::test(format!("data_maze::{name}"), move || {
            test();
            Ok(())
        })
    };
    tests.into_iter().map(trial).collect()
}

fn options(out: &TempDir, rows: usize, cols: usize, min_path: usize) -> GenerateOptions {
    GenerateOptions {
        out: out.path().join("out"),
        train: 20,
        test: 5,
        rows,
        cols,
        min_path,
        aug: false,
        seed: 3,
    }
}

/// Moves and numbers of shortest ways from `start`, by passing over all cells once for every move.
fn relaxed(rows: usize, cols: usize, tokens: &[u8], start: usize) -> (Vec<Option<usize>>, Vec<u128>) {
    let near = |cell: usize| {
        let place =
            move |other: usize| (other / cols).abs_diff(cell / cols) + (other % cols).abs_diff(cell % cols);
        let beside = [cell.wrapping_sub(1), cell + 1].into_iter().filter(move |_| cols > 1);
        let around = [cell.wrapping_sub(cols), cell + cols].into_iter().chain(beside);
        around.filter(move |&other| other < rows * cols && place(other) == 1)
    };
    let mut moves: Vec<Option<usize>> = vec![None; rows * cols];
    let mut ways = vec![0; rows * cols];
    (moves[start], ways[start]) = (Some(0), 1);
    for distance in 0.. {
        let reached: Vec<usize> = (0..tokens.len()).filter(|&cell| moves[cell] == Some(distance)).collect();
        let next = |cell: &usize| {
            tokens[*cell] != WALL
                && moves[*cell].is_none()
                && near(*cell).any(|other| reached.contains(&other))
        };
        let next: Vec<usize> = (0..tokens.len()).filter(next).collect();
        if next.is_empty() {
            break;
        }
        for cell in next {
            moves[cell] = Some(distance + 1);
            ways[cell] =
                near(cell).filter(|&other| moves[other] == Some(distance)).map(|other| ways[other]).sum();
        }
    }
    (moves, ways)
}

fn search_agrees_with_relaxation() {
    let mut rng = Rng::new(1, 0);
    for _ in 0..60 {
        let (rows, cols) = (1 + rng.below(6), 1 + rng.below(6));
        let mut tokens: Vec<u8> =
            (0..rows * cols).map(|_| if rng.below(3) == 0 { WALL } else { OPEN }).collect();
        let start = rng.below(tokens.len());
        tokens[start] = START;
        let found = maze::distances(rows, cols, &tokens, start);
        let (moves, ways) = relaxed(rows, cols, &tokens, start);
        assert_eq!(found.moves, moves);
        assert_eq!(found.unique, ways.iter().map(|&ways| ways == 1).collect::<Vec<_>>());
        for goal in (0..tokens.len()).filter(|&goal| goal != start && moves[goal].is_some()) {
            let path: Vec<usize> = [goal].into_iter().chain(found.between(goal)).chain([start]).collect();
            let back: Vec<Option<usize>> = path.iter().map(|&cell| moves[cell]).collect();
            assert_eq!(back, (0..=moves[goal].unwrap()).rev().map(Some).collect::<Vec<_>>());
        }
    }
}

fn generated(rows: usize, cols: usize, min_path: usize, count: usize) -> Vec<Maze> {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder, rows, cols, min_path);
    let mut generator = Generator::new(&options).unwrap();
    (0..count).map(|_| generator.maze().unwrap()).collect()
}

/// The cells of `tokens` that hold `token`.
fn places(tokens: &[u8], token: u8) -> Vec<usize> {
    (0..tokens.len()).filter(|&cell| tokens[cell] == token).collect()
}

/// Fails unless the maze has one shortest path of at least `min_path` moves and marks exactly that.
fn check(maze: &Maze, min_path: usize) {
    let Maze { rows, cols, question, answer } = maze;
    let (start, goal) = (places(question, START), places(question, GOAL));
    assert_eq!((start.len(), goal.len(), places(question, PATH).len()), (1, 1, 0));
    let (moves, ways) = relaxed(*rows, *cols, question, start[0]);
    let length = moves[goal[0]].expect("a way from S to G");
    assert!(length >= min_path.max(1), "{length} moves, at least {min_path} were asked for");
    assert_eq!(ways[goal[0]], 1);
    let (back, _) = relaxed(*rows, *cols, question, goal[0]);
    let on_path =
        |&cell: &usize| moves[cell].zip(back[cell]).is_some_and(|(there, back)| there + back == length);
    let between: Vec<usize> =
        (0..question.len()).filter(on_path).filter(|&cell| question[cell] == OPEN).collect();
    assert_eq!(places(answer, PATH), between);
    let unmarked: Vec<u8> = answer.iter().map(|&token| if token == PATH { OPEN } else { token }).collect();
    assert_eq!(&unmarked, question);
}

fn generated_paths() {
    for (rows, cols, min_path, count) in
        [(3, 3, 0, 4), (5, 5, 6, 20), (4, 9, 5, 20), (11, 6, 12, 20), (30, 30, 110, 3)]
    {
        generated(rows, cols, min_path, count).iter().for_each(|maze| check(maze, min_path));
    }
}

fn generated_mazes_differ() {
    for (rows, cols) in [(5, 5), (4, 6)] {
        let mut seen = HashSet::new();
        for maze in generated(rows, cols, 4, 60) {
            let turned = |symmetry: &Dihedral| symmetry.apply(rows, cols, &maze.question);
            let all: HashSet<Vec<u8>> = maze.symmetries().map(|symmetry| turned(&symmetry)).collect();
            all.into_iter().for_each(|question| assert!(seen.insert(question), "a maze came twice"));
        }
    }
}

fn the_seed_decides() {
    let folder = tempfile::tempdir().unwrap();
    let first = |seed| {
        Generator::new(&GenerateOptions { seed, ..options(&folder, 9, 9, 10) }).unwrap().maze().unwrap()
    };
    assert_eq!(first(1), first(1));
    assert_ne!(first(1), first(2));
}

fn unsatisfiable_requests_end() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |options: GenerateOptions, part: &str| {
        let error = maze::build_generated(&options).expect_err(part);
        assert!(error.to_string().contains(part), "{error} lacks {part:?}");
        assert_eq!(error.exit_code(), 2);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    };
    refused(options(&folder, 5, 5, 25), "min_path: 25 moves on 5x5: after 0 mazes");
    refused(GenerateOptions { train: 5000, ..options(&folder, 3, 3, 2) }, "min_path: 2 moves on 3x3: after ");
    refused(options(&folder, 31, 5, 2), "size: 5x31");
    refused(options(&folder, 2, 5, 2), "size: 5x2");
    refused(GenerateOptions { train: 0, ..options(&folder, 5, 5, 2) }, "train: 0");
    refused(GenerateOptions { test: 0, ..options(&folder, 5, 5, 2) }, "test: 0");
}

/// Example `example` as a maze.
fn read(dataset: &Dataset, (rows, cols): (usize, usize), example: usize) -> Maze {
    let (mut inputs, mut labels) = (vec![0; rows * cols], vec![0; rows * cols]);
    dataset.read_example(&dataset.sets()[0], example, &mut inputs, &mut labels).unwrap();
    let narrow = |tokens: Vec<i32>| tokens.into_iter().map(|token| token as u8).collect();
    Maze { rows, cols, question: narrow(inputs), answer: narrow(labels) }
}

fn symmetries_are_puzzles() {
    for (rows, cols, puzzles) in [(6, 6, 8), (5, 8, 4)] {
        let folder = tempfile::tempdir().unwrap();
        let options = GenerateOptions { aug: true, ..options(&folder, rows, cols, 6) };
        let summary = maze::build_generated(&options).unwrap();
        assert_eq!((summary.rows, summary.cols), (rows, cols));
        assert_eq!((summary.train.total_groups, summary.train.total_puzzles), (20, 20 * puzzles));
        assert_eq!((summary.test.total_groups, summary.test.total_puzzles), (5, 5));
        let train = Dataset::open(&options.out, Split::Train).unwrap();
        let set = &train.sets()[0];
        for group in 0..set.groups() {
            let original = read(&train, (rows, cols), set.puzzles_of(group).start);
            for (puzzle, symmetry) in set.puzzles_of(group).zip(original.symmetries()) {
                assert_eq!((set.examples_of(puzzle), set.identifier_of(puzzle)), (puzzle..puzzle + 1, 0));
                let maze = read(&train, (rows, cols), puzzle);
                assert_eq!(maze.question, symmetry.apply(rows, cols, &original.question));
                check(&maze, 6);
            }
        }
        let test = Dataset::open(&options.out, Split::Test).unwrap();
        (0..5).for_each(|example| check(&read(&test, (rows, cols), example), 6));
    }
}

fn text(tokens: &[u8]) -> String {
    tokens.iter().map(|&token| char::from(CHARACTERS[usize::from(token) - 1])).collect()
}

/// A CSV file of these mazes.
fn csv(folder: &TempDir, name: &str, mazes: &[Maze]) -> PathBuf {
    let rows = mazes.iter().map(|maze| format!("own,{},{},1\n", text(&maze.question), text(&maze.answer)));
    let path = folder.path().join(name);
    fs::write(&path, format!("source,question,answer,rating\n{}", rows.collect::<String>())).unwrap();
    path
}

fn csv_options(folder: &TempDir, train: &[Maze], test: &[Maze]) -> CsvOptions {
    CsvOptions {
        out: folder.path().join("out"),
        train_csv: csv(folder, "train.csv", train),
        test_csv: csv(folder, "test.csv", test),
        size: None,
        subsample: None,
        aug: false,
        on_invalid: None,
        seed: 1,
    }
}

fn csv_files() {
    let folder = tempfile::tempdir().unwrap();
    let mazes = generated(6, 6, 5, 12);
    let options = csv_options(&folder, &mazes[..10], &mazes[10..]);
    maze::build_from_csv(&options).unwrap();
    let train = Dataset::open(&options.out, Split::Train).unwrap();
    assert_eq!((0..10).map(|example| read(&train, (6, 6), example)).collect::<Vec<_>>(), &mazes[..10]);
    let test = Dataset::open(&options.out, Split::Test).unwrap();
    assert_eq!(read(&test, (6, 6), 1), mazes[11]);

    let some = CsvOptions { out: folder.path().join("some"), subsample: Some(3), aug: true, ..options };
    let summary = maze::build_from_csv(&some).unwrap();
    assert_eq!(
        (summary.train.total_groups, summary.train.total_puzzles, summary.test.total_groups),
        (3, 24, 2)
    );
    let train = Dataset::open(&some.out, Split::Train).unwrap();
    let chosen: Vec<Maze> = (0..3).map(|group| read(&train, (6, 6), 8 * group)).collect();
    assert!(chosen.iter().all(|maze| mazes[..10].contains(maze)) && chosen[0] != chosen[1]);
}

fn rectangles() {
    let folder = tempfile::tempdir().unwrap();
    let mazes = generated(4, 9, 5, 4);
    let sized = CsvOptions { size: Some((4, 9)), ..csv_options(&folder, &mazes[..2], &mazes[2..]) };
    maze::build_from_csv(&sized).unwrap();
    let test = Dataset::open(&sized.out, Split::Test).unwrap();
    assert_eq!(read(&test, (4, 9), 0), mazes[2]);
}

fn bad_rows() {
    let cases = [
        ("", "is empty"),
        ("source,question,answer\n", "no puzzles"),
        ("source,rating\n", "line 1: no column of puzzles"),
        ("question,answer\nSG  ,SG\n", "line 2: answer has 2 characters, expected 4 (2x2)"),
        ("question,answer\nSG ,SG \n", "line 2: question has 3 characters, expected 1 (1x1)"),
        ("question,answer\nSG# ,SG#x\n", "line 2: answer has 'x' at 3"),
        (
            "question,answer\nSG# ,SG# \nSG       ,SG       \n",
            "line 3: question is 3x3, the lines before are 2x2",
        ),
        ("question,answer\nSS# ,SS# \n", "2 S, 0 G and 0 o, expected one S, one G and no o"),
        ("question,answer\nSG#o,SG#o\n", "1 S, 1 G and 1 o"),
        ("question,answer\nSG# ,SG##\n", "answer differs from question at 3"),
        ("question,answer\nSG# ,SGo \n", "answer differs from question at 2"),
        ("question,answer\nSG# \n", "line 2: 1 fields"),
        ("question,answer\n,\n", "line 2: question has 0 characters"),
    ];
    for (rows, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let options = csv_options(&folder, &[], &[]);
        fs::write(&options.train_csv, rows).unwrap();
        let message = maze::build_from_csv(&options).expect_err(expected).to_string();
        assert!(
            message.contains("train.csv: ") && message.contains(expected),
            "{message:?} lacks {expected:?}"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
    let folder = tempfile::tempdir().unwrap();
    let options = CsvOptions { subsample: Some(0), ..csv_options(&folder, &[], &[]) };
    assert!(maze::build_from_csv(&options).unwrap_err().to_string().contains("subsample: 0"));
    let missing = CsvOptions { train_csv: folder.path().join("none.csv"), subsample: None, ..options };
    assert!(maze::build_from_csv(&missing).unwrap_err().to_string().contains("none.csv: "));
}
