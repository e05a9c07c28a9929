// Loss of a supervision step, its gradient, correctness and halting, for one sample per workgroup.
//   lm: mean over the sample's labels of -log(s(v_label) / sum s(v)), s(v) = v + 1 for v >= 0, else 1 / (1 - v);
//       in training, the share `smoothing` of a label's weight is spread evenly over the vocabulary;
//       ds/dv = 1, else s^2 (exact at 0; no division by a branch that is not taken)
//   + 0.5 BCE(q_halt, all labels right?) + 0.5 BCE(q_continue, target); gradients of (sum over samples) / batch.
// logits (B, L, V), used at the last S positions; q, dq (B, L, 2), used at position 0; labels (B, S), -100 ignored.
// stats (B, 8): count, accuracy, exact_accuracy, q_halt_accuracy, steps (0 unless the sample halts now and has
// labels), lm_loss, q_halt_loss, q_continue_loss. predictions (B, S): the highest logit, the first of equals.
// Sums over positions in a fixed order, f32. All threads of a workgroup reach every barrier.

struct Params {
    length: u32, prefix: u32, vocab: u32, max_steps: u32, compare_continue: u32,
    explore: f32, smoothing: f32, inverse_batch: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> q: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> q_next: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> labels: array<i32>;
@group(0) @binding(5) var<storage, read> clock: Clock;
@group(0) @binding(6) var<storage, read_write> steps: array<u32>;
@group(0) @binding(7) var<storage, read_write> halted: array<u32>;
@group(0) @binding(8) var<storage, read_write> stats: array<f32>;
@group(0) @binding(9) var<storage, read_write> dlogits: array<f32>;
@group(0) @binding(10) var<storage, read_write> dq: array<vec2<f32>>;
@group(0) @binding(11) var<storage, read_write> predictions: array<u32>;

#import clock
#import finite
#import philox
#import reduce
#import sigmoid

const IGNORE: i32 = -100;

fn stablemax(v: f32) -> f32 {
    return select(1.0 / (1.0 - v), v + 1.0, v >= 0.0);
}

fn softplus(v: f32) -> f32 {
    return max(v, 0.0) + log(1.0 + exp(-abs(v)));
}

// What one position says: its loss, whether it is right, the sum of s over the vocabulary, the predicted token.
struct Position { nll: f32, right: f32, total: f32, best: u32 }

fn look(base: u32, label: i32) -> Position {
    var result = Position(0.0, 0.0, 0.0, 0u);
    for (var v = 0u; v < params.vocab; v++) {
        result.total += stablemax(logits[base + v]);
        if logits[base + v] > logits[base + result.best] {
            result.best = v;
        }
    }
    if label != IGNORE {
        result.nll = log(result.total / stablemax(logits[base + u32(label)]));
        if params.smoothing > 0.0 {
            var sum = 0.0;
            for (var v = 0u; v < params.vocab; v++) {
                sum += log(result.total / stablemax(logits[base + v]));
            }
            result.nll = (1.0 - params.smoothing) * result.nll + params.smoothing * (sum / f32(params.vocab));
        }
        result.right = select(0.0, 1.0, result.best == u32(label));
    }
    return result;
}

// Totals over a sample's positions.
struct Sample { labels: f32, right: f32, nll: f32 }

fn labels_of(sample: u32, local: u32) -> f32 {
    let positions = params.length - params.prefix;
    var count = 0.0;
    for (var s = local; s < positions; s += 64u) {
        count += select(0.0, 1.0, labels[sample * positions + s] != IGNORE);
    }
    return workgroup_sum(count, local);
}

// Runs the halting rule and writes a sample's row of stats: thread 0 only.
fn settle(sample: u32, totals: Sample, now_halted: bool, step_count: u32, continue_loss: f32) {
    let q_halt = q[sample * params.length].x;
    let exact = totals.right == totals.labels;
    let counted = select(0.0, 1.0, now_halted && totals.labels > 0.0);
    let at = sample * 8u;
    stats[at] = counted;
    stats[at + 1u] = counted * totals.right / max(totals.labels, 1.0);
    stats[at + 2u] = counted * select(0.0, 1.0, exact);
    stats[at + 3u] = counted * select(0.0, 1.0, (q_halt >= 0.0) == exact);
    stats[at + 4u] = counted * f32(step_count);
    stats[at + 5u] = totals.nll / max(totals.labels, 1.0);
    stats[at + 6u] = softplus(q_halt) - select(0.0, q_halt, exact);
    stats[at + 7u] = continue_loss;
    steps[sample] = step_count;
    halted[sample] = select(0u, 1u, now_halted);
}

// A sample whose loss is not finite has states that never will be again: its slot starts anew, or no step could be
// applied any more. Thread 0 only, after `settle`.
fn drop_lost(sample: u32) {
    for (var at = sample * 8u + 5u; at < sample * 8u + 8u; at++) {
        if unusable(bitcast<u32>(stats[at])) {
            halted[sample] = 1u;
        }
    }
}

fn next_step(sample: u32) -> u32 {
    return select(steps[sample], 0u, halted[sample] != 0u) + 1u;
}

// The most steps of a sample by now.
fn most_steps() -> u32 {
    return min(params.max_steps, clock.most_steps);
}

// The halting rule of training, with exploration: a slot sometimes must run a random number of steps first.
fn halts(sample: u32, step_count: u32) -> bool {
    let heads = q[sample * params.length];
    let wants = heads.x > select(0.0, heads.y, params.compare_continue != 0u);
    let most = most_steps();
    if step_count >= most || most < 2u {
        return step_count >= most;
    }
    let draw = philox(vec2<u32>(clock.seed_low, clock.seed_high), vec4<u32>(clock.step, clock.first_sample + sample, 0u, 0u));
    var minimum = 0u;
    if f32(draw.x >> 8u) < params.explore * 16777216.0 {
        minimum = 2u + draw.y % (most - 1u);
    }
    return wants && step_count >= minimum;
}

// Writes dlogits and the zeros of dq; returns the totals of the sample.
fn differentiate(sample: u32, local: u32) -> Sample {
    let positions = params.length - params.prefix;
    let count = labels_of(sample, local);
    let weight = params.inverse_batch / max(count, 1.0);
    var right = 0.0;
    var nll = 0.0;
    for (var l = local; l < params.length; l += 64u) {
        let base = (sample * params.length + l) * params.vocab;
        var label = IGNORE;
        if l >= params.prefix {
            label = labels[sample * positions + l - params.prefix];
        }
        let here = look(base, label);
        right += here.right;
        nll += here.nll;
        for (var v = 0u; v < params.vocab; v++) {
            let s = stablemax(logits[base + v]);
            let slope = select(s * s, 1.0, logits[base + v] >= 0.0);
            let spread = params.smoothing / f32(params.vocab);
            let wanted = select(spread, 1.0 - params.smoothing + spread, i32(v) == label);
            let own = select(0.0, wanted / s, wanted > 0.0);
            dlogits[base + v] = select(0.0, weight * slope * (1.0 / here.total - own), label != IGNORE);
        }
        if l > 0u {
            dq[sample * params.length + l] = vec2<f32>(0.0);
        }
    }
    return Sample(count, workgroup_sum(right, local), workgroup_sum(nll, local));
}

fn halt_gradient(sample: u32, totals: Sample) -> f32 {
    let target_value = select(0.0, 1.0, totals.right == totals.labels);
    return 0.5 * params.inverse_batch * (sigmoid(q[sample * params.length].x) - target_value);
}

@compute @workgroup_size(64)
fn train(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let sample = group.x;
    let totals = differentiate(sample, local);
    if local == 0u {
        let step_count = next_step(sample);
        dq[sample * params.length] = vec2<f32>(halt_gradient(sample, totals), 0.0);
        settle(sample, totals, halts(sample, step_count), step_count, 0.0);
        drop_lost(sample);
    }
}

// With the continue head: its target is the value of going on, from one more pass without gradient.
@compute @workgroup_size(64)
fn train_continue(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let sample = group.x;
    let totals = differentiate(sample, local);
    if local == 0u {
        let step_count = next_step(sample);
        let next = q_next[sample * params.length];
        let worth = sigmoid(select(max(next.x, next.y), next.x, step_count >= most_steps()));
        let q_continue = q[sample * params.length].y;
        let slope = 0.5 * params.inverse_batch * (sigmoid(q_continue) - worth);
        dq[sample * params.length] = vec2<f32>(halt_gradient(sample, totals), slope);
        settle(sample, totals, halts(sample, step_count), step_count, softplus(q_continue) - worth * q_continue);
        drop_lost(sample);
    }
}

// Without gradients: every sample runs all steps, and the predictions are kept.
@compute @workgroup_size(64)
fn evaluate(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let sample = group.x;
    let positions = params.length - params.prefix;
    let count = labels_of(sample, local);
    var right = 0.0;
    var nll = 0.0;
    for (var s = local; s < positions; s += 64u) {
        let base = (sample * params.length + params.prefix + s) * params.vocab;
        let here = look(base, labels[sample * positions + s]);
        right += here.right;
        nll += here.nll;
        predictions[sample * positions + s] = here.best;
    }
    let totals = Sample(count, workgroup_sum(right, local), workgroup_sum(nll, local));
    if local == 0u {
        let step_count = next_step(sample);
        settle(sample, totals, step_count >= params.max_steps, step_count, 0.0);
    }
}
