//! `trm bench` and what it counts: positive numbers, lines that parse, runs that pair, and a training loop that asks
//! nothing of the driver but one submission and one read of the metrics for each step. No time is ever a criterion.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use trm::bench::card::Card;
use trm::bench::roofline::add_products;
use trm::data::sudoku::{GenerateOptions, build_generated};
use trm::data::{Dataset, Split};
use trm::engine::{Counts, Device, gpu::Gpu};
use trm::plan::SHARED_BYTES;
use trm::recipe::Recipe;
use trm::report::card_html;
use trm::train::Trainer;

use crate::harness::{Lab, Needs, lab_trials};

type Outcome<T = ()> = Result<T, Failed>;
type Test = (&'static str, fn() -> Outcome);

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let tests: [Test; 8] = [
        ("a card is whole", card),
        ("what fails is on a card", failing_card),
        ("kernels and limits are measured", kernels),
        ("steps are measured, drawn and compared", steps),
        ("scaling covers each quantity", scaling),
        ("a prediction adds up", prediction),
        ("a plan says what it is laid out for", planned_for),
        ("a training step is one submission", one_submission),
    ];
    let trials = tests.into_iter().map(|(name, test)| Trial::test(format!("bench: {name}"), test));
    trials.chain(lab_trials("bench: matrix units", Needs::Cooperative, &[("products", products)])).collect()
}

/// The smallest subject, once.
const SUBJECT: [&str; 12] = [
    "--recipe",
    "tiny-sudoku4",
    "--device",
    "cpu",
    "--batch",
    "2",
    "--seq-len",
    "16",
    "--vocab-size",
    "6",
    "--repetitions",
    "1",
];

fn trm(args: &[&str]) -> Outcome<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_trm")).args(args).output()?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => Err(format!("{args:?}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// The lines of a bench, each with a key and a positive time.
fn bench(which: &str, more: &[&str]) -> Outcome<Vec<Value>> {
    let text = trm(&[&["bench", which, "--json"], &SUBJECT[..], more].concat())?;
    let lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    for line in &lines {
        let (key, seconds) = (line["key"].as_str(), line["seconds"].as_f64());
        check(key.is_some_and(|key| key.starts_with(which)) && seconds.is_some_and(|time| time > 0.0), line)?;
        check(line["adapter"].as_str().is_some_and(|name| name.contains("CPU engine")), line)?;
    }
    Ok(lines)
}

fn check(ok: bool, found: &impl std::fmt::Debug) -> Outcome {
    if ok { Ok(()) } else { Err(format!("found {found:?}").into()) }
}

fn kernels() -> Outcome {
    let lines = bench("kernels", &["--train"])?;
    check(lines.len() > 10, &lines.len())?;
    let shares = lines.iter().map(|line| line["roofline_share"].as_f64());
    check(shares.clone().all(|share| share.is_some_and(|share| share >= 0.0)), &lines)?;
    let launched: u64 = lines.iter().filter_map(|line| line["count"].as_u64()).sum();
    let whole = bench("step", &["--train"])?;
    check(Some(launched) == whole.last().and_then(|line| line["count"].as_u64()), &launched)
}

/// The kernel that measures matrix units makes every product that it is taken to have made.
fn products(lab: &mut Lab) -> trm::Result<()> {
    let (size, rounds) = (lab.cooperative.size as usize, 3);
    let sums = add_products(&mut lab.tape, lab.cooperative, 2, rounds)?;
    let operand = |matrix: usize, row: usize, col: usize| {
        let at = (matrix * size + row) * size + col;
        ((at * 3 % 7) as f64 - 3.0) / 8.0
    };
    let mut expected = vec![0.0; size * size];
    for (at, sum) in expected.iter_mut().enumerate() {
        for (i, j, k) in (0..16 * size).map(|n| (n / size / 4, n / size % 4, n % size)) {
            *sum += rounds as f64 * operand(i, at / size, k) * operand(4 + j, k, at % size);
        }
    }
    // Every number on the way is a multiple of 1/64 that f32 holds.
    lab.expect("sums", sums, expected.repeat(8), 0.0);
    Ok(())
}

fn steps() -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (first, svg) = (file("first.jsonl"), file("steps.svg"));
    let text = trm(&[&["bench", "step", "--json", "--train", "--svg", &svg], &SUBJECT[..]].concat())?;
    std::fs::write(&first, &text)?;
    check(text.lines().count() == 2, &text)?;
    check(std::fs::read_to_string(&svg)?.ends_with("</svg>\n"), &svg)?;
    let compared: Value = serde_json::from_str(&trm(&["bench", "compare", &first, &first, "--json"])?)?;
    let speedups =
        compared["pairs"].as_array().map(|pairs| pairs.iter().map(|pair| pair["speedup"].as_f64()));
    check(speedups.is_some_and(|mut all| all.all(|one| one == Some(1.0))), &compared)?;
    let modes = bench("step", &["--recompute"])?;
    let ends = |line: &Value, mode: &str| line["key"].as_str().is_some_and(|key| key.ends_with(mode));
    let expected = ["/eval", "/train", "/train-recompute"];
    check(modes.len() == 3 && modes.iter().zip(expected).all(|(line, mode)| ends(line, mode)), &modes)
}

/// Every part of a card says what it found or why it did not, and the page needs nothing beside it.
fn card() -> Outcome {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("card").to_string_lossy().into_owned();
    let args = ["bench", "card", "--device", "cpu", "--seconds", "1", "--out", &out, "--json"];
    let printed: Value = serde_json::from_str(&trm(&args)?)?;
    let read = |name: &str| std::fs::read_to_string(Path::new(&out).join(name));
    let card: Value = serde_json::from_str(&read("card.json")?)?;
    check(printed == card && card["ok"] == true, &card)?;
    let file = Path::new(&out).join("card.json").to_string_lossy().into_owned();
    let compared: Value = serde_json::from_str(&trm(&["bench", "compare", &file, &file, "--json"])?)?;
    let pairs = compared["pairs"].as_array().map_or(0, Vec::len);
    check(pairs > 0 && compared["mean_speedup"] == 1.0, &compared)?;
    check(card["device"]["kind"] == "cpu" && card["budget_seconds"] == 1.0, &card["device"])?;
    for part in ["roofline", "verify", "steps", "kernels", "training", "roofline_again"] {
        let count = |what: &str| card[part][what].as_array().map(Vec::len);
        check(count("faults") == Some(0) && card[part]["seconds"].is_f64(), &card[part])?;
        let told = count("measured").zip(count("left_out")).map(|(measured, left_out)| measured + left_out);
        check(told.is_some_and(|told| told > 0), &card[part])?;
    }
    check(card["roofline"]["measured"][0]["gflops"].as_f64().is_some_and(|rate| rate > 0.0), &card)?;
    let page = read("card.html")?;
    check(page.contains("CPU engine") && page.ends_with("</html>\n"), &page)?;
    check(!["http://", "https://", "src=", "url("].iter().any(|reference| page.contains(reference)), &page)?;
    // A card is not written over.
    let again = trm(&args).err().and_then(|failed| failed.message().map(str::to_owned)).unwrap_or_default();
    check(again.contains("exists and is not empty"), &again)
}

/// A driver that computes nothing agrees with no model.
fn failing_card() -> Outcome {
    let device = Device::gpu(Arc::new(Gpu::noop(SHARED_BYTES, 1 << 27, 1 << 28)?));
    let card = Card::measure(&device, None, Duration::from_secs(1), |_| {});
    check(!card.ok && !card.verify.faults.is_empty(), &card)?;
    let page = card_html(&card);
    check(page.contains("Something failed") && page.contains("past its bound"), &page)?;
    check(page.contains("A short training"), &page)
}

fn scaling() -> Outcome {
    let lines = bench("scaling", &[])?;
    let of = |quantity: &str| -> Vec<&Value> {
        lines.iter().filter(|line| line["key"].as_str().is_some_and(|key| key.contains(quantity))).collect()
    };
    for quantity in ["/B=1", "/B=2", "/L=", "/T=", "/n="] {
        check(!of(quantity).is_empty(), &lines)?;
    }
    // Two points lie on their line.
    for line in of("/B=") {
        let number = |name: &str| line[name].as_f64().unwrap_or(f64::NAN);
        let expected = number("intercept_seconds") + number("slope_seconds") * number("count");
        check((number("seconds") - expected).abs() < 1e-9, line)?;
    }
    Ok(())
}

fn prediction() -> Outcome {
    let text = trm(&["plan", "--recipe", "sudoku-att", "--batch", "8", "--predict", "20,500", "--json"])?;
    let plan: Value = serde_json::from_str(&text)?;
    let part = |name: &str| plan["prediction"][name].as_f64().unwrap_or(f64::NAN);
    let sum = part("compute_seconds") + part("memory_seconds") + part("launch_seconds");
    check((sum - part("seconds")).abs() < 1e-9 && sum > 0.0, &plan["prediction"])?;
    for (wrong, what) in [("20", "a missing bandwidth"), ("-20,500", "a negative peak")] {
        let refused = trm(&["plan", "--recipe", "sudoku-att", "--predict", wrong]);
        let said = refused.err().and_then(|failed| failed.message().map(str::to_owned)).unwrap_or_default();
        check(said.contains("give two positive numbers"), &what)?;
    }
    Ok(())
}

fn planned_for() -> Outcome {
    let plan = ["plan", "--recipe", "tiny-sudoku4"];
    let halves = [&plan[..], &["--precision", "bf16", "--recompute"]].concat();
    for (args, precision, recompute) in [(&plan[..], "f32", false), (&halves, "bf16", true)] {
        let text = trm(args)?;
        check(text.contains(&format!("activations in {precision}")), &text)?;
        check(text.contains("inner activations computed again") == recompute, &text)?;
        let json: Value = serde_json::from_str(&trm(&[args, &["--json"]].concat())?)?;
        check(json["precision"] == precision && json["recompute"] == recompute, &json)?;
    }
    Ok(())
}

/// A driver that accepts everything and computes nothing is enough to count what it is asked for.
fn one_submission() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut trainer = trainer(&folder.path().join("data"))?;
    let mut steps = |count: u64| -> Outcome<Counts> {
        for _ in 0..count {
            trainer.step()?;
            while trainer.metrics(false)?.is_some() {}
        }
        Ok(trainer.counts())
    };
    let before = steps(6)?;
    let after = steps(8)?;
    check(after.submissions - before.submissions == 8, &(before, after))?;
    check(after.readbacks - before.readbacks == 8, &(before, after))?;
    check(after.buffers == before.buffers, &(before, after))
}

fn trainer(data: &Path) -> Outcome<Trainer> {
    let (min_clues, max_clues) = (None, None);
    let out = data.to_path_buf();
    build_generated(
        &GenerateOptions { out, size: 4, train: 64, test: 4, min_clues, max_clues, num_aug: 0, seed: 1 },
        &mut |_| {},
    )?;
    let sets = ["train.global_batch_size=4", "arch.hidden_size=32", "arch.puzzle_emb_ndim=32"];
    let recipe = Recipe::load("tiny-sudoku4", &sets.map(str::to_owned))?;
    let dataset = Arc::new(Dataset::open(data, Split::Train)?);
    Ok(Trainer::new(&recipe, dataset, &Device::gpu(Arc::new(Gpu::noop(SHARED_BYTES, 1 << 27, 1 << 28)?)))?)
}
