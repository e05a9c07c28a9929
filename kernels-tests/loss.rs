//! The loss against f64: extreme logits, ignored labels, both heads, halting with exploration, predictions.

use trm::Result;
use trm::model::Clock;
use trm::ops::loss::{KERNEL, Loss};
use trm::plan::{Shape, Tensor};

use crate::check::roundings;
use crate::harness::{KernelTests, Lab, Mutant, Needs};
use crate::loss_reference::{Sample, Sizes, reference};

/// Tests and mutants of `loss`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[
        ("shapes", shapes),
        ("extreme_logits", extreme_logits),
        ("ignored_labels", ignored_labels),
        ("halting", halting),
        ("exploration", exploration),
        ("smoothed_labels", smoothed_labels),
        ("fewer_steps_by_now", fewer_steps_by_now),
        ("equal_logits", equal_logits),
        ("lost_samples", lost_samples),
    ],
    mutants: &[
        Mutant {
            name: "softens_the_kink",
            from: "v >= 0.0);\n}\n\nfn softplus",
            to: "v > 0.5);\n}\n\nfn softplus",
        },
        Mutant {
            name: "slope_of_the_other_branch",
            from: "select(s * s, 1.0, logits",
            to: "select(s, 1.0, logits",
        },
        Mutant {
            name: "forgets_the_mean",
            from: "params.inverse_batch / max(count, 1.0)",
            to: "params.inverse_batch",
        },
        Mutant {
            name: "counts_ignored_labels",
            from: "select(0.0, 1.0, labels[sample * positions + s] != IGNORE)",
            to: "1.0",
        },
        Mutant {
            name: "takes_the_last_of_equals",
            from: "> logits[base + result.best]",
            to: ">= logits[base + result.best]",
        },
        Mutant {
            name: "forgets_the_prefix",
            from: "+ params.prefix + s) * params.vocab",
            to: "+ s) * params.vocab",
        },
        Mutant { name: "halts_at_zero", from: "heads.x > select", to: "heads.x >= select" },
        Mutant {
            name: "never_compares_the_heads",
            from: "params.compare_continue != 0u",
            to: "params.compare_continue > 1u",
        },
        Mutant {
            name: "explores_by_sample_only",
            from: "vec4<u32>(clock.step, clock",
            to: "vec4<u32>(0u * clock.step, clock",
        },
        Mutant { name: "explores_alike_in_all_parts", from: "clock.first_sample + sample", to: "sample" },
        Mutant { name: "explores_one_step_less", from: "minimum = 2u + draw.y", to: "minimum = 1u + draw.y" },
        Mutant { name: "nine_rounds_of_philox", from: "round < 10u", to: "round < 9u" },
        Mutant { name: "drops_the_carries", from: "(cross_a & 0xffffu);", to: "(cross_a & 0u);" },
        Mutant {
            name: "never_restarts",
            from: "select(steps[sample], 0u, halted[sample] != 0u)",
            to: "select(steps[sample], 0u, halted[sample] > 1u)",
        },
        Mutant {
            name: "worth_of_the_last_step",
            from: "select(max(next.x, next.y), next.x, step_count",
            to: "select(max(next.x, next.y), next.y, step_count",
        },
        Mutant {
            name: "whole_bce",
            from: "return 0.5 * params.inverse_batch",
            to: "return params.inverse_batch",
        },
        Mutant { name: "goes_on_with_the_lost", from: "halted[sample] = 1u;", to: "halted[sample] = 0u;" },
        Mutant {
            name: "spreads_without_taking",
            from: "1.0 - params.smoothing + spread",
            to: "1.0 + spread",
        },
        Mutant {
            name: "loses_the_label_unsmoothed",
            from: "if params.smoothing > 0.0 {",
            to: "if params.smoothing > 1.0 {",
        },
        Mutant {
            name: "knows_no_curriculum",
            from: "min(params.max_steps, clock.most_steps)",
            to: "min(params.max_steps, max(clock.most_steps, 99u))",
        },
        Mutant { name: "leaves_dq_unwritten", from: "if l > 0u {", to: "if l > 1u {" },
    ],
};

/// What a loss is about: the inputs of all samples.
struct Inputs {
    logits: Vec<f32>,
    q: Vec<f32>,
    q_next: Option<Vec<f32>>,
    labels: Vec<i32>,
    steps: Vec<i32>,
    halted: Vec<i32>,
}

/// Random logits about the kink, a third of the labels ignored.
fn draw(lab: &mut Lab, sizes: &Sizes, with_continue: bool) -> Inputs {
    let positions = sizes.batch * (sizes.length - sizes.prefix);
    let mut labels = lab.below(positions, sizes.vocab);
    for label in &mut labels {
        if lab.rng.below(3) == 0 {
            *label = -100;
        }
    }
    Inputs {
        logits: lab.normal(sizes.batch * sizes.length * sizes.vocab).iter().map(|v| 2.0 * v).collect(),
        q: lab.normal(sizes.batch * sizes.length * 2),
        q_next: with_continue.then(|| lab.normal(sizes.batch * sizes.length * 2)),
        labels,
        steps: lab.below(sizes.batch, sizes.max_steps + 1),
        halted: lab.below(sizes.batch, 2),
    }
}

struct Tensors {
    loss: Loss,
    dlogits: Tensor,
    dq: Tensor,
}

fn tensors(lab: &mut Lab, sizes: &Sizes, inputs: &Inputs) -> Tensors {
    let Sizes { batch, length, prefix, vocab, max_steps, .. } = *sizes;
    let clock = Clock {
        step: sizes.step,
        lr: 0.0,
        puzzle_emb_lr: 0.0,
        betas: (0.9, 0.95),
        seed: sizes.seed,
        first_sample: sizes.first_sample,
        most_steps: sizes.most_steps,
    };
    let loss = Loss {
        shape: Shape { batch, length, width: 1 },
        prefix,
        vocab,
        halt_max_steps: max_steps,
        compare_continue: sizes.compare_continue,
        halt_exploration_prob: sizes.explore,
        label_smoothing: sizes.smoothing,
        global_batch: sizes.global_batch,
        scale: 1.0,
        logits: lab.floats("logits", &inputs.logits),
        q: lab.floats("q", &inputs.q),
        labels: lab.ints("labels", &inputs.labels),
        clock: lab.ints("clock", &clock.words().map(|word| word as i32)),
        steps: lab.ints("steps", &inputs.steps),
        halted: lab.ints("halted", &inputs.halted),
        stats: lab.output("stats", 8 * batch),
    };
    let dlogits = lab.output("dlogits", batch * length * vocab);
    let dq = lab.output("dq", batch * length * 2);
    Tensors { loss, dlogits, dq }
}

/// The reference of every sample.
fn expected(sizes: &Sizes, inputs: &Inputs) -> Vec<Sample> {
    let (row, positions) = (sizes.length * sizes.vocab, sizes.length - sizes.prefix);
    let sample = |b: usize| {
        let heads = |q: &[f32]| [q[b * sizes.length * 2], q[b * sizes.length * 2 + 1]];
        reference(
            sizes,
            b,
            &inputs.logits[b * row..][..row],
            &inputs.labels[b * positions..][..positions],
            heads(&inputs.q),
            inputs.q_next.as_deref().map(heads),
            (inputs.steps[b], inputs.halted[b]),
        )
    };
    (0..sizes.batch).map(sample).collect()
}

/// Lays training and evaluation down and expects everything they write. `terms` bounds the roundings.
fn lay(lab: &mut Lab, name: &str, sizes: &Sizes, inputs: &Inputs, terms: usize) -> Result<()> {
    let samples = expected(sizes, inputs);
    lab.case(format!("{name}, {sizes:?}"));
    let train = tensors(lab, sizes, inputs);
    let q_next = inputs.q_next.as_ref().map(|q| lab.floats("q_next", q));
    train.loss.train(&mut lab.tape, q_next, train.dlogits, train.dq)?;
    let gather = |part: fn(&Sample) -> &[f64]| samples.iter().flat_map(part).copied().collect::<Vec<f64>>();
    lab.expect("dlogits", train.dlogits, gather(|sample| &sample.dlogits), roundings(terms));
    lab.expect("dq", train.dq, gather(|sample| &sample.dq), roundings(terms));
    expect_outcome(lab, &train.loss, &samples, false, terms);

    lab.case(format!("{name}, {sizes:?}, evaluated"));
    let evaluate = tensors(lab, sizes, inputs);
    let predictions = lab.output("predictions", inputs.labels.len());
    evaluate.loss.evaluate(&mut lab.tape, predictions)?;
    let best = samples.iter().flat_map(|sample| sample.predictions.iter().copied()).collect();
    lab.expect_ints("predictions", predictions, best);
    expect_outcome(lab, &evaluate.loss, &samples, true, terms);
    Ok(())
}

/// Steps and flags exactly; statistics as a whole, since a small loss is a difference of two larger numbers.
fn expect_outcome(lab: &mut Lab, loss: &Loss, samples: &[Sample], evaluated: bool, terms: usize) {
    lab.expect_ints("steps", loss.steps, samples.iter().map(|sample| sample.steps).collect());
    let halted = |sample: &Sample| i32::from(sample.halted[usize::from(evaluated)]);
    lab.expect_ints("halted", loss.halted, samples.iter().map(halted).collect());
    let stats = samples.iter().flat_map(|sample| sample.stats[usize::from(evaluated)]).collect();
    lab.expect("stats", loss.stats, stats, roundings(terms));
}

/// Roundings of a sample's sums: over the vocabulary, then over positions, beside a few functions.
fn terms(sizes: &Sizes) -> usize {
    sizes.vocab + sizes.length + 16
}

fn shapes(lab: &mut Lab) -> Result<()> {
    for (batch, length, prefix, vocab) in
        [(1, 1, 0, 1), (1, 1, 0, 2), (2, 3, 1, 5), (3, 66, 2, 11), (5, 131, 0, 3), (2, 65, 64, 12)]
    {
        for with_continue in [false, true] {
            let sizes = Sizes { batch, length, prefix, vocab, global_batch: batch + 1, ..Sizes::default() };
            let inputs = draw(lab, &sizes, with_continue);
            lay(lab, if with_continue { "both heads" } else { "halt head" }, &sizes, &inputs, terms(&sizes))?;
        }
    }
    Ok(())
}

/// Logits of exactly 0, 1, -1 and +-1e4, as the label's and as others': no NaN, no infinity.
fn extreme_logits(lab: &mut Lab) -> Result<()> {
    let values = [0.0, 1.0, -1.0, 1e4, -1e4];
    let sizes = Sizes { batch: 1, length: 125, vocab: 3, global_batch: 1, ..Sizes::default() };
    let mut inputs = draw(lab, &sizes, true);
    for (at, logit) in inputs.logits.iter_mut().enumerate() {
        let (position, v) = (at / 3, at % 3);
        *logit = values[position / 5usize.pow(v as u32) % 5];
    }
    inputs.labels.iter_mut().enumerate().for_each(|(position, label)| *label = position as i32 % 3);
    for q in [0.0, 40.0, -40.0, 1e4, -1e4] {
        (inputs.q[0], inputs.q[1]) = (q, -q);
        lay(lab, &format!("q {q}"), &sizes, &inputs, terms(&sizes))?;
    }
    Ok(())
}

/// A padded sample has no labels at all: no loss of its own, no gradient, not counted, and no NaN.
fn ignored_labels(lab: &mut Lab) -> Result<()> {
    let sizes =
        Sizes { batch: 4, length: 9, prefix: 1, vocab: 6, max_steps: 1, global_batch: 4, ..Sizes::default() };
    let mut inputs = draw(lab, &sizes, false);
    inputs.labels[..16].fill(-100);
    inputs.labels[16..24].fill(5);
    lay(lab, "two of four are padding", &sizes, &inputs, terms(&sizes))?;
    inputs.labels.fill(-100);
    lay(lab, "all are padding", &sizes, &inputs, terms(&sizes))
}

/// Every combination of a head at, above and below its threshold, a counter near the end, and a fresh slot.
fn halting(lab: &mut Lab) -> Result<()> {
    for (compare_continue, max_steps) in [(false, 3), (true, 3), (false, 1), (true, 2)] {
        let sizes = Sizes { batch: 54, max_steps, compare_continue, global_batch: 54, ..Sizes::default() };
        let mut inputs = draw(lab, &sizes, true);
        for b in 0..sizes.batch {
            inputs.q[2 * b] = [0.0, 0.5, -0.5][b % 3];
            inputs.q[2 * b + 1] = [0.0, 0.5, -0.5][b / 3 % 3];
            inputs.steps[b] = (b / 9 % 3) as i32;
            inputs.halted[b] = (b / 27) as i32;
        }
        lay(lab, "halting", &sizes, &inputs, terms(&sizes))?;
    }
    Ok(())
}

/// The same draws on every engine: half of the samples explore, over several steps and seeds.
fn exploration(lab: &mut Lab) -> Result<()> {
    for (step, first_sample, seed) in
        [(1, 0, 0), (2, 64, 0), (1, 0, 0x1234_5678_9abc_def0), (1_000_000, 65_000, u64::MAX)]
    {
        let sizes = Sizes {
            batch: 300,
            max_steps: 16,
            explore: 0.5,
            global_batch: 300,
            step,
            first_sample,
            seed,
            ..Sizes::default()
        };
        let mut inputs = draw(lab, &sizes, false);
        inputs.q.iter_mut().for_each(|q| *q = q.abs() + 0.1);
        lay(lab, "exploring", &sizes, &inputs, terms(&sizes))?;
    }
    Ok(())
}

/// A share of the labels' weight spread over the vocabulary, in training only.
fn smoothed_labels(lab: &mut Lab) -> Result<()> {
    for smoothing in [0.1, 0.75] {
        let sizes = Sizes { batch: 3, length: 66, prefix: 2, vocab: 5, smoothing, ..Sizes::default() };
        let inputs = draw(lab, &sizes, false);
        lay(lab, "smoothed", &sizes, &inputs, terms(&sizes))?;
    }
    Ok(())
}

/// Samples of training stop before `max_steps` while the curriculum is young, exploring or not.
fn fewer_steps_by_now(lab: &mut Lab) -> Result<()> {
    for most_steps in [1, 2, 3] {
        let sizes = Sizes { batch: 100, max_steps: 4, most_steps, explore: 0.5, ..Sizes::default() };
        let mut inputs = draw(lab, &sizes, true);
        inputs.q.iter_mut().for_each(|q| *q = q.abs() + 0.1);
        lay(lab, "fewer steps", &sizes, &inputs, terms(&sizes))?;
    }
    Ok(())
}

/// The first of equal logits is predicted, and counts as right if it is the label.
fn equal_logits(lab: &mut Lab) -> Result<()> {
    let sizes = Sizes { batch: 2, length: 70, vocab: 4, max_steps: 1, global_batch: 2, ..Sizes::default() };
    let mut inputs = draw(lab, &sizes, false);
    for (at, logit) in inputs.logits.iter_mut().enumerate() {
        *logit = if (at / 4 + at) % 3 == 0 { 2.5 } else { 2.5 * f32::from(u8::from(at % 2 == 0)) };
    }
    lay(lab, "equal logits", &sizes, &inputs, terms(&sizes))
}

/// In training, a sample with a NaN in its logits or in a head that is trained starts anew; the others go on.
fn lost_samples(lab: &mut Lab) -> Result<()> {
    let sizes = Sizes { batch: 4, length: 70, vocab: 4, max_steps: 9, global_batch: 4, ..Sizes::default() };
    for with_continue in [false, true] {
        let mut inputs = draw(lab, &sizes, with_continue);
        inputs.labels.fill(1);
        inputs.steps.fill(0);
        inputs.q.fill(-1.0);
        inputs.logits[sizes.length * sizes.vocab * 2 - 1] = f32::NAN;
        inputs.q[2 * sizes.length * 2] = f32::NAN;
        inputs.q[3 * sizes.length * 2 + 1] = f32::NAN;
        lab.case(format!("continue head {with_continue}"));
        let train = tensors(lab, &sizes, &inputs);
        let q_next = inputs.q_next.as_ref().map(|q| lab.floats("q_next", q));
        train.loss.train(&mut lab.tape, q_next, train.dlogits, train.dq)?;
        lab.expect_ints("halted", train.loss.halted, vec![0, 1, 1, i32::from(with_continue)]);
    }
    Ok(())
}
