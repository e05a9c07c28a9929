//! The guard against losses and gradients that are not finite: the kernel by itself, whole steps that must change
//! nothing, and runs that must not save.

use libtest_mimic::{Failed, Trial};
use trm::checkpoint;
use trm::data::arc::Score;
use trm::engine::Device;
use trm::model::Metrics;
use trm::model::init::Weights;
use trm::model::{ArchName, ModelConfig, Params};
use trm::ops::finite::{CHUNK, KERNEL, skip_unless_finite};
use trm::ops::metrics::{NAMES, SKIPPED, WORDS};
use trm::recipe::{Recipe, TrainSettings};
use trm::train::{Checkpoint, InitFrom, Observer, RunOptions, StepMetrics, run};
use trm::{Error, Result};

use crate::harness::{KernelTests, Lab, Mutant, Needs, on_each};
use crate::models::{Session, small, small_mixer, weights};
use crate::train_puzzle_emb::{data, recipe};

/// Tests and mutants of `finite`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[("values", values), ("places", places), ("several", several)],
    mutants: &[
        Mutant { name: "refuses_the_negative", from: "bits & 0x7fffffffu", to: "bits & 0xffffffffu" },
        Mutant { name: "takes_infinity", from: ">= 0x5f000000u", to: "> 0x7f800000u" },
        Mutant { name: "takes_what_has_no_square", from: ">= 0x5f000000u", to: ">= 0x7f800000u" },
        Mutant { name: "refuses_halves_largest", from: ">= 0x5f000000u", to: ">= 0x477fe000u" },
        Mutant {
            name: "looks_at_the_last_alone",
            from: "select(any, 1.0, unus",
            to: "select(0.0, 1.0, unus",
        },
        Mutant { name: "misses_the_end_of_a_chunk", from: "start + CHUNK,", to: "start + CHUNK - 1u," },
        Mutant {
            name: "misses_most_flags",
            from: "index < params.count; index += 64u",
            to: "index < 1u; index += 64u",
        },
        Mutant {
            name: "forgets_tensors",
            from: "params.first == 0u && skip",
            to: "params.first == 2u && skip",
        },
        Mutant {
            name: "remembers_steps",
            from: "params.first == 0u && skip",
            to: "params.first != 2u && skip",
        },
        Mutant {
            name: "tells_the_host_nothing",
            from: "select(0.0, 1.0, skips)",
            to: "select(0.0, 0.0, skips)",
        },
    ],
};

/// 2^63, the first number whose square is too large to add up.
const LARGE: f32 = 9_223_372_036_854_775_808.0;

/// Lays the guard down over tensors, and what must come out. The skip flag starts as NaN.
fn lay(lab: &mut Lab, tensors: &[&[f32]], skips: bool) -> Result<()> {
    let floats = |(index, values): (usize, &&[f32])| lab.floats(&format!("x {index}"), values);
    let tensors: Vec<_> = tensors.iter().enumerate().map(floats).collect();
    let (skip, metrics) = (lab.output("skip", 1), lab.floats("metrics", &[0.5; WORDS]));
    skip_unless_finite(&mut lab.tape, &tensors, skip, metrics)?;
    lab.expect_ints("skip", skip, vec![i32::from(skips)]);
    let mut expected = vec![0.5; NAMES.len()];
    expected.push(f64::from(u8::from(skips)));
    lab.expect_rows("metrics", metrics, expected, 1, 0.0);
    Ok(())
}

/// What can and what cannot be used, each alone among ordinary numbers.
fn values(lab: &mut Lab) -> Result<()> {
    let below = f32::from_bits(LARGE.to_bits() - 1);
    let denormal = f32::from_bits(1);
    let signalling = f32::from_bits(0x7f80_0001);
    for value in [0.0, denormal, f32::MIN_POSITIVE, 65504.0, 65505.0, below] {
        for value in [value, -value] {
            lab.case(format!("usable {value:e}"));
            lay(lab, &[&[1.0, value, -1.0]], false)?;
        }
    }
    for value in [LARGE, f32::MAX, f32::INFINITY, f32::NAN, signalling] {
        for value in [value, -value] {
            lab.case(format!("unusable {:08x}", value.to_bits()));
            lay(lab, &[&[1.0, value, -1.0]], true)?;
        }
    }
    Ok(())
}

/// Odd sizes, none unusable, and then the first, the last and one in the middle.
fn places(lab: &mut Lab) -> Result<()> {
    for count in [1, 63, 64, 65, CHUNK - 1, CHUNK, CHUNK + 1, 66 * CHUNK + 77] {
        let mut values = lab.normal(count);
        lab.case(format!("{count} finite"));
        lay(lab, &[&values], false)?;
        for at in [0, count / 2, (CHUNK - 1).min(count - 1), count - 1] {
            lab.case(format!("{count}, not at {at}"));
            let kept = std::mem::replace(&mut values[at], f32::NAN);
            lay(lab, &[&values], true)?;
            values[at] = kept;
        }
    }
    Ok(())
}

/// Any of several tensors is enough.
fn several(lab: &mut Lab) -> Result<()> {
    let (finite, infinite) = ([1.0f32; 70], [f32::NEG_INFINITY; 3]);
    for at in 0..3 {
        lab.case(format!("tensor {at} of 3"));
        let mut tensors: [&[f32]; 3] = [&finite; 3];
        tensors[at] = &infinite;
        lay(lab, &tensors, true)?;
    }
    lab.case("none of 3");
    lay(lab, &[&finite[..]; 3], false)
}

type Outcome = std::result::Result<(), Failed>;
type Test = fn(&Device) -> Outcome;

/// Tests of whole steps and runs.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, Test); 4] = [
        ("an_infinite_weight_gradient_changes_nothing", infinite_weight_gradient),
        ("a_lost_embedding_changes_nothing", lost_embedding),
        ("a_lost_state_starts_anew", lost_state),
        ("a_lost_run_saves_nothing", lost_run),
    ];
    tests
        .into_iter()
        .flat_map(|(name, test)| on_each(&format!("finite::{name}"), Needs::Adapter, test))
        .collect()
}

fn check(what: &str, right: bool) -> Outcome {
    if right { Ok(()) } else { Err(what.into()) }
}

/// The bits of everything that an optimiser writes.
fn learnt(session: &mut Session) -> Result<Vec<Vec<i32>>> {
    let names = ["weights", "first_moment", "second_moment", "ema", "puzzle_emb"];
    names.iter().map(|name| session.run.read_ints(name)).collect()
}

/// Whether the last step was skipped and whether its loss is finite.
fn told(session: &mut Session) -> Result<(bool, bool)> {
    let block = session.run.read_floats("metrics")?;
    Ok((block[SKIPPED] != 0.0, block[..NAMES.len()].iter().all(|sum| sum.is_finite())))
}

/// Column 0 of all states is 0 exactly, and that of the LM head as large as numbers get, the rest of which is 0: the
/// logits are 0 and the loss is log V, but the gradient of the states overflows where a label is 0.
fn overflowing(config: &ModelConfig) -> Weights {
    let mut weights = weights(config);
    let width = config.arch.hidden_size;
    for param in &Params::of(config).table {
        let values = weights.get_mut(param);
        match param.name.rsplit('.').nth(1) {
            Some("o_proj" | "down_proj") => values[..param.elements() / width].fill(0.0),
            Some("lm_head") => {
                values.fill(0.0);
                values.iter_mut().step_by(width).for_each(|value| *value = -f32::MAX);
                values[0] = f32::MAX;
            }
            Some("puzzle_emb" | "embed_tokens") | None => {
                let row = param.shape.last().copied().unwrap_or(width);
                values
                    .chunks_mut(row)
                    .for_each(|row| row.iter_mut().step_by(width).for_each(|value| *value = 0.0));
            }
            Some(_) => {}
        }
    }
    weights
}

fn infinite_weight_gradient(device: &Device) -> Outcome {
    let config = small(ArchName::Trm);
    let mut session = Session::new(device, &config, 1)?;
    session.step(1)?;
    check("the first step is skipped", told(&mut session)? == (false, true))?;
    session.run.load(&overflowing(&config))?;
    let mut labels = vec![-100; config.seq_len];
    labels[0] = 0;
    session.run.write_ints("batch.labels", &labels)?;
    session.run.write_ints("carry.halted", &[1])?;
    let before = learnt(&mut session)?;
    session.run.submit()?;
    let gradients = session.run.read_floats("gradients")?;
    let largest = gradients.iter().map(|gradient| gradient.abs()).max_by(f32::total_cmp);
    check(
        &format!("a gradient of {largest:?} is none to test with"),
        largest.is_some_and(|g| !g.is_finite()),
    )?;
    check("not told, or told of the loss", told(&mut session)? == (true, true))?;
    check("weights, moments, averages or embeddings moved", learnt(&mut session)? == before)?;

    session.run.load(&weights(&config))?;
    session.run.write_ints("carry.halted", &[1])?;
    session.step(3)?;
    check("the step after is skipped, too", told(&mut session)? == (false, true))?;
    check("the step after changes nothing", learnt(&mut session)?.iter().zip(&before).all(|(a, b)| a != b))
}

/// A puzzle embedding that is NaN already makes the loss and all gradients so.
fn lost_embedding(device: &Device) -> Outcome {
    let config = small(ArchName::Trm);
    let mut session = Session::new(device, &config, 3)?;
    session.step(1)?;
    let table = session.run.read_floats("puzzle_emb")?;
    session.run.write_floats("puzzle_emb", &vec![f32::NAN; table.len()])?;
    session.run.write_ints("carry.halted", &[1; 3])?;
    let before = learnt(&mut session)?;
    session.step(2)?;
    check("not told", told(&mut session)? == (true, false))?;
    check("weights, moments, averages or embeddings moved", learnt(&mut session)? == before)
}

/// A sample whose states are lost costs one step: its slot takes the next sample.
fn lost_state(device: &Device) -> Outcome {
    for config in [small(ArchName::Trm), small_mixer()] {
        let mut session = Session::new(device, &config, 4)?;
        session.step(1)?;
        let mut states = session.run.read_floats("carry.state.H")?;
        let sample = states.len() / 4;
        states[2 * sample + 5] = f32::INFINITY;
        session.run.write_floats("carry.state.H", &states)?;
        session.run.write_ints("carry.halted", &[0; 4])?;
        let before = learnt(&mut session)?;
        session.step(2)?;
        check("the lost sample is not told", told(&mut session)? == (true, false))?;
        check("something moved", learnt(&mut session)? == before)?;
        check("the lost sample goes on", session.run.read_ints("carry.halted")?[2] == 1)?;
        session.step(3)?;
        check("the step after is lost, too", told(&mut session)? == (false, true))?;
    }
    Ok(())
}

/// What a run did.
#[derive(Default)]
struct Seen {
    skipped: Vec<bool>,
    saved: Vec<u64>,
    /// Stop once a step was seen.
    stops: bool,
}

impl Observer for Seen {
    fn laid_out(&mut self, _: &TrainSettings, _: u64) {}

    fn started(&mut self, _: u64, _: u64, _: u64, _: usize) -> Result<()> {
        Ok(())
    }
    fn step(&mut self, metrics: &StepMetrics) -> Result<()> {
        self.skipped.push(metrics.skipped);
        Ok(())
    }
    fn evaluated(&mut self, _: u64, _: usize, _: &Metrics, _: Option<&Score>) -> Result<()> {
        Ok(())
    }
    fn saved(&mut self, step: u64) -> Result<()> {
        self.saved.push(step);
        Ok(())
    }
    fn stop(&self) -> bool {
        self.stops && !self.skipped.is_empty()
    }
}

/// From finite weights whose loss is not: seven steps are skipped, the eighth ends the run, and no checkpoint is
/// written but the first one, neither when due nor when the run is stopped before. With frozen weights it is the same.
fn lost_run(device: &Device) -> Outcome {
    for (frozen, stops) in [(false, false), (false, true), (true, false)] {
        let freeze = format!("train.freeze_weights={frozen}");
        let (seen, message, checkpoints) =
            run_lost(device, &recipe(&["train.checkpoint_every=1", &freeze])?, stops)?;
        let start = if stops { "loss at step " } else { "loss at step 8: is " };
        let parts = [
            "; the largest weight is 3.403e38, in lm_head.weight; ",
            "`resume` goes on from step 0",
            "lower train.lr",
        ];
        check(&message, message.starts_with(start) && parts.iter().all(|part| message.contains(part)))?;
        let told = if stops { 1..8 } else { 7..8 };
        let skipped = told.contains(&seen.skipped.len()) && seen.skipped.iter().all(|&skipped| skipped);
        check(&format!("skipped {:?}", seen.skipped), skipped)?;
        check("saved", seen.saved.is_empty() && checkpoints == [0])?;
    }
    Ok(())
}

/// What was seen, what the error says, and the steps of the checkpoints in the run folder.
fn run_lost(
    device: &Device,
    recipe: &Recipe,
    stops: bool,
) -> std::result::Result<(Seen, String, Vec<u64>), Failed> {
    let ((folder, dataset), lost, out) = (data(12)?, tempfile::tempdir()?, tempfile::tempdir()?);
    let config = recipe.model(&dataset)?;
    let mut weights = Weights::fresh(&config, 1);
    let params = Params::of(&config);
    weights.get_mut(params.get("lm_head.weight").ok_or("no head")?).fill(f32::MAX);
    checkpoint::save(lost.path(), &config, &weights)?;
    let out = out.path().join("run");
    let options = RunOptions {
        init_from: Some(InitFrom { weights: lost.path(), reset_puzzle_emb: false }),
        ..RunOptions::new(recipe, folder.path(), &out, device)
    };
    let mut seen = Seen { stops, ..Seen::default() };
    match run(options, &mut seen) {
        Err(error @ Error::Numeric { .. }) => {
            let steps = Checkpoint::list(&out)?.iter().map(|checkpoint| checkpoint.step).collect();
            Ok((seen, error.to_string(), steps))
        }
        other => Err(format!("{other:?}").into()),
    }
}
