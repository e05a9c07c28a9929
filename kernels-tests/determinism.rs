//! The same bits from the same seed, and the same numbers from both engines.

use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use trm::Result;
use trm::engine::gpu::Gpu;
use trm::engine::{Device, Run, select};
use trm::eval::verify;
use trm::model::step::{eval_plan, train_plan};
use trm::model::{ArchName, ModelConfig, Runner};
use trm::plan::{Element, Tile, Tiles};
use trm::rng::Rng;

use crate::check;
use crate::harness::{Needs, on_each, on_gpu};
use crate::models::{Session, optimiser, small, small_mixer, weights};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let repeats = on_each("determinism::training_repeats_bit_by_bit", Needs::Adapter, training_repeats);
    let name = "determinism::engines_agree_after_a_step";
    let agree = on_gpu(name.to_owned(), Needs::Adapter, engines_agree);
    let name = "determinism::a_choice_repeats_and_agrees";
    let chosen = on_gpu(name.to_owned(), Needs::Adapter, |_| choice_repeats_and_agrees());
    let name = "determinism::checked_kernels_give_the_same_bits";
    let checked = on_gpu(name.to_owned(), Needs::Adapter, checks_change_nothing);
    let name = "determinism::nothing_is_written_past_a_buffer";
    let canaries = on_gpu(name.to_owned(), Needs::Adapter, canaries_live);
    let alone = Trial::test("determinism::a_sample_is_the_same_in_any_batch", in_any_batch);
    let threads = Trial::test("determinism::any_number_of_threads_is_the_same", with_any_threads);
    repeats.into_iter().chain([agree, chosen, checked, canaries, alone, threads]).collect()
}

/// Everything that outlives a step.
const KEPT: [&str; 9] = [
    "weights",
    "puzzle_emb",
    "first_moment",
    "second_moment",
    "ema",
    "carry.state.H",
    "carry.state.L",
    "carry.steps",
    "carry.halted",
];

/// The bits of everything after some steps, with the metrics of each step.
fn bits(session: &mut Session, steps: u32) -> Result<Vec<Vec<i32>>> {
    let mut bits = Vec::new();
    for step in 1..=steps {
        session.step(step)?;
        bits.push(session.run.read_ints("metrics")?);
    }
    for name in KEPT {
        bits.push(session.run.read_ints(name)?);
    }
    Ok(bits)
}

/// Eight steps with exploration and halting, of attention and of the mixer, with more samples than a SIMD lane.
fn training_repeats(device: &Device) -> std::result::Result<(), Failed> {
    for config in [small(trm::model::ArchName::Trm), small_mixer()] {
        let first = bits(&mut Session::new(device, &config, 9)?, 8)?;
        let second = bits(&mut Session::new(device, &config, 9)?, 8)?;
        for (index, (first, second)) in first.iter().zip(&second).enumerate() {
            check::equal(first, second).map_err(|failure| format!("buffer {index}: {failure}"))?;
        }
        let halted = first.last().map_or(0, |halted| halted.iter().sum::<i32>());
        if !(1..9).contains(&halted) {
            return Err(format!("{halted} of 9 samples halted: halting was not tested").into());
        }
    }
    Ok(())
}

/// Run-time checks clamp what leaves a binding: where something does, the step is another one without them. A hardware's
/// compiler may round otherwise where it has the checks to compile as well.
fn checks_change_nothing(device: &Device) -> std::result::Result<(), Failed> {
    let checked = Device::gpu(Arc::new(Gpu::open(&device.info())?.checked()));
    // What rounding alone changes grows from step to step.
    let steps = if device.info().is_hardware() { 1 } else { 2 };
    for config in [small(trm::model::ArchName::Trm), small_mixer()] {
        let (mut plain, mut checked) =
            (Session::new(device, &config, 3)?, Session::new(&checked, &config, 3)?);
        let (plain_bits, checked_bits) = (bits(&mut plain, steps)?, bits(&mut checked, steps)?);
        if device.info().is_hardware() {
            agree(&mut plain, &mut checked)?;
        } else if plain_bits != checked_bits {
            return Err("a kernel with run-time checks computes something else".into());
        }
    }
    Ok(())
}

/// What lies behind each buffer; kernels may write to the end of the last vector that they own a part of.
const CANARY: u32 = 0xdead_beef;
const VECTOR: usize = 8;

/// A step leaves the words behind every buffer alone. They are bound with it: drivers drop what leaves a binding.
fn canaries_live(device: &Device) -> std::result::Result<(), Failed> {
    for config in [small(trm::model::ArchName::Trm), small_mixer()] {
        let mut plan = train_plan(&config, &optimiser(3), 3, device.target())?;
        let ends: Vec<usize> =
            plan.buffers.iter().map(|buffer| buffer.words.next_multiple_of(VECTOR)).collect();
        plan.buffers.iter_mut().for_each(|buffer| buffer.words = buffer.words.next_multiple_of(VECTOR) + 64);
        let slices = plan.dispatches.iter_mut().flat_map(|dispatch| &mut dispatch.slices);
        slices.for_each(|slice| slice.words += 64);
        let mut session = Session::of(Run::new(device, plan)?, &config, 3)?;
        let buffers = session.run.plan.buffers.clone();
        for (buffer, &end) in buffers.iter().zip(&ends) {
            let mut words = session.run.read(&buffer.name)?;
            words[end..].fill(CANARY);
            session.run.write(&buffer.name, &words)?;
        }
        session.step(1)?;
        for (buffer, &end) in buffers.iter().zip(&ends) {
            if session.run.read(&buffer.name)?[end..].iter().any(|&word| word != CANARY) {
                return Err(format!("something was written behind {}", buffer.name).into());
            }
        }
    }
    Ok(())
}

/// As with what `trm tune` chose: other variants than the table's repeat bit by bit, too, and agree with the CPU
/// engine.
fn choice_repeats_and_agrees() -> std::result::Result<(), Failed> {
    let (device, _) = select("gpu")?;
    let tile = Tile::ALL[1];
    device.adopt(Tiles::all(tile, 0));
    assert_eq!(device.target().tiles.tiled.forward, tile);
    training_repeats(&device)?;
    engines_agree(&device)
}

/// The bounds are those of the golden vectors, and have the same reasons; halting is equal.
fn engines_agree(device: &Device) -> std::result::Result<(), Failed> {
    for config in [small(trm::model::ArchName::Trm), small_mixer()] {
        let mut cpu = Session::new(&Device::cpu(), &config, 5)?;
        let mut gpu = Session::new(device, &config, 5)?;
        cpu.step(1)?;
        gpu.step(1)?;
        agree(&mut gpu, &mut cpu)?;
    }
    Ok(())
}

/// Within the bounds of rounding, after the same steps.
fn agree(found: &mut Session, expected: &mut Session) -> std::result::Result<(), Failed> {
    for (group, names) in [
        ("grads", ["gradients", "puzzle_rows"].as_slice()),
        ("states", &["x", "logits", "q_logits", "metrics", "carry.state.H", "carry.state.L"]),
        ("weights", &["weights", "ema", "puzzle_emb"]),
    ] {
        for name in names {
            let expected: Vec<f64> = expected.run.read_floats(name)?.iter().map(|&v| f64::from(v)).collect();
            let outcome =
                check::close(&found.run.read_floats(name)?, &expected, verify::bound(group, Element::F32));
            outcome.map_err(|failure| format!("{name}: {failure}"))?;
        }
    }
    for name in ["carry.steps", "carry.halted", "carry.data.inputs", "carry.data.labels"] {
        check::equal(&found.run.read_ints(name)?, &expected.run.read_ints(name)?)?;
    }
    Ok(())
}

/// Models whose products have several panels, blocks and samples that end within them.
fn wide() -> [ModelConfig; 2] {
    [small(ArchName::Trm), small_mixer()].map(|mut config| {
        let arch = &mut config.arch;
        (arch.hidden_size, arch.num_heads, arch.puzzle_emb_ndim, config.seq_len) = (96, 3, 96, 50);
        config
    })
}

/// What an evaluation step of the CPU engine leaves of `samples`, each of them told by its number: the bits by name and
/// sample.
fn evaluated(config: &ModelConfig, precision: Element, samples: &[u64]) -> Result<Vec<Vec<Vec<u32>>>> {
    let device = Device::cpu().in_precision(precision);
    let run = Run::new(&device, eval_plan(config, samples.len(), device.target())?)?;
    let mut run = Runner::of(run, config)?;
    run.load(&weights(config))?;
    let tokens = |&sample: &u64| {
        let mut rng = Rng::new(sample, 3);
        (0..config.seq_len).map(move |_| rng.below(config.vocab_size) as i32)
    };
    let identifiers: Vec<i32> = samples.iter().map(|&sample| sample as i32 % 3).collect();
    run.write_ints("batch.inputs", &samples.iter().flat_map(tokens).collect::<Vec<_>>())?;
    run.write_ints("batch.puzzle_identifiers", &identifiers)?;
    run.submit()?;
    run.submit()?;
    let mut found = Vec::new();
    for name in ["logits", "q_logits", "carry.state.H", "carry.state.L"] {
        let words = run.read(name)?;
        found.push(words.chunks(words.len() / samples.len()).map(<[u32]>::to_vec).collect());
    }
    Ok(found)
}

/// On the CPU engine, two steps of a sample give the same bits alone as among others, whichever and wherever.
fn in_any_batch() -> std::result::Result<(), Failed> {
    for config in wide() {
        for (stored, precision) in Element::ALL {
            let together = evaluated(&config, precision, &[0, 1, 2, 3, 4])?;
            for sample in 0..5 {
                let alone = evaluated(&config, precision, &[sample])?;
                let same = together.iter().zip(&alone).all(|(all, one)| all[sample as usize] == one[0]);
                let model = if config.arch.mlp_t { "mixer" } else { "attention" };
                if !same {
                    return Err(format!("{model} in {stored}: sample {sample} differs").into());
                }
            }
        }
    }
    Ok(())
}

/// On the CPU engine, training gives the same bits on any number of threads; on 31, heads are divided.
fn with_any_threads() -> std::result::Result<(), Failed> {
    for config in wide() {
        for (stored, precision) in Element::ALL {
            let device = Device::cpu().in_precision(precision);
            let on = |threads| -> std::result::Result<_, Failed> {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
                Ok(pool.install(|| bits(&mut Session::new(&device, &config, 5)?, 3))?)
            };
            let one = on(1)?;
            for threads in [2, 5, 31] {
                if on(threads)? != one {
                    return Err(format!("{threads} threads differ from one in {stored}").into());
                }
            }
        }
    }
    Ok(())
}
