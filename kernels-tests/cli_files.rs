//! Files as users of the command line meet them: missing, broken, or there already; and nothing half-written.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::cli::{Outcome, Test, Workshop, borrowed, check, refuse, succeed, trm};
use crate::cli_solve::fresh;

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let trials: [Test; 6] = [
        ("missing files are named", missing_files),
        ("what cannot be used is named, and exits with 2", unusable),
        ("existing output is refused", existing_output),
        ("failed builds leave nothing", nothing_half_written),
        ("broken data sets are named", broken_data_sets),
        ("broken weights are named", broken_weights),
    ];
    trials.into_iter().map(|(name, test)| Trial::test(format!("cli: {name}"), test)).collect()
}

fn existing_output() -> Outcome {
    let workshop = Workshop::new()?;
    let data = workshop.path("data");
    let refusal = [data.as_str(), ": exists and is not empty; name a new folder"];
    refuse(&["data", "sudoku", "--generate", "9", "--test", "1", "--out", &data], 2, &refusal)?;
    refuse(&["demo", "--device", "cpu", "--out", &data], 2, &refusal)?;
    refuse(&borrowed(&workshop.train_args("data", 2)), 2, &refusal)?;
    // Before anything else is looked at.
    refuse(&["train", "--recipe", "tiny-sudoku4", "--data", "none", "--out", &data], 2, &refusal)
}

fn missing_files() -> Outcome {
    let weights = "no: no such file or folder; name a folder with model.safetensors";
    let cases = [
        ("runs no", "no: no such file or folder; name the folder of a run"),
        ("report no --out x.html", "no: no such file or folder; name the folder of a run"),
        ("eval --weights no --data no", weights),
        ("export --run no --pytorch x.pt", weights),
        ("solve --weights no 1..............4", weights),
        ("serve --weights no", weights),
        ("data join no no --out x", "dataset.json: no such file or folder; name the folder of a data set"),
        ("data sudoku --lists no.csv --test 2 --out x", "no.csv: no such file or folder; give a CSV file"),
        ("data table --train no.csv --test no.csv --vocab 0..3 --out x", "no.csv: no such file or folder"),
        ("data arc --input-file-prefix no --out x", "--input-file-prefix: neither the file no_"),
        ("train --recipe no --data no --out x", "--recipe: \"no\" is neither"),
        ("train --recipe tiny-sudoku4 --data no --out x", "dataset.json: no such file or folder"),
        (
            "bench compare no.json no.json",
            "no.json: no such file or folder; give a file with what a \"trm bench\"",
        ),
        ("verify --golden no", "no: no such file or folder; give a folder of golden vectors"),
        ("data inspect no", "no: no such file or folder; name a folder that \"trm data\""),
        (
            "data sudoku --out x --train-csv no.csv --test-csv no.csv",
            "no.csv: no such file or folder; give a CSV file",
        ),
        (
            "data maze --out x --train-csv no.csv --test-csv no.csv",
            "no.csv: no such file or folder; give a CSV file",
        ),
        (
            "plan --recipe arc1 --data no",
            "no/train/dataset.json: no such file or folder; name the folder of a data set",
        ),
    ];
    for (args, expected) in cases {
        refuse(&args.split(' ').collect::<Vec<_>>(), 2, &[expected])?;
    }
    let workshop = Workshop::new()?;
    workshop.train("run", 2)?;
    let data = workshop.path("data");
    let import = ["import", "no.pt", "--config", "no.yaml", "--data", &data, "--out", "x"];
    refuse(&import, 2, &["no.yaml: no such file or folder; give the all_config.yaml"])?;
    let (run, out) = (workshop.path("run"), workshop.path("no/o.pt"));
    refuse(
        &["export", "--weights", &run, "--pytorch", &out],
        2,
        &["o.pt: its folder does not exist; make it"],
    )
}

/// What is there and is not what it should be.
fn unusable() -> Outcome {
    let workshop = Workshop::new()?;
    fresh(&workshop, "tiny-sudoku4", "data", "run")?;
    let path = |name: &str| workshop.path(name);
    let write = |name: &str, bytes: &[u8]| fs::write(workshop.path(name), bytes);
    for folder in ["no-config", "empty", "lone"] {
        fs::create_dir(path(folder))?;
    }
    fs::copy(path("run/model.safetensors"), path("no-config/model.safetensors"))?;
    let fixture =
        |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels-tests/fixtures").join(name);
    fs::copy(fixture("mixer_f32.pt"), path("lone/m.pt"))?;
    fs::copy(fixture("mixer_f32.pt"), path("misnamed.safetensors"))?;
    fs::copy(fixture("not_zip.pt"), path("old.pt"))?;
    write("bad.yaml", b"arch: [")?;
    write("binary", b"\x00\x01\x02\x80\x81")?;
    write("latin", b"question,answer\n1..............1,1234341221434321\n\xe4,\xf6\n")?;
    write(
        "wrong.csv",
        b"question,answer\n1..............1,1234341221434321\n2..............1,1234341221434321\n",
    )?;
    write("rows.jsonl", b"{\"inputs\": \"1\", \"labels\": \"2\"}\n\xff\n")?;
    write("rows.csv", b"inputs,labels\n1,2\n\xff,2\n")?;
    succeed(&["data", "sudoku", "--generate", "2", "--test", "1", "--size", "6", "--out", &path("six")])?;
    let torch = "is a checkpoint of PyTorch, expected safetensors; make weights of it with \"trm import\"";
    let cases = [
        (
            "solve --weights no-config 1..............4",
            "config.json: no such file or folder; put the config.json",
        ),
        ("solve --weights lone/m.pt 1..............4", torch),
        ("eval --weights old.pt --data data", torch),
        (
            "import empty --out o",
            "empty: is a folder without model.safetensors, no checkpoint; name a file that",
        ),
        ("import none.pt --out o", "none.pt: no such file or folder; name a file that torch.save wrote"),
        (
            "import old.pt --recipe tiny-sudoku4 --out o",
            "before PyTorch 1.6, expected a zip archive; read it with",
        ),
        ("import binary --out o", "binary: is cut short or no zip archive"),
        ("import lone/m.pt --out o", "the checkpoint does not say its architecture; give --config"),
        ("import misnamed.safetensors --recipe tiny-sudoku4 --out o", "(4 of 15 are); use the config"),
        ("import lone/m.pt --config bad.yaml --out o", "bad.yaml: "),
        ("import lone/m.pt --config binary --out o", "binary: is binary: it holds zero bytes, which no text"),
        ("import lone/m.pt --config empty --out o", "empty: is a folder, expected a file; name a file"),
        (
            "serve --weights run --data data",
            "data holds no vocabulary.json, so its task has no words; leave it out",
        ),
        ("eval --weights run --data six", "six/test: its seq_len is 36, the model's is 16"),
        (
            "data sudoku --train-csv wrong.csv --test-csv wrong.csv --out o",
            "leave them out with --on-invalid skip",
        ),
        (
            "data sudoku --train-csv binary --test-csv binary --out o",
            "which no text does, expected a table or a list",
        ),
        (
            "data sudoku --train-csv latin --test-csv latin --out o",
            "latin: line 3: is no UTF-8 text; correct",
        ),
        (
            "data sudoku --train-csv empty --test-csv latin --out o",
            "empty: is a folder, expected a file; name",
        ),
        (
            "data table --train rows.csv --test rows.csv --out o",
            "rows.csv: line 3: is no UTF-8 text; correct",
        ),
        (
            "data table --train rows.jsonl --test rows.csv --out o",
            "rows.jsonl: line 2: is no UTF-8 text; give",
        ),
        (
            "data table --train rows.csv --test rows.csv --vocab lone/m.pt --out o",
            "m.pt: is a zip archive, expected text",
        ),
        (
            "train --recipe binary --data data --out o",
            "expected text; name a text file, or save it anew in UTF-8",
        ),
    ];
    for (args, expected) in cases {
        // Names of what was made above lead to it.
        let there = |word: &str| word == "o" || Path::new(&path(word)).exists();
        let (command, words) = args.split_once(' ').ok_or("no arguments")?;
        let word = |word: &str| if there(word) { path(word) } else { word.to_owned() };
        let words: Vec<String> = words.split(' ').map(word).collect();
        refuse(&[&[command][..], &borrowed(&words)].concat(), 2, &[expected])?;
    }
    // One of several puzzles, perhaps, is no reason to end.
    let solved = trm(&["solve", "--weights", &path("run"), "--device", "cpu", &path("old.pt")])?;
    let said = "old.pt: is a checkpoint of PyTorch, expected text";
    check(solved.code == 2 && solved.stderr.contains(said), || solved.stderr)
}

fn nothing_half_written() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (good, bad, out) = (path("good.csv"), path("bad.csv"), path("out"));
    let header = "source,question,answer,rating\n";
    fs::write(&good, format!("{header}a,1..............1,1234341221434321,0\n"))?;
    fs::write(&bad, format!("{header}a,1......y.......1,1234341221434321,0\n"))?;
    refuse(
        &["data", "sudoku", "--train-csv", &good, "--test-csv", &bad, "--out", &out],
        2,
        &["bad.csv", "line 2"],
    )?;
    refuse(
        &["data", "sudoku", "--train-csv", &good, "--test-csv", &path("no.csv"), "--out", &out],
        2,
        &["no.csv"],
    )?;
    let left: Vec<PathBuf> = fs::read_dir(folder.path())?.flatten().map(|entry| entry.path()).collect();
    check(left.len() == 2, || format!("left behind: {left:?}"))
}

fn broken_data_sets() -> Outcome {
    let workshop = Workshop::new()?;
    workshop.train("run", 2)?;
    let (run, data) = (workshop.path("run"), workshop.path("data"));
    let eval = ["eval", "--run", &run, "--data", &data, "--device", "cpu"];
    let file = |name: &str| PathBuf::from(&data).join("test").join(name);
    let broken = |name: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>, expected: &[&str]| -> Outcome {
        let whole = fs::read(file(name))?;
        fs::write(file(name), change(whole.clone()))?;
        refuse(&eval, 2, expected)?;
        Ok(fs::write(file(name), whole)?)
    };
    let replace = |from: &'static str, to: &'static str| {
        move |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace(from, to).into_bytes()
    };
    let last = |value: u8| {
        move |mut bytes: Vec<u8>| {
            bytes.last_mut().into_iter().for_each(|byte| *byte = value);
            bytes
        }
    };
    let as_float = |bytes: Vec<u8>| {
        let at = bytes.windows(3).position(|word| word == b"|u1").unwrap_or(0);
        [&bytes[..at], b"<f4", &bytes[at + 3..]].concat()
    };
    let (inputs, labels) = ("all__inputs.npy", "all__labels.npy");
    broken(inputs, &|bytes| bytes[..bytes.len() - 5].to_vec(), &[inputs])?;
    broken(inputs, &as_float, &[inputs])?;
    broken(inputs, &last(6), &[inputs, "token 6", "vocab_size 6"])?;
    broken(labels, &last(77), &[labels, "label 77", "vocab_size 6"])?;
    broken("dataset.json", &replace("\"seq_len\":16", "\"seq_len\":17"), &[inputs, "16 tokens", "17"])?;
    broken(
        "dataset.json",
        &replace("\"vocab_size\":6", "\"vocab_size\":7"),
        &["vocab_size is 7", "the model's is 6"],
    )?;
    broken("all__puzzle_identifiers.npy", &last(1), &["all__puzzle_identifiers.npy", "identifier"])?;
    fs::remove_file(file(labels))?;
    refuse(&eval, 2, &[labels, "no such file"])?;
    let inspected = trm(&["data", "inspect", &data])?;
    check(inspected.code == 1 && inspected.stdout.contains(labels), || inspected.stdout)?;
    refuse(&["data", "inspect", &workshop.path("nowhere")], 2, &["nowhere"])
}

/// A tensor as it lies in a file.
type Tensor = (String, Vec<usize>, Vec<u8>);

fn broken_weights() -> Outcome {
    let workshop = Workshop::new()?;
    workshop.train("run", 2)?;
    let path = PathBuf::from(workshop.path("run")).join("model.safetensors");
    let whole = fs::read(&path)?;
    let tensors: Vec<Tensor> = SafeTensors::deserialize(&whole)?
        .iter()
        .map(|(name, view)| (name.to_owned(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    let run = workshop.path("run");
    let refused = |change: &dyn Fn(&mut Vec<Tensor>), expected: &[&str]| -> Outcome {
        let mut changed = tensors.clone();
        change(&mut changed);
        fs::write(&path, serialised(&changed)?)?;
        refuse(&["solve", "--weights", &run, "--device", "cpu", "1..............4"], 2, expected)
    };
    let name = "lm_head.weight";
    refused(&|tensors| tensors.retain(|tensor| tensor.0 != name), &["model.safetensors", name])?;
    refused(&|tensors| tensors.push(("extra".into(), vec![1], vec![0; 4])), &["model.safetensors", "extra"])?;
    let reshape = |tensors: &mut Vec<Tensor>| {
        tensors.iter_mut().filter(|tensor| tensor.0 == name).for_each(|tensor| tensor.1.reverse())
    };
    refused(&reshape, &["model.safetensors", name, "[16, 6]", "[6, 16]"])?;
    fs::write(&path, &whole[..whole.len() / 2])?;
    refuse(&["solve", "--weights", &run, "--device", "cpu", "1..............4"], 2, &["model.safetensors"])?;
    fs::remove_file(&path)?;
    refuse(
        &["solve", "--weights", &run, "--device", "cpu", "1..............4"],
        2,
        &["model.safetensors: no such file"],
    )
}

fn serialised(tensors: &[Tensor]) -> Outcome<Vec<u8>> {
    let mut views = Vec::new();
    for (name, shape, bytes) in tensors {
        views.push((name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes)?));
    }
    Ok(safetensors::serialize(views, None)?)
}
