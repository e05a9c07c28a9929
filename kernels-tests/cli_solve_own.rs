//! `trm solve` about own tasks: samples of their data sets, and questions in their words.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::cli::{Outcome, Test, Workshop, check, command, refuse, succeed, trm};
use crate::cli_solve::fresh;

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let trials: [Test; 4] = [
        ("a model of neither says so, and its samples are drawn", samples),
        ("questions in words", words),
        ("rows of tables are questions", rows),
        ("each question is answered as it comes", waiting),
    ];
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

fn documents(text: &str) -> Outcome<Vec<Value>> {
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// A model that is not trained, of rows of three words.
fn untrained(workshop: &Workshop) -> Outcome<(String, String)> {
    let rows = workshop.path("rows.csv");
    fs::write(&rows, "inputs,labels\n1 2 3,3 2 1\n2 1 3,3 1 2\n")?;
    let data = workshop.path("own");
    succeed(&["data", "table", "--train", &rows, "--test", &rows, "--vocab", "1..3", "--out", &data])?;
    Ok((fresh(workshop, "tiny-sudoku4", "own", "run")?, data))
}

fn rows() -> Outcome {
    let workshop = Workshop::new()?;
    let (run, data) = untrained(&workshop)?;
    let solve = ["solve", "--run", &run, "--data", &data, "--device", "cpu", "--json"];
    let asked = |name: &str, text: &str| -> Outcome<(i32, Vec<Value>, String)> {
        let file = workshop.path(name);
        fs::write(&file, text)?;
        let ran = trm(&[&solve[..], &[&file]].concat())?;
        Ok((ran.code, documents(&ran.stdout)?, ran.stderr))
    };
    let (_, plain, _) = asked("plain.txt", "1 2 3\n")?;
    let answer = plain[0]["answer"].as_str().ok_or("no answer")?;
    check(plain[0].get("exact").is_none(), || plain[0].to_string())?;
    let right = format!("inputs,labels\n1 2 3,{answer}\n");
    let swapped = format!("labels;inputs;puzzle\n{answer};1 2 3;a\n");
    let json = format!("{{\"inputs\": [1, 2, 3], \"labels\": \"{answer}\"}}\n");
    let bare = format!("1 2 3,{answer}\n");
    for text in [&right, &swapped, &json, &bare] {
        let (code, found, said) = asked("right.csv", text)?;
        let exact = found.len() == 1 && found[0]["exact"] == true && found[0]["question"] == "1 2 3";
        check(code == 0 && exact, || format!("{text}: {code} {found:?} {said}"))?;
    }
    let wrong = format!("inputs,labels\n1 2 3,{}\n", if answer == "1 1 1" { "2 2 2" } else { "1 1 1" });
    let (code, found, said) = asked("wrong.csv", &wrong)?;
    check(code == 1 && found[0]["exact"] == false, || format!("{code} {found:?} {said}"))?;
    let bad = "inputs,labels\n".to_owned() + &"1 2 4,1 2 3\n".repeat(30);
    let (code, found, said) = asked("bad.csv", &bad)?;
    let named = said.matches("\"4\" is none of the 3 words").count();
    check(code == 2 && found.len() == 30 && named == 20, || said.clone())?;
    check(said.ends_with("none of 30 could be used\n"), || said.clone())?;
    let divided = trm(&[&solve[..], &["3", "1", "2"]].concat())?;
    let one = documents(&divided.stdout)?;
    let joined = one.len() == 1 && one[0]["question"] == "3 1 2";
    check(joined && divided.stderr.contains("3 arguments are read as one question"), || {
        divided.stderr.clone()
    })
}

/// Standard input is still open when the answer is out.
fn waiting() -> Outcome {
    let workshop = Workshop::new()?;
    let (run, data) = untrained(&workshop)?;
    let mut child = command(&["solve", "--run", &run, "--data", &data, "--device", "cpu", "--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().ok_or("no standard input")?;
    let mut answers = BufReader::new(child.stdout.take().ok_or("no standard output")?);
    for question in ["1 2 3", "3 2 1"] {
        input.write_all(format!("{question}\n").as_bytes())?;
        let mut line = String::new();
        answers.read_line(&mut line)?;
        check(documents(&line)?[0]["question"] == question, || line.clone())?;
    }
    drop(input);
    check(child.wait()?.success(), || "no success".into())
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
    let mut answers = documents(&solved.stdout)?;
    answers.retain(|answer| answer.get("error").is_none());
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
    check(answers[0]["note"] == "no test sample has 1 word" && answers[1].get("note").is_none(), || {
        format!("{answers:?}")
    })?;
    refuse(
        &[&solve[..], &["--persist", "4", "blue"]].concat(),
        2,
        &["--persist: 4, but nobody knows the rules"],
    )?;
    for part in [
        "PUZZLE 4: 5 words, the model takes at most 4; the words are blue, red",
        "questions.txt, line 3: \"green\" is none of the 2 words; the words are blue, red",
    ] {
        check(solved.stderr.contains(part), || format!("{part} is not in\n{}", solved.stderr))?;
    }
    let shown = succeed(&[&solve[..], &["blue red"]].concat())?;
    check(shown.starts_with("question\n  blue red\nstep 3 of 3, halt "), || shown.clone())
}
