//! Attention and its reverse pass against f64, written out over all pairs of positions.

use trm::Result;
use trm::ops::attention::{KERNEL, attention};
use trm::plan::Shape;

use crate::check::roundings;
use crate::harness::{KernelTests, Lab, Mutant, Needs, in_bf16, in_f16};

/// Tests and mutants of `attention`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[
        ("shapes", shapes),
        ("steep_scores", steep_scores),
        ("low_scores", low_scores),
        ("long_rows", long_rows),
        ("shapes_in_bf16", |lab| in_bf16(lab, shapes)),
        ("shapes_in_f16", |lab| in_f16(lab, shapes)),
    ],
    mutants: &[
        Mutant {
            name: "forgets_the_scale",
            from: "scores[i] * params.scale, within",
            to: "scores[i], within",
        },
        Mutant {
            name: "keeps_columns_that_are_not_there",
            from: "select(vec4<f32>(LOWEST), scores[i] * params.scale, within)",
            to: "select(scores[i] * params.scale, scores[i] * params.scale, within)",
        },
        Mutant {
            name: "skips_the_last_tile",
            from: "first < params.length; first += COLUMNS",
            to: "first + COLUMNS < params.length; first += COLUMNS",
        },
        Mutant { name: "forgets_to_shrink", from: "denominators * shrink + own", to: "denominators + own" },
        Mutant { name: "keeps_old_sums_large", from: "*= shrink.z", to: "*= 1.0" },
        Mutant {
            name: "is_causal",
            from: "scores[i] = exp(scores[i] - raised[i]);",
            to: "scores[i] = exp(scores[i] - raised[i]) * select(0.0, 1.0, first <= row_of(thread, i));",
        },
        Mutant { name: "takes_k_for_v", from: "const V: u32 = 2u", to: "const V: u32 = 1u" },
        Mutant {
            name: "mixes_the_heads",
            from: "(row * params.heads + thread.group.y)",
            to: "(row * params.heads + (thread.group.y + 1u) % params.heads)",
        },
        Mutant {
            name: "ignores_half_of_the_columns'_maxima",
            from: "other < LANES; other++) {\n        highest",
            to: "other < LANES / 2u; other++) {\n        highest",
        },
        Mutant {
            name: "stores_two_of_four_halves_twice",
            from: "narrowed_pair(value.zw, O_ELEMENT)",
            to: "narrowed_pair(value.xy, O_ELEMENT)",
        },
        Mutant {
            name: "widens_the_wrong_four",
            from: "select(words.xy, words.zw, at % 2u == 1u)",
            to: "select(words.zw, words.xy, at % 2u == 1u)",
        },
        Mutant { name: "reads_the_next_head", from: "4u * vector + 4u > HEAD_DIM", to: "false" },
        Mutant {
            name: "swaps_two_columns_of_weights",
            from: "left[at + LANES] = columns[1]",
            to: "left[at + LANES] = columns[2]",
        },
        Mutant {
            name: "sums_some_features_twice",
            from: "start < VECTORS; start += DEPTH",
            to: "start <= VECTORS; start += DEPTH - DEPTH / 2u",
        },
        Mutant { name: "keeps_delta_out_of_dq", from: "(dp[i] - inner[i])", to: "(dp[i] - 0.0 * inner[i])" },
        Mutant {
            name: "keeps_delta_out_of_dk",
            from: "(dp[i] - delta_of_columns)",
            to: "(dp[i] - 0.0 * delta_of_columns)",
        },
        Mutant {
            name: "lets_absent_keys_overflow",
            from: "select(vec4<f32>(0.0), exp(scores[i] * params.scale - lse_of_rows[i]), within)",
            to: "exp(scores[i] * params.scale - lse_of_rows[i])",
        },
        Mutant {
            name: "gives_dv_to_k",
            from: "store_qkv_grads(thread, V, &dv)",
            to: "store_qkv_grads(thread, K, &dv)",
        },
        Mutant { name: "saves_no_maximum", from: "highest[i] + log(", to: "log(" },
    ],
};

/// Where q (0), k (1) and v (2) of one head lie in qkv (B, L, 3, heads, d).
struct Head<'a> {
    shape: Shape,
    heads: usize,
    sample: usize,
    head: usize,
    qkv: &'a [f32],
}

impl Head<'_> {
    fn head_dim(&self) -> usize {
        self.shape.width / self.heads
    }

    fn place(&self, which: usize, position: usize, feature: usize) -> usize {
        let row = (self.sample * self.shape.length + position) * 3 + which;
        (row * self.heads + self.head) * self.head_dim() + feature
    }

    fn place_in_o(&self, position: usize, feature: usize) -> usize {
        let row = self.sample * self.shape.length + position;
        (row * self.heads + self.head) * self.head_dim() + feature
    }

    fn value(&self, which: usize, position: usize, feature: usize) -> f64 {
        f64::from(self.qkv[self.place(which, position, feature)])
    }

    /// softmax(q k^T / sqrt(d)) of one query over all keys.
    fn probabilities(&self, query: usize) -> Vec<f64> {
        let scale = (self.head_dim() as f64).sqrt();
        let score = |key| {
            let products = (0..self.head_dim()).map(|f| self.value(0, query, f) * self.value(1, key, f));
            products.sum::<f64>() / scale
        };
        let scores: Vec<f64> = (0..self.shape.length).map(score).collect();
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores.iter().map(|score| (score - highest).exp()).sum();
        scores.iter().map(|score| (score - highest).exp() / total).collect()
    }

    /// Adds this head's part of o and of qkv's gradient under do.
    fn differentiate(&self, o_grad: &[f32], o: &mut [f64], qkv_grad: &mut [f64]) {
        let (length, head_dim, scale) = (self.shape.length, self.head_dim(), (self.head_dim() as f64).sqrt());
        for query in 0..length {
            let p = self.probabilities(query);
            let above = |f: usize| f64::from(o_grad[self.place_in_o(query, f)]);
            let dp: Vec<f64> = (0..length)
                .map(|key| (0..head_dim).map(|f| above(f) * self.value(2, key, f)).sum())
                .collect();
            // The softmax's Jacobian: ds = p (dp - sum p dp).
            let mean: f64 = p.iter().zip(&dp).map(|(p, dp)| p * dp).sum();
            for key in 0..length {
                let ds = p[key] * (dp[key] - mean) / scale;
                for f in 0..head_dim {
                    o[self.place_in_o(query, f)] += p[key] * self.value(2, key, f);
                    qkv_grad[self.place(0, query, f)] += ds * self.value(1, key, f);
                    qkv_grad[self.place(1, key, f)] += ds * self.value(0, query, f);
                    qkv_grad[self.place(2, key, f)] += p[key] * above(f);
                }
            }
        }
    }
}

fn lay(lab: &mut Lab, shape: Shape, heads: usize, steepness: f32, bound: f64) -> Result<()> {
    let Shape { batch, length, width } = shape;
    lab.case(format!("B {batch} L {length}, {heads} heads of {}, times {steepness}", width / heads));
    let mut qkv = lab.normal(3 * shape.words());
    // q and k, not v: the scores grow with the square.
    qkv.chunks_mut(3 * width).for_each(|row| row[..2 * width].iter_mut().for_each(|x| *x *= steepness));
    compare(lab, shape, heads, qkv, bound)
}

fn compare(lab: &mut Lab, shape: Shape, heads: usize, qkv: Vec<f32>, bound: f64) -> Result<()> {
    let (qkv, o_grad) = (lab.stored(&qkv), lab.normal(shape.words()));
    let (mut o_expected, mut expected) = (vec![0.0; shape.words()], vec![0.0; qkv.len()]);
    for sample in 0..shape.batch {
        for head in 0..heads {
            let head = Head { shape, heads, sample, head, qkv: &qkv };
            head.differentiate(&o_grad, &mut o_expected, &mut expected);
        }
    }
    let (x, dy) = (lab.activation("qkv", &qkv), lab.floats("o_grad", &o_grad));
    let (o, dx) = lab.with_reverse(x, dy, |tape| attention(tape, shape, heads, x))?;
    lab.expect("o", o, o_expected, bound);
    // delta sums o as it was stored.
    lab.expect("qkv's gradient", dx, expected, bound + 4.0 * lab.storing());
    Ok(())
}

/// A score is a sum over d; its error is an error of p relative to p. Then come sums over L.
fn shapes(lab: &mut Lab) -> Result<()> {
    for (batch, length, heads, head_dim) in [
        (1, 1, 1, 2),
        (2, 65, 1, 2),
        (2, 33, 3, 6),
        (1, 64, 2, 6),
        (1, 131, 1, 64),
        (3, 97, 2, 64),
        (2, 9, 3, 4),
        (1, 37, 2, 134),
        (1, 16, 1, 2),
        (2, 17, 2, 10),
        (1, 48, 2, 14),
        // More heads than a processor has threads: one after the other in the same memory.
        (1, 35, 40, 4),
    ] {
        if lab.halves() && head_dim % 4 != 0 {
            continue;
        }
        let shape = Shape { batch, length, width: heads * head_dim };
        lay(lab, shape, heads, 1.0, roundings(length + head_dim + 16))?;
    }
    Ok(())
}

/// Scores of about a thousand: the softmax picks one key, and nothing overflows. A score's rounding, 1e3 ulp, is
/// p's error.
fn steep_scores(lab: &mut Lab) -> Result<()> {
    let shape = Shape { batch: 2, length: 67, width: 16 };
    lay(lab, shape, 2, 20.0, roundings(4_000))
}

/// Every score is far below zero, where that of a position that is not there would be.
fn low_scores(lab: &mut Lab) -> Result<()> {
    let shape = Shape { batch: 1, length: 67, width: 8 };
    lab.case("all scores near -150");
    let mut qkv = lab.normal(3 * shape.words());
    for row in qkv.chunks_mut(3 * shape.width) {
        let (q, rest) = row.split_at_mut(shape.width);
        q.iter_mut().zip(rest).for_each(|(q, k)| (*q, *k) = (7.3 + *q * 0.1, *k * 0.1 - 7.3));
    }
    compare(lab, shape, 1, qkv, roundings(2_000))
}

/// Sums over many blocks of positions.
fn long_rows(lab: &mut Lab) -> Result<()> {
    let shape = Shape { batch: 1, length: 977, width: 64 };
    lay(lab, shape, 1, 1.0, roundings(977 + 64 + 16))
}
