//! Run folders through the command line: checkpoints that are kept, listed, damaged and passed over, runs that diverge,
//! and what is written down of a run.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use serde_json::Value;

use crate::cli::{Outcome, Ran, Test, Workshop, borrowed, check, refuse, succeed, trm};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let trials: [Test; 15] = [
        ("a run that diverges can be resumed", diverged_run),
        ("a healthy run that diverges keeps its good checkpoint", diverged_later),
        ("a diverged run backs off", backed_off),
        ("the last checkpoints and the best are kept and listed", kept),
        ("a run that went back to an older checkpoint stays there", went_back),
        ("a damaged checkpoint is passed over", damaged),
        ("an evaluation that was cut off is made up for", evaluation_made_up),
        ("an older run goes on", older_run),
        ("a hole in the metrics is told, leftovers go", leftovers),
        ("sessions are written down", sessions),
        ("what is given at a resume holds from then on", given_for_good),
        ("a number of samples at once that was chosen stays open", chosen_anew),
        ("the best is resumed from, and damage is passed over by all", one_choice),
        ("a damaged note is made up for", damaged_note),
        ("a run that is shortened ends with an evaluation of all", shortened),
    ];
    trials.into_iter().map(|(name, test)| Trial::test(format!("cli_runs: {name}"), test)).collect()
}

/// The arguments that resume `run`, with changes.
pub fn resume_args(workshop: &Workshop, run: &str, sets: &[&str]) -> Vec<String> {
    let mut args = ["train", "--resume", "--device", "cpu"].map(str::to_owned).to_vec();
    args.extend(["--data".into(), workshop.path("data"), "--out".into(), workshop.path(run)]);
    sets.iter().for_each(|set| args.extend(["--set".into(), (*set).to_owned()]));
    args
}

fn resume(workshop: &Workshop, run: &str, sets: &[&str]) -> Outcome<Ran> {
    let args = resume_args(workshop, run, sets);
    let ran = trm(&borrowed(&args))?;
    check(ran.code == 0, || format!("{args:?} exits with {}: {}", ran.code, ran.stderr))?;
    Ok(ran)
}

fn train_with(workshop: &Workshop, run: &str, epochs: usize, sets: &[&str]) -> Outcome<Ran> {
    let mut args = workshop.train_args(run, epochs);
    sets.iter().for_each(|set| args.extend(["--set".into(), (*set).to_owned()]));
    trm(&borrowed(&args))
}

fn listing(workshop: &Workshop, run: &str) -> Outcome<Value> {
    Ok(serde_json::from_str(&succeed(&["runs", &workshop.path(run), "--json"])?)?)
}

fn steps_of(listing: &Value) -> Vec<u64> {
    let all = listing["checkpoints"].as_array().into_iter().flatten();
    all.filter_map(|checkpoint| checkpoint["step"].as_u64()).collect()
}

fn checkpoint(workshop: &Workshop, run: &str, step: u64) -> PathBuf {
    Path::new(&workshop.path(run)).join(format!("checkpoints/step-{step:09}.safetensors"))
}

/// Both runs have the same newest checkpoint, the same weights for use, and logs that differ in their times only.
pub fn same_run(workshop: &Workshop, first: &str, second: &str, step: u64) -> Outcome {
    let read = |run: &str| -> Outcome<_> {
        let weights = fs::read(Path::new(&workshop.path(run)).join("model.safetensors"))?;
        Ok((fs::read(checkpoint(workshop, run, step))?, weights, metrics(workshop, run)?))
    };
    let (first, second) = (read(first)?, read(second)?);
    check(first.0 == second.0, || format!("the checkpoints of step {step} differ"))?;
    check(first.1 == second.1, || "the weights differ".into())?;
    check(first.2 == second.2, || format!("the logs differ: {:#?} and {:#?}", first.2, second.2))
}

/// The lines of `metrics.jsonl` without their times, their pace and the memory of the process.
fn metrics(workshop: &Workshop, run: &str) -> Outcome<Vec<Value>> {
    let text = fs::read_to_string(Path::new(&workshop.path(run)).join("metrics.jsonl"))?;
    let parsed = |line: &str| -> Outcome<Value> {
        let mut line: Value = serde_json::from_str(line)?;
        let time = line.as_object_mut().and_then(|line| line.remove("time"));
        check(time.is_some_and(|time| time.is_string()), || format!("{line} has no time"))?;
        let bytes = line.as_object_mut().and_then(|line| line.remove("process_bytes"));
        check(bytes.is_none_or(|bytes| bytes.as_u64() > Some(1 << 20)), || format!("{line}: memory"))?;
        let pace = line.as_object_mut().and_then(|line| line.remove("samples_per_s"));
        let paced = pace.as_ref().and_then(Value::as_f64).is_some_and(|pace| pace > 0.0);
        check(paced == (line["split"] == "train"), || format!("{line}: {pace:?} samples/s"))?;
        Ok(line)
    };
    text.lines().map(parsed).collect()
}

/// What a recipe asks for that is thrown off at once: NaN follows the first steps.
const THROWN_OFF: [&str; 2] = ["train.lr=1e6", "train.lr_warmup_steps=0"];

/// Its weights are lost with the first step, and so are those of the checkpoint of step 2; it can be resumed all the same,
/// and one that never came to a checkpoint, too.
fn diverged_run() -> Outcome {
    let workshop = Workshop::new()?;
    for (run, every) in [("early", "train.checkpoint_every=2"), ("before", "train.checkpoint_every=0")] {
        let ran = train_with(&workshop, run, 20, &[&THROWN_OFF[..], &[every]].concat())?;
        check(ran.code == 1 && ran.stderr.contains(" is NaN; "), || ran.stderr.clone())?;
        check(
            ran.stderr.contains("the largest weight is") && ran.stderr.contains("--resume goes on"),
            || ran.stderr,
        )?;
        let again = resume(&workshop, run, &["train.lr=1e-3"])?;
        check(again.stdout.contains("finished after 80 steps"), || again.stdout.clone())?;
        check(again.stderr.contains("going on from"), || again.stderr)?;
    }
    train_with(&workshop, "whole", 20, &["train.lr=1e-3", "train.lr_warmup_steps=0"])?;
    same_run(&workshop, "before", "whole", 80)
}

/// As a run that went well is resumed with a learning rate that throws it off.
fn diverged_later() -> Outcome {
    let workshop = Workshop::new()?;
    workshop.train("run", 4)?;
    let lost = ["train.epochs=20", "train.lr=1e6", "train.checkpoint_every=1"];
    let ran = trm(&borrowed(&resume_args(&workshop, "run", &lost)))?;
    check(ran.code == 1 && ran.stderr.contains("error: "), || ran.stderr)?;
    let found = listing(&workshop, "run")?;
    check(found["latest"].as_u64() >= Some(16), || found.to_string())?;
    let back = resume_args(&workshop, "run", &["train.epochs=8", "train.lr=1e-3"]);
    let ran = trm(&[&borrowed(&back)[..], &["--at", "16"]].concat())?;
    check(ran.code == 0 && ran.stderr.contains("going on from"), || ran.stderr)?;
    workshop.train("whole", 8)?;
    same_run(&workshop, "run", "whole", 32)
}

/// Learning rates are halved a few times, which is written down, survives, and does not go on for ever.
fn backed_off() -> Outcome {
    let workshop = Workshop::new()?;
    let sets = [&THROWN_OFF[..], &["train.on_divergence=back-off"]].concat();
    let ran = train_with(&workshop, "run", 40, &sets)?;
    check(ran.code == 1 && ran.stderr.contains("time 5 of 5 at the most"), || ran.stderr.clone())?;
    let error = ran.stderr.lines().find(|line| line.starts_with("error: ")).ok_or("no error")?;
    check(error.contains("give it a lower train.lr") && !error.contains("back-off"), || error.to_owned())?;
    let last_of = |split: &str| -> Outcome<Value> {
        let lines = metrics(&workshop, "run")?;
        Ok(lines.into_iter().rfind(|line| line["split"] == split).ok_or("no such line")?)
    };
    check(last_of("back-off")?["lr_halvings"] == 5, || "not halved 5 times".into())?;
    // The halvings hold for who gives nothing, not for who goes back to before them, nor for who gives a learning rate.
    let resumed = |more: &[&str], sets: &[&str]| -> Outcome<Ran> {
        trm(&[&borrowed(&resume_args(&workshop, "run", sets))[..], more].concat())
    };
    let plain = resumed(&["--time-limit", "0s"], &[])?;
    check(plain.stderr.contains("learning rates halved 5 times"), || plain.stderr)?;
    let back = resumed(&["--at", "0", "--time-limit", "0s"], &[])?;
    check(!back.stderr.contains("halved"), || back.stderr)?;
    let again = resumed(&["--time-limit", "0s"], &[])?;
    check(!again.stderr.contains("halved"), || again.stderr)?;
    let diverged = resumed(&[], &[])?;
    check(diverged.code == 1, || diverged.stderr)?;
    let given = resumed(&["--time-limit", "0s"], &["train.lr=1e-3"])?;
    check(given.stderr.contains("not halved 5 times any more"), || given.stderr)?;
    let again = resumed(&[], &[])?;
    check(again.code == 0 && !again.stderr.contains("halved"), || again.stderr)?;
    let last = last_of("train")?;
    check(last["lr"] == 1e-3 && last["step"] == 160, || last.to_string())?;
    let sessions = fs::read_to_string(Path::new(&workshop.path("run")).join("sessions.jsonl"))?;
    let starts: Vec<Value> = sessions.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let halvings = starts.iter().filter_map(|line| line["lr_halvings"].as_u64());
    check(halvings.eq([0, 5, 0, 0, 0, 0, 0]), || sessions)
}

/// What came after the checkpoint that a run was taken back to is not gone on from, even if nothing new was saved yet.
fn went_back() -> Outcome {
    let workshop = Workshop::new()?;
    let ran = train_with(&workshop, "run", 4, &["train.checkpoint_every=3"])?;
    check(ran.code == 0, || ran.stderr)?;
    let mut args = resume_args(&workshop, "run", &[]);
    args.extend(["--at", "15", "--time-limit", "0s"].map(str::to_owned));
    let back = trm(&borrowed(&args))?;
    check(back.code == 124, || format!("exits with {}: {}", back.code, back.stderr))?;
    let again = resume(&workshop, "run", &[])?.stderr;
    check(again.contains("step-000000015.safetensors") && again.contains("left behind"), || again.clone())
}

fn kept() -> Outcome {
    let workshop = Workshop::new()?;
    let sets = ["train.checkpoint_every=3", "train.keep=2"];
    let ran = train_with(&workshop, "run", 4, &sets)?;
    check(ran.code == 0, || ran.stderr)?;
    let found = listing(&workshop, "run")?;
    let mut expected = vec![15, 16];
    let best = found["best"].as_u64().ok_or("no best one")?;
    if best == 8 {
        expected.insert(0, 8);
    }
    check(steps_of(&found) == expected && found["latest"] == 16, || found.to_string())?;
    let last = &found["checkpoints"][expected.len() - 1];
    let summary: Value = serde_json::from_str(&ran.stdout)?;
    check(last["exact_accuracy"] == summary["test"]["exact_accuracy"] && last["whole"] == true, || {
        found.to_string()
    })?;
    check(summary["test_step"] == 16, || summary.to_string())?;
    let bytes = fs::metadata(checkpoint(&workshop, "run", 16))?.len();
    check(last["bytes"] == bytes, || last.to_string())?;
    // The newest is what --run means, and any of them can be asked for.
    let (run, data) = (workshop.path("run"), workshop.path("data"));
    let measured = |more: &[&str]| -> Outcome<Value> {
        let args = ["eval", "--run", &run, "--data", &data, "--device", "cpu", "--json"];
        let mut measured: Value = serde_json::from_str(&succeed(&[&args, more].concat())?)?;
        measured.as_object_mut().and_then(|measured| measured.remove("seconds"));
        Ok(measured)
    };
    let newest = measured(&[])?;
    check(newest == measured(&["--at", "latest"])? && newest == measured(&["--at", "16"])?, || {
        newest.to_string()
    })?;
    check(newest != measured(&["--at", "15"])?, || "step 15 has the weights of step 16".into())?;
    check(measured(&["--at", "best"])? == measured(&["--at", &best.to_string()])?, || "best".into())?;
    refuse(
        &["eval", "--run", &run, "--data", &data, "--at", "7"],
        2,
        &["no checkpoint of step 7, but of", "trm runs"],
    )?;
    refuse(
        &["eval", "--run", &run, "--data", &data, "--at", "x"],
        2,
        &["best, latest or a number of steps"],
    )?;
    refuse(&["eval", "--weights", &run, "--data", &data, "--at", "16"], 2, &["--at", "cannot be used with"])?;
    refuse(&["runs", &data], 2, &["holds no checkpoint of a run"])
}

/// A flipped bit in the newest: the one before is taken, that is said, and the run ends as one that was left alone.
fn damaged() -> Outcome {
    let workshop = Workshop::new()?;
    train_with(&workshop, "run", 4, &["train.checkpoint_every=3"])?;
    let newest = checkpoint(&workshop, "run", 16);
    flip_a_bit(&newest)?;
    let found = damaged_listing(&workshop, "run")?;
    check(found["latest"] == 15 && found.to_string().contains("is damaged"), || found.to_string())?;
    let ran = resume(&workshop, "run", &["train.epochs=8"])?;
    let said = ["step-000000016.safetensors: ", "is damaged", "passed over", "step-000000015.safetensors"];
    check(said.iter().all(|part| ran.stderr.contains(part)), || ran.stderr)?;
    train_with(&workshop, "whole", 8, &["train.checkpoint_every=3"])?;
    same_run(&workshop, "run", "whole", 32)?;
    let all = listing(&workshop, "run")?;
    let mut remaining = all["checkpoints"].as_array().into_iter().flatten();
    remaining.try_for_each(|one| fs::write(one["file"].as_str().unwrap_or_default(), ""))?;
    let args = resume_args(&workshop, "run", &[]);
    let ran = trm(&borrowed(&args))?;
    let error = ran.stderr.lines().find(|line| line.starts_with("error: ")).ok_or("no error")?;
    let said = ["none of its ", "is whole", "--init-from"].iter().all(|part| error.contains(part));
    check(ran.code == 2 && said && error.len() < 400, || error.to_owned())?;
    // Its weights are, and serve.
    let (data, run) = (workshop.path("data"), workshop.path("run"));
    succeed(&["eval", "--run", &run, "--data", &data, "--device", "cpu"])?;
    fs::write(Path::new(&run).join("model.safetensors"), "")?;
    let ran = trm(&borrowed(&args))?;
    check(ran.code == 2 && ran.stderr.contains("begin the run anew"), || ran.stderr)
}

/// The same of a run with damage, which the exit code tells.
fn damaged_listing(workshop: &Workshop, run: &str) -> Outcome<Value> {
    let ran = trm(&["runs", &workshop.path(run), "--json"])?;
    check(ran.code == 1, || format!("exits with {}: {}", ran.code, ran.stdout))?;
    Ok(serde_json::from_str(&ran.stdout)?)
}

fn flip_a_bit(file: &Path) -> Outcome {
    let mut bytes = fs::read(file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    Ok(fs::write(file, &bytes)?)
}

/// A plain resume goes on with what was given before, once for all.
fn given_for_good() -> Outcome {
    let workshop = Workshop::new()?;
    workshop.train("run", 4)?;
    let args = resume_args(&workshop, "run", &["train.epochs=8", "train.lr=1e-4"]);
    let ran = trm(&[&borrowed(&args)[..], &["--time-limit", "0s"]].concat())?;
    let line = "recipe.toml: from now on train.epochs is 8, no more 4, train.lr is 0.0001, no more ";
    check(ran.code == 124 && ran.stderr.contains(line), || ran.stderr)?;
    let again = resume(&workshop, "run", &[])?;
    check(again.stdout.contains("finished after 32 steps"), || again.stdout)?;
    check(!again.stderr.contains("from now on"), || again.stderr)?;
    let lines = metrics(&workshop, "run")?;
    let last = lines.iter().rfind(|line| line["split"] == "train").ok_or("no steps")?;
    check(last["lr"].as_f64().is_some_and(|lr| lr <= 1e-4), || last.to_string())?;
    // A new one that cannot be written names the folder that was asked for.
    let below = Path::new(&workshop.path("run")).join("recipe.toml/new").to_string_lossy().into_owned();
    let mut args = workshop.train_args("new", 4);
    args.pop();
    args.push(below.clone());
    refuse(&borrowed(&args), 1, &[&below, "cannot be written", "name a folder elsewhere"])?;
    // What was refused is not kept.
    let refused = trm(&borrowed(&resume_args(&workshop, "run", &["arch.hidden_size=32"])))?;
    check(refused.code != 0, || refused.stderr)?;
    resume(&workshop, "run", &[]).map(drop)
}

/// The folder keeps what was asked for, the session what was chosen, with which the next one on the same device goes on.
fn chosen_anew() -> Outcome {
    let workshop = Workshop::new()?;
    workshop.train("run", 4)?;
    let recipe = || fs::read_to_string(Path::new(&workshop.path("run")).join("recipe.toml"));
    check(recipe()?.contains("micro_batch = 0\n"), || "a choice is frozen".into())?;
    let chosen = || -> Outcome<Option<u64>> {
        let text = fs::read_to_string(Path::new(&workshop.path("run")).join("sessions.jsonl"))?;
        let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let start = lines.iter().rfind(|line| line["event"] == "start").ok_or("no start")?;
        Ok(start["recipe"]["train"]["micro_batch"].as_u64())
    };
    check(chosen()? == Some(8), || "not 8 at once".into())?;
    resume(&workshop, "run", &["train.epochs=6", "train.micro_batch=2"])?;
    resume(&workshop, "run", &["train.epochs=8", "train.micro_batch=0"])?;
    check(chosen()? == Some(8), || "not chosen anew".into())?;
    // Elsewhere the device is said, and nothing is kept of what the other one had.
    let sessions = Path::new(&workshop.path("run")).join("sessions.jsonl");
    let told = |ran: &Ran| ran.stderr.contains("results differ in their roundings");
    let smaller = |text: String| text.replace("\"micro_batch\":8", "\"micro_batch\":4");
    fs::write(&sessions, smaller(fs::read_to_string(&sessions)?))?;
    let same = resume(&workshop, "run", &[])?;
    check(chosen()? == Some(4) && !told(&same), || same.stderr)?;
    let text = fs::read_to_string(&sessions)?;
    fs::write(&sessions, text.replace("CPU engine, ", "Other engine, "))?;
    let other = resume(&workshop, "run", &[])?;
    check(chosen()? == Some(8) && told(&other), || other.stderr)
}

/// `runs`, `eval` with and without `--at`, and `train --resume` take the same one, and say what they pass over.
fn one_choice() -> Outcome {
    let workshop = Workshop::new()?;
    train_with(&workshop, "run", 4, &["train.checkpoint_every=3", "train.keep=9"])?;
    let note = |step: u64| checkpoint(&workshop, "run", step).with_extension("json");
    fs::write(note(16), "{\"exact_accuracy\":0.9}")?;
    fs::write(note(8), "{\"exact_accuracy\":0.8}")?;
    flip_a_bit(&checkpoint(&workshop, "run", 16))?;
    let found = damaged_listing(&workshop, "run")?;
    check(found["latest"] == 15 && found["best"] == 8, || found.to_string())?;
    let (run, data) = (workshop.path("run"), workshop.path("data"));
    for (at, step) in [(&["--at", "latest"][..], 15), (&[], 15), (&["--at", "best"], 8)] {
        let args = ["eval", "--run", &run, "--data", &data, "--device", "cpu"];
        let ran = trm(&[&args[..], at].concat())?;
        let taken = format!("weights: {}", checkpoint(&workshop, "run", step).display());
        let said = ran.stderr.contains("passed over") && ran.stderr.contains(&taken);
        check(ran.code == 0 && said, || format!("{at:?}: {}", ran.stderr))?;
    }
    refuse(&["eval", "--run", &run, "--weights", &run, "--data", &data], 2, &["--run", "--weights"])?;
    let args = resume_args(&workshop, "run", &[]);
    let ran = trm(&[&borrowed(&args)[..], &["--at", "best"]].concat())?;
    let said = ran.stderr.contains("passed over") && ran.stderr.contains("going on from");
    check(ran.code == 0 && said && ran.stderr.contains("step-000000008.safetensors"), || ran.stderr)
}

/// Its evaluation is taken from the metrics, and a resume writes it anew.
fn damaged_note() -> Outcome {
    let workshop = Workshop::new()?;
    train_with(&workshop, "run", 4, &["train.keep=9"])?;
    let before = listing(&workshop, "run")?;
    let note = checkpoint(&workshop, "run", 16).with_extension("json");
    fs::write(&note, "garbage")?;
    let found = damaged_listing(&workshop, "run")?;
    let same =
        found["best"] == before["best"] && found.to_string().contains("step-000000016.json: is damaged");
    check(same, || found.to_string())?;
    let ran = resume(&workshop, "run", &[])?;
    check(ran.stderr.contains("is taken from metrics.jsonl"), || ran.stderr)?;
    check(listing(&workshop, "run")? == before, || "the note is another".into())
}

/// Evaluations on the way take some examples, the last all of them; also where a step on the way becomes the last.
fn shortened() -> Outcome {
    let workshop = Workshop::new()?;
    train_with(&workshop, "run", 4, &["train.eval_examples=2"])?;
    let mut args = resume_args(&workshop, "run", &["train.epochs=2"]);
    args.extend(["--at", "8"].map(str::to_owned));
    succeed(&borrowed(&args))?;
    let lines = metrics(&workshop, "run")?;
    let tests = lines.iter().filter(|line| line["split"] == "test").map(|line| line["examples"].as_u64());
    let found: Vec<_> = tests.collect();
    check(found == [Some(2), Some(6)], || format!("{found:?}"))?;
    resume(&workshop, "run", &[])?;
    check(metrics(&workshop, "run")? == lines, || "it was made twice".into())
}

/// As after a kill between a checkpoint and the end of its evaluation, in the middle of a run and at its end.
fn evaluation_made_up() -> Outcome {
    let workshop = Workshop::new()?;
    train_with(&workshop, "whole", 4, &["train.keep=9"])?;
    train_with(&workshop, "run", 4, &["train.keep=9"])?;
    let log = Path::new(&workshop.path("run")).join("metrics.jsonl");
    for cut_at in [16, 8] {
        let text = fs::read_to_string(&log)?;
        let test = |line: &&str| line.contains("\"test\"") && line.contains(&format!("\"step\":{cut_at},"));
        check(text.lines().filter(test).count() == 1, || text.clone())?;
        let cut: Vec<&str> = text.lines().filter(|line| !test(line)).collect();
        fs::write(&log, cut.join("\n") + "\n")?;
        fs::remove_file(checkpoint(&workshop, "run", cut_at).with_extension("json"))?;
        if cut_at == 8 {
            fs::remove_file(checkpoint(&workshop, "run", 16))?;
        }
        let ran = resume(&workshop, "run", &[])?;
        check(ran.stderr.contains(&format!("step {cut_at}: test")), || ran.stderr)?;
        same_run(&workshop, "run", "whole", 16)?;
    }
    // And killed just after its line was written: it is made again, and stands in the log once.
    fs::remove_file(checkpoint(&workshop, "run", 16).with_extension("json"))?;
    resume(&workshop, "run", &[])?;
    same_run(&workshop, "run", "whole", 16)
}

/// A run of a version that had one checkpoint and fewer keys goes on, and may change what is stored and kept on the way.
fn older_run() -> Outcome {
    let workshop = Workshop::new()?;
    workshop.train("run", 2)?;
    let run = PathBuf::from(workshop.path("run"));
    let (recipe, newest) = (run.join("recipe.toml"), checkpoint(&workshop, "run", 8));
    fs::rename(&newest, run.join("state.safetensors"))?;
    for name in ["checkpoints", "sessions.jsonl", "lock"] {
        let path = run.join(name);
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    let text = fs::read_to_string(&recipe)?;
    let newer = ["precision", "recompute", "checkpoint_minutes", "keep", "on_divergence"];
    let is_newer = |line: &&str| newer.iter().any(|key| line.starts_with(key));
    check(text.lines().filter(is_newer).count() == newer.len(), || text.clone())?;
    let older: Vec<&str> = text.lines().filter(|line| !is_newer(line)).collect();
    fs::write(&recipe, older.join("\n"))?;
    check(listing(&workshop, "run")?["latest"] == 8, || "an older run is not listed".into())?;
    let halves = ["--precision", "bf16", "--recompute"];
    for (epochs, more) in [("4", &[][..]), ("6", &halves), ("8", &[])] {
        let args = resume_args(&workshop, "run", &[&format!("train.epochs={epochs}")]);
        succeed(&[&borrowed(&args)[..], more].concat())?;
    }
    Ok(())
}

fn leftovers() -> Outcome {
    let workshop = Workshop::new()?;
    workshop.train("run", 2)?;
    let run = PathBuf::from(workshop.path("run"));
    let left = [run.join(".partial-abc"), run.join("checkpoints/.partial-def")];
    left.iter().try_for_each(|path| fs::write(path, "half"))?;
    let log = run.join("metrics.jsonl");
    let text = fs::read_to_string(&log)?;
    let lines: Vec<&str> = text.lines().collect();
    fs::write(&log, [&lines[..2], &lines[5..], &["{\"spl"]].concat().join("\n"))?;
    let ran = resume(&workshop, "run", &["train.epochs=4"])?;
    check(ran.stderr.contains("metrics.jsonl lacks 3 of the 8 steps that are done"), || ran.stderr)?;
    check(left.iter().all(|path| !path.exists()), || "what a killed writer left is still there".into())?;
    let lines = metrics(&workshop, "run")?;
    let steps: Vec<_> =
        lines.iter().filter(|line| line["split"] == "train").map(|line| line["step"].as_u64()).collect();
    let expected: Vec<_> = [1, 2, 6, 7, 8].into_iter().chain(9..=16).map(Some).collect();
    check(steps == expected, || format!("{steps:?}"))
}

fn sessions() -> Outcome {
    let workshop = Workshop::new()?;
    workshop.train("run", 2)?;
    resume(&workshop, "run", &["train.epochs=4", "train.lr=1e-4"])?;
    let text = fs::read_to_string(Path::new(&workshop.path("run")).join("sessions.jsonl"))?;
    let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let events: Vec<_> = lines.iter().map(|line| (line["event"].as_str(), line["step"].as_u64())).collect();
    let first = [("open", None), ("start", Some(0)), ("end", Some(8))];
    let second = [("open", None), ("start", Some(8)), ("end", Some(16))];
    let expected: Vec<_> = first.into_iter().chain(second).map(|(event, step)| (Some(event), step)).collect();
    check(events == expected, || text.clone())?;
    let (open, start, end) = (&lines[3], &lines[4], &lines[5]);
    check(open["host"].is_string() && open["pid"] == end["pid"], || open.to_string())?;
    for name in ["time", "trm", "device", "driver", "precision", "data", "train"] {
        check(start[name].is_string(), || format!("{name}: {start}"))?;
    }
    let right = start["pid"].is_u64() && start["recipe"]["train"]["lr"] == 1e-4 && end["ended"] == "finished";
    check(right && start["train"].as_str().is_some_and(|data| data.contains("checksum")), || text)
}
