//! Data and output folders that are broken, in the way, or change while they are used.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use libtest_mimic::Trial;
use serde_json::Value;
use trm::checkpoint;
use trm::data::{Dataset, Sampler, Split};
use trm::files::OutputFolder;
use trm::model::init::Weights;
use trm::recipe::Recipe;

use crate::cli::{Outcome, Test, Workshop, borrowed, check, command, ran, refuse, succeed, trm};
use crate::data_arc::challenges;

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let trials: [Test; 12] = [
        ("data cut short under a reader are an error", cut_short),
        ("bad tokens are found before the first step", bad_tokens),
        ("a linked folder is filled where it lies", linked_output),
        ("what killed builders left is removed", leftovers),
        ("an interrupted builder leaves nothing", interrupted_builder),
        ("more augmentations than there is room for are refused", too_many_augmentations),
        ("marked paths that are none are refused", torn_paths),
        ("repeated puzzles are counted", repeated_puzzles),
        ("weights know whose puzzles they learnt", other_identifiers),
        ("submissions that cannot be written are refused first", no_submission),
        ("marks and capitals of other programs are read", marks_and_capitals),
        ("names from files do not steer the terminal", control_characters),
    ];
    trials.into_iter().map(|(name, test)| Trial::test(format!("hostile: {name}"), test)).collect()
}

fn cut_short() -> Outcome {
    let workshop = Workshop::new()?;
    let (data, run) = (workshop.path("data"), workshop.path("run"));
    checkpoint_of(&workshop, &run)?;
    let dataset = Arc::new(Dataset::open(Path::new(&data), Split::Train)?);
    let mut batch = trm::data::Batch::new(8, 16);
    let mut sampler = Sampler::new(dataset.clone(), 8, 1, 0)?;
    sampler.next_batch(&mut batch)?;
    let inputs = Path::new(&data).join("train/all__inputs.npy");
    let bytes = fs::metadata(&inputs)?.len();
    File::options().write(true).open(&inputs)?.set_len(bytes / 2)?;
    let error = (0..3).find_map(|_| sampler.next_batch(&mut batch).err()).ok_or("read what is not there")?;
    check(error.to_string().contains("all__inputs.npy: ends before byte"), || error.to_string())?;
    check(dataset.check_tokens().is_err() && dataset.identity().is_err(), || "nobody noticed".into())?;
    let weights = Path::new(&run).join(checkpoint::WEIGHTS_FILE);
    File::options().write(true).open(&weights)?.set_len(2000)?;
    let eval = ["solve", "--run", &run, "--device", "cpu", "1..............4"];
    refuse(&eval, 2, &["model.safetensors: its tensors have"])
}

/// Fresh weights for the data set of a workshop.
fn checkpoint_of(workshop: &Workshop, run: &str) -> Outcome {
    let dataset = Dataset::open(Path::new(&workshop.path("data")), Split::Train)?;
    let sets = ["arch.hidden_size=16", "arch.puzzle_emb_ndim=16", "arch.L_layers=1"].map(str::to_owned);
    let config = Recipe::load("tiny-sudoku4", &sets)?.model(&dataset)?;
    Ok(checkpoint::save(Path::new(run), &config, &Weights::fresh(&config, 0))?)
}

fn bad_tokens() -> Outcome {
    for (split, file, expected) in
        [("train", "all__inputs.npy", "token 77"), ("test", "all__labels.npy", "label 77")]
    {
        let workshop = Workshop::new()?;
        let path = Path::new(&workshop.path("data")).join(split).join(file);
        let mut bytes = fs::read(&path)?;
        bytes.last_mut().into_iter().for_each(|byte| *byte = 77);
        fs::write(&path, bytes)?;
        let expected = [file, "position 15: ", expected, "vocab_size 6"];
        refuse(&borrowed(&workshop.train_args("run", 2)), 2, &expected)?;
        check(!Path::new(&workshop.path("run")).exists(), || "the run was begun".into())?;
    }
    Ok(())
}

const SMALL: [&str; 7] = ["data", "sudoku", "--generate", "9", "--test", "2", "--size=4"];

fn linked_output() -> Outcome {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    fs::create_dir(path("real"))?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(path("real"), path("link"))?;
    succeed(&[&SMALL[..], &["--out", &path("link")]].concat())?;
    check(Path::new(&path("real")).join("train").is_dir(), || "not where the link leads".into())?;
    check(Path::new(&path("link")).is_symlink(), || "the link was replaced".into())?;
    refuse(&[&SMALL[..], &["--out", &path("link")]].concat(), 2, &["link: exists and is not empty"])
}

fn leftovers() -> Outcome {
    let folder = tempfile::tempdir()?;
    let names = || -> Outcome<Vec<String>> {
        let entries = fs::read_dir(folder.path())?.flatten();
        Ok(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    };
    let left = folder.path().join(".out.partial-abc123");
    fs::create_dir_all(left.join("train"))?;
    fs::write(left.join("train/all__inputs.npy"), [0; 100])?;
    File::create(left.join(".lock"))?;
    // Another name, and one whose writer is at work.
    let other = folder.path().join(".outer.partial-abc123");
    fs::create_dir_all(&other)?;
    File::create(other.join(".lock"))?;
    let out = folder.path().join("out");
    let at_work = OutputFolder::create(&out)?;
    check(names()?.len() == 2, || format!("left: {:?}", names()))?;
    succeed(&[&SMALL[..], &["--out", &out.to_string_lossy()]].concat())?;
    check(at_work.path().is_dir() && other.is_dir(), || "another's folder was removed".into())?;
    drop(at_work);
    check(names()?.len() == 2 && !out.join(".lock").exists(), || format!("left: {:?}", names()))
}

fn interrupted_builder() -> Outcome {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out").to_string_lossy().into_owned();
    let args = ["data", "sudoku", "--generate=20", "--test=2", "--num-aug=1000000", "--out", &out];
    let child = command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let writing = || {
        let mut entries = fs::read_dir(folder.path()).into_iter().flatten().flatten();
        entries.any(|entry| entry.path().join("train/all__inputs.npy").is_file())
    };
    while !writing() {
        std::thread::yield_now();
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
    let ran = ran(child.wait_with_output()?);
    check(ran.code == 130 && ran.stderr.contains("interrupted: nothing was written"), || ran.stderr.clone())?;
    let left = fs::read_dir(folder.path())?.count();
    check(left == 0, || format!("{left} entries left"))
}

fn too_many_augmentations() -> Outcome {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out").to_string_lossy().into_owned();
    let build = |size: &str, num_aug: &str, expected: &[&str]| {
        let args = ["data", "sudoku", "--generate", "9", "--test", "2", "--size", size, "--out", &out];
        refuse(&[&args[..], &["--num-aug", num_aug]].concat(), 2, expected)
    };
    build("4", "3072", &["--num-aug: 3072, a puzzle of 4x4 has 3071 at the most"])?;
    build("6", "99999999999", &["a puzzle of 6x6 has 2488319 at the most"])?;
    build("9", "99999999999", &["900000000000 examples with it, the layout holds 2^31 - 1"])?;
    check(fs::read_dir(folder.path())?.count() == 0, || "something was written".into())
}

fn torn_paths() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (csv, out) = (path("mazes.csv"), path("out"));
    let build = ["data", "maze", "--train-csv", &csv, "--test-csv", &csv, "--out", &out];
    for (answer, expected) in [
        ("S   #   G", "the 0 marked cells are no shortest path, which has 3 between start and goal"),
        ("S o #   G", "the 1 marked cells are no shortest path"),
        ("Soo #ooGo", "answer differs from question at 7"),
    ] {
        fs::write(&csv, format!("source,question,answer,rating\na,S   #   G,{answer},1\n"))?;
        refuse(&build, 2, &["mazes.csv: line 2: ", expected])?;
    }
    fs::write(&csv, "source,question,answer,rating\na,S   #   G,Soo #o  G,1\n")?;
    succeed(&build).map(drop)
}

const HEADER: &str = "source,question,answer,rating";
const SOLVED: &str = "1234341221434321";

fn repeated_puzzles() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (train, test, out) = (path("train.csv"), path("test.csv"), path("out"));
    let row = |question: &str| format!("a,{question},{SOLVED},0\n");
    let [one, two, three] = [row("12343412........"), row("1234........4321"), row("....341221434321")];
    fs::write(&train, format!("{HEADER}\n{one}{two}{one}{one}"))?;
    fs::write(&test, format!("{HEADER}\n{three}{three}{two}"))?;
    let build = ["data", "sudoku", "--train-csv", &train, "--test-csv", &test, "--out", &out];
    let text = succeed(&build)?;
    let said = text.contains("clues on average, 2 of them repeated\n")
        && text.contains(", 1 of them repeated, 1 of them in the training split, too\n");
    check(said, || text)?;
    let report: Value = serde_json::from_str(&succeed(&["data", "inspect", &out, "--json"])?)?;
    let counts =
        |split: usize| (&report["splits"][split]["repeated"], &report["splits"][split]["also_in_train"]);
    check(counts(0) == (&2.into(), &0.into()) && counts(1) == (&1.into(), &1.into()), || report.to_string())?;
    let text = succeed(&["data", "inspect", &out])?;
    check(text.contains("repeated examples: 1; in the training split, too: 1\n"), || text)
}

/// Two ARC data sets of the same sizes under a prefix, and weights for the first.
fn two_arc_sets(folder: &Path) -> Outcome<[String; 3]> {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (train, evaluation) = challenges();
    let prefix = path("arc");
    for (subset, tasks) in [("training", train), ("evaluation", evaluation)] {
        fs::write(format!("{prefix}_{subset}_challenges.json"), tasks.to_string())?;
    }
    let (one, other, run) = (path("one"), path("other"), path("run"));
    for (out, seed) in [(&one, "1"), (&other, "2")] {
        let subsets = ["--subsets", "training", "evaluation", "--num-aug", "2", "--seed", seed];
        let build = ["data", "arc", "--input-file-prefix", &prefix, "--out", out];
        succeed(&[&build[..], &subsets].concat())?;
    }
    let dataset = Dataset::open(Path::new(&one), Split::Train)?;
    let config = Recipe::load("arc1", &ARC_SETS.map(str::to_owned))?.model(&dataset)?;
    checkpoint::save(Path::new(&run), &config, &Weights::fresh(&config, 0))?;
    Ok([one, other, run])
}

const ARC_SETS: [&str; 9] = [
    "arch.hidden_size=16",
    "arch.num_heads=1",
    "arch.L_layers=1",
    "arch.H_cycles=1",
    "arch.L_cycles=1",
    "arch.halt_max_steps=1",
    "arch.puzzle_emb_ndim=16",
    "arch.puzzle_emb_len=1",
    "train.global_batch_size=2",
];

fn other_identifiers() -> Outcome {
    let folder = tempfile::tempdir()?;
    let [one, other, run] = two_arc_sets(folder.path())?;
    let eval = ["eval", "--run", &run, "--device", "cpu", "--data"];
    succeed(&[&eval[..], &[&one]].concat())?;
    let expected = ["other/test: its identifiers.json has checksum ", ", the model was trained with "];
    refuse(&[&eval[..], &[&other]].concat(), 2, &expected)?;
    let tuned = folder.path().join("tuned").to_string_lossy().into_owned();
    let mut tune = vec!["train", "--recipe", "arc1", "--device", "cpu", "--data", &other, "--out", &tuned];
    let sets = ["train.epochs=1", "train.eval_interval=1"];
    ARC_SETS.iter().chain(&sets).for_each(|set| tune.extend(["--set", set]));
    tune.extend(["--init-from", &run]);
    refuse(
        &tune,
        2,
        &["run: the data set is another: its identifiers.json has checksum ", "; give --reset-puzzle-emb"],
    )?;
    succeed(&[&tune[..], &["--reset-puzzle-emb"]].concat())?;
    let eval = ["eval", "--run", &tuned, "--device", "cpu", "--data"];
    succeed(&[&eval[..], &[&other]].concat())?;
    // Weights from before this was kept, and data without names, are taken on trust.
    let config = Path::new(&run).join("config.json");
    let text: Value = serde_json::from_slice(&fs::read(&config)?)?;
    let mut older = text.as_object().ok_or("no object")?.clone();
    check(older.remove("identifiers").is_some(), || format!("not kept: {text}"))?;
    fs::write(&config, Value::from(older).to_string())?;
    succeed(&["eval", "--run", &run, "--device", "cpu", "--data", &other]).map(drop)
}

fn no_submission() -> Outcome {
    let folder = tempfile::tempdir()?;
    let [data, _, run] = two_arc_sets(folder.path())?;
    let eval = ["eval", "--run", &run, "--device", "cpu", "--data", &data];
    for (argument, expected) in [("--submission", "--submission: "), ("--html", "--html: ")] {
        let file = folder.path().join("no/such.file").to_string_lossy().into_owned();
        refuse(&[&eval[..], &[argument, &file]].concat(), 2, &[expected, "does not exist"])?;
    }
    fs::create_dir(Path::new(&run).join("submission.json"))?;
    refuse(&eval, 2, &["--submission: ", "run/submission.json is a folder; name another file"])
}

fn marks_and_capitals() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (train, evaluation) = challenges();
    for (subset, tasks) in [("training", train), ("evaluation", evaluation)] {
        fs::write(path(&format!("arc_{subset}_challenges.json")), format!("\u{feff}{tasks}"))?;
    }
    let options = ["--subsets", "training", "evaluation", "--num-aug", "1"];
    let build = ["data", "arc", "--input-file-prefix", &path("arc"), "--out", &path("arc")];
    succeed(&[&build[..], &options].concat())?;
    fs::write(
        path("sudoku.csv"),
        format!("\u{feff}Source,Question,ANSWER,Rating\na,12343412........,{SOLVED},0\n"),
    )?;
    let csv = path("sudoku.csv");
    succeed(&["data", "sudoku", "--train-csv", &csv, "--test-csv", &csv, "--out", &path("sudoku")])?;
    fs::write(path("maze.csv"), "Source,Question,Answer,Rating\na,S   #   G,Soo #o  G,1\n")?;
    let csv = path("maze.csv");
    succeed(&["data", "maze", "--train-csv", &csv, "--test-csv", &csv, "--out", &path("maze")]).map(drop)
}

fn control_characters() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let steers = |text: &str| text.chars().any(|character| character.is_control() && character != '\n');
    let evil = "\u{1b}[2J\u{9b}31mevil\u{7}\u{7f}\r\t";
    let quiet = |args: &[&str], named: bool| -> Outcome {
        let ran = trm(args)?;
        check(!steers(&ran.stdout) && !steers(&ran.stderr), || format!("{args:?}: {ran:?}"))?;
        let said = format!("{}{}", ran.stdout, ran.stderr);
        check(!named || said.contains("evil"), || format!("{args:?} does not name it: {said}"))
    };
    let task = serde_json::json!({ evil: {"train": [{"input": [[11]], "output": [[1]]}], "test": []} });
    fs::write(path("a_x_challenges.json"), task.to_string())?;
    let arc = ["data", "arc", "--subsets", "x", "--test-set-name", "x", "--out", &path("out")];
    quiet(&[&arc[..], &["--input-file-prefix", &path("a")]].concat(), true)?;
    let csv = path("evil.csv");
    fs::write(&csv, format!("source,question,{evil},rating\n"))?;
    quiet(&["data", "sudoku", "--train-csv", &csv, "--test-csv", &csv, "--out", &path("out")], true)?;
    let recipe = path("evil.toml");
    fs::write(&recipe, "[arch]\nname = \"\\u001b[2Jevil\\u0000\"\n")?;
    quiet(&["plan", "--recipe", &recipe], false)?;
    quiet(&["plan", "--recipe", "tiny-maze", "--set", &format!("arch.{evil}=1")], true)?;
    quiet(&["plan", "--recipe", evil.trim()], true)?;
    quiet(&["plan", evil.trim()], true)?;
    // Names in a sound data set, as text and as JSON.
    let (mut train, evaluation) = challenges();
    let moved = train["flip"].take();
    train.as_object_mut().ok_or("no object")?.remove("flip");
    train[evil] = moved;
    fs::write(path("b_training_challenges.json"), train.to_string())?;
    fs::write(path("b_evaluation_challenges.json"), evaluation.to_string())?;
    let options = ["--subsets", "training", "evaluation", "--num-aug", "0", "--out", &path("data")];
    let build = ["data", "arc", "--input-file-prefix", &path("b")];
    quiet(&[&build[..], &options].concat(), false)?;
    quiet(&["data", "inspect", &path("data")], true)?;
    quiet(&["data", "inspect", &path("data"), "--json"], true)
}
