//! The command line as its users meet it: exit codes, errors of one line, JSON, runs that can be interrupted, and
//! nothing half-written.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use libtest_mimic::{Failed, Trial};
use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::TempDir;

pub type Outcome<T = ()> = Result<T, Failed>;
/// What it is called, and what it does.
pub type Test = (&'static str, fn() -> Outcome);

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let trials: [Test; 11] = [
        ("usage errors are one line", usage_errors),
        ("recipe errors name the key", recipe_errors),
        ("a model past every limit is refused", model_past_limits),
        ("impossible puzzles are named", impossible_puzzles),
        ("one of several processes does not do the work of all", one_of_several),
        ("json can be read", json_documents),
        ("verify fails on a deviation", verify_deviation),
        ("a closed pipe is success", closed_pipe),
        ("a run goes on with its own data only", resumed_elsewhere),
        ("the demo keeps its promise", demo),
        ("the doctor finds what is wrong", doctor),
    ];
    let trial = |(name, test)| Trial::test(format!("cli: {name}"), test);
    let mut trials: Vec<Trial> = trials.into_iter().map(trial).collect();
    let ignored = std::env::var_os("TRM_REQUIRE_GPU").is_none() && !has_adapter();
    trials.push(
        Trial::test("cli: a batch past a limit names the largest", too_large_batch)
            .with_ignored_flag(ignored),
    );
    trials
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A command of a user who never tuned anything.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trm"));
    // Vulkan layers complain on standard error where this is missing.
    command.args(args).env("XDG_RUNTIME_DIR", std::env::temp_dir()).stdin(Stdio::null());
    with_cache(&mut command, &std::env::temp_dir().join("trm-untuned"));
    command
}

/// Lets a command find its cache in this folder, on every platform.
pub fn with_cache<'c>(command: &'c mut Command, folder: &Path) -> &'c mut Command {
    ["XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"].iter().fold(command, |command, name| command.env(name, folder))
}

pub fn ran(output: Output) -> Ran {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

pub fn trm(args: &[&str]) -> Outcome<Ran> {
    Ok(ran(command(args).output()?))
}

/// Runs a command that must succeed; returns what it prints.
pub fn succeed(args: &[&str]) -> Outcome<String> {
    let ran = trm(args)?;
    check(ran.code == 0, || format!("{args:?} exits with {}: {}", ran.code, ran.stderr))?;
    Ok(ran.stdout)
}

/// Runs a command that must fail with `code` and one line that has all of `expected` in it.
pub fn refuse(args: &[&str], code: i32, expected: &[&str]) -> Outcome {
    let ran = trm(args)?;
    check(ran.code == code, || format!("{args:?} exits with {}, expected {code}: {}", ran.code, ran.stderr))?;
    check(ran.stdout.is_empty(), || format!("{args:?} prints {}", ran.stdout))?;
    let told =
        |line: &&str| ["device: ", "memory: ", "weights: "].iter().any(|start| line.starts_with(start));
    let errors: Vec<&str> = ran.stderr.lines().filter(|line| !told(line)).collect();
    check(errors.len() == 1, || format!("{args:?} says {errors:?}"))?;
    let error = errors[0];
    check(error.starts_with("error: "), || error.to_owned())?;
    for part in expected {
        check(error.contains(part), || format!("{args:?}: \"{part}\" is not in: {error}"))?;
    }
    Ok(())
}

pub fn check(ok: bool, message: impl FnOnce() -> String) -> Outcome {
    if ok { Ok(()) } else { Err(message().into()) }
}

pub fn has_adapter() -> bool {
    let listing =
        trm(&["devices", "--json"]).ok().and_then(|ran| serde_json::from_str::<Value>(&ran.stdout).ok());
    listing.is_some_and(|listing| listing["devices"][0]["index"].is_u64())
}

/// A folder with a small data set in `data`.
pub struct Workshop(TempDir);

impl Workshop {
    pub fn new() -> Outcome<Workshop> {
        let workshop = Workshop(tempfile::tempdir()?);
        let out = workshop.path("data");
        succeed(&["data", "sudoku", "--generate", "32", "--test", "6", "--size", "4", "--out", &out])?;
        Ok(workshop)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    /// Trains the smallest model for `epochs` of 4 steps each into the folder `run`.
    pub fn train_args(&self, run: &str, epochs: usize) -> Vec<String> {
        let sets = [
            "arch.hidden_size=16",
            "arch.puzzle_emb_ndim=16",
            "arch.L_layers=1",
            "arch.halt_max_steps=3",
            "arch.halt_exploration_prob=0.5",
            "train.global_batch_size=8",
            "train.eval_interval=2",
        ];
        let mut args =
            ["train", "--recipe", "tiny-sudoku4", "--device", "cpu", "--json"].map(str::to_owned).to_vec();
        let epochs = format!("train.epochs={epochs}");
        sets.iter()
            .copied()
            .chain([epochs.as_str()])
            .for_each(|set| args.extend(["--set".into(), set.into()]));
        args.extend(["--data".into(), self.path("data"), "--out".into(), self.path(run)]);
        args
    }

    pub fn train(&self, run: &str, epochs: usize) -> Outcome<Value> {
        Ok(serde_json::from_str(&succeed(&borrowed(&self.train_args(run, epochs)))?)?)
    }
}

pub fn borrowed(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

fn usage_errors() -> Outcome {
    let cases: [(&str, &[&str]); 20] = [
        ("frobnicate", &["unrecognized subcommand", "trm --help"]),
        ("plan --recipe tiny-sudoku4 --batch 0", &["--batch", "not in 1..=65535", "trm plan --help"]),
        ("plan", &["--recipe: is missing", "tiny-sudoku6"]),
        ("eval --data x", &["--run", "--weights", "trm eval --help"]),
        ("demo --seed -1", &["'-1' for '--seed", "whole number of at least 0", "trm demo --help"]),
        ("bench step --batch -3", &["-3 is not in 1..=65535", "trm bench step --help"]),
        ("verify --device nowhere", &["--device: ", "\"nowhere\"", "cpu = CPU engine"]),
        ("verify --device ", &["--device: no device matches \"\"", "cpu = CPU engine"]),
        ("bench roofline --device cpu --svg no/such.svg", &["--svg: no/such.svg", "does not exist"]),
        ("bench roofline --device cpu --svg .", &["--svg: . is a folder; give a file"]),
        ("kernels --isa navi21 --out x", &["'--isa", "cannot be used with '--out", "trm kernels --help"]),
        ("data sudoku --out x", &["no source of puzzles", "--generate"]),
        ("data sudoku --out x --generate 9 --test 9 --size 5", &["--size: 5"]),
        ("kernels --isa navi21,nope", &["--isa: RADV knows no GPU \"nope\"", "gfx1100"]),
        ("plan --recipe arc1 --predict inf,1", &["'inf,1' for '--predict", "two positive numbers"]),
        ("plan --recipe arc1 --predict 1,nan", &["'1,nan' for '--predict", "two positive numbers"]),
        ("plan --recipe arc1 --predict 1e308,1", &["'1e308,1' for '--predict", "two positive numbers"]),
        ("plan --recipe arc1 --predict -20,500", &["'-20,500' for '--predict", "two positive numbers"]),
        ("plan --recipe arc1 --predict 20,0", &["'20,0' for '--predict", "two positive numbers"]),
        ("kernels gemm.produce", &["KERNEL: there is no kernel gemm.produce"]),
    ];
    for (args, expected) in cases {
        refuse(&args.split(' ').collect::<Vec<_>>(), 2, expected)?;
    }
    let help = trm(&[])?;
    check(help.code == 2 && help.stdout.is_empty() && help.stderr.contains("Usage:"), || help.stderr)?;
    for args in [&["--help"][..], &["train", "--help"], &["data", "sudoku", "-h"], &["--version"]] {
        check(!succeed(args)?.is_empty(), || format!("{args:?} prints nothing"))?;
    }
    Ok(())
}

fn recipe_errors() -> Outcome {
    let cases = [
        ("arch.hiden_size=8", "arch.hiden_size: is no key of a recipe; did you mean arch.hidden_size?"),
        ("arch.num_heads=65", "arch.num_heads: 65 heads are more than the 64 features of hidden_size"),
        ("train.lr=fast", "train.lr: is \"fast\", expected a number"),
        ("train.lr", "--set: \"train.lr\" is not of the form key=value"),
    ];
    for (set, expected) in cases {
        refuse(&["plan", "--recipe", "tiny-sudoku4", "--set", set], 2, &[expected])?;
    }
    let no_units = ["plan", "--recipe", "tiny-sudoku4", "--units", "3x3"];
    refuse(&no_units, 2, &["give 8 or 16, and the threads of a subgroup"])?;
    refuse(&["plan", "--recipe", "no-such"], 2, &["\"no-such\" is neither a built-in recipe nor a file"])?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("my.toml");
    fs::write(&path, "[arch]\nname = \"trm\"\n")?;
    let path = path.to_string_lossy();
    refuse(&["plan", "--recipe", &path], 2, &["my.toml: arch.H_cycles: is missing; add it"])?;
    let workshop = Workshop::new()?;
    let mut args = workshop.train_args("run", 2);
    args.extend(["--set".into(), "train.global_batch_size=1000".into()]);
    refuse(&borrowed(&args), 2, &["train.epochs: 2 epochs over 32 groups give no step"])?;
    check(!Path::new(&workshop.path("run")).exists(), || "a refused run left its folder".into())
}

/// Batches of any size are taken in pieces; a model of which no sample fits is refused.
fn model_past_limits() -> Outcome {
    let workshop = Workshop::new()?;
    let mut args = workshop.train_args("run", 2);
    args.extend(["--set", "arch.hidden_size=65536"].map(str::to_owned));
    refuse(&borrowed(&args), 1, &["training with 1 sample at once: ", ": needs ", ", the limit is "])?;
    check(!Path::new(&workshop.path("run")).exists(), || "a refused run left its folder".into())
}

fn impossible_puzzles() -> Outcome {
    let workshop = Workshop::new()?;
    workshop.train("run", 2)?;
    let run = workshop.path("run");
    let solve = |puzzle: &str, expected: &[&str]| {
        refuse(&["solve", "--run", &run, "--device", "cpu", "--", puzzle], 2, expected)
    };
    solve(&".".repeat(80), &["PUZZLE: 80 cells, the model solves puzzles of 16 (4x4)"])?;
    solve("1......%.......4", &["PUZZLE: '%' in row 2, column 4, expected 1 to 4 or a blank"])?;
    solve("1......5.......4", &["PUZZLE: '5' in row 2, column 4, expected 1 to 4 or a blank"])?;
    solve(
        "1111............",
        &["PUZZLE: contradicts itself: row 1, column 1 and row 1, column 2 both have 1"],
    )?;
    solve("no/such.txt", &["no/such.txt: no such file, and no puzzle"])?;
    solve("# nothing", &["PUZZLE: holds no puzzle"])?;
    let mut child = command(&["solve", "--run", &run, "--device", "cpu", "--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().ok_or("no standard input")?.write_all(b"1..............4\n\n12\n")?;
    let ran = ran(child.wait_with_output()?);
    let found: Vec<Value> = ran.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let steps = found.iter().filter_map(|solved| solved["steps"].as_array());
    let refused = found.iter().filter(|document| document["place"] == "standard input, line 3");
    let all = found.len() == 2 && refused.count() == 1 && steps.map(Vec::len).eq([3]);
    check(all, || ran.stdout)?;
    check(ran.code == 2 && ran.stderr.contains("standard input, line 3: 2 cells"), || ran.stderr)
}

fn json_documents() -> Outcome {
    let workshop = Workshop::new()?;
    let trained = workshop.train("run", 2)?;
    check(trained["step"] == 8 && trained["finished"] == true, || trained.to_string())?;
    let (run, data, more) = (workshop.path("run"), workshop.path("data"), workshop.path("more"));
    let json = |args: &[&str]| -> Outcome<Value> {
        let text = succeed(&[args, &["--json"]].concat())?;
        serde_json::from_str(&text).map_err(|error| format!("{args:?}: {error}: {text}").into())
    };
    let built = json(&["data", "sudoku", "--generate", "9", "--test", "2", "--size", "6", "--out", &more])?;
    check(built["train"]["puzzles"] == 9, || built.to_string())?;
    check(json(&["data", "inspect", &data])?["violations"] == Value::Array(vec![]), || "violations".into())?;
    check(json(&["devices"])?["devices"].is_array(), || "devices".into())?;
    let plan = json(&["plan", "--recipe", "tiny-sudoku4", "--data", &data, "--batch", "2", "--eval"])?;
    check(plan["seq_len"] == 16 && plan["dispatches"].is_u64(), || plan.to_string())?;
    let units = ["--precision", "auto", "--units", "16x32", "--predict", "60,4000,600"];
    let units = json(&[&["plan", "--recipe", "sudoku-mlp", "--eval", "--batch", "8"], &units[..]].concat())?;
    let kernels = units["kernels"].to_string();
    if units["precision"] != "f16" || !kernels.contains("product_matrix") {
        return Err(format!("on matrix units: {units}").into());
    }
    let assumed = trm(&["plan", "--recipe", "tiny-sudoku4", "--seq-len", "16"])?.stderr;
    check(
        assumed.starts_with("sizes: puzzles of 16 tokens, each one of 11: 9x9 Sudoku's where not given"),
        || assumed,
    )?;
    let (peak, least) = (plan["peak_memory_bytes"].as_u64(), plan["least_memory_bytes"].as_u64());
    check(least > Some(0) && least <= peak, || plan.to_string())?;
    let verified = json(&["verify", "--device", "cpu"])?;
    check(verified["ok"] == true && verified["cases"][0]["worst"]["grads"].is_f64(), || {
        verified.to_string()
    })?;
    let evaluated = json(&["eval", "--run", &run, "--data", &data, "--device", "cpu"])?;
    check(evaluated["samples"] == 6, || evaluated.to_string())?;
    for name in ["accuracy", "exact_accuracy", "q_halt_accuracy", "steps", "lm_loss", "q_halt_loss"] {
        let equal = evaluated[name].is_f64() && evaluated[name] == trained["test"][name];
        check(equal, || format!("{name}: {evaluated} after training said {trained}"))?;
    }
    let log = fs::read_to_string(Path::new(&run).join("metrics.jsonl"))?;
    let lines: Vec<Value> = log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let steps = |split: &str| lines.iter().filter(|line| line["split"] == split).count();
    check((steps("train"), steps("test")) == (8, 1), || log.clone())?;
    check(lines[0]["device_bytes"].as_u64() > Some(1 << 10), || log.clone())?;
    let samples: Value = serde_json::from_slice(&fs::read(Path::new(&run).join("samples.json"))?)?;
    let of = |name: &str| samples["samples"][3][name].as_array().map(Vec::len);
    check(samples["step"] == 8 && samples["kind"]["size"] == 4, || samples.to_string())?;
    check(["inputs", "labels", "answer"].iter().all(|name| of(name) == Some(16)), || samples.to_string())
}

fn verify_deviation() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("vector.safetensors");
    let whole = include_bytes!("golden/trm_att.safetensors");
    let header = SafeTensors::read_metadata(whole)?.1;
    let info = header.info("step1.logits").ok_or("no logits in the vector")?;
    let at = whole.len() - header.data_len() + info.data_offsets.0;
    let mut changed = whole.to_vec();
    changed[at..at + 4].copy_from_slice(&9.0f32.to_le_bytes());
    fs::write(&path, &changed)?;
    let golden = folder.path().to_string_lossy().into_owned();
    let ran = trm(&["verify", "--golden", &golden, "--device", "cpu", "--json"])?;
    let report: Value = serde_json::from_str(&ran.stdout)?;
    check(ran.code == 1 && report["ok"] == false && report["cases"][0]["ok"] == false, || ran.stdout)?;
    fs::write(&path, &whole[..1000])?;
    refuse(&["verify", "--golden", &golden, "--device", "cpu"], 2, &["vector.safetensors"])
}

fn closed_pipe() -> Outcome {
    let mut child = command(&["plan", "--recipe", "tiny-sudoku4", "--seq-len", "16", "--vocab-size", "6"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let ran = ran(child.wait_with_output()?);
    check(ran.code == 0 && ran.stderr.is_empty(), || format!("{}: {}", ran.code, ran.stderr))
}

/// The same data in another folder will do, other data of the same shape will not; and what is not the data's fault is
/// not blamed on them.
fn resumed_elsewhere() -> Outcome {
    let workshop = Workshop::new()?;
    workshop.train("run", 2)?;
    let (run, data) = (workshop.path("run"), workshop.path("data"));
    let resume = ["train", "--resume", "--device", "cpu", "--out", &run, "--set", "train.epochs=4", "--data"];
    let other = workshop.path("other");
    let build = ["data", "sudoku", "--generate", "32", "--test", "6", "--size", "4", "--seed", "1"];
    succeed(&[&build[..], &["--out", &other]].concat())?;
    let expected = [
        "step-000000008.safetensors: saved with a data set of 32 groups, 32 examples, checksum",
        "this one has",
    ];
    refuse(&[&resume[..], &[&other]].concat(), 2, &expected)?;
    let shorter = ["--set", "train.eval_interval=1"];
    let expected = ["train.eval_interval: 1 epoch(s) between evaluations are 32 groups", "stood at group 64"];
    refuse(&[&resume[..], &[&data], &shorter].concat(), 2, &expected)?;
    let moved = workshop.path("moved");
    fs::rename(&data, &moved)?;
    succeed(&[&resume[..], &[&moved]].concat()).map(drop)
}

fn demo() -> Outcome {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("demo").to_string_lossy().into_owned();
    let ran = trm(&["demo", "--device", "cpu", "--out", &out, "--json"])?;
    let summary: Value = serde_json::from_str(&ran.stdout)?;
    let exact = summary["test"]["exact_accuracy"].as_f64().unwrap_or(0.0);
    check(ran.code == 0 && exact >= 0.95, || format!("exits with {}: {summary}", ran.code))?;
    check(summary["at_once"][0]["solved"] == true, || summary.to_string())?;
    check(summary["solved"].as_array().is_some_and(|solved| solved.len() == 3), || summary.to_string())
}

fn doctor() -> Outcome {
    let report = |device: &str| -> Outcome<(i32, Value)> {
        let ran = trm(&["doctor", "--device", device, "--json"])?;
        Ok((ran.code, serde_json::from_str(&ran.stdout)?))
    };
    let (code, sound) = report("cpu")?;
    let known = |what: &str| {
        let mut findings = sound["findings"].as_array().into_iter().flatten();
        findings.any(|finding| finding["what"] == what && finding["status"] != "wrong")
    };
    let all = ["GPU", "threads", "memory", "disk", "cache", "device", "verify", "solve", "bench"];
    check(code == 0 && all.iter().all(|what| known(what)), || sound.to_string())?;
    let tiny = &sound["trainings"][0];
    check(tiny["recipe"] == "tiny-sudoku4" && tiny["seconds"].as_f64() > Some(0.1), || sound.to_string())?;
    let (code, wrong) = report("no such device")?;
    let findings = wrong["findings"].as_array().ok_or("no findings")?;
    let last = findings.last().ok_or("no findings")?;
    check(code == 1 && last["what"] == "device" && last["status"] == "wrong", || wrong.to_string())?;
    check(last["fix"].is_string() && wrong["trainings"] == serde_json::json!([]), || wrong.to_string())
}

/// Six samples with all of their variants would fill any batch.
fn too_large_batch() -> Outcome {
    let workshop = Workshop::new()?;
    workshop.train("run", 2)?;
    let (run, data) = (workshop.path("run"), workshop.path("data"));
    let eval = ["eval", "--run", &run, "--data", &data, "--device", "gpu", "--batch", "65535"];
    let variants = ["--augment", "65535"];
    refuse(
        &[&eval[..], &variants].concat(),
        1,
        &["a batch of 65535", "the limit is", "the largest batch that fits is "],
    )?;
    // Without them there are six answers to give, which fit.
    succeed(&eval).map(drop)
}

/// Under mpirun and srun, commands that know no ranks would all write the same files.
fn one_of_several() -> Outcome {
    for variable in ["OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"] {
        for arguments in [&["eval", "--weights", "w", "--data", "d"][..], &["solve", "--weights", "w", "1"]] {
            let output = command(arguments).env(variable, "2").output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            if output.status.code() != Some(2) || !said.contains("2 processes were started") {
                return Err(format!("{variable} {arguments:?}: {output:?}").into());
            }
        }
    }
    Ok(())
}
