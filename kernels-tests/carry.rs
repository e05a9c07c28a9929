//! The carry's resets: exact copies, or random states, where a slot has halted, nothing elsewhere.

use trm::Result;
use trm::ops::carry::{KERNEL, Samples, draw_state_where, reset_state_where, take_samples_where};
use trm::plan::Shape;

use crate::damp::{NORMAL, draws, normals};
use crate::harness::{KernelTests, Lab, Mutant, Needs};

/// Tests and mutants of `carry`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[
        ("states", states),
        ("samples", samples),
        ("random_states", random_states),
        ("folded_grid", folded_grid),
    ],
    mutants: &[
        Mutant { name: "misses_the_fold", from: "workgroup.y * 65535u", to: "workgroup.y * 65536u" },
        Mutant {
            name: "resets_the_running",
            from: "halted[index / params.per_sample] != 0u {",
            to: "halted[index / params.per_sample] == 0u {",
        },
        Mutant {
            name: "resets_to_one_value",
            from: "initial[index % params.width]",
            to: "initial[0u * params.width]",
        },
        Mutant { name: "draws_the_running", from: "|| halted[sample] == 0u", to: "|| halted[sample] != 0u" },
        Mutant { name: "draws_all_samples_alike", from: "draw.zw, params", to: "0u * draw.zw, params" },
        Mutant { name: "draws_all_states_alike", from: "draw.zw, params.purpose", to: "draw.zw, 0u" },
        Mutant { name: "draws_one_number_of_four", from: "= numbers[i]", to: "= numbers[0]" },
        Mutant {
            name: "takes_cosines_twice",
            from: "radii.x * sin(angles.x)",
            to: "radii.x * cos(angles.x)",
        },
        Mutant {
            name: "takes_for_the_running",
            from: "halted[index / params.per_sample] == 0u",
            to: "halted[index / params.per_sample] != 0u",
        },
        Mutant {
            name: "labels_with_inputs",
            from: "labels[index] = incoming_labels[index]",
            to: "labels[index] = incoming_inputs[index] + 0u * incoming_labels[0]",
        },
        Mutant {
            name: "keeps_identifiers",
            from: "index % params.per_sample == 0u {",
            to: "index % params.per_sample == 1u {",
        },
    ],
};

fn states(lab: &mut Lab) -> Result<()> {
    for (batch, length, width) in [(1, 1, 2), (3, 5, 7), (5, 13, 65), (64, 1, 1)] {
        let halted = lab.below(batch, 2);
        lay_state(lab, Shape { batch, length, width }, &halted)?;
    }
    Ok(())
}

/// More workgroups of 64 threads than one grid dimension takes (65,535): the grid folds into y.
fn folded_grid(lab: &mut Lab) -> Result<()> {
    lay_state(lab, Shape { batch: 2, length: 65_536, width: 33 }, &[0, 1])
}

fn lay_state(lab: &mut Lab, shape: Shape, halted: &[i32]) -> Result<()> {
    let Shape { batch, length, width } = shape;
    lab.case(format!("B {batch} L {length} D {width}"));
    let (initial, state) = (lab.normal(width), lab.normal(shape.elements()));
    let expected: Vec<f64> = (0..shape.elements())
        .map(|at| if halted[at / (length * width)] != 0 { initial[at % width] } else { state[at] })
        .map(f64::from)
        .collect();
    let (flags, initial) = (lab.ints("halted", halted), lab.floats("initial", &initial));
    let tensor = lab.floats("state", &state);
    reset_state_where(&mut lab.tape, shape, flags, initial, tensor)?;
    lab.expect("state", tensor, expected, 0.0);
    Ok(())
}

/// Numbers by the sample's words, the purpose and the place, whatever the slot.
fn random_states(lab: &mut Lab) -> Result<()> {
    for (batch, length, width) in [(1, 1, 2), (3, 5, 7), (5, 13, 66)] {
        for (deviation, purpose) in [(1.0, 1 << 16), (0.25, 3)] {
            lab.case(format!("B {batch} L {length} D {width}, {deviation} for {purpose}"));
            let shape = Shape { batch, length, width };
            let (halted, state) = (lab.below(batch, 2), lab.normal(shape.elements()));
            let words = draws(lab, batch);
            let sample = |at: usize| at / (length * width);
            let drawn = |at: usize| match halted[sample(at)] {
                0 => f64::from(state[at]),
                _ => f64::from(deviation) * normals(&words[sample(at)], purpose, at % (length * width)),
            };
            let expected = (0..state.len()).map(drawn).collect();
            let (flags, draws) = (lab.ints("halted", &halted), lab.ints("draws", words.as_flattened()));
            let tensor = lab.floats("state", &state);
            draw_state_where(&mut lab.tape, shape, flags, draws, (deviation, purpose), tensor)?;
            lab.expect("state", tensor, expected, NORMAL);
        }
    }
    Ok(())
}

fn samples(lab: &mut Lab) -> Result<()> {
    for (batch, seq_len) in [(1, 1), (3, 81), (67, 2), (4, 64)] {
        lab.case(format!("B {batch} S {seq_len}"));
        let halted = lab.below(batch, 2);
        let flags = lab.ints("halted", &halted);
        let mut sample = |name: &str, count: usize| {
            let (from, to) = (lab.below(count, 1000), lab.below(count, 1000));
            let tensors = (lab.ints(&format!("incoming {name}"), &from), lab.ints(name, &to));
            let taken = |at: usize| if halted[at * batch / count] != 0 { from[at] } else { to[at] };
            (tensors, (0..count).map(taken).collect::<Vec<i32>>())
        };
        let (inputs, inputs_expected) = sample("inputs", batch * seq_len);
        let (labels, labels_expected) = sample("labels", batch * seq_len);
        let (identifiers, identifiers_expected) = sample("identifiers", batch);
        let incoming = Samples { inputs: inputs.0, labels: labels.0, identifiers: identifiers.0 };
        let running = Samples { inputs: inputs.1, labels: labels.1, identifiers: identifiers.1 };
        take_samples_where(&mut lab.tape, (batch, seq_len), flags, incoming, running)?;
        lab.expect_ints("inputs", running.inputs, inputs_expected);
        lab.expect_ints("labels", running.labels, labels_expected);
        lab.expect_ints("identifiers", running.identifiers, identifiers_expected);
    }
    Ok(())
}
