//! The loss of one sample in f64, from the spec's "One supervision step of training", points 3 to 5. It knows
//! nothing of trm but its conventions: labels of -100 are ignored, statistics come in the order of the log.

/// Sizes and constants of a loss; `step`, `first_sample` and `seed` are those of exploration.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub batch: usize,
    pub length: usize,
    pub prefix: usize,
    pub vocab: usize,
    pub max_steps: usize,
    pub most_steps: u32,
    pub smoothing: f32,
    pub compare_continue: bool,
    pub explore: f32,
    pub global_batch: usize,
    pub step: u32,
    pub first_sample: u32,
    pub seed: u64,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes {
            batch: 1,
            length: 1,
            prefix: 0,
            vocab: 1,
            max_steps: 4,
            most_steps: u32::MAX,
            smoothing: 0.0,
            compare_continue: false,
            explore: 0.0,
            global_batch: 1,
            first_sample: 0,
            step: 1,
            seed: 0,
        }
    }
}

/// What a step makes of one sample. Pairs: in training, in evaluation.
#[derive(Debug)]
pub struct Sample {
    pub dlogits: Vec<f64>,
    pub dq: Vec<f64>,
    pub predictions: Vec<i32>,
    pub steps: i32,
    pub halted: [bool; 2],
    pub stats: [[f64; 8]; 2],
}

/// -log stablemax of the label, and its gradient with respect to the logits.
pub fn cross_entropy(logits: &[f64], label: usize) -> (f64, Vec<f64>) {
    let s: Vec<f64> = logits.iter().map(|&v| if v >= 0.0 { v + 1.0 } else { 1.0 / (1.0 - v) }).collect();
    let total: f64 = s.iter().sum();
    let slope = |v: f64| if v >= 0.0 { 1.0 } else { 1.0 / (1.0 - v).powi(2) };
    let gradient = |at: usize| {
        // d/ds of log(total) - log(s_label); for the label 1/total - 1/s as one quotient, which cannot cancel.
        let others: f64 = (0..s.len()).filter(|&other| other != at).map(|other| s[other]).sum();
        let along_s = if at == label { -others / (total * s[at]) } else { 1.0 / total };
        along_s * slope(logits[at])
    };
    ((total / s[label]).ln(), (0..s.len()).map(gradient).collect())
}

/// The mean of [`cross_entropy`] over targets: the label with a weight of 1 - `smoothing`, beside that any token.
fn smoothed(logits: &[f64], label: usize, smoothing: f64) -> (f64, Vec<f64>) {
    let count = logits.len() as f64;
    let weight = |v: usize| smoothing / count + if v == label { 1.0 - smoothing } else { 0.0 };
    let (mut loss, mut gradient) = (0.0, vec![0.0; logits.len()]);
    for v in (0..logits.len()).filter(|&v| weight(v) > 0.0) {
        let (own, slopes) = cross_entropy(logits, v);
        loss += weight(v) * own;
        gradient.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += weight(v) * slope);
    }
    (loss, gradient)
}

/// Binary cross-entropy of a logit against a target in 0..=1, and its gradient.
pub fn binary_cross_entropy(logit: f64, target: f64) -> (f64, f64) {
    (logit.max(0.0) + (-logit.abs()).exp().ln_1p() - target * logit, sigmoid(logit) - target)
}

fn sigmoid(v: f64) -> f64 {
    1.0 / (1.0 + (-v).exp())
}

/// Philox 4x32-10, from the paper's definition.
pub fn philox(seed: u64, counter: [u32; 4]) -> [u32; 4] {
    let (mut c, mut key) = (counter.map(u64::from), [seed & 0xffff_ffff, seed >> 32]);
    for _ in 0..10 {
        let (left, right) = (c[0] * 0xD251_1F53, c[2] * 0xCD9E_8D57);
        let low = |product: u64| product & 0xffff_ffff;
        c = [(right >> 32) ^ c[1] ^ key[0], low(right), (left >> 32) ^ c[3] ^ key[1], low(left)];
        key = [low(key[0] + 0x9E37_79B9), low(key[1] + 0xBB67_AE85)];
    }
    c.map(|word| word as u32)
}

/// The most steps of a sample in training, by now.
fn most_steps(sizes: &Sizes) -> i32 {
    sizes.most_steps.min(sizes.max_steps as u32) as i32
}

/// The fewest steps that sample `b` must make.
fn least_steps(sizes: &Sizes, b: usize) -> i32 {
    let draw = philox(sizes.seed, [sizes.step, sizes.first_sample + b as u32, 0, 0]);
    let uniform = f64::from(draw[0] >> 8) / f64::from(1 << 24);
    match uniform < f64::from(sizes.explore) {
        true => 2 + (draw[1] % (most_steps(sizes) as u32 - 1)) as i32,
        false => 0,
    }
}

/// One sample: `q` and `q_next` are (halt, continue) at position 0, `state` is (steps, halted) before.
pub fn reference(
    sizes: &Sizes,
    b: usize,
    logits: &[f32],
    labels: &[i32],
    q: [f32; 2],
    q_next: Option<[f32; 2]>,
    state: (i32, i32),
) -> Sample {
    let logits: Vec<f64> = logits.iter().map(|&v| f64::from(v)).collect();
    let (q, next) = (q.map(f64::from), q_next.map(|q| q.map(f64::from)));
    let labelled = labels.iter().filter(|&&label| label != -100).count();
    let (mut nll, mut plain_nll, mut right, mut predictions) = (0.0, 0.0, 0, Vec::new());
    let mut dlogits = vec![0.0; logits.len()];
    for (s, &label) in labels.iter().enumerate() {
        let start = (sizes.prefix + s) * sizes.vocab;
        let row = &logits[start..start + sizes.vocab];
        let highest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let best = row.iter().position(|&v| v == highest).unwrap_or(0);
        predictions.push(best as i32);
        if label == -100 {
            continue;
        }
        let (own, gradient) = smoothed(row, label as usize, f64::from(sizes.smoothing));
        nll += own;
        plain_nll += cross_entropy(row, label as usize).0;
        right += usize::from(best == label as usize);
        let weight = 1.0 / (labelled * sizes.global_batch) as f64;
        gradient.iter().enumerate().for_each(|(v, slope)| dlogits[start + v] = weight * slope);
    }
    let exact = right == labelled;
    let steps = if state.1 != 0 { 1 } else { state.0 + 1 };
    let last = steps >= most_steps(sizes);
    let wants = q[0] > if sizes.compare_continue { q[1] } else { 0.0 };
    let early = most_steps(sizes) > 1 && wants && steps >= least_steps(sizes, b);
    let (halt_loss, halt_slope) = binary_cross_entropy(q[0], f64::from(u8::from(exact)));
    let worth = |next: [f64; 2]| sigmoid(if last { next[0] } else { next[0].max(next[1]) });
    let (continue_loss, continue_slope) =
        next.map_or((0.0, 0.0), |next| binary_cross_entropy(q[1], worth(next)));
    let half = 0.5 / sizes.global_batch as f64;
    let mut dq = vec![0.0; sizes.length * 2];
    (dq[0], dq[1]) = (half * halt_slope, half * continue_slope);
    let stats = |halted: bool, nll: f64, continue_loss: f64| {
        let flag = |yes: bool| f64::from(u8::from(yes && halted && labelled > 0));
        let mean = |sum: f64| sum / labelled.max(1) as f64;
        [
            flag(true),
            flag(true) * mean(right as f64),
            flag(exact),
            flag((q[0] >= 0.0) == exact),
            flag(true) * f64::from(steps),
            mean(nll),
            halt_loss,
            continue_loss,
        ]
    };
    let halted = [last || early, steps >= sizes.max_steps as i32];
    let stats = [stats(halted[0], nll, continue_loss), stats(halted[1], plain_nll, 0.0)];
    Sample { dlogits, dq, predictions, steps, halted, stats }
}
