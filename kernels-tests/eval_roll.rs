//! Evaluating a stream of samples: no answer depends on its neighbours, halting, steps, and votes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;
use trm::Error;
use trm::data::maze::{GenerateOptions, build_generated};
use trm::data::{Batch, Dataset, Split, TestBatches};
use trm::engine::{Device, Run};
use trm::eval::{Breadth, Evaluator, Pace, Selection};
use trm::model::ModelConfig;
use trm::model::init::Weights;
use trm::ops::gemm::{Gemm, Operand};
use trm::ops::product::{Epilogue, Product};
use trm::plan::{Axis, Purpose, Role, Tape};
use trm::ranks::Alone;
use trm::recipe::Recipe;
use trm::rng::Rng;

use crate::harness::{Needs, on_each};

type Outcome = std::result::Result<(), Failed>;
type Test = fn(&Device) -> Outcome;

/// This file's tests.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, Test); 3] = [
        ("products_sum_all_rows_alike", products),
        ("answers_do_not_depend_on_neighbours", neighbours),
        ("halting_stops_at_the_first_yes", halting),
    ];
    // Of these the host has all to do: kernels have their own tests.
    let host: [(&str, Test); 5] = [
        ("random_numbers_belong_to_samples", random_numbers),
        ("mixers_do_not_depend_on_neighbours", mixers),
        ("numbers_without_a_row_are_refused", strangers),
        ("a_stop_is_heeded", stops),
        ("selections_are_the_same_each_time", selections),
    ];
    let both = |(name, test): (&str, Test)| on_each(&format!("eval_roll::{name}"), Needs::Adapter, test);
    let alone =
        |(name, test): (&str, Test)| Trial::test(format!("eval_roll::{name}"), move || test(&Device::cpu()));
    tests.into_iter().flat_map(both).chain(host.into_iter().map(alone)).collect()
}

/// Mazes of [`mazes`].
pub const SAMPLES: usize = 11;

/// The samples at work are finished, or given up at once.
fn stops(device: &Device) -> Outcome {
    let (_folder, dataset) = mazes()?;
    let (config, weights) = model(&dataset, true)?;
    for (cut_short, steps) in [(false, 6), (true, 1)] {
        let (flag, mut told) = (Arc::new(AtomicBool::new(false)), 0);
        let mut evaluator = Evaluator::new(&config, device, 3)?;
        evaluator.load(&weights)?;
        evaluator.stop_when(flag.clone());
        let progress = |_| {
            told += 1;
            flag.store(true, Ordering::Relaxed);
        };
        let pace = Pace { cut_short, ..Pace::default() };
        let all = Selection::all(&dataset);
        let found = evaluator.evaluate_among(&Alone, pace, &dataset, &all, &mut |_| Ok(()), progress)?;
        check(&format!("{told} steps, cut short: {cut_short}"), told == steps && found.is_none())?;
    }
    Ok(())
}

/// Another seed selects others; a part of a selection is what it says.
fn selections(device: &Device) -> Outcome {
    let (_folder, dataset) = mazes()?;
    let some = |most, seed| Selection::of(&dataset, most, seed);
    check("all are wanted", some(0, 1) == Selection::all(&dataset) && some(99, 1) == some(0, 2))?;
    check("the same seed selects others", some(5, 1) == some(5, 1) && some(5, 1).len() == 5)?;
    check("every seed selects the same", (2..9).any(|seed| some(5, seed) != some(5, 1)))?;
    let shares: Vec<usize> = (0..3).flat_map(|rank| some(5, 1).share(rank, 3).places().to_vec()).collect();
    let mut sorted = shares.clone();
    sorted.sort_unstable();
    check("shares leave something out", sorted == some(5, 1).places())?;
    // Each sample by itself adds up to what all of them are worth.
    let (config, weights) = model(&dataset, true)?;
    let mut evaluator = Evaluator::new(&config, device, 2)?;
    evaluator.load(&weights)?;
    let mut value = |selection: &Selection| {
        evaluator.evaluate_at(Pace::default(), dataset.clone(), selection, |_| {}).map(|found| found.metrics)
    };
    let one_by_one: Vec<f64> = (0..SAMPLES)
        .map(|sample| Ok(value(&Selection::all(&dataset).share(sample, SAMPLES))?.lm_loss))
        .collect::<trm::Result<_>>()?;
    let five = some(5, 1);
    let expected = five.places().iter().map(|&place| one_by_one[place]).sum::<f64>() / 5.0;
    let found = value(&five)?.lm_loss;
    check(&format!("{found} against {expected}"), (found - expected).abs() < 1e-6 * expected)
}

/// A data set of small mazes.
pub fn mazes() -> Result<(TempDir, Arc<Dataset>), Failed> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("data");
    let options = GenerateOptions {
        out: out.clone(),
        train: 1,
        test: SAMPLES,
        rows: 5,
        cols: 5,
        min_path: 2,
        aug: false,
        seed: 3,
    };
    build_generated(&options)?;
    Ok((folder, Arc::new(Dataset::open(&out, Split::Test)?)))
}

/// A small model with random weights, of 6 supervision steps.
pub fn model(dataset: &Dataset, mixer: bool) -> Result<(ModelConfig, Weights), Failed> {
    let sets = [
        "arch.hidden_size=32".to_owned(),
        format!("arch.mlp_t={mixer}"),
        "arch.halt_max_steps=6".to_owned(),
        format!("arch.pos_encodings={}", if mixer { "none" } else { "rope" }),
        "arch.puzzle_emb_ndim=32".to_owned(),
    ];
    let config = Recipe::load("tiny-sudoku4", &sets)?.model(dataset)?;
    let mut weights = Weights::fresh(&config, 5);
    let params = trm::model::Params::of(&config);
    let head = params.get("q_head.weight").ok_or("no q_head")?;
    let mut rng = Rng::new(7, 7);
    weights.get_mut(head).iter_mut().for_each(|value| *value = 0.3 * rng.normal() as f32);
    let bias = params.get("q_head.bias").ok_or("no bias")?;
    weights.get_mut(bias).fill(0.0);
    Ok((config, weights))
}

/// One look, with floats as bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    index: usize,
    step: usize,
    last: bool,
    predictions: Vec<i32>,
    q_halt: u32,
    lm_loss: u64,
}

/// All looks, by sample and step.
fn look(
    device: &Device,
    model: &(ModelConfig, Weights),
    dataset: &Arc<Dataset>,
    batch: usize,
    halt: bool,
) -> trm::Result<Vec<Seen>> {
    look_seeded(device, model, dataset, (batch, 0), halt)
}

/// The same with a seed for what is drawn at random.
fn look_seeded(
    device: &Device,
    (config, weights): &(ModelConfig, Weights),
    dataset: &Arc<Dataset>,
    (batch, seed): (usize, u64),
    halt: bool,
) -> trm::Result<Vec<Seen>> {
    let breadth = Breadth { seed, ..Breadth::default() };
    let mut evaluator = Evaluator::with(config, device, batch, breadth)?;
    evaluator.load(weights)?;
    let mut batches = TestBatches::new(dataset.clone(), 1);
    let mut seen = Vec::new();
    evaluator.roll(
        Pace { halt, every_step: true, ..Pace::default() },
        &mut |one| Ok(batches.next_batch(one)? == 1),
        &mut |look| {
            seen.push(Seen {
                index: look.index,
                step: look.step,
                last: look.last,
                predictions: look.predictions.to_vec(),
                q_halt: look.q_halt.to_bits(),
                lm_loss: look.stats.lm_loss.to_bits(),
            });
            Ok(())
        },
        &mut |_| {},
    )?;
    seen.sort();
    Ok(seen)
}

fn check(what: &str, right: bool) -> Outcome {
    if right { Ok(()) } else { Err(what.into()) }
}

/// Tokens, labels and identifiers that the model has no row for never reach the kernels, which would look them up.
fn strangers(device: &Device) -> Outcome {
    let (_folder, dataset) = mazes()?;
    let (config, weights) = model(&dataset, false)?;
    let mut evaluator = Evaluator::new(&config, device, 1)?;
    evaluator.load(&weights)?;
    let (vocab, identifiers) = (config.vocab_size as i32, config.num_puzzle_identifiers as i32);
    let changes: [&dyn Fn(&mut Batch); 6] = [
        &|one| one.inputs[0] = vocab,
        &|one| one.inputs[1] = -1,
        &|one| one.labels[0] = vocab,
        &|one| one.labels[1] = -1,
        &|one| one.puzzle_identifiers[0] = identifiers,
        &|one| one.labels[0] = vocab - 1,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut waiting = true;
        let mut next = |one: &mut Batch| {
            change(one);
            Ok(std::mem::take(&mut waiting))
        };
        let found = evaluator.roll(Pace::default(), &mut next, &mut |_| Ok(()), &mut |_| {});
        let right = if index < 5 { matches!(found, Err(Error::Usage { .. })) } else { found.is_ok() };
        check(&format!("change {index}: {found:?}"), right)?;
    }
    Ok(())
}

/// The first rows of a product are the same bits however many follow, over all the sizes at which a library of
/// products may choose another way.
fn products(device: &Device) -> Outcome {
    let mut rng = Rng::new(11, 0);
    let mut random = |words: usize| -> Vec<f32> { (0..words).map(|_| rng.normal() as f32).collect() };
    for (n, k) in [(2, 33), (2, 700), (6, 130), (40, 1300), (96, 600)] {
        let (a, b) = (random(300 * k), random(n * k));
        let mut rows: Option<Vec<f32>> = None;
        for m in [3, 26, 60, 130, 300] {
            let mut tape = Tape::new(device.target());
            let mut buffer = |name, words| tape.buffer(name, Role::Activation, words);
            let (a_tensor, b_tensor, c) = (buffer("a", m * k), buffer("b", n * k), buffer("c", m * n));
            let weight = Operand::rows_of(k).transposed();
            let gemm = Gemm {
                m,
                n,
                k,
                batch: 1,
                reductions: 1,
                a: Operand::rows_of(k),
                b: weight,
                purpose: Purpose::Forward,
            };
            let product = Product { gemm, over: Axis::Width, epilogue: Epilogue::Store };
            product.push(&mut tape, a_tensor, b_tensor, c)?;
            let mut run = Run::new(device, tape.finish()?)?;
            run.write_floats("a", &a[..m * k])?;
            run.write_floats("b", &b)?;
            run.submit()?;
            let mut found = run.read_floats("c")?;
            found.truncate(3 * n);
            let expected = rows.get_or_insert_with(|| found.clone());
            check(&format!("{m} rows, {n} columns, inner {k}"), *expected == found)?;
        }
    }
    Ok(())
}

fn neighbours(device: &Device) -> Outcome {
    alone_or_together(device, false)
}

fn mixers(device: &Device) -> Outcome {
    alone_or_together(device, true)
}

fn alone_or_together(device: &Device, mixer: bool) -> Outcome {
    let (_folder, dataset) = mazes()?;
    let model = model(&dataset, mixer)?;
    let alone = look(device, &model, &dataset, 1, false)?;
    check("looks are missing", alone.len() == SAMPLES * 6)?;
    for batch in [3, 16] {
        check(
            &format!("a batch of {batch} differs"),
            look(device, &model, &dataset, batch, false)? == alone,
        )?;
    }
    Ok(())
}

/// What is drawn for a sample is the same in every batch, and another with another seed.
fn random_numbers(device: &Device) -> Outcome {
    let (_folder, dataset) = mazes()?;
    let still = model(&dataset, true)?;
    let mut model = still.clone();
    let arch = &mut model.0.arch;
    (arch.random_init, arch.damping, arch.noise) = (1.0, 0.1, 0.1);
    let alone = look(device, &model, &dataset, 1, false)?;
    check("nothing is drawn", alone != look(device, &still, &dataset, 1, false)?)?;
    check("a batch of 3 differs", look(device, &model, &dataset, 3, false)? == alone)?;
    check("every seed draws the same", look_seeded(device, &model, &dataset, (3, 1), false)? != alone)
}

fn halting(device: &Device) -> Outcome {
    let (_folder, dataset) = mazes()?;
    let mut model = model(&dataset, false)?;
    let all = look(device, &model, &dataset, 4, false)?;
    // The bias makes half of the samples stop at their first step.
    let mut first: Vec<f32> =
        all.iter().filter(|seen| seen.step == 1).map(|seen| f32::from_bits(seen.q_halt)).collect();
    first.sort_by(f32::total_cmp);
    let params = trm::model::Params::of(&model.0);
    let bias = params.get("q_head.bias").ok_or("no bias")?;
    model.1.get_mut(bias).fill(-first[SAMPLES / 2]);
    let all = look(device, &model, &dataset, 4, false)?;
    // What halting has to show: everything up to the first yes.
    let mut stopped = [false; SAMPLES];
    let mut expected = Vec::new();
    for seen in &all {
        if !stopped[seen.index] {
            stopped[seen.index] = f32::from_bits(seen.q_halt) > 0.0;
            expected.push(Seen { last: stopped[seen.index] || seen.step == 6, ..seen.clone() });
        }
    }
    check("no sample halts early: the test shows nothing", expected.len() < all.len())?;
    check("all samples halt at once: the test shows nothing", expected.iter().any(|seen| seen.step > 1))?;
    for batch in [1, 3, 16] {
        let halted = look(device, &model, &dataset, batch, true)?;
        check(&format!("halting in a batch of {batch} differs"), halted == expected)?;
    }
    by_step(device, &model, &dataset, &expected)
}

fn by_step(
    device: &Device,
    (config, weights): &(ModelConfig, Weights),
    dataset: &Arc<Dataset>,
    expected: &[Seen],
) -> Outcome {
    let mut evaluator = Evaluator::new(config, device, 3)?;
    evaluator.load(weights)?;
    let pace = Pace { halt: true, every_step: true, ..Pace::default() };
    let found = evaluator.evaluate_at(pace, dataset.clone(), &Selection::all(dataset), |_| {})?;
    check("a step is missing", found.by_step.len() == 6 && found.samples == SAMPLES)?;
    for at in &found.by_step {
        let says = |seen: &&Seen| seen.step == at.step && f32::from_bits(seen.q_halt) > 0.0;
        let share = expected.iter().filter(says).count() as f64 / SAMPLES as f64;
        check(
            &format!("halted at {}: {} against {share}", at.step, at.halted),
            (at.halted - share).abs() < 1e-12,
        )?;
    }
    let steps = expected.iter().filter(|seen| seen.last).map(|seen| seen.step).sum::<usize>();
    let mean = steps as f64 / SAMPLES as f64;
    check("mean steps", (found.metrics.steps - mean).abs() < 1e-12)?;
    let last = found.by_step.last().ok_or("no step")?;
    check("the last step is the result", (last.accuracy - found.metrics.accuracy).abs() < 1e-12)
}
