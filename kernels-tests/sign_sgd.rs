//! Sign-SGD of puzzle embeddings against f64: repeated identifiers, rows that nobody used, sums that are zero.

use trm::Result;
use trm::model::Clock;
use trm::ops::sign_sgd::{KERNEL, SignSgd};
use trm::plan::align;

use crate::check::roundings;
use crate::harness::{KernelTests, Lab, Mutant, Needs};

/// Tests and mutants of `sign_sgd`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[("rows", rows), ("skipped", skipped)],
    mutants: &[
        Mutant { name: "takes_the_last_gradient", from: "g += rows", to: "g = rows" },
        Mutant { name: "moves_once_per_slot", from: "first && other >= slot", to: "true" },
        Mutant {
            name: "drops_the_decay",
            from: "(1.0 - lr * params.weight_decay)",
            to: "(1.0 - 0.0 * params.weight_decay)",
        },
        Mutant { name: "moves_by_the_gradient", from: "lr * sign(g)", to: "lr * g" },
        Mutant { name: "climbs", from: "- lr * sign(g)", to: "+ lr * sign(g)" },
        Mutant { name: "applies_what_is_skipped", from: "skip[0] != 0u", to: "skip[0] == 7u" },
        Mutant { name: "takes_the_weights_lr", from: "clock.puzzle_emb_lr", to: "clock.lr" },
        Mutant { name: "knows_one_part", from: "params.row_stride)", to: "0u)" },
    ],
};

const LR: f32 = 0.01;
const WEIGHT_DECAY: f32 = 0.1;

fn reference(table: &[f32], identifiers: &[i32], rows: &[f32], emb_ndim: usize) -> Vec<f64> {
    let (lr, decay) = (f64::from(LR), f64::from(WEIGHT_DECAY));
    let element = |at: usize| {
        let value = f64::from(table[at]);
        let slots = identifiers.iter().enumerate().filter(|(_, id)| **id as usize == at / emb_ndim);
        let gradients: Vec<f64> =
            slots.map(|(slot, _)| f64::from(rows[slot * emb_ndim + at % emb_ndim])).collect();
        let sum: f64 = gradients.iter().sum();
        let sign = if sum == 0.0 { 0.0 } else { sum.signum() };
        if gradients.is_empty() { value } else { value * (1.0 - lr * decay) - lr * sign }
    };
    (0..table.len()).map(element).collect()
}

/// `values` as a buffer holds them that has a part for each `words` of them.
pub fn parted<T: Copy + Default>(values: &[T], words: usize) -> Vec<T> {
    let gap = vec![T::default(); align(words) - words];
    let parts = values.chunks(words).flat_map(|part| [part, &gap]);
    let parts = parts.collect::<Vec<_>>().concat();
    // The last part needs no gap behind it.
    parts[..parts.len() - gap.len()].to_vec()
}

fn rows(lab: &mut Lab) -> Result<()> {
    for (batch, micro_batch, emb_ndim, ids) in [
        (1, 1, 1, 1),
        (1, 1, 3, 5),
        (7, 7, 65, 4),
        (64, 64, 2, 9),
        (5, 5, 130, 1000),
        (9, 3, 65, 4),
        (140, 70, 2, 9),
    ] {
        lab.case(format!("B {batch} in {micro_batch}s, width {emb_ndim} of {ids} rows"));
        let identifiers = lab.below(batch, ids);
        let (table, mut gradients) = (lab.normal(ids * emb_ndim), lab.normal(batch * emb_ndim));
        // A gradient of zero moves nothing; two that cancel move nothing either.
        gradients[0] = 0.0;
        if let Some(twin) = (1..batch).find(|&slot| identifiers[slot] == identifiers[0]) {
            for slot in 0..batch {
                if identifiers[slot] == identifiers[0] {
                    gradients[slot * emb_ndim] = 0.0;
                }
            }
            (gradients[0], gradients[twin * emb_ndim]) = (0.75, -0.75);
        }
        let expected = reference(&table, &identifiers, &gradients, emb_ndim);
        let clock = Clock {
            step: 1,
            lr: 0.5,
            puzzle_emb_lr: LR,
            betas: (0.9, 0.95),
            seed: 0,
            first_sample: 0,
            most_steps: u32::MAX,
        };
        let clock = lab.ints("clock", &clock.words().map(|word| word as i32));
        let sgd = SignSgd {
            batch,
            micro_batch,
            emb_ndim,
            weight_decay: WEIGHT_DECAY,
            identifiers: lab.ints("identifiers", &parted(&identifiers, micro_batch)),
            rows: lab.floats("rows", &parted(&gradients, micro_batch * emb_ndim)),
            first_identifier: 0,
            puzzle_emb: lab.floats("puzzle_emb", &table),
            skip: lab.ints("skip", &[0]),
        };
        sgd.push(&mut lab.tape, clock)?;
        // Four operations an element; a flipped sign or a second move is 1e10 times as much.
        lab.expect("puzzle_emb", sgd.puzzle_emb, expected, roundings(4));
    }
    Ok(())
}

/// Nothing moves where the step is skipped, whatever the gradients.
fn skipped(lab: &mut Lab) -> Result<()> {
    lab.case("skipped");
    let table = lab.normal(3 * 5);
    let clock = Clock {
        step: 1,
        lr: 0.5,
        puzzle_emb_lr: LR,
        betas: (0.9, 0.95),
        seed: 0,
        first_sample: 0,
        most_steps: u32::MAX,
    };
    let clock = lab.ints("clock", &clock.words().map(|word| word as i32));
    let sgd = SignSgd {
        batch: 2,
        micro_batch: 2,
        emb_ndim: 5,
        weight_decay: WEIGHT_DECAY,
        identifiers: lab.ints("identifiers", &[0, 2]),
        rows: lab.floats("rows", &[1.0, f32::NAN, f32::INFINITY, -1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        first_identifier: 0,
        puzzle_emb: lab.floats("puzzle_emb", &table),
        skip: lab.ints("skip", &[1]),
    };
    sgd.push(&mut lab.tape, clock)?;
    lab.expect("puzzle_emb", sgd.puzzle_emb, table.iter().map(|&value| f64::from(value)).collect(), 0.0);
    Ok(())
}
