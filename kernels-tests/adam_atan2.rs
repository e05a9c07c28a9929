//! AdamATan2 and the moving average against f64, with the corners of atan2.

use trm::Result;
use trm::model::Clock;
use trm::ops::adam_atan2::{AdamAtan2, KERNEL, Moments};

use crate::check::roundings;
use crate::harness::{KernelTests, Lab, Mutant, Needs};

/// Tests and mutants of `adam_atan2`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[
        ("sizes_and_steps", sizes_and_steps),
        ("corners_of_atan2", corners_of_atan2),
        ("skipped", skipped),
    ],
    mutants: &[
        Mutant {
            name: "drops_the_decay",
            from: "(1.0 - clock.lr * params.weight_decay)",
            to: "(1.0 - 0.0 * clock.lr * params.weight_decay)",
        },
        Mutant {
            name: "corrects_inside",
            from: "atan2_right(m, sqrt(v)",
            to: "atan2_right(m * clock.first_moment_scale, sqrt(v)",
        },
        Mutant {
            name: "climbs",
            from: "- clock.lr * clock.first_moment_scale",
            to: "+ clock.lr * clock.first_moment_scale",
        },
        Mutant { name: "forgets_the_root", from: "sqrt(v) * clock", to: "v * clock" },
        Mutant {
            name: "averages_the_gradient",
            from: "(1.0 - params.ema_rate) * w;",
            to: "(1.0 - params.ema_rate) * g;",
        },
        Mutant {
            name: "squares_nothing",
            from: "(1.0 - params.beta2) * g * g",
            to: "(1.0 - params.beta2) * g",
        },
        Mutant { name: "loses_the_sign", from: "select(angle, -angle, y < 0.0)", to: "angle" },
        Mutant {
            name: "divides_zero_by_zero",
            from: "if a == 0.0 {\n        return 0.0;",
            to: "if a < 0.0 {\n        return 0.0;",
        },
        Mutant { name: "applies_what_is_skipped", from: "skip[0] != 0u", to: "skip[0] == 7u" },
        Mutant { name: "folds_too_late", from: "a > 2.414213562373095 * x", to: "a > 24.14213562373095 * x" },
    ],
};

const BETAS: (f64, f64) = (0.9, 0.95);

#[derive(Clone, Copy)]
struct Setting {
    step: u32,
    lr: f32,
    weight_decay: f32,
    skip: bool,
}

/// One weight: gradient, weight, m, v, average.
type State = [f32; 5];

/// The release's update of one weight in f64, from the f32 constants that the kernel gets: (w, m, v, average).
fn reference(setting: Setting, constants: &AdamAtan2, state: State) -> [f64; 4] {
    let [g, w, m, v, ema] = state.map(f64::from);
    let (beta1, beta2) = (f64::from(constants.beta1), f64::from(constants.beta2));
    let (lr, decay) = (f64::from(setting.lr), f64::from(setting.weight_decay));
    let m = beta1 * m + (1.0 - beta1) * g;
    let v = beta2 * v + (1.0 - beta2) * g * g;
    let corrected = |beta: f64| 1.0 - beta.powi(setting.step as i32);
    let direction = m.atan2(v.sqrt() / corrected(BETAS.1).sqrt());
    let w = w * (1.0 - lr * decay) - lr / corrected(BETAS.0) * direction;
    let rate = f64::from(constants.ema_rate);
    [w, m, v, rate * ema + (1.0 - rate) * w]
}

/// Each `row` weights are compared by themselves.
fn lay(lab: &mut Lab, setting: Setting, states: &[State], row: usize, bound: f64) -> Result<()> {
    let adam = AdamAtan2 {
        beta1: BETAS.0 as f32,
        beta2: BETAS.1 as f32,
        weight_decay: setting.weight_decay,
        ema_rate: 0.999,
    };
    let Setting { step, lr, .. } = setting;
    let clock = Clock {
        step,
        lr,
        puzzle_emb_lr: f32::NAN,
        betas: BETAS,
        seed: 0,
        first_sample: 0,
        most_steps: u32::MAX,
    };
    let clock = lab.ints("clock", &clock.words().map(|word| word as i32));
    let mut column = |name: &str, index: usize| {
        let values: Vec<f32> = states.iter().map(|state| state[index]).collect();
        lab.floats(name, &values)
    };
    let tensors = Moments {
        gradient: column("gradient", 0),
        weight: column("weight", 1),
        first_moment: column("first_moment", 2),
        second_moment: column("second_moment", 3),
        ema: column("ema", 4),
    };
    let skip = lab.ints("skip", &[i32::from(setting.skip)]);
    adam.push(&mut lab.tape, clock, skip, tensors)?;
    let expected = |&state: &State| match setting.skip {
        true => [state[1], state[2], state[3], state[4]].map(f64::from),
        false => reference(setting, &adam, state),
    };
    let expected: Vec<[f64; 4]> = states.iter().map(expected).collect();
    let outputs = [tensors.weight, tensors.first_moment, tensors.second_moment, tensors.ema];
    for (index, (name, tensor)) in
        ["weight", "first_moment", "second_moment", "ema"].iter().zip(outputs).enumerate()
    {
        let values = expected.iter().map(|values| values[index]).collect();
        lab.expect_rows(name, tensor, values, row, bound);
    }
    Ok(())
}

/// About a dozen operations, of which the angle's quotient and polynomial take eight.
const BOUND: usize = 16;

/// Step 1 has the largest corrections. At 1e-3 the weights move by much more than they are.
fn sizes_and_steps(lab: &mut Lab) -> Result<()> {
    for (count, step, scale) in [(1, 1, 1.0), (63, 2, 1e-3), (64, 7, 1.0), (65, 1000, 1e-3), (1009, 3, 1.0)] {
        lab.case(format!("{count} weights, step {step}"));
        let setting = Setting { step, lr: 0.05, weight_decay: 0.1, skip: false };
        let draws = lab.normal(5 * count);
        let states: Vec<State> =
            draws.chunks(5).map(|d| [d[0], scale * d[1], 0.1 * d[2], 0.01 * d[3] * d[3], d[4]]).collect();
        lay(lab, setting, &states, count, roundings(BOUND))?;
    }
    Ok(())
}

/// Nothing moves where the step is skipped, gradients that are not finite or not.
fn skipped(lab: &mut Lab) -> Result<()> {
    lab.case("skipped");
    let mut states: Vec<State> =
        lab.normal(5 * 65).chunks(5).map(|d| [d[0], d[1], d[2], d[3], d[4]]).collect();
    (states[3][0], states[64][0]) = (f32::NAN, f32::INFINITY);
    lay(lab, Setting { step: 2, lr: 0.05, weight_decay: 0.1, skip: true }, &states, 1, 0.0)
}

/// Directions alone, weight by weight: 0 for atan2(0, 0), both quadrants, both sides of each fold, huge ratios.
fn corners_of_atan2(lab: &mut Lab) -> Result<()> {
    lab.case("corners");
    let mut states = Vec::new();
    for m in [0.0, 1e-18, 1e-6, 0.4, 0.42, 1.0, 2.4, 2.43, 1e10] {
        for v in [0.0, 1e-30, 1e-8, 1.0, 1e25] {
            states.extend([[0.0, 0.0, m, v, 0.0], [0.0, 0.0, -m, v, 0.0]]);
        }
    }
    // A late step, so that the corrections are 1 and the moments' ratio is what atan2 sees, but for the decays.
    let setting = Setting { step: 10_000, lr: 1.0, weight_decay: 0.0, skip: false };
    lay(lab, setting, &states, 1, roundings(BOUND))
}
