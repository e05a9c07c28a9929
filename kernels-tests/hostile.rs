//! Surroundings that stand in the way: limits, signals, pipes where files are expected, settings that cannot be meant.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use serde_json::Value;
use trm::engine::{DeviceInfo, devices};
use trm::plan::Element;
use trm::tune::{Cache, Cached, Key};

use crate::cli::{Outcome, Ran, Test, Workshop, borrowed, check, command, ran, refuse, succeed, trm};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let trials: [Test; 9] = [
        ("the memory that the shell leaves is respected", shell_memory),
        ("absurd numbers of threads are refused", threads),
        ("pipes in the tune cache block nobody", piped_cache),
        ("settings without effect are said", idle_settings),
        ("a recipe made for other puzzles says so", other_puzzles),
        ("a resumed run keeps its seed", kept_seed),
        ("errors name what was given", named_as_given),
        ("an interrupted evaluation shows what it has", interrupted_evaluation),
        ("waiting lines are solved together", waiting_lines),
    ];
    trials.into_iter().map(|(name, test)| Trial::test(format!("hostile: {name}"), test)).collect()
}

/// What does not fit is taken in smaller pieces, or refused: never is the program ended by the system.
fn shell_memory() -> Outcome {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let workshop = Workshop::new()?;
    let train = |sets: &[&str]| -> Outcome<Ran> {
        let mut args = workshop.train_args("run", 128);
        let own = ["train.global_batch_size=4096", "train.eval_interval=128", "arch.hidden_size=64"];
        own.iter().chain(sets).for_each(|set| args.extend(["--set", set].map(str::to_owned)));
        let untouched = command(&borrowed(&args));
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -v 700000; exec \"$@\"", "sh"]);
        limited.arg(untouched.get_program()).args(untouched.get_args());
        limited.envs(untouched.get_envs().filter_map(|(name, value)| Some((name, value?))));
        limited.env("RAYON_NUM_THREADS", "2").stdin(Stdio::null());
        Ok(ran(limited.output()?))
    };
    let refused = train(&["arch.hidden_size=1024"])?;
    let named = refused.stderr.contains("the CPU engine within ulimit -v: needs");
    check(refused.code == 1 && named, || format!("exits with {}: {}", refused.code, refused.stderr))?;
    let trained = train(&[])?;
    let pieces = trained.stderr.contains(" of 4096 samples at once");
    check(trained.code == 0 && pieces, || format!("exits with {}: {}", trained.code, trained.stderr))
}

fn threads() -> Outcome {
    for (value, expected) in
        [("5000000", "RAYON_NUM_THREADS: is 5000000; give a number up to "), ("many", "is many; ")]
    {
        let ran = ran(command(&["devices"]).env("RAYON_NUM_THREADS", value).output()?);
        check(ran.code == 2 && ran.stderr.contains(expected), || ran.stderr.clone())?;
    }
    let ran = ran(command(&["devices"]).env("RAYON_NUM_THREADS", "3").output()?);
    check(ran.code == 0 && ran.stdout.contains("CPU engine, 3 threads"), || ran.stdout.clone())
}

fn piped_cache() -> Outcome {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let info: DeviceInfo = devices().pop().ok_or("no CPU engine")?;
    let (cache, key) = (Cache::at(folder.path()), Key::of(&info, Element::F32));
    let path = cache.path(&key);
    let made = Command::new("mkfifo").arg(&path).status()?;
    check(made.success(), || "no pipe".into())?;
    let unusable =
        |cached: &Cached| matches!(cached, Cached::Unusable(said) if said.contains("is no regular file"));
    check(unusable(&cache.load(&key)), || "a pipe was taken for a file".into())?;
    fs::remove_file(&path)?;
    #[cfg(unix)]
    std::os::unix::fs::symlink("/dev/zero", &path)?;
    check(unusable(&cache.load(&key)), || "a device was taken for a file".into())
}

fn idle_settings() -> Outcome {
    let plan = ["plan", "--recipe", "tiny-sudoku4", "--set"];
    let said = trm(&[&plan[..], &["arch.H_layers=3"]].concat())?.stderr;
    check(said.contains("arch.H_layers has no effect: this architecture has no such net"), || said)?;
    let said = trm(&[&plan[..], &["arch.pos_encodings=rope"]].concat())?.stderr;
    check(said.contains("arch.pos_encodings has no effect: "), || said)?;
    let said = trm(&[&plan[..], &["arch.L_cycles=3"]].concat())?.stderr;
    check(!said.contains("no effect"), || said)
}

fn other_puzzles() -> Outcome {
    let workshop = Workshop::new()?;
    let (data, own, rows) = (workshop.path("data"), workshop.path("own"), workshop.path("rows.csv"));
    fs::write(&rows, "inputs,labels\nab,ba\n")?;
    succeed(&["data", "table", "--train", &rows, "--test", &rows, "--out", &own])?;
    for (recipe, data, found) in [
        (
            "tiny-sudoku9",
            &data,
            Some("tiny-sudoku9 was made for Sudoku 9x9, the data set has Sudoku 4x4, which"),
        ),
        (
            "maze-hard",
            &data,
            Some("maze-hard was made for mazes of 30x30, the data set has Sudoku 4x4, which"),
        ),
        (
            "tiny-sudoku4",
            &own,
            Some("was made for Sudoku 4x4, the data set has another task, of 2 tokens, which"),
        ),
        ("tiny-sudoku4", &data, None),
    ] {
        // A device that is not there ends it soon.
        let train = ["train", "--recipe", recipe, "--data", data, "--out", "x", "--device", "nowhere"];
        let said = trm(&train)?.stderr;
        let told = found.map_or(!said.contains("was made for"), |found| said.contains(found));
        check(told && said.contains("no device matches"), || said)?;
    }
    Ok(())
}

fn kept_seed() -> Outcome {
    let workshop = Workshop::new()?;
    workshop.train("run", 2)?;
    let (run, data) = (workshop.path("run"), workshop.path("data"));
    let resume = ["train", "--resume", "--device", "cpu", "--out", &run, "--data", &data, "--set"];
    refuse(
        &[&resume[..], &["train.seed=7"]].concat(),
        2,
        &["train.seed: is 0 since the run began; leave it"],
    )?;
    succeed(&[&resume[..], &["train.seed=0"]].concat()).map(drop)
}

/// No flag is named that was not given.
fn named_as_given() -> Outcome {
    let workshop = Workshop::new()?;
    workshop.train("run", 2)?;
    let (run, hub) = (workshop.path("run"), workshop.path("hub"));
    succeed(&["export", "--run", &run, "--safetensors", &hub])?;
    let again = ["export", "--run", &run, "--safetensors", &hub];
    refuse(&again, 2, &[&format!("error: {hub}: exists and is not empty")])?;
    let (mazes, maze_run) = (workshop.path("mazes"), workshop.path("maze-run"));
    succeed(&["data", "maze", "--generate", "9", "--test", "2", "--size", "5x5", "--out", &mazes])?;
    let dataset = trm::data::Dataset::open(Path::new(&mazes), trm::data::Split::Train)?;
    let sets = ["arch.hidden_size=16", "arch.puzzle_emb_ndim=16"].map(str::to_owned);
    let config = trm::recipe::Recipe::load("tiny-maze", &sets)?.model(&dataset)?;
    let weights = trm::model::init::Weights::fresh(&config, 0);
    trm::checkpoint::save(Path::new(&maze_run), &config, &weights)?;
    let solve = ["solve", "--run", &maze_run, "--device", "cpu", "1..............4"];
    refuse(&solve, 2, &["error: PUZZLE: 1 x 16 cells, the model solves mazes of 25, as 5 x 5"])
}

fn interrupted_evaluation() -> Outcome {
    if !cfg!(unix) {
        return Ok(());
    }
    let workshop = Workshop::new()?;
    workshop.train("run", 2)?;
    let (run, data) = (workshop.path("run"), workshop.path("many"));
    succeed(&["data", "sudoku", "--generate=100", "--test=20000", "--size=4", "--out", &data])?;
    let eval = [
        "eval", "--run", &run, "--data", &data, "--device", "cpu", "--batch", "4", "--steps", "60", "--json",
    ];
    let mut child = command(&eval).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stderr = BufReader::new(child.stderr.take().ok_or("no standard error")?);
    let mut line = String::new();
    while !line.contains("device: ") {
        line.clear();
        check(stderr.read_line(&mut line)? > 0, || "ended before it began".into())?;
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
    let ran = ran(child.wait_with_output()?);
    check(ran.code == 130, || format!("exits with {}: {}", ran.code, ran.stdout))?;
    // None may be done yet.
    if !ran.stdout.is_empty() {
        let summary: Value = serde_json::from_str(&ran.stdout)?;
        check(summary["samples"].as_u64() < Some(20000), || ran.stdout.clone())?;
    }
    Ok(())
}

fn waiting_lines() -> Outcome {
    let workshop = Workshop::new()?;
    workshop.train("run", 2)?;
    let run = workshop.path("run");
    let puzzles: Vec<String> = (0..40)
        .map(|cell| format!("{:.>1$}{2:.<3$}", 1 + cell % 4, 1 + cell % 16, "", 15 - cell % 16))
        .collect();
    let solve = ["solve", "--run", &run, "--device", "cpu", "--json"];
    let mut child =
        command(&[&solve[..], &["-"]].concat()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().ok_or("no standard input")?.write_all((puzzles.join("\n\n") + "\n").as_bytes())?;
    let together = ran(child.wait_with_output()?).stdout;
    let alone = trm(&[&solve[..], &borrowed(&puzzles)].concat())?.stdout;
    // They differ in the place where each was given.
    let answers = |text: &str| -> Outcome<Vec<Value>> {
        let answer = |line: &str| -> Outcome<Value> {
            let mut answer: Value = serde_json::from_str(line)?;
            answer.as_object_mut().and_then(|answer| answer.remove("place")).ok_or("no place")?;
            Ok(answer)
        };
        text.lines().map(answer).collect()
    };
    let (one, other) = (answers(&together)?, answers(&alone)?);
    check(one.len() == 40 && one == other, || format!("{together}\n{alone}"))
}
