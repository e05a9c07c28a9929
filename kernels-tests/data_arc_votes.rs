//! ARC's grids, their augmentations, and the votes that lead to a score and a submission.

use std::collections::BTreeSet;
use std::fs;

use libtest_mimic::Trial;
use serde_json::{Value, json};
use trm::data::arc::{self, Augmentation, CANVAS, Grid, Pair, SEQ_LEN, Task, Votes};
use trm::data::{Dataset, Split};
use trm::rng::Rng;

use crate::data_arc::{Source, build, example, grid, tasks, widen};

/// This file's tests.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 13] = [
        ("canvas_has_end_tokens_below_and_right", canvas),
        ("crop_takes_the_largest_corner_rectangle", crop),
        ("augmentations_are_undone", augmentations_are_undone),
        ("names_of_augmentations_are_read_back", names),
        ("augmentations_are_distinct", augmentations_are_distinct),
        ("solutions_win_when_predicted", solutions_win_when_predicted),
        ("candidates_are_ranked_by_votes_then_halting", ranking),
        ("ties_are_broken_by_place", ties),
        ("saturated_logits_still_rank", saturated),
        ("the_order_of_predictions_does_not_matter", order),
        ("pass_at_k_is_a_share_of_test_inputs", pass_at_k),
        ("inputs_without_prediction_get_a_placeholder", placeholders),
        ("bad_predictions_are_refused", bad_predictions),
    ];
    let trial = |(name, test): (&str, fn())| {
        Trial::test(format!("data_arc_votes::{name}"), move || {
            test();
            Ok(())
        })
    };
    tests.into_iter().map(trial).collect()
}

fn random_grid(rng: &mut Rng) -> Grid {
    let (rows, cols) = (1 + rng.below(CANVAS), 1 + rng.below(CANVAS));
    let row = |rng: &mut Rng| (0..cols).map(|_| rng.below(10) as i64).collect::<Vec<i64>>();
    Grid::from_rows(&(0..rows).map(|_| row(rng)).collect::<Vec<_>>()).unwrap()
}

fn canvas() {
    let tokens = grid(&[&[0, 9], &[3, 4], &[5, 6]]).encode((1, 2));
    let drawn: Vec<&[u8]> = tokens.chunks(CANVAS).map(|row| &row[1..6]).collect();
    assert_eq!(drawn[0], &[0, 0, 0, 0, 0]);
    assert_eq!(drawn[1], &[0, 2, 11, 1, 0]);
    assert_eq!(drawn[2], &[0, 5, 6, 1, 0]);
    assert_eq!(drawn[3], &[0, 7, 8, 1, 0]);
    assert_eq!(drawn[4], &[0, 1, 1, 0, 0]);
    assert_eq!(tokens.iter().filter(|&&token| token != 0).count(), 11);
    let full = Grid::from_rows(&vec![vec![0; CANVAS]; CANVAS]).unwrap().encode((0, 0));
    assert!(full.iter().all(|&token| token == 2), "a full canvas has an end token");
    let mut rng = Rng::new(1, 0);
    for _ in 0..100 {
        let grid = random_grid(&mut rng);
        assert_eq!(Grid::crop(&widen(&grid.encode((0, 0)))), grid);
        let place = (rng.below(CANVAS - grid.rows() + 1), rng.below(CANVAS - grid.cols() + 1));
        let mut tokens = widen(&grid.encode(place));
        assert_eq!(Grid::decode(&tokens), Some((grid, place)));
        let at = rng.below(SEQ_LEN);
        tokens[at] = 12;
        assert_eq!(Grid::decode(&tokens), None);
    }
}

fn crop() {
    let cropped = |rows: &[&[i32]]| {
        let mut tokens = vec![0; SEQ_LEN];
        for (row, line) in rows.iter().enumerate() {
            tokens[row * CANVAS..row * CANVAS + line.len()].copy_from_slice(line);
        }
        Grid::crop(&tokens)
    };
    assert_eq!(
        cropped(&[&[2, 3, 4, 5], &[2, 3], &[2, 3], &[2, 3]]),
        grid(&[&[0, 1], &[0, 1], &[0, 1], &[0, 1]])
    );
    assert_eq!(cropped(&[&[2, 3, 4, 5], &[2]]), grid(&[&[0, 1, 2, 3]]));
    assert_eq!(cropped(&[&[2, 3], &[2]]), grid(&[&[0, 1]]));
    assert_eq!(cropped(&[&[2, 1, 4], &[3, 12, 4], &[11, -1, 4]]), grid(&[&[0], &[1], &[9]]));
    assert!(cropped(&[&[1, 2, 2], &[2, 2, 2]]).is_empty(), "no colour in the corner, yet a grid")
}

fn augmentations_are_undone() {
    let mut rng = Rng::new(2, 0);
    for _ in 0..500 {
        let (grid, augmentation) = (random_grid(&mut rng), Augmentation::draw(&mut rng));
        let augmented = augmentation.apply(&grid);
        let black = |grid: &Grid| grid.cells().iter().filter(|&&colour| colour == 0).count();
        assert_eq!(black(&augmented), black(&grid));
        assert_eq!(augmentation.undo(&augmented), grid);
    }
}

fn names() {
    assert_eq!(Augmentation::IDENTITY.name("a"), "a".to_owned());
    assert_eq!(Augmentation::parse("a"), Some(("a", Augmentation::IDENTITY)));
    let mut rng = Rng::new(3, 0);
    for _ in 0..200 {
        let augmentation = Augmentation::draw(&mut rng);
        let name = augmentation.name("a b_1");
        assert_eq!(Augmentation::parse(&name), Some(("a b_1", augmentation)));
    }
    // As the release reads it: colours first (1 becomes 3), then a quarter turn counter-clockwise.
    let (_, known) = Augmentation::parse("x|||t1|||0312456789").unwrap();
    assert_eq!(known.apply(&grid(&[&[1, 2], &[0, 4]])), grid(&[&[1, 4], &[3, 0]]));
    for bad in
        ["a|||", "a|||t8|||0123456789", "a|||t1|||012345678", "a|||t1|||0123456788", "a|||1|||0123456789"]
    {
        assert_eq!(Augmentation::parse(bad), None);
    }
}

fn augmentations_are_distinct() {
    for task in tasks() {
        let drawn = |count| {
            let mut rng = Rng::new(4, 0);
            arc::distinct(&task, count, || Augmentation::draw(&mut rng))
        };
        let augmentations = drawn(200);
        assert_eq!(&augmentations[0], &Augmentation::IDENTITY);
        assert_eq!(augmentations, drawn(200));
        // Squares of one colour look the same from all sides, so only nine colours are left of `one`.
        assert_eq!(augmentations.len(), if task.id == "one" { 9 } else { 201 });
        let pairs = task.train.iter().chain(&task.test);
        let shown = |augmentation: &Augmentation| {
            let mut grids: Vec<(Grid, Option<Grid>)> = pairs
                .clone()
                .map(|pair| {
                    (augmentation.apply(&pair.input), pair.output.as_ref().map(|o| augmentation.apply(o)))
                })
                .collect();
            grids.sort();
            grids
        };
        let different: BTreeSet<_> = augmentations.iter().map(shown).collect();
        assert_eq!(different.len(), augmentations.len());
        assert_eq!(drawn(0).len(), 1);
    }
}

/// Every prediction is the label itself: one candidate for each input, with as many votes as puzzles.
fn solutions_win_when_predicted() {
    let source = Source::new();
    let options = source.options(30);
    build(&options);
    let test = Dataset::open(&options.out, Split::Test).unwrap();
    let set = &test.sets()[0];
    let mut votes = Votes::open(&options.out).unwrap();
    for puzzle in 0..set.puzzles() {
        for at in set.examples_of(puzzle) {
            let (inputs, labels) = example(&test, at);
            votes.add(0, set.identifier_of(puzzle), &inputs, &labels, 0.0).unwrap();
        }
    }
    votes.add(0, 0, &[0; SEQ_LEN], &[2; SEQ_LEN], 0.0).unwrap();
    let score = votes.finish();
    assert_eq!(
        score.pass_at.iter().map(|(&k, &share)| (k, share)).collect::<Vec<_>>(),
        [1, 2, 5, 10, 100, 1000].map(|k| (k, 1.0))
    );
    for input in &score.tasks[0].inputs {
        assert_eq!((input.rank, input.distinct, input.votes), (Some(1), 1, 31));
        assert_eq!((input.candidates[0].votes, input.candidates[0].mean_halting), (31, 0.5));
    }
    let path = options.out.join("submission.json");
    score.write_submission(&path).unwrap();
    let written: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let (first, second) = (json!([[8, 7], [0, 7]]), json!([[9, 1]]));
    let expected =
        json!([{"attempt_1": first, "attempt_2": first}, {"attempt_1": second, "attempt_2": second}]);
    assert_eq!(written, json!({"swap": expected}));
}

/// One task with these test pairs, known under its own name as identifier 1 and transposed as identifier 2.
fn votes_for(test: &[(&Grid, Option<&Grid>)]) -> Votes {
    let pair =
        |&(input, output): &(&Grid, Option<&Grid>)| Pair { input: input.clone(), output: output.cloned() };
    let task = Task { id: "a".into(), train: vec![], test: test.iter().map(pair).collect() };
    let names = ["<blank>", "a", "a|||t6|||0123456789", "b", "a|||t9|||0123456789"];
    Votes::new(vec![task], names.map(str::to_owned).to_vec())
}

/// Counts `prediction` for `input` with the given halting logit.
fn vote(votes: &mut Votes, input: &Grid, prediction: &Grid, q_halt: f32) {
    vote_at(votes, 0, (input, prediction), q_halt);
}

fn vote_at(votes: &mut Votes, place: usize, (input, prediction): (&Grid, &Grid), q_halt: f32) {
    votes.add(place, 1, &widen(&input.encode((0, 0))), &widen(&prediction.encode((0, 0))), q_halt).unwrap();
}

fn ranking() {
    let input = grid(&[&[1]]);
    let [popular, sure, unsure] = [2, 3, 4].map(|colour| grid(&[&[colour, 0]]));
    let mut votes = votes_for(&[(&input, Some(&unsure))]);
    for (prediction, q_halt) in [
        (&unsure, -1.0),
        (&sure, 3.0),
        (&popular, -9.0),
        (&popular, -9.0),
        (&sure, 1.0),
        (&popular, -9.0),
        (&unsure, 4.0),
    ] {
        vote(&mut votes, &input, prediction, q_halt);
    }
    let score = votes.finish();
    let result = &score.tasks[0].inputs[0];
    let found: Vec<(&Grid, u64)> =
        result.candidates.iter().map(|candidate| (&candidate.grid, candidate.votes)).collect();
    assert_eq!(found, [(&popular, 3), (&sure, 2), (&unsure, 2)]);
    let sigmoid = |q: f64| 1.0 / (1.0 + (-q).exp());
    let expected = (sigmoid(3.0) + sigmoid(1.0)) / 2.0;
    assert!((result.candidates[1].mean_halting - expected).abs() < 1e-9);
    assert_eq!((result.rank, result.votes), (Some(3), 7));
    let attempts = result.attempts();
    assert_eq!((attempts.attempt_1, attempts.attempt_2), (popular, sure));
    assert_eq!((score.pass_at[&2], score.pass_at[&5]), (0.0, 1.0));
}

/// Whose first vote stands earlier in the data set comes first, in whatever order they arrive.
fn ties() {
    let input = grid(&[&[1]]);
    let expected = [grid(&[&[9]]), grid(&[&[0], &[0]]), grid(&[&[0, 5]]), grid(&[&[3, 0]])];
    let mut votes = votes_for(&[(&input, None)]);
    for place in [2, 3, 0, 1] {
        vote_at(&mut votes, place, (&input, &expected[place]), 0.25);
    }
    let score = votes.finish();
    let found: Vec<&Grid> =
        score.tasks[0].inputs[0].candidates.iter().map(|candidate| &candidate.grid).collect();
    assert_eq!(found, expected.iter().collect::<Vec<_>>());
}

/// Logits whose probabilities are next to 0 or 1 still rank, as far as f64 tells these apart.
fn saturated() {
    let input = grid(&[&[1]]);
    for pair in [[-40.0, -41.0], [-23.0, -23.5], [30.0, 29.0]] {
        let [sure, unsure] = [grid(&[&[5]]), grid(&[&[4]])];
        let mut votes = votes_for(&[(&input, None)]);
        vote_at(&mut votes, 0, (&input, &unsure), pair[1]);
        vote_at(&mut votes, 1, (&input, &sure), pair[0]);
        assert_eq!(votes.finish().tasks[0].inputs[0].candidates[0].grid, sure, "{pair:?}");
    }
}

fn order() {
    let input = grid(&[&[1]]);
    let mut rng = Rng::new(5, 0);
    let mut predictions: Vec<(Grid, f32)> =
        (0..300).map(|_| (grid(&[&[rng.below(4) as i64]]), rng.normal() as f32)).collect();
    let mut score = |rng: &mut Rng| {
        rng.shuffle(&mut predictions);
        let mut votes = votes_for(&[(&input, None)]);
        predictions.iter().for_each(|(prediction, q_halt)| vote(&mut votes, &input, prediction, *q_halt));
        votes.finish()
    };
    let first = score(&mut rng);
    (0..5).for_each(|_| assert_eq!(score(&mut rng), first));
}

/// Two of three inputs have a known solution; the third does not count.
fn pass_at_k() {
    let inputs = [1, 2, 3].map(|colour| grid(&[&[colour, 7]]));
    let [right, wrong] = [5, 6].map(|colour| grid(&[&[colour]]));
    let mut votes = votes_for(&[(&inputs[0], Some(&right)), (&inputs[1], Some(&right)), (&inputs[2], None)]);
    vote(&mut votes, &inputs[0], &right, 0.0);
    (0..2).for_each(|_| vote(&mut votes, &inputs[1], &wrong, 0.0));
    // The transposed puzzle shows a column and has its answer turned back.
    let column = widen(&grid(&[&[2], &[7]]).encode((0, 0)));
    votes.add(0, 2, &column, &widen(&right.encode((0, 0))), 9.0).unwrap();
    let score = votes.finish();
    assert_eq!((score.pass_at[&1], score.pass_at[&2], score.inputs_without_prediction), (0.5, 1.0, 1));
    assert_eq!(score.tasks[0].inputs[2].rank, None);
    let unknown = votes_for(&[(&inputs[0], None)]).finish();
    assert!(unknown.pass_at.is_empty());
}

fn placeholders() {
    let inputs = [1, 2].map(|colour| grid(&[&[colour]]));
    let mut votes = votes_for(&[(&inputs[0], None), (&inputs[1], None)]);
    votes.add(0, 1, &widen(&inputs[1].encode((0, 0))), &[0; SEQ_LEN], 0.0).unwrap();
    let score = votes.finish();
    let placeholder = json!({"attempt_1": [[0]], "attempt_2": [[0]]});
    assert_eq!(serde_json::to_value(score.submission()).unwrap(), json!({"a": [placeholder, placeholder]}));
    assert_eq!((score.inputs_without_prediction, score.tasks[0].inputs[1].votes), (1, 1));
}

fn bad_predictions() {
    let input = grid(&[&[1]]);
    let tokens = widen(&input.encode((0, 0)));
    let mut votes = votes_for(&[(&input, None)]);
    let mut refused = |identifier: i32, inputs: &[i32], predictions: &[i32], q_halt: f32, part: &str| {
        let message = votes.add(0, identifier, inputs, predictions, q_halt).expect_err(part).to_string();
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    };
    refused(5, &tokens, &tokens, 0.0, "no puzzle has identifier 5");
    refused(-1, &tokens, &tokens, 0.0, "no puzzle has identifier -1");
    refused(3, &tokens, &tokens, 0.0, "task b, no such test input as that of puzzle 3");
    refused(4, &tokens, &tokens, 0.0, "a|||t9|||0123456789, expected task|||t");
    refused(1, &[2; SEQ_LEN], &tokens, 0.0, "task a, no such test input as that of puzzle 1");
    refused(1, &tokens, &tokens[1..], 0.0, "899 tokens");
    refused(1, &tokens, &tokens, f32::NAN, "q_halt of task a: NaN");
    let score = votes.finish();
    assert_eq!(score.tasks[0].inputs[0].votes, 0);
}
