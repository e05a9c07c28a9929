//! Muon against f64: momentum, norm, five iterations by plain loops, the step.

use trm::Result;
use trm::model::Clock;
use trm::ops::adam_atan2::Moments;
use trm::ops::muon::{KERNEL, Muon};

use crate::harness::{KernelTests, Lab, Mutant, Needs};

/// Tests and mutants of `muon`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[("matrices", matrices), ("no_gradient", no_gradient), ("skipped", skipped)],
    mutants: &[
        Mutant { name: "has_no_momentum", from: "params.p * moment[at] + g", to: "0.0 * moment[at] + g" },
        Mutant { name: "does_not_look_ahead", from: "g + params.p * m;", to: "m;" },
        Mutant { name: "norms_one_block", from: "at < params.blocks; at += 64u", to: "at < 1u; at += 64u" },
        Mutant { name: "divides_by_the_square", from: "inverseSqrt(total)", to: "1.0 / total" },
        Mutant {
            name: "divides_by_nothing",
            from: "select(0.0, inverseSqrt(total), total > 0.0)",
            to: "inverseSqrt(total)",
        },
        Mutant { name: "blends_one_alone", from: "params.q * other[at]", to: "0.0 * other[at]" },
        Mutant { name: "does_not_decay", from: "(1.0 - clock.lr * params.weight_decay)", to: "1.0" },
        Mutant { name: "climbs", from: "- clock.lr * params.q", to: "+ clock.lr * params.q" },
        Mutant { name: "averages_nothing", from: "params.p * ema[at]", to: "0.0 * ema[at]" },
        Mutant { name: "moves_though_it_is_skipped", from: "|| skip[0] != 0u", to: "|| skip[0] > 1u" },
        Mutant { name: "remembers_what_is_skipped", from: "if skip[0] == 0u {", to: "if skip[0] < 2u {" },
    ],
};

const LR: f32 = 0.02;
const DECAY: f32 = 0.1;
const EMA_RATE: f32 = 0.75;

/// NMSE: directions that the gradient hardly has grow by up to 3.4445^5 = 485, and so do their roundings.
const BOUND: f64 = 1e-8;

/// (rows, inner) times (inner, columns).
fn times(a: &[f64], b: &[f64], inner: usize) -> Vec<f64> {
    let (rows, columns) = (a.len() / inner, b.len() / inner);
    let element = |at: usize| {
        let (row, column) = (at / columns, at % columns);
        (0..inner).map(|k| a[row * inner + k] * b[k * columns + column]).sum()
    };
    (0..rows * columns).map(element).collect()
}

fn transposed(a: &[f64], columns: usize) -> Vec<f64> {
    let rows = a.len() / columns;
    (0..a.len()).map(|at| a[at % rows * columns + at / rows]).collect()
}

/// What U (rows, columns) is after five iterations, always on the side of the rows.
fn orthogonalised(u: &[f64], columns: usize) -> Vec<f64> {
    let (rows, norm) = (u.len() / columns, u.iter().map(|u| u * u).sum::<f64>().sqrt());
    let mut x: Vec<f64> = u.iter().map(|u| if norm > 0.0 { u / norm } else { 0.0 }).collect();
    for _ in 0..5 {
        let gram = times(&x, &transposed(&x, columns), columns);
        let square = times(&gram, &gram, rows);
        let factor: Vec<f64> = gram.iter().zip(&square).map(|(a, aa)| -4.7750 * a + 2.0315 * aa).collect();
        let product = times(&factor, &x, rows);
        x = x.iter().zip(product).map(|(x, product)| 3.4445 * x + product).collect();
    }
    x
}

/// An update of one matrix from gradients about `size`.
fn lay(lab: &mut Lab, (rows, columns): (usize, usize), size: f32, skip: bool) -> Result<()> {
    lab.case(format!("{rows} x {columns}, gradients about {size}, skipped {skip}"));
    let count = rows * columns;
    let mut gradient: Vec<f32> = lab.normal(count).iter().map(|g| size * g).collect();
    let moment: Vec<f32> = lab.normal(count).iter().map(|m| size * m).collect();
    let (weight, ema, second) = (lab.normal(count), lab.normal(count), lab.normal(count));
    if skip {
        gradient[count / 2] = f32::NAN;
    }
    let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
    let (mut moment_after, mut weight_after, mut ema_after) = (wide(&moment), wide(&weight), wide(&ema));
    if !skip {
        let mut ahead = Vec::new();
        for (moment, &gradient) in moment_after.iter_mut().zip(&gradient) {
            let share = f64::from(1.0 - 0.95f32) * f64::from(gradient);
            *moment = f64::from(0.95f32) * *moment + share;
            ahead.push(share + f64::from(0.95f32) * *moment);
        }
        let step = f64::from(LR) * 0.2 * (rows.max(columns) as f64).sqrt();
        let x = orthogonalised(&ahead, columns);
        let rate = f64::from(EMA_RATE);
        for ((weight, ema), x) in weight_after.iter_mut().zip(&mut ema_after).zip(x) {
            *weight = *weight * (1.0 - f64::from(LR) * f64::from(DECAY)) - step * x;
            *ema = rate * *ema + (1.0 - rate) * *weight;
        }
    }
    let clock = Clock {
        step: 3,
        lr: LR,
        puzzle_emb_lr: f32::NAN,
        betas: (0.9, 0.95),
        seed: 0,
        first_sample: 0,
        most_steps: u32::MAX,
    };
    let clock = lab.ints("clock", &clock.words().map(|word| word as i32));
    let flag = lab.ints("skip", &[i32::from(skip)]);
    let tensors = Moments {
        gradient: lab.floats("gradient", &gradient),
        weight: lab.floats("weight", &weight),
        first_moment: lab.floats("first_moment", &moment),
        second_moment: lab.floats("second_moment", &second),
        ema: lab.floats("ema", &ema),
    };
    Muon { rows, columns, weight_decay: DECAY, ema_rate: EMA_RATE }.push(
        &mut lab.tape,
        clock,
        flag,
        tensors,
    )?;
    let bound = if skip { 0.0 } else { BOUND };
    lab.expect("first_moment", tensors.first_moment, moment_after, bound);
    lab.expect("weight", tensors.weight, weight_after, bound);
    lab.expect("ema", tensors.ema, ema_after, bound);
    Ok(())
}

/// More rows than columns and fewer, of one block of elements and of several.
fn matrices(lab: &mut Lab) -> Result<()> {
    for sizes in [(1, 1), (1, 5), (4, 4), (7, 3), (3, 66), (130, 65), (97, 160)] {
        lay(lab, sizes, 1.0, false)?;
        lay(lab, sizes, 1e-6, false)?;
    }
    Ok(())
}

/// Without any gradient there is no direction: the weights decay.
fn no_gradient(lab: &mut Lab) -> Result<()> {
    lay(lab, (5, 3), 0.0, false)
}

/// Nothing moves where the step is skipped.
fn skipped(lab: &mut Lab) -> Result<()> {
    lay(lab, (5, 3), 1.0, true)
}
