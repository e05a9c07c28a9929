//! What sets rollouts apart, against f64 and by what such draws must not share; and changes of latents against f64.

use trm::Result;
use trm::ops::rollout::{Disturbance, KERNEL, StateKind, disturb_state, measure_change};
use trm::plan::Shape;
use trm::rng::{philox, purpose};

use crate::check::roundings;
use crate::harness::{KernelTests, Lab, Mutant, Needs};

/// Tests and mutants of `rollout`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[("disturbed", disturbed), ("undisturbed", undisturbed), ("changes", changes)],
    mutants: &[
        Mutant {
            name: "forgets_the_rollout",
            from: "ROLLOUT | own.rollout",
            to: "ROLLOUT | (0u * own.rollout)",
        },
        Mutant {
            name: "forgets_the_puzzle",
            from: "own.example, own.step",
            to: "0u * own.example, own.step",
        },
        Mutant {
            name: "repeats_at_every_step",
            from: "own.example, own.step",
            to: "own.example, 0u * own.step",
        },
        Mutant {
            name: "repeats_in_every_state",
            from: "(params.state << 28u) |",
            to: "(0u * params.state) |",
        },
        Mutant {
            name: "repeats_in_every_position",
            from: "| block, own.example",
            to: "| (block % 2u), own.example",
        },
        Mutant {
            name: "takes_the_answer_for_a_latent",
            from: "select(own.answer, own.latent,",
            to: "select(own.latent, own.answer,",
        },
        Mutant { name: "keeps_everything", from: "own.keep * state[at]", to: "state[at]" },
        Mutant { name: "keeps_only_the_first_of_four", from: "scale * noise[lane]", to: "scale * noise[0]" },
        Mutant {
            name: "disturbs_the_undisturbed",
            from: "own.keep == 1.0 && scale == 0.0",
            to: "own.keep == 1.0 && scale < 0.0",
        },
        Mutant { name: "remembers_nothing", from: "previous[first + i] = now[first + i];", to: "" },
        Mutant { name: "sums_without_a_mean", from: "sqrt(sum / f32(params.per_sample))", to: "sqrt(sum)" },
        Mutant {
            name: "measures_the_first_sample",
            from: "let first = sample *",
            to: "let first = 0u * sample *",
        },
    ],
};

/// NMSE that WGSL allows sines, which are exact to 2^-11.
const SINES: f64 = 1e-6;

/// The draws of four elements.
fn normal(own: &Disturbance, state: u32, block: u32) -> [f64; 4] {
    let key = [own.seed as u32, (own.seed >> 32) as u32];
    let counter = [state << 28 | block, own.example, own.step, purpose::ROLLOUT | own.rollout];
    let uniform = philox(key, counter).map(|word| f64::from(word >> 8) / 16_777_216.0);
    let pair = |u: f64, turn: f64| {
        let radius = (-2.0 * (u + 1.0 / 16_777_216.0).ln()).sqrt();
        let angle = std::f64::consts::TAU * turn - std::f64::consts::PI;
        [radius * angle.cos(), radius * angle.sin()]
    };
    let [[a, b], [c, d]] = [pair(uniform[0], uniform[1]), pair(uniform[2], uniform[3])];
    [a, b, c, d]
}

/// Each slot by its own row; neighbours that differ in one number only draw other noise.
fn disturbed(lab: &mut Lab) -> Result<()> {
    let one = Disturbance {
        seed: 7 << 32 | 9,
        example: 5,
        rollout: 1,
        step: 2,
        keep: 1.0,
        latent: 0.5,
        answer: 2.0,
    };
    let rows = [
        one,
        Disturbance { seed: 9, ..one },
        Disturbance { example: 6, ..one },
        Disturbance { rollout: 2, ..one },
        Disturbance { step: 3, ..one },
        Disturbance { keep: 0.0, latent: 1.5, answer: 1.0, ..one },
    ];
    for (length, width) in [(1, 1), (3, 7), (5, 64), (9, 2)] {
        let shape = Shape { batch: rows.len(), length, width };
        for (number, latent) in [(0, false), (1, true), (6, true)] {
            lab.case(format!("L {length} D {width}, state {number}"));
            let before = lab.normal(shape.elements());
            let per_sample = length * width;
            let after = |at: usize| {
                let (own, element) = (&rows[at / per_sample], at % per_sample);
                let scale = f64::from(if latent { own.latent } else { own.answer });
                let e = normal(own, number as u32, (element / 4) as u32)[element % 4];
                f64::from(own.keep) * f64::from(before[at]) + scale * e
            };
            let expected = (0..shape.elements()).map(after).collect();
            let words: Vec<f32> = rows.iter().flat_map(Disturbance::words).map(f32::from_bits).collect();
            let (rollouts, state) = (lab.floats("rollouts", &words), lab.floats("state", &before));
            disturb_state(&mut lab.tape, shape, StateKind { number, latent }, rollouts, state)?;
            lab.expect_rows("state", state, expected, per_sample, SINES);
        }
    }
    Ok(())
}

/// Rows that disturb nothing leave every bit, of a negative zero too.
fn undisturbed(lab: &mut Lab) -> Result<()> {
    let shape = Shape { batch: 3, length: 2, width: 5 };
    lab.case("nothing to do");
    let rows = [
        Disturbance::NONE,
        Disturbance { answer: 1.0, rollout: 3, ..Disturbance::NONE },
        Disturbance { latent: f32::MIN_POSITIVE, ..Disturbance::NONE },
    ];
    let words: Vec<f32> = rows.iter().flat_map(Disturbance::words).map(f32::from_bits).collect();
    let mut before = lab.normal(shape.elements());
    before[..20].fill(-0.0);
    let (rollouts, state) = (lab.floats("rollouts", &words), lab.floats("state", &before));
    disturb_state(&mut lab.tape, shape, StateKind { number: 1, latent: true }, rollouts, state)?;
    lab.expect_ints("state", state, before.iter().map(|value| value.to_bits() as i32).collect());
    Ok(())
}

fn changes(lab: &mut Lab) -> Result<()> {
    for (batch, length, width) in [(1, 1, 1), (3, 5, 7), (2, 13, 64)] {
        let shape = Shape { batch, length, width };
        lab.case(format!("B {batch} L {length} D {width}"));
        let (before, after) = (lab.normal(shape.elements()), lab.normal(shape.elements()));
        let moved = |sample: usize| {
            let elements = sample * length * width..(sample + 1) * length * width;
            let squares = elements.map(|at| (f64::from(after[at]) - f64::from(before[at])).powi(2));
            (squares.sum::<f64>() / (length * width) as f64).sqrt()
        };
        let expected = (0..batch).map(moved).collect();
        let (now, previous) = (lab.floats("now", &after), lab.floats("previous", &before));
        let changes = lab.output("changes", batch);
        measure_change(&mut lab.tape, shape, now, previous, changes)?;
        lab.expect_rows("changes", changes, expected, 1, roundings(length * width + 4));
        lab.expect_exactly("previous", previous, after.iter().copied().map(f64::from).collect());
    }
    Ok(())
}
