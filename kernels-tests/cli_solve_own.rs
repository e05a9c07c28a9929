//! `trm solve` about own tasks: samples of their data sets, and questions in their words.

use std::fs;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::cli::{Outcome, Test, Workshop, check, refuse, succeed, trm};
use crate::cli_solve::fresh;

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let trials: [Test; 2] =
        [("a model of neither says so, and its samples are drawn", samples), ("questions in words", words)];
    trials.into_iter().map(|(name, test)| Trial::test(format!("cli solve: {name}"), test)).collect()
}

fn samples() -> Outcome {
    let workshop = Workshop::new()?;
    let rows = workshop.path("rows.csv");
    fs::write(&rows, "inputs,labels\n1 2 3,3 2 1\n2 1 3,3 1 2\n")?;
    let data = workshop.path("own");
    succeed(&["data", "table", "--train", &rows, "--test", &rows, "--vocab", "1..3", "--out", &data])?;
    let run = fresh(&workshop, "tiny-sudoku4", "own", "run")?;
    let solve = ["solve", "--run", &run, "--device", "cpu"];
    refuse(
        &[&solve[..], &["123"]].concat(),
        2,
        &["3 cells and 4 tokens are neither", "name its data set, --data"],
    )?;
    let svg = workshop.path("own.svg");
    let sample = trm(&[&solve[..], &["--data", &data, "--watch", "--svg", &svg]].concat())?;
    check(sample.stdout.starts_with("sample 0\n  1 2 3\nstep 1 of 3, halt "), || sample.stdout.clone())?;
    let drawn = fs::read_to_string(&svg)?;
    check(drawn.contains(">2</text>") && drawn.contains(">step 3, halt "), || drawn.clone())?;
    check(sample.stdout.contains("\nnot solved: wrong in "), || sample.stdout.clone())?;
    for part in [">not solved: wrong in ", ">label</text>"] {
        check(drawn.contains(part), || format!("no {part} in {drawn}"))?;
    }
    Ok(())
}

fn words() -> Outcome {
    let workshop = Workshop::new()?;
    let (rows, questions) = (workshop.path("rows.csv"), workshop.path("questions.txt"));
    fs::write(&rows, "inputs,labels\nred blue,blue red\nblue blue red,blue\nred red red red,red red\n")?;
    fs::write(&questions, "red blue\n\nblue green\n")?;
    let data = workshop.path("own");
    succeed(&["data", "table", "--train", &rows, "--test", &rows, "--out", &data])?;
    let run = fresh(&workshop, "tiny-sudoku4", "own", "run")?;
    let solve = ["solve", "--run", &run, "--data", &data, "--device", "cpu"];
    let asked = ["blue", "blue blue red", "red red red red", "red red red red red", &questions];
    let solved = trm(&[&solve[..], &asked, &["--json"]].concat())?;
    let answers: Vec<Value> = solved.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    // As many words as samples with so many given have labels; where there is no such sample, all.
    let lengths = [("blue", 4), ("blue blue red", 1), ("red red red red", 2), ("red blue", 2)];
    let of = |(answer, (question, words)): (&Value, &(&str, usize))| {
        let text = answer["answer"].as_str().unwrap_or_default();
        answer["question"] == *question
            && text.split(' ').count() <= *words
            && answer["steps"].as_array().is_some_and(|steps| steps.len() == 3)
    };
    let right = answers.len() == 4 && answers.iter().zip(&lengths).all(of) && solved.code == 2;
    check(right, || format!("{} {answers:?}\n{}", solved.code, solved.stderr))?;
    for part in [
        "PUZZLE 4: 5 words, the model takes 4; the words are blue, red",
        "questions.txt, line 3: \"green\" is none of the 2 words; the words are blue, red",
    ] {
        check(solved.stderr.contains(part), || format!("{part} is not in\n{}", solved.stderr))?;
    }
    let shown = succeed(&[&solve[..], &["blue red"]].concat())?;
    check(shown.starts_with("question\n  blue red\nstep 3 of 3, halt "), || shown.clone())
}
