//! Data sets drawn from lists: splits that share no puzzle and no answer under any symmetry, and the forms that tell.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use serde_json::Value;
use trm::data::Split;
use trm::data::sudoku::{
    Augmentation, Canonical, Grid, ListOptions, Puzzle, Shape, Summary, build_from_lists,
};
use trm::rng::Rng;

use crate::cli::{Outcome, check, refuse, succeed};
use crate::data::{folder, refused, trials};
use crate::data_sudoku::{all_grids_of_size_4, puzzles, read};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 5] = [
        ("forms_are_equal_for_symmetries_alone", forms_are_equal_for_symmetries_alone),
        ("grids_of_size_4_have_two_forms", grids_of_size_4_have_two_forms),
        ("splits_share_nothing", splits_share_nothing),
        ("the_test_split_stays", the_test_split_stays),
        ("impossible_draws_are_refused", impossible_draws_are_refused),
    ];
    let command = Trial::test("data_lists::the_command_says_what_it_drew", command);
    let generated = Trial::test("data_lists::generated_tables_have_ratings", generated);
    trials("data_lists", &tests).into_iter().chain([command, generated]).collect()
}

fn forms_are_equal_for_symmetries_alone() {
    for shape in Shape::ALL {
        let canonical = Canonical::new(shape);
        let mut rng = Rng::new(6, 0);
        let forms = puzzles(shape, 6).into_iter().map(|puzzle| {
            let form = canonical.of(&puzzle);
            assert_eq!(canonical.of(&form), form, "a form is its own form");
            for _ in 0..10 {
                let moved = moved(&puzzle, &mut rng);
                assert_eq!(canonical.of(&moved), form, "{shape}");
            }
            let more = canonical.of(&with_another_clue(&puzzle));
            assert_eq!(more.answer, form.answer);
            assert_ne!(more.question, form.question);
            form
        });
        assert_eq!(forms.collect::<HashSet<Puzzle>>().len(), 6, "{shape}: different puzzles");
    }
}

fn moved(puzzle: &Puzzle, rng: &mut Rng) -> Puzzle {
    let augmentation = Augmentation::random(puzzle.question.shape(), rng);
    Puzzle { question: augmentation.apply(&puzzle.question), answer: augmentation.apply(&puzzle.answer) }
}

fn with_another_clue(puzzle: &Puzzle) -> Puzzle {
    let (mut question, answer) = (puzzle.question.to_string(), puzzle.answer.to_string());
    let blank = question.find('.').unwrap();
    question.replace_range(blank..=blank, &answer[blank..=blank]);
    Puzzle { question: Grid::parse(&question).unwrap(), ..*puzzle }
}

/// What is known of them: all 288 are symmetries of one of two.
fn grids_of_size_4_have_two_forms() {
    let canonical = Canonical::new(Shape::ALL[0]);
    let form = |answer: Grid| canonical.of(&Puzzle { question: answer, answer }).answer;
    let forms: HashSet<Grid> = all_grids_of_size_4().into_iter().map(form).collect();
    assert_eq!(forms.len(), 2);
}

/// Two lists of 9x9 puzzles: 16, and 8 with a symmetry of the first and a relative of the second of the other list.
fn two_lists(dir: &Path) -> Vec<PathBuf> {
    let mut all = puzzles(Shape::ALL[2], 24);
    let mut second = all.split_off(16);
    second.extend([moved(&all[0], &mut Rng::new(8, 0)), with_another_clue(&all[1])]);
    let write = |(name, puzzles): (&str, Vec<Puzzle>)| {
        let lines: Vec<String> = puzzles.iter().map(|puzzle| puzzle.question.to_string()).collect();
        let path = dir.join(name);
        // Nothing can be drawn of a puzzle with several solutions.
        fs::write(&path, format!("# a list\n{}\n{}\n", lines.join("\n"), ".".repeat(81))).unwrap();
        path
    };
    [("first", all), ("second", second)].map(write).to_vec()
}

pub fn build(dir: &Path, name: &str, change: impl Fn(&mut ListOptions)) -> trm::Result<Summary> {
    let mut options = ListOptions {
        out: dir.join(name),
        lists: two_lists(dir),
        subsample: None,
        test: 6,
        num_aug: 0,
        min_difficulty: None,
        on_invalid: None,
        seed: 0,
    };
    change(&mut options);
    build_from_lists(&options, &mut |_| {}, &mut |_| {})
}

fn splits_share_nothing() {
    let (shape, canonical) = (Shape::ALL[2], Canonical::new(Shape::ALL[2]));
    let dir = folder();
    let mut near = 0;
    for seed in 0..8 {
        let name = format!("set{seed}");
        let summary = build(dir.path(), &name, |options| options.seed = seed).unwrap();
        let forms = |split| -> Vec<Puzzle> {
            let puzzles = read(&dir.path().join(&name), split, shape);
            puzzles.iter().map(|puzzle| canonical.of(puzzle)).collect()
        };
        let (train, test) = (forms(Split::Train), forms(Split::Test));
        let both: HashSet<&Puzzle> = train.iter().chain(&test).collect();
        assert_eq!(both.len(), train.len() + test.len(), "no puzzle is a symmetry of another");
        let held_out: HashSet<Grid> = test.iter().map(|puzzle| puzzle.answer).collect();
        assert!(train.iter().all(|puzzle| !held_out.contains(&puzzle.answer)), "no answer is, either");
        let [first, second] = &summary.lists[..] else { panic!("{summary:?}") };
        assert_eq!((first.puzzles, first.repeated, first.test), (16, 0, 4));
        assert_eq!((second.puzzles, second.repeated, second.test), (10, 1, 2));
        let too_near = first.too_near + second.too_near;
        assert_eq!((train.len() + too_near, test.len()), (19, 6));
        assert!(summary.train.notes.iter().any(|note| note.contains("1 of 17 rows left out")));
        near += too_near;
    }
    assert!((1..8).contains(&near), "the relatives are parted by some draws: {near}");
}

fn the_test_split_stays() {
    let dir = folder();
    let read = |name: &str, split| read(&dir.path().join(name), split, Shape::ALL[2]);
    build(dir.path(), "all", |_| ()).unwrap();
    let few = build(dir.path(), "few", |options| (options.subsample, options.num_aug) = (Some(5), 2));
    let few = few.unwrap();
    build(dir.path(), "other", |options| options.seed = 1).unwrap();
    assert_eq!(read("all", Split::Test), read("few", Split::Test));
    assert_ne!(read("all", Split::Test), read("other", Split::Test));
    let (all, drawn) = (read("all", Split::Train), read("few", Split::Train));
    assert_eq!((few.train.puzzles, few.train.examples, drawn.len()), (5, 15, 15));
    assert!(drawn.iter().step_by(3).all(|puzzle| all.contains(puzzle)));
    let counts: Vec<usize> = few.lists.iter().map(|list| list.train).collect();
    assert_eq!(counts, [3, 2], "the same share of each");
    let origins = |name: &str, split: &str| -> Value {
        let text = fs::read_to_string(dir.path().join(name).join(split).join("lists.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let expected = serde_json::json!({
        "lists": [{ "name": "first", "examples": 9 }, { "name": "second", "examples": 6 }]
    });
    assert_eq!(origins("few", "train"), expected);
    assert_eq!(origins("few", "test")["lists"][0]["examples"], 4);
}

fn impossible_draws_are_refused() {
    let dir = folder();
    let small = dir.path().join("small");
    fs::write(&small, "123434122143432.\n.234341221434321\n").unwrap();
    let none = dir.path().join("none");
    fs::write(&none, ".".repeat(16)).unwrap();
    type Change<'a> = &'a dyn Fn(&mut ListOptions);
    let cases: [(Change<'_>, &[&str]); 6] = [
        (&|options| options.test = 25, &["test: 25", "25 different puzzles", "leave some"]),
        (&|options| options.test = 0, &["test: 0"]),
        (&|options| options.subsample = Some(0), &["subsample: 0"]),
        (&|options| options.lists.push(small.clone()), &["small: ", "puzzles of 4x4", "has 9x9"]),
        (&|options| options.lists = vec![none.clone()], &["lists: ", "no sound puzzle", "several solutions"]),
        (&|options| options.lists.push(dir.path().join("gone")), &["gone: "]),
    ];
    for (change, parts) in cases {
        refused(build(dir.path(), "set", change), parts);
        assert!(!dir.path().join("set").exists(), "nothing is left behind");
    }
}

fn generated() -> Outcome {
    let dir = folder();
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (table, bare, hard) = (path("table.csv"), path("bare"), path("hard"));
    succeed(&[
        "data",
        "sudoku",
        "--generate",
        "40",
        "--min-clues",
        "22",
        "--max-clues",
        "25",
        "--out",
        &table,
    ])?;
    let text = fs::read_to_string(&table)?;
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    check(rows[0] == ["puzzle", "solution", "rating"] && rows.len() == 41, || text.clone())?;
    let ratings = rows[1..].iter().map(|row| row[2].parse()).collect::<Result<Vec<u64>, _>>()?;
    let least = 3;
    let hard_ones = ratings.iter().filter(|rating| **rating >= least).count();
    check((5..35).contains(&hard_ones), || format!("{ratings:?}"))?;
    // A list without answers, whose ratings are found anew, has the same hard ones.
    fs::write(&bare, rows[1..].iter().map(|row| format!("{}\n", row[0])).collect::<String>())?;
    for (list, out) in [(&table, &hard), (&bare, &path("again"))] {
        let least = least.to_string();
        let args =
            ["data", "sudoku", "--lists", list, "--min-difficulty", &least, "--test", "3", "--out", out];
        let drawn: Value = serde_json::from_str(&succeed(&[&args[..], &["--json"]].concat())?)?;
        let examples = |split: &str| drawn[split]["examples"].as_u64().unwrap_or_default();
        check(examples("train") + examples("test") == hard_ones as u64 && examples("test") == 3, || {
            drawn.to_string()
        })?;
    }
    let arrays = |of: &str| fs::read(Path::new(&path(of)).join("train/all__inputs.npy"));
    check(arrays("hard")? == arrays("again")?, || "other puzzles, or in another order".into())
}

fn command() -> Outcome {
    let dir = folder();
    let lists = two_lists(dir.path());
    let [first, second] = [0, 1].map(|list: usize| lists[list].to_string_lossy().into_owned());
    let out = dir.path().join("set").to_string_lossy().into_owned();
    let args = ["data", "sudoku", "--out", &out, "--lists", &first, &second, "--test", "6"];
    let text = succeed(&[&args[..], &["--subsample", "5"]].concat())?;
    let row = |name: &str| -> Vec<String> {
        let found = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        found.split_whitespace().skip(1).map(str::to_owned).collect()
    };
    check(row("first")[..2] == ["16", "0"] && row("first")[3..] == ["3", "4"], || text.clone())?;
    check(row("second")[..2] == ["10", "1"] && row("second")[3..] == ["2", "2"], || text.clone())?;
    succeed(&["data", "inspect", &out])?;
    refuse(&args[..7], 2, &["--test"])?;
    refuse(&[&args[..], &["--generate", "3"]].concat(), 2, &["cannot be used with"])?;
    refuse(&["data", "sudoku", "--out", &out, "--test", "6"], 2, &["required"])
}
