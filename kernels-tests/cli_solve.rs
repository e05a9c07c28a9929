//! `trm solve` as its users meet it: whatever they paste, mazes, tasks of ARC, votes and pictures.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use libtest_mimic::Trial;
use serde_json::Value;
use trm::checkpoint;
use trm::data::{Dataset, Split};
use trm::model::init::Weights;
use trm::model::params::Params;
use trm::recipe::Recipe;

use crate::cli::{Outcome, Test, Workshop, check, command, has_adapter, ran, refuse, succeed, trm};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let trials: [Test; 15] = [
        ("all puzzles that can be solved are", many_puzzles),
        ("steps, halting and votes", steps_and_votes),
        ("rollouts, choices and sweeps", breadth),
        ("mazes are drawn and judged", mazes),
        ("pictures of all steps", pictures),
        ("tasks of ARC are found by name", arc_tasks),
        ("what comes with trm solves what fits it", shipped),
        ("puzzles without a right answer are thought about again", persistence),
        ("each answer is out before the next puzzle is thought about again", one_by_one),
        ("nothing is computed for a reader who has left", reader_leaves),
        ("what the shell has divided is joined", divided),
        ("files packed by gzip are read", packed),
        ("of many that cannot be used the first are named", many_refused),
        ("a signal leaves what was answered", stopped),
        ("what comes with trm is measured and exported", shipped_elsewhere),
    ];
    trials.into_iter().map(|(name, test)| Trial::test(format!("cli solve: {name}"), test)).collect()
}

/// Fresh weights of a small model for the data set `data`, in the folder `run`.
pub fn fresh(workshop: &Workshop, recipe: &str, data: &str, run: &str) -> Outcome<String> {
    let dataset = Dataset::open(Path::new(&workshop.path(data)), Split::Train)?;
    let sets = [
        "arch.hidden_size=16",
        "arch.num_heads=2",
        "arch.puzzle_emb_ndim=16",
        "arch.L_layers=1",
        "arch.H_cycles=1",
        "arch.L_cycles=1",
        "arch.halt_max_steps=3",
    ];
    let config = Recipe::load(recipe, &sets.map(str::to_owned))?.model(&dataset)?;
    let run = workshop.path(run);
    checkpoint::save(Path::new(&run), &config, &Weights::fresh(&config, 0))?;
    Ok(run)
}

fn documents(text: &str) -> Outcome<Vec<Value>> {
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Those of puzzles that could be used.
fn answers(text: &str) -> Outcome<Vec<Value>> {
    Ok(documents(text)?.into_iter().filter(|document| document.get("error").is_none()).collect())
}

fn many_puzzles() -> Outcome {
    let workshop = Workshop::new()?;
    let run = fresh(&workshop, "tiny-sudoku4", "data", "run")?;
    let lines =
        "1 . | . .\n. . | . .\n----+----\n. . | . .\n. . | . 4\n\n1111............\n1__x_____*_____4\n12\n";
    let file = workshop.path("puzzles.txt");
    fs::write(&file, lines)?;
    let solve = ["solve", "--run", &run, "--device", "cpu", "--json"];
    let from_file = trm(&[&solve[..], &[&file, "1-------\n-------4"]].concat())?;
    let mut child = command(&[&solve[..], &["-"]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().ok_or("no standard input")?.write_all(lines.as_bytes())?;
    let from_input = ran(child.wait_with_output()?);
    for (ran, name, count) in [(from_file, file.as_str(), 3), (from_input, "standard input", 2)] {
        let (solved, refused) = (answers(&ran.stdout)?, documents(&ran.stdout)?);
        let refused: Vec<String> = refused
            .iter()
            .filter(|document| document["error"].is_string())
            .map(|document| format!("{} {}", document["place"], document["error"]))
            .collect();
        let named = refused.len() == 2
            && refused[0].starts_with(&format!("\"{name}, line 7\" \"contradicts itself: "))
            && refused[1].starts_with(&format!("\"{name}, line 9\" \"2 cells, "));
        check(named, || format!("{refused:?}"))?;
        let all = solved.iter().all(|solved| solved["puzzle"] == "1..............4");
        check(ran.code == 2 && all && solved.len() == count, || format!("{} {}", ran.code, ran.stdout))?;
        let contradiction =
            format!("error: {name}, line 7: contradicts itself: row 1, column 1 and row 1, column 2");
        for part in [contradiction, format!("error: {name}, line 9: 2 cells")] {
            check(ran.stderr.contains(&part), || format!("{part} is not in\n{}", ran.stderr))?;
        }
        check(ran.stderr.matches("error: ").count() == 2, || ran.stderr.clone())?;
    }
    Ok(())
}

fn shipped() -> Outcome {
    let (line, rows) = ("12....1.4......3", "1 2 | . .\n. . | 1 .\n----+----\n4 . | . .\n. . | . 3");
    let engines: &[&str] = if has_adapter() { &["cpu", "gpu"] } else { &["cpu"] };
    for device in engines {
        let solved = trm(&["solve", line, rows, "--device", device, "--json"])?;
        let documents = documents(&solved.stdout)?;
        let right = documents.iter().filter(|solved| solved["answer"] == "1234341243212143").count();
        check(solved.code == 0 && right == 2, || format!("{device}: {} {}", solved.code, solved.stdout))?;
        check(solved.stderr.matches("weights: shipped:sudoku4").count() == 1, || solved.stderr.clone())?;
    }
    let mut child = command(&["solve", "-", "--device", "cpu", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let text = format!("{line}\n11..............\n");
    child.stdin.take().ok_or("no standard input")?.write_all(text.as_bytes())?;
    let from_input = ran(child.wait_with_output()?);
    let contradiction = "error: standard input, line 2: contradicts itself";
    check(from_input.code == 2 && from_input.stderr.contains(contradiction), || from_input.stderr.clone())?;
    check(answers(&from_input.stdout)?.len() == 1, || from_input.stdout.clone())?;
    // What fits nothing is told, the others are solved.
    let mixed = trm(&["solve", "S.......G", line, "1 2 x", " ", "{\"train\": []}", "--device", "cpu"])?;
    check(mixed.code == 2 && mixed.stdout.contains("\nsolved: "), || mixed.stdout.clone())?;
    for part in [
        "PUZZLE 1: no model for mazes of 3x3 comes with trm",
        "PUZZLE 3: 3 characters, neither a Sudoku of",
        "PUZZLE 4: nothing, neither",
        "PUZZLE 5: a JSON object, as tasks of ARC are, neither",
    ] {
        check(mixed.stderr.contains(part), || format!("{part} is not in\n{}", mixed.stderr))?;
    }
    // Found by a search.
    let odd = trm(&["solve", "12....3.........", "1..............4", "--device", "cpu"])?;
    let told = odd.stderr.contains("PUZZLE 1: has no solution: its clues contradict each other")
        && odd.stdout.starts_with("puzzle, 2 clues, several solutions\n");
    check(odd.code == 2 && told, || format!("{}{}", odd.stdout, odd.stderr))?;
    refuse(&["solve", line, "--data", "data"], 2, &["--data: data, but no model is named"])?;
    refuse(
        &["solve", line, "--weights", "shipped:sudoku5"],
        2,
        &["\"sudoku5\" comes with trm; take one of sudoku4"],
    )
}

fn divided() -> Outcome {
    let device = ["--device", "cpu", "--json"];
    let solve = |parts: &[&str]| trm(&[&["solve"], parts, &device].concat());
    let grids: [&[&str]; 2] = [
        &["12..", "..1.", "4...", "...3"],
        &["1", "2", "|", ".", ".", ".", ".", "|", "1", ".", "4", ".", "|", ".", ".", ".", ".", "|", ".", "3"],
    ];
    for parts in grids {
        let ran = solve(parts)?;
        let note = format!("note: {} arguments are read as one puzzle", parts.len());
        check(ran.code == 0 && ran.stderr.contains(&note), || ran.stderr.clone())?;
        check(answers(&ran.stdout)?[0]["answer"] == "1234341243212143", || ran.stdout.clone())?;
    }
    let parts = ["solve", "12..", "..1.", "4...", "--device", "cpu"];
    let joined = "PUZZLE: 3 arguments are no puzzles, neither each by itself nor joined; put quotes around";
    refuse(&parts, 2, &[joined])
}

fn packed() -> Outcome {
    let workshop = Workshop::new()?;
    let (text, file) = (workshop.path("puzzles.txt"), workshop.path("puzzles.txt.gz"));
    fs::write(&text, "12....1.4......3\n")?;
    let mut packed = flate2::write::GzEncoder::new(fs::File::create(&file)?, flate2::Compression::default());
    packed.write_all(&fs::read(&text)?)?;
    packed.finish()?;
    let solved = trm(&["solve", &file, "--device", "cpu"])?;
    check(solved.code == 0 && solved.stdout.contains("solved: "), || solved.stderr.clone())
}

fn many_refused() -> Outcome {
    let workshop = Workshop::new()?;
    let lines = workshop.path("puzzles.txt");
    fs::write(&lines, "11..............\n".repeat(30))?;
    let ran = trm(&["solve", &lines, "--device", "cpu", "--json"])?;
    let errors = ran.stderr.matches("contradicts itself").count();
    check(ran.code == 2 && errors == 20, || format!("{} {}", ran.code, ran.stderr))?;
    check(ran.stderr.ends_with("none of 30 could be used\n"), || ran.stderr.clone())?;
    check(documents(&ran.stdout)?.len() == 30, || ran.stdout.clone())
}

/// While it waits for more puzzles.
#[cfg(unix)]
fn stopped() -> Outcome {
    use std::io::{BufRead, BufReader};
    let workshop = Workshop::new()?;
    let (run, svg) = (fresh(&workshop, "tiny-sudoku4", "data", "run")?, workshop.path("a.svg"));
    let solve = ["solve", "--run", &run, "--device", "cpu", "--json", "--svg", &svg, "-"];
    let mut child =
        command(&solve).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().ok_or("no standard input")?;
    input.write_all(b"1..............4\n")?;
    let mut first = String::new();
    BufReader::new(child.stdout.as_mut().ok_or("no standard output")?).read_line(&mut first)?;
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
    let left = ran(child.wait_with_output()?);
    drop(input);
    check(sent.success() && documents(&first)?.len() == 1, || first.clone())?;
    check(
        left.code == 130 && left.stderr.contains("stopped: solved 0 of 1; what came after was not tried"),
        || format!("{} {}", left.code, left.stderr),
    )?;
    check(fs::read_to_string(&svg)?.starts_with("<svg "), || "no picture".into())
}

#[cfg(not(unix))]
fn stopped() -> Outcome {
    Ok(())
}

/// Of these three, the model solves the first in one step, the second as one of 4 variants and the third as one of 16.
const HARDER: [&str; 3] = [
    "4..2......46....6.53..2...2......5..",
    "52......1......146.....54...1..5....",
    ".1...242..5.....34...2......2.3..1..",
];

fn one_by_one() -> Outcome {
    let workshop = Workshop::new()?;
    let (lines, shown) = (workshop.path("puzzles.txt"), workshop.path("shown.txt"));
    fs::write(&lines, HARDER.join("\n"))?;
    let file = fs::File::create(&shown)?;
    let status = command(&["solve", "--steps", "1", "--device", "cpu", &lines])
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()?;
    let shown = fs::read_to_string(&shown)?;
    check(status.success(), || shown.clone())?;
    let again = |line: usize| format!("{lines}, line {line}");
    let events = [
        "solved: a valid solution".to_owned(),
        format!("{} and 1 more: no right answer in 1 rollout, again with 4", again(2)),
        "solved: a valid solution".to_owned(),
        format!("{}: no right answer in 4 rollouts, again with 16", again(3)),
        "solved: a valid solution".to_owned(),
        "solved 3 of 3".to_owned(),
    ];
    let mut rest = &shown[..];
    for event in events {
        let at = rest.find(&event).ok_or_else(|| format!("{event} is not in\n{rest}\nof\n{shown}"))?;
        check(!rest[..at].contains("solved"), || format!("before {event}:\n{shown}"))?;
        rest = &rest[at + event.len()..];
    }
    // Of nine that weights without training do not solve, 8 with 4 rollouts each fill the processor; the ninth waits.
    let run = fresh(&workshop, "tiny-sudoku4", "data", "run")?;
    fs::write(&lines, "1..............4\n".repeat(9))?;
    let said = trm(&["solve", "--run", &run, "--persist", "4", "--device", "cpu", &lines])?.stderr;
    for part in [format!("{} and 7 more: no right", again(1)), format!("{}: no right", again(9))] {
        check(said.contains(&part), || format!("{part} is not in\n{said}"))?;
    }
    Ok(())
}

fn reader_leaves() -> Outcome {
    let mut child = command(&[&["solve", "--steps", "1", "--device", "cpu"], &HARDER[..]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let left = ran(child.wait_with_output()?);
    check(left.code == 0 && !left.stderr.contains("again with"), || format!("{} {}", left.code, left.stderr))
}

fn persistence() -> Outcome {
    let solve = |more: &[&str]| -> Outcome<(i32, Vec<String>, String)> {
        let solved =
            trm(&[&["solve", "--steps", "1", "--device", "cpu", "--json"], &HARDER[..], more].concat())?;
        let of = |solved: &Value| {
            [&solved["solved"], &solved["votes"][1], &solved["keeps_rules"]].map(Value::to_string)
        };
        let verdicts: Vec<String> =
            documents(&solved.stdout)?.iter().map(|solved| of(solved).join(" ")).collect();
        Ok((solved.code, verdicts, solved.stderr))
    };
    let expected: [(&[&str], [&str; 3]); 5] = [
        (&[], ["true null null", "true 4 true", "true 16 true"]),
        (&["--weights", "shipped:sudoku6"], ["true null null", "true 4 true", "true 16 true"]),
        (&["--persist", "4"], ["true null null", "true 4 true", "false 4 false"]),
        (&["--persist", "0"], ["true null null", "false null null", "false null null"]),
        // Whoever says how widely gets it.
        (&["--rollouts", "2", "--augment", "1"], ["true 2 null", "false 2 null", "false 2 null"]),
    ];
    for (more, verdicts) in expected {
        let (code, found, said) = solve(more)?;
        let right = found == verdicts && code == i32::from(verdicts[2].starts_with("false"));
        check(right, || format!("{more:?}: {code}, {found:?}\n{said}"))?;
    }
    Ok(())
}

fn shipped_elsewhere() -> Outcome {
    let workshop = Workshop::new()?;
    let (data, halves, bf16) = (workshop.path("data"), workshop.path("halves"), workshop.path("bf16"));
    let weights = ["--weights", "shipped:sudoku4"];
    let measured =
        succeed(&[&["eval", "--data", &data, "--device", "cpu", "--json"][..], &weights].concat())?;
    let measured: Value = serde_json::from_str(&measured)?;
    check(measured["exact_accuracy"].as_f64() > Some(0.8), || measured.to_string())?;
    succeed(&[&["export", "--safetensors", &halves, "--dtype", "f16"][..], &weights].concat())?;
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/checkpoints/sudoku4");
    for name in ["model.safetensors", "config.json"] {
        check(fs::read(own.join(name))? == fs::read(Path::new(&halves).join(name))?, || name.into())?;
    }
    let run = fresh(&workshop, "tiny-sudoku4", "data", "run")?;
    succeed(&["export", "--run", &run, "--safetensors", &bf16, "--dtype", "bf16"])?;
    let [(config, whole), (_, rounded)] =
        [checkpoint::load(Path::new(&run))?, checkpoint::load(Path::new(&bf16))?];
    let near = whole
        .trained
        .iter()
        .zip(&rounded.trained)
        .all(|(one, other)| (one - other).abs() <= one.abs() / 256.0);
    check(near && whole.trained != rounded.trained, || "bf16 is no rounding".into())?;
    let mut large = whole;
    large.trained[0] = 1e5;
    checkpoint::save(Path::new(&run), &config, &large)?;
    let refused = ["export", "--run", &run, "--safetensors", &workshop.path("none"), "--dtype", "f16"];
    refuse(&refused, 2, &["--dtype: f16 ends at 65504, tensor ", " holds 100000; take bf16 or f32"])?;
    check(!Path::new(&workshop.path("none")).exists(), || "a folder was left".into())
}

fn steps_and_votes() -> Outcome {
    let workshop = Workshop::new()?;
    let run = fresh(&workshop, "tiny-sudoku4", "data", "run")?;
    let solve = ["solve", "--run", &run, "--device", "cpu", "--json", "1..............4"];
    let one = |more: &[&str]| -> Outcome<Value> {
        let text = trm(&[&solve[..], more].concat())?.stdout;
        documents(&text)?.pop().ok_or_else(|| "nothing".into())
    };
    let steps = |solved: &Value| solved["steps"].as_array().map_or(0, Vec::len);
    let plain = one(&[])?;
    check(steps(&plain) == 3 && plain.get("votes").is_none(), || plain.to_string())?;
    check(steps(&one(&["--steps", "5"])?) == 5, || "--steps 5".into())?;
    check(steps(&one(&["--halt"])?) == 3, || "--halt without a reason".into())?;
    let voted = one(&["--augment", "5", "--seed", "1"])?;
    check(voted["votes"][1] == 6 && voted["steps"] == plain["steps"], || voted.to_string())?;
    let data = workshop.path("data");
    let samples =
        ["solve", "--run", &run, "--device", "cpu", "--json", "--data", &data, "--sample", "0", "3"];
    let samples = documents(&trm(&[&samples[..], &["--augment", "2", "--steps", "2"]].concat())?.stdout)?;
    let right = |sample: &Value| sample["votes"][1] == 3 && steps(sample) == 2;
    check(samples.len() == 2 && samples.iter().all(right), || format!("{samples:?}"))?;
    // Weights that believe whatever they answer.
    let (config, mut weights) = checkpoint::load(Path::new(&run))?;
    let params = Params::of(&config);
    let bias = params.get("q_head.bias").ok_or("no bias")?;
    weights.trained[bias.offset] = 100.0;
    checkpoint::save(Path::new(&run), &config, &weights)?;
    check(steps(&one(&["--halt"])?) == 1 && steps(&one(&[])?) == 3, || "--halt".into())
}

/// Rollouts, a choice by the rules that says so, and a sweep whose counts are of all puzzles.
fn breadth() -> Outcome {
    let workshop = Workshop::new()?;
    let (run, data) = (fresh(&workshop, "tiny-sudoku4", "data", "run")?, workshop.path("data"));
    let solve = ["solve", "--run", &run, "--device", "cpu", "1..............4"];
    let wide = ["--rollouts", "4", "--noise", "0.5", "--random-states", "--select", "valid", "--settle=2"];
    let solved = documents(&trm(&[&solve[..], &wide, &["--json"]].concat())?.stdout)?;
    let solved = solved.first().ok_or("nothing")?;
    check(solved["votes"][1] == 4 && solved["select"] == "valid" && solved["keeps_rules"] == false, || {
        solved.to_string()
    })?;
    let text = trm(&[&solve[..], &wide].concat())?.stdout;
    check(text.contains(" of 4 rollouts, as no answer keeps the rules"), || text.clone())?;
    refuse(
        &[&solve[..], &["--rollouts", "2"]].concat(),
        2,
        &["--rollouts: 2, of which 1 would be different"],
    )?;
    refuse(&[&solve[..], &["--select", "halt"]].concat(), 2, &["--select: there is one rollout"])?;
    let eval = ["eval", "--run", &run, "--data", &data, "--device", "cpu"];
    let sweep = ["--augment", "1", "--sweep", "rollouts=1,2", "steps=1,3"];
    let found = documents(&trm(&[&eval[..], &sweep, &["--json"]].concat())?.stdout)?;
    let found = found.first().ok_or("nothing")?;
    let rows = found["sweep"]["rows"].as_array().ok_or("no rows")?;
    let adds_up = |row: &Value| {
        let number = |key: &str| row[key].as_f64().unwrap_or(f64::NAN);
        let whole = (number("rollouts") * number("steps") - number("steps_taken")).abs() < 1e-9;
        whole && row["by"].as_object().is_some_and(|by| by.len() == 4)
    };
    check(
        rows.len() == 4 && rows.iter().all(adds_up) && found["sweep"]["labelled"] == found["samples"],
        || found.to_string(),
    )?;
    let table = trm(&[&eval[..], &sweep].concat())?.stdout;
    check(table.contains("rollouts") && table.contains("residual"), || table.clone())?;
    let twice = ["--steps", "2", "--sweep", "steps=1"];
    refuse(&[&eval[..], &twice].concat(), 2, &["--sweep: steps are given twice"])
}

fn mazes() -> Outcome {
    let workshop = Workshop::new()?;
    succeed(&["data", "maze", "--generate=9", "--test=2", "--size=5x5", "--out", &workshop.path("mazes")])?;
    let run = fresh(&workshop, "tiny-maze", "mazes", "run")?;
    let maze = "S # G\n  #  \n     \n ### \n     ";
    let solve = ["solve", "--run", &run, "--device", "cpu", maze];
    let text = trm(&solve)?;
    let drawn = format!("maze of 5 x 5, 8 moves from S to G\n{maze}\nstep 3 of 3, halt ");
    check(text.code == 1 && text.stdout.starts_with(&drawn), || text.stdout.clone())?;
    check(text.stdout.contains("not solved: the answer changes the maze at row "), || text.stdout.clone())?;
    let json = documents(&trm(&[&solve[..], &["--json", "--augment", "7"]].concat())?.stdout)?;
    check(json[0]["valid"] == false && json[0]["puzzle"] == maze && json[0]["votes"][1] == 8, || {
        json[0].to_string()
    })?;
    let (closed, augment) = (maze.replace("     \n ###", "#####\n ###"), "--augment");
    let refused = ["solve", "--run", &run, "--device", "cpu", &closed];
    refuse(&refused, 2, &["PUZZLE, line 1: no way leads from S to G"])?;
    refuse(
        &[&solve[..], &[augment, "8"]].concat(),
        2,
        &["--augment: 8, these mazes have 7 further symmetries"],
    )
}

fn pictures() -> Outcome {
    let workshop = Workshop::new()?;
    let run = fresh(&workshop, "tiny-sudoku4", "data", "run")?;
    let [svg, png, gif] = ["a.svg", "a.png", "a.gif"].map(|name| workshop.path(name));
    let solve =
        ["solve", "--run", &run, "--device", "cpu", "--json", "--svg", &svg, "--png", &png, "--gif", &gif];
    let puzzles: Vec<String> = (0..9).map(|at| format!("{:.>1$}1{2:.<3$}", "", at, "", 15 - at)).collect();
    let many = [&solve[..], &puzzles.iter().map(String::as_str).collect::<Vec<_>>()].concat();
    let ran = trm(&many)?;
    check(ran.code == 1 && ran.stderr.contains("pictures: the first 8 puzzles, 1 more"), || {
        ran.stderr.clone()
    })?;
    let text = fs::read_to_string(&svg)?;
    check(text.starts_with("<svg ") && text.matches(">step 3, halt ").count() == 8, || text.clone())?;
    let clues = text.matches("font-size=\"22\" font-weight=\"bold\" fill=\"#000000\">1<").count();
    check(clues >= 8, || format!("the clue is drawn {clues} times"))?;
    let reader = png::Decoder::new(std::io::BufReader::new(fs::File::open(&png)?)).read_info()?;
    let (width, height) = (reader.info().width, reader.info().height);
    check(text.contains(&format!("viewBox=\"0 0 {width} {height}\"")), || format!("{width} x {height}"))?;
    let mut decoder = gif::DecodeOptions::new().read_info(fs::File::open(&gif)?)?;
    let mut frames = 0;
    while decoder.read_next_frame()?.is_some() {
        frames += 1;
    }
    check(frames == 8 * 4, || format!("{frames} frames"))?;
    let nowhere = workshop.path("no/such.gif");
    refuse(&["solve", "--run", &run, "--gif", &nowhere, &puzzles[0]], 2, &["--gif: ", "does not exist"])
}

const TASK: &str = r#"{"train": [{"input": [[1, 0], [0, 2]], "output": [[2, 0], [0, 1]]},
{"input": [[3, 3, 0]], "output": [[0, 3, 3]]}], "test": [{"input": [[4, 0, 5]], "output": [[5, 0, 4]]}]}"#;

fn arc_tasks() -> Outcome {
    let workshop = Workshop::new()?;
    let (tasks, data) = (workshop.path("tasks"), workshop.path("arc"));
    fs::create_dir(&tasks)?;
    let [known, unknown] = ["mirror", "other"].map(|name| format!("{tasks}/{name}.json"));
    fs::write(&known, TASK)?;
    succeed(&["data", "arc", "--input-file-prefix", &tasks, "--num-aug", "4", "--out", &data])?;
    fs::write(&unknown, TASK)?;
    let run = fresh(&workshop, "arc1", "arc", "run")?;
    let solve = ["solve", "--run", &run, "--device", "cpu"];
    refuse(&[&solve[..], &[&known]].concat(), 2, &["--data: a model of ARC has an embedding for each task"])?;
    let solve = [&solve[..], &["--data", &data, "--augment", "3"]].concat();
    let refused = [&solve[..], &[&unknown]].concat();
    refuse(&refused, 2, &["other.json: task other: this model has no row for it"])?;
    let both = trm(&[&solve[..], &[&unknown, &known, "--json"]].concat())?;
    let solved = answers(&both.stdout)?.pop().ok_or("nothing")?;
    let votes = &solved["inputs"][0]["votes"];
    check(both.code == 2 && solved["variants"] == 4 && *votes == 4, || both.stdout.clone())?;
    check(solved["steps"][0].as_array().is_some_and(|steps| steps.len() == 3), || both.stdout.clone())?;
    let svg = workshop.path("task.svg");
    let text = trm(&[&solve[..], &[&known, "--watch", "--svg", &svg]].concat())?;
    let parts = [
        "task mirror, 4 variants vote\ndemonstration 1\n1 0     2 0\n0 2     0 1\n",
        "test input 1\n4 0 5\nstep 1 of 3, halt ",
        "attempt 1: ",
        " of 4 votes, halt ",
        "not solved: right is\n5 0 4\n",
    ];
    for part in parts {
        check(text.code == 1 && text.stdout.contains(part), || format!("{part} is not in\n{}", text.stdout))?;
    }
    let drawn = fs::read_to_string(&svg)?;
    check(drawn.contains(">right is<") && drawn.contains("mirror: not solved"), || drawn.clone())?;
    check(drawn.contains(">test input 1<") && drawn.contains("#0074d9"), || drawn.clone())
}
