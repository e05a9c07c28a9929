//! Files that people have: tables and lists of puzzles, whoever wrote them, become data sets; what cannot be used is
//! counted and named.

use std::fs;
use std::io::Write;
use std::path::Path;

use libtest_mimic::Trial;
use trm::data::sudoku::{self, Grid, unique_solution};
use trm::data::{Dataset, OnInvalid, Split, maze};

use crate::data::{folder, refused, trials};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 8] = [
        ("sudoku_tables_of_any_layout_are_read", sudoku_tables_of_any_layout_are_read),
        ("lists_without_answers_are_solved", lists_without_answers_are_solved),
        ("ratings_are_needed_where_they_are_asked_for", ratings_are_needed_where_they_are_asked_for),
        ("what_was_taken_for_what_is_said", what_was_taken_for_what_is_said),
        ("unsound_rows_are_counted_and_named", unsound_rows_are_counted_and_named),
        ("repeated_puzzles_are_named", repeated_puzzles_are_named),
        ("other_files_are_named", other_files_are_named),
        ("mazes_of_any_layout_are_read", mazes_of_any_layout_are_read),
    ];
    trials("formats", &tests)
}

const Q: &str = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79";
const A: &str = "534678912672195348198342567859761423426853791713924856961537284287419635345286179";
/// Another puzzle with one solution, so that no test has to repeat the first.
const Q2: &str = "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..";

fn zeros() -> String {
    Q.replace('.', "0")
}

/// Builds from `text` as training table, with a sound test table.
fn build(text: &[u8], change: impl Fn(&mut sudoku::CsvOptions)) -> trm::Result<(sudoku::Summary, String)> {
    let dir = folder();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("train"), text).unwrap();
    fs::write(path("test"), format!("puzzle,solution\n{Q},{A}\n")).unwrap();
    let mut options = sudoku::CsvOptions {
        out: path("out"),
        train_csv: path("train"),
        test_csv: path("test"),
        subsample: None,
        num_aug: 0,
        min_difficulty: None,
        on_invalid: None,
        seed: 0,
    };
    change(&mut options);
    let summary = sudoku::build_from_csv(&options, &mut |_| {})?;
    let first = first_puzzle(&options.out);
    Ok((summary, first))
}

/// The first training puzzle and its answer, as one line each.
fn first_puzzle(out: &Path) -> String {
    let train = Dataset::open(out, Split::Train).unwrap();
    let shape = sudoku::Shape::of_cells(train.metadata().seq_len).unwrap();
    let (mut inputs, mut labels) = (vec![0; shape.cells()], vec![0; shape.cells()]);
    train.read_example(&train.sets()[0], 0, &mut inputs, &mut labels).unwrap();
    format!("{} {}", Grid::from_tokens(shape, &inputs), Grid::from_tokens(shape, &labels))
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

fn sudoku_tables_of_any_layout_are_read() {
    let z = zeros();
    let blanks = |blank: &str| Q.replace('.', blank);
    let tables = [
        format!("quizzes,solutions\n{z},{A}\n"),
        format!("puzzle,solution\n{z},{A}\n"),
        format!("question,answer\n{Q},{A}\n"),
        format!("Source;Question;Answer;Rating\nx;{Q};{A};1,5\n"),
        format!("id\tPUZZLE\tSolution\n7\t{Q}\t{A}"),
        // A count of clues beside the puzzle, as in the three million of Kaggle.
        format!("id,puzzle,solution,clues,difficulty\n1,{Q},{A},30,easy\n"),
        format!("clues,label\n{Q},{A}\n"),
        format!("\"Quiz\" , \"Answer\"\n {Q} , {A} \n"),
        format!("{z},{A}\n"),
        format!("3;{A};{z}\n"),
        format!("start,end\n{Q},{A}\n"),
        format!("\u{feff}quizzes,solutions\r\n{Q},{A}\r\n\r\n"),
        format!("# from somewhere\n\nquestion,answer\n# a comment\n{Q},{A}\n"),
        format!("question,answer\r{Q},{A}\r"),
        format!("question,answer,rating\n{Q},{A},\n"),
        format!("source,question,answer,rating\nx,{Q},{A},2.75\n"),
        format!("question,answer\n{},{A}\n", blanks("_")),
        format!("question,answer\n{},{A}\n", blanks("-")),
        format!("question,answer\n{},{A}\n", blanks("*")),
        format!("question,answer\n{},{A}\n", blanks("x")),
    ];
    for table in &tables {
        let (summary, first) =
            build(table.as_bytes(), |_| ()).unwrap_or_else(|error| panic!("{table}: {error}"));
        assert_eq!((summary.train.puzzles, first), (1, format!("{Q} {A}")), "{table}");
    }
    // A byte-order mark with nothing behind it that is passed over anyway, as a header is.
    let first =
        |text: &str| build(text.as_bytes(), |_| ()).map(|(summary, first)| (summary.train.puzzles, first));
    assert_eq!(first(&format!("\u{feff}{Q},{A}\n")).unwrap(), (1, format!("{Q} {A}")));
    assert_eq!(first(&format!("\u{feff}{Q}\n{Q2}\n")).unwrap(), (2, format!("{Q} {A}")));
    let (_, first) = build(&gzip(&tables[0]), |_| ()).unwrap();
    assert_eq!(first, format!("{Q} {A}"));
    // Two members, as "cat a.gz b.gz" makes.
    let two =
        [gzip(&tables[0]), gzip(&format!("{Q2},{}\n", unique_solution(&Grid::parse(Q2).unwrap()).unwrap()))];
    assert_eq!(build(&two.concat(), |_| ()).unwrap().0.train.puzzles, 2);
}

fn lists_without_answers_are_solved() {
    let several = ".".repeat(81);
    let none = Q.replacen("53.", "535", 1);
    let list = format!("# hard ones\r\n{Q}\r\n\r\n{several}\r\n# more\r\n{none}\r\n{Q2} # very hard\r\n");
    let (summary, first) = build(list.as_bytes(), |_| ()).unwrap();
    assert_eq!((summary.train.puzzles, first), (2, format!("{Q} {A}")));
    let notes = summary.train.notes.join("\n");
    for part in [
        "train: has no answers: each puzzle is solved exactly",
        "2 of 4 rows left out: line 4: question has several solutions; line 6: question has no solution",
    ] {
        assert!(notes.contains(part), "{notes:?} lacks {part:?}");
    }
    // The first needs no guess, the other does.
    let (summary, first) = build(list.as_bytes(), |options| {
        options.min_difficulty = Some(0.5);
        options.test_csv = options.train_csv.clone();
    })
    .unwrap();
    assert_eq!((summary.train.puzzles, &first[..81]), (1, Q2));
    refused(
        build(list.as_bytes(), |options| options.on_invalid = Some(OnInvalid::Error)),
        &["train: 2 of 4 rows are invalid: line 4: question has several", "line 6: "],
    );
    refused(
        build(format!("{several}\n").as_bytes(), |_| ()),
        &["no sound puzzle, 1 of 1 rows refused: line 1: "],
    );
}

fn ratings_are_needed_where_they_are_asked_for() {
    let table = format!("question,answer,rating\n{Q},{A},1.5\n{Q},{A},0.5\n");
    let least = |options: &mut sudoku::CsvOptions| {
        options.min_difficulty = Some(1.0);
        options.test_csv = options.train_csv.clone();
    };
    assert_eq!(build(table.as_bytes(), least).unwrap().0.train.puzzles, 1);
    // Other countries' decimals.
    let comma = format!("Question;Answer;Rating\n{Q};{A};1,5\n{Q};{A};0,5\n");
    assert_eq!(build(comma.as_bytes(), least).unwrap().0.train.puzzles, 1);
    let missing = format!("question,answer,rating\n{Q},{A},1\n{Q},{A},\n{Q},{A},easy\n");
    refused(
        build(missing.as_bytes(), least),
        &["2 of 3 rows are invalid: line 3: has no rating that is a number; line 4: has no rating"],
    );
}

fn what_was_taken_for_what_is_said() {
    let z = zeros();
    let cases = [
        (format!("quizzes,solutions\n{z},{A}\n"), ""),
        (format!("{z},{A}\n"), "train: column 1 is taken for the puzzle, column 2 for the answer"),
        (
            format!("s,{A},{z},3\n"),
            "train: column 3 is taken for the puzzle, column 2 for the answer, column 4 for the rating",
        ),
        (
            format!("start,end\n{z},{A}\n"),
            "column \"start\" is taken for the puzzle, column \"end\" for the answer",
        ),
        (format!("clues,puzzle,solution\n30,{z},{A}\n"), "column \"puzzle\" is taken for the puzzle"),
    ];
    for (table, expected) in cases {
        let notes = build(table.as_bytes(), |_| ()).unwrap().0.train.notes;
        assert_eq!(notes.len(), usize::from(!expected.is_empty()), "{notes:?}");
        assert!(notes.iter().all(|note| note.contains(expected)), "{notes:?} lacks {expected:?}");
    }
}

fn unsound_rows_are_counted_and_named() {
    let wrong = A.replacen("53", "35", 1);
    let table = format!("question,answer\n{Q},{A}\n{Q},{wrong}\n{Q},{A}\n{Q2},{A}\n");
    refused(
        build(table.as_bytes(), |_| ()),
        &[
            "2 of 4 rows are invalid: line 3: answer has 3 at row 1",
            "line 5: answer",
            "leave them out with `on_invalid` skip",
        ],
    );
    let (summary, _) = build(table.as_bytes(), |options| options.on_invalid = Some(OnInvalid::Skip)).unwrap();
    assert_eq!(summary.train.puzzles, 2);
    let notes = summary.train.notes.join("\n");
    assert!(notes.contains("2 of 4 rows left out: line 3: ") && notes.contains("; line 5: "), "{notes}");
}

fn repeated_puzzles_are_named() {
    let table = format!("question,answer\n{Q},{A}\n{Q},{A}\n{Q},{A}\n");
    let (summary, _) = build(table.as_bytes(), |_| ()).unwrap();
    assert_eq!((summary.train.repeated, summary.test.also_in_train), (2, 1));
    assert!(summary.train.notes[0].ends_with("train: line 3 has the puzzle of line 2"), "{summary:?}");
    let shared = "test: line 2 has the puzzle of line 4 of the training split";
    assert!(summary.test.notes[0].ends_with(shared), "{summary:?}");
}

fn other_files_are_named() {
    let wide: Vec<u8> = "question".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cases: [(&[u8], &str); 7] = [
        (b"PK\x03\x04rest", "train: is a zip archive, expected a table or a list of puzzles; unpack it"),
        (b"PAR1rest", "train: is a Parquet file"),
        (&[b"\xff\xfe", &wide[..]].concat(), "train: is UTF-16 text"),
        (b"", "train: is empty; give a table"),
        (b"a,b\n1,2\n", "train: line 1: no column of puzzles in \"a,b\"; give a table with"),
        (b"\x1f\x8bcut", "train: "),
        (&[b'1'; 5 << 20], "train: "),
    ];
    for (text, expected) in cases {
        refused(build(text, |_| ()), &[expected]);
    }
}

fn mazes_of_any_layout_are_read() {
    let dir = folder();
    let path = |name: &str| dir.path().join(name);
    let build = |name: &str, text: &str, on_invalid| {
        fs::write(path("train"), text).unwrap();
        fs::write(path("test"), "question,answer\nS## ##G  ,S##o##G  \n").unwrap();
        let (train_csv, test_csv) = (path("train"), path("test"));
        let (out, size, subsample, aug, seed) = (path(name), None, None, false, 0);
        maze::build_from_csv(&maze::CsvOptions {
            out,
            train_csv,
            test_csv,
            size,
            subsample,
            aug,
            on_invalid,
            seed,
        })
    };
    // A wall at the start of a line makes no comment of it.
    let tables = [
        "Question,Answer\n#S## G ##,#S##oG ##\n",
        "maze;path\n#S## G ##;#S##oG ##\n",
        "#S## G ##,#S##oG ##\n",
        "#S## G ##\n",
    ];
    for (index, table) in tables.iter().enumerate() {
        let summary = build(&format!("out{index}"), table, None).unwrap();
        let train = Dataset::open(&path(&format!("out{index}")), Split::Train).unwrap();
        let (mut inputs, mut labels) = (vec![0; 9], vec![0; 9]);
        train.read_example(&train.sets()[0], 0, &mut inputs, &mut labels).unwrap();
        assert_eq!(
            (inputs, labels),
            (vec![1, 3, 1, 1, 2, 4, 2, 1, 1], vec![1, 3, 1, 1, 5, 4, 2, 1, 1]),
            "{table:?} {summary:?}"
        );
    }
    let broken = "question,answer\n#S## G ##,#S##oG ##\nS # #G   ,S # #G   \nS # #G   ,S # #Go  \n";
    let faults = ["2 of 3 rows are invalid: line 3: answer: ", "; line 4: answer: "];
    refused(build("none", broken, None), &faults);
    let summary = build("skipped", broken, Some(OnInvalid::Skip)).unwrap();
    assert_eq!(summary.train.total_groups, 1);
    assert!(summary.notes[0].contains("train: 2 of 3 rows left out: line 3: "), "{summary:?}");
    let list = "#S## G ##\nS       G\nS#G######\n   S    G\n";
    let summary = build("list", list, None).unwrap();
    assert!(summary.notes[0].contains("3 of 4 rows left out: line 2: "), "{summary:?}");
}
