//! The same bits from the same seed, and the same numbers from both engines.

use libtest_mimic::{Failed, Trial};
use trm::Result;
use trm::engine::{Device, select};
use trm::eval::verify;
use trm::plan::{Element, Tile, Tiles, Variants};

use crate::check;
use crate::harness::{Needs, on_each, on_gpu};
use crate::models::{Session, small, small_mixer};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let repeats = on_each("determinism::training_repeats_bit_by_bit", Needs::Adapter, training_repeats);
    let name = "determinism::engines_agree_after_a_step";
    let agree = on_gpu(name.to_owned(), Needs::Adapter, engines_agree);
    let name = "determinism::a_choice_repeats_and_agrees";
    let chosen = on_gpu(name.to_owned(), Needs::Adapter, |_| choice_repeats_and_agrees());
    repeats.into_iter().chain([agree, chosen]).collect()
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

/// As with what `trm tune` chose: other variants than the table's repeat bit by bit, too, and agree with the CPU engine.
fn choice_repeats_and_agrees() -> std::result::Result<(), Failed> {
    let (device, _) = select("gpu")?;
    let tile = Tile::ALL[1];
    device.adopt(Variants { tiles: Tiles::all(tile), ..Variants::default() });
    assert_eq!(device.target().tiles.forward, tile);
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
        for (group, names) in [
            ("grads", ["gradients", "puzzle_rows"].as_slice()),
            ("states", &["x", "logits", "q_logits", "metrics", "carry.state.H", "carry.state.L"]),
            ("weights", &["weights", "ema", "puzzle_emb"]),
        ] {
            for name in names {
                let expected: Vec<f64> = cpu.run.read_floats(name)?.iter().map(|&v| f64::from(v)).collect();
                let outcome =
                    check::close(&gpu.run.read_floats(name)?, &expected, verify::bound(group, Element::F32));
                outcome.map_err(|failure| format!("{name}: {failure}"))?;
            }
        }
        for name in ["carry.steps", "carry.halted", "carry.data.inputs", "carry.data.labels"] {
            check::equal(&gpu.run.read_ints(name)?, &cpu.run.read_ints(name)?)?;
        }
    }
    Ok(())
}
