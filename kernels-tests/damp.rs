//! Damped, noisy updates and their reverse pass against f64.

use trm::Result;
use trm::ops::damp::{Damp, KERNEL};
use trm::ops::sum::gradient;
use trm::plan::{Shape, Target};

use crate::check::roundings;
use crate::harness::{KernelTests, Lab, Mutant, Needs, in_bf16, in_f16};
use crate::loss_reference::philox;

/// Tests and mutants of `damp`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[
        ("updates", updates),
        ("updates_in_f16", |lab| in_f16(lab, updates)),
        ("updates_in_bf16", |lab| in_bf16(lab, updates)),
        ("gradients_in_halves", gradients_in_halves),
    ],
    mutants: &[
        Mutant { name: "keeps_all_of_the_net", from: "(1.0 - params.damping)", to: "1.0" },
        Mutant { name: "keeps_the_old_whole", from: "params.damping * four_of_old", to: "four_of_old" },
        Mutant { name: "adds_no_noise", from: "params.noise > 0.0", to: "params.noise > 9.0" },
        Mutant { name: "draws_all_samples_alike", from: "draw.zw, params", to: "0u * draw.zw, params" },
        Mutant { name: "draws_for_all_seeds_alike", from: "gaussians(draw.xy", to: "gaussians(0u * draw.xy" },
        Mutant { name: "draws_for_all_updates_alike", from: "params.purpose))", to: "0u))" },
        Mutant { name: "forgets_the_second", from: "params.addends > 1u", to: "params.addends > 2u" },
        Mutant {
            name: "forgets_the_last_of_a_sample",
            from: "(params.per_sample + 3u) / 4u",
            to: "params.per_sample / 4u",
        },
        Mutant {
            name: "swaps_neighbours_in_halves",
            from: "narrowed_pair(values.xy",
            to: "narrowed_pair(values.yx",
        },
        Mutant { name: "scales_nothing", from: "params.damping * four_of_y", to: "four_of_y" },
    ],
};

/// NMSE of drawn numbers: WGSL lets sines be off by 2^-11, and logarithms by little.
pub const NORMAL: f64 = 2.4e-7;

/// The number at a place of a sample that is drawn by `words` for a purpose: Box-Muller on the words of Philox.
pub fn normals(words: &[i32; 4], purpose: u32, place: usize) -> f64 {
    let [low, high, sample, step] = words.map(|word| word as u32);
    let seed = u64::from(high) << 32 | u64::from(low);
    let drawn = philox(seed, [place as u32 / 4, sample, step, purpose]);
    let uniform = |word: u32| f64::from(word >> 8) / 16_777_216.0;
    let pair = place % 4 / 2 * 2;
    let radius = (-2.0 * (uniform(drawn[pair]) + 1.0 / 16_777_216.0).ln()).sqrt();
    let (sine, cosine) = (std::f64::consts::PI * (2.0 * uniform(drawn[pair + 1]) - 1.0)).sin_cos();
    radius * if place.is_multiple_of(2) { cosine } else { sine }
}

/// What each of `batch` samples is drawn by.
pub fn draws(lab: &mut Lab, batch: usize) -> Vec<[i32; 4]> {
    (0..batch).map(|_| std::array::from_fn(|_| lab.rng.next_u32() as i32)).collect()
}

/// An update with so many others added, and its reverse pass.
fn lay(lab: &mut Lab, shape: Shape, (damping, noise): (f32, f32), addends: usize) -> Result<()> {
    let Shape { batch, length, width } = shape;
    lab.case(format!("B {batch} L {length} D {width}, a {damping} s {noise}, {addends} others"));
    let (per_sample, purpose, words) = (length * width, 2 << 16 | 5, draws(lab, batch));
    let inputs: Vec<Vec<f32>> = (0..3 + addends).map(|_| lab.normal(shape.elements())).collect();
    let [old, y, dstate] = [&inputs[0], &inputs[1], &inputs[2]];
    // The old state as the carry has it, in f32; the rest as activations are.
    let stored: Vec<Vec<f32>> = inputs.iter().map(|input| lab.stored(input)).collect();
    let value = |at: usize| {
        let (old, y) = (f64::from(old[at]), f64::from(stored[1][at]));
        let drawn = normals(&words[at / per_sample], purpose, at % per_sample);
        f64::from(damping) * old + (1.0 - f64::from(damping)) * y + f64::from(noise) * drawn
    };
    let others = |at: usize| stored[3..].iter().map(|other| f64::from(other[at])).sum::<f64>();
    let state_expected: Vec<f64> = (0..shape.elements()).map(value).collect();
    let total_expected = (0..shape.elements()).map(|at| value(at) + others(at)).collect();

    let (old, y) = (lab.floats("old", old), lab.activation("y", y));
    let dstate_in = lab.floats("dstate", dstate);
    let draws = lab.ints("draws", words.as_flattened());
    let added: Vec<_> = inputs[3..].iter().enumerate().map(|(at, o)| (format!("other {at}"), o)).collect();
    let added: Vec<_> = added.iter().map(|(name, other)| lab.activation(name, other)).collect();
    lab.tape.require_grad(old);
    lab.tape.require_grad(y);
    lab.tape.record(true);
    let damp = Damp { shape, damping, noise, draws, purpose };
    let (state, total) = damp.push(&mut lab.tape, (old, y), None, &added)?;
    lab.tape.contribute(state, dstate_in);
    lab.tape.reverse()?;
    let (dy, dold) = (gradient(&mut lab.tape, y)?, gradient(&mut lab.tape, old)?);

    let share = |share: f32| dstate.iter().map(|d| f64::from(share) * f64::from(*d)).collect::<Vec<f64>>();
    let bound = roundings(8) + f64::from(noise) * NORMAL;
    lab.expect("state", state, state_expected, bound);
    assert_eq!((total.is_some(), dold.is_some()), (addends > 0, damping > 0.0));
    if let Some(total) = total {
        lab.expect("total", total, total_expected, bound);
    }
    lab.expect("dy", dy.expect("y wants a gradient"), share(1.0 - damping), roundings(2));
    if let Some(dold) = dold {
        lab.expect("dold", dold, share(damping), roundings(2));
    }
    Ok(())
}

fn updates(lab: &mut Lab) -> Result<()> {
    for (batch, length, width) in [(1, 1, 2), (3, 5, 7), (2, 7, 66), (3, 3, 6)] {
        if lab.halves() && width % 2 == 1 {
            continue;
        }
        for (damping, noise) in [(0.05, 0.01), (0.5, 0.0), (0.0, 1.0), (0.3, 0.3)] {
            for addends in 0..3 {
                lay(lab, Shape { batch, length, width }, (damping, noise), addends)?;
            }
        }
    }
    Ok(())
}

/// On matrix units gradients of activations are halves.
fn gradients_in_halves(lab: &mut Lab) -> Result<()> {
    in_f16(lab, |_| Ok(()))?;
    lab.tape.set_target(Target { matrices: Some(lab.cooperative), ..lab.tape.target() });
    lay(lab, Shape { batch: 3, length: 3, width: 6 }, (0.3, 0.3), 1)
}
