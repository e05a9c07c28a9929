//! Attention and its reverse pass against f64, written out over all pairs of positions.

use trm::Result;
use trm::ops::attention::{KERNEL, attention};
use trm::ops::rope::table;
use trm::plan::{Element, Shape, Target};

use crate::check::roundings;
use crate::harness::{KernelTests, Lab, Mutant, Needs, in_bf16, in_f16};

/// Tests and mutants of `attention`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    // Quick ones first: a mutant is run until one of them catches it.
    tests: &[
        ("low_scores", low_scores),
        ("steep_scores", steep_scores),
        ("shapes_in_f16", |lab| in_f16(lab, shapes)),
        ("past_the_largest_half", |lab| {
            lab.target(gradients_in_f16(lab));
            past_the_largest_half(lab)
        }),
        ("turned", turned),
        ("shapes", shapes),
        ("shapes_in_bf16", |lab| in_bf16(lab, shapes)),
        ("gradients_in_f16", |lab| {
            lab.target(gradients_in_f16(lab));
            shapes(lab)?;
            turned(lab)
        }),
        ("long_rows", long_rows),
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
        Mutant {
            name: "turns_on_instead_of_back",
            from: "select(-partner, partner, feature < half)",
            to: "select(partner, -partner, feature < half)",
        },
        Mutant {
            name: "turns_all_rows_of_a_thread_alike",
            from: "turned_back(own, row_of(thread, i)",
            to: "turned_back(own, row_of(thread, 0u)",
        },
        Mutant {
            name: "turns_by_a_row_of_another_thread",
            from: "(thread.y - first) * SHARE * LANES",
            to: "0u * first",
        },
        Mutant { name: "leaves_k_turned", from: "turn_back(thread, &dk)", to: "turn_back(thread, &dv)" },
        Mutant {
            name: "stores_two_of_four_halves_of_a_gradient_twice",
            from: "narrowed_pair(value.zw, QKV_GRAD_ELEMENT)",
            to: "narrowed_pair(value.xy, QKV_GRAD_ELEMENT)",
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

/// q and k (B, L, 3, heads, d) of a gradient turned back by the angles of a table (L, d/2, 2).
fn turn_back(grad: &mut [f64], shape: Shape, heads: usize, table: &[f32]) {
    let half = shape.width / heads / 2;
    for (row, grad) in grad.chunks_mut(3 * shape.width).enumerate() {
        for head in grad[..2 * shape.width].chunks_mut(2 * half) {
            for i in 0..half {
                let at = 2 * (row % shape.length * half + i);
                let [cos, sin] = [at, at + 1].map(|at| f64::from(table[at]));
                let (u, v) = (head[i], head[i + half]);
                (head[i], head[i + half]) = (u * cos + v * sin, v * cos - u * sin);
            }
        }
    }
}

/// Where activations and their gradients are stored in f16.
fn gradients_in_f16(lab: &Lab) -> Target {
    Target { precision: Element::F16, matrices: Some(lab.cooperative), ..Target::default() }
}

fn lay(lab: &mut Lab, shape: Shape, heads: usize, steepness: f32, bound: f64) -> Result<()> {
    let qkv = steep(lab, shape, heads, steepness);
    compare(lab, shape, heads, (qkv, None), bound)
}

/// Normal numbers, q and k times `steepness`, not v: the scores grow with the square.
pub fn steep(lab: &mut Lab, shape: Shape, heads: usize, steepness: f32) -> Vec<f32> {
    let Shape { batch, length, width } = shape;
    lab.case(format!("B {batch} L {length}, {heads} heads of {}, times {steepness}", width / heads));
    let mut qkv = lab.normal(3 * shape.elements());
    qkv.chunks_mut(3 * width).for_each(|row| row[..2 * width].iter_mut().for_each(|x| *x *= steepness));
    qkv
}

/// Attention over qkv, which came turned by a table of angles where there is one.
pub fn compare(
    lab: &mut Lab,
    shape: Shape,
    heads: usize,
    (qkv, turns): (Vec<f32>, Option<Vec<f32>>),
    bound: f64,
) -> Result<()> {
    let whole = lab.tape.target().gradient() == Element::F32;
    let (qkv, o_grad) = (lab.stored(&qkv), lab.normal(shape.elements()));
    let o_grad = if whole { o_grad } else { lab.stored(&o_grad) };
    let (mut o_expected, mut expected) = (vec![0.0; shape.elements()], vec![0.0; qkv.len()]);
    for sample in 0..shape.batch {
        for head in 0..heads {
            let head = Head { shape, heads, sample, head, qkv: &qkv };
            head.differentiate(&o_grad, &mut o_expected, &mut expected);
        }
    }
    let turned = turns.map(|turns| {
        turn_back(&mut expected, shape, heads, &turns);
        lab.floats("turns", &turns)
    });
    let x = lab.activation("qkv", &qkv);
    let dy = if whole { lab.floats("o_grad", &o_grad) } else { lab.activation("o_grad", &o_grad) };
    let (o, dx) = lab.with_reverse(x, dy, |tape| attention(tape, shape, heads, x, turned))?;
    lab.expect("o", o, o_expected, bound);
    // delta sums o as it was stored.
    lab.expect("qkv's gradient", dx, expected, bound + 4.0 * lab.storing());
    Ok(())
}

/// All queries look at one key, whose v alone has a gradient: the sum of theirs.
pub fn past_the_largest_half(lab: &mut Lab) -> Result<()> {
    lab.loud(2e4);
    let shape = Shape { batch: 1, length: 67, width: 32 };
    lab.case("one key");
    let mut qkv = vec![0.0; 3 * shape.elements()];
    for (row, qkv) in qkv.chunks_mut(3 * shape.width).enumerate() {
        qkv[..shape.width].fill(8.0);
        qkv[shape.width..2 * shape.width].fill(if row == 40 { 8.0 } else { -8.0 });
    }
    compare(lab, shape, 1, (qkv, None), roundings(100))
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

/// Angles that differ in every row and feature, for halves of heads of any size; heads of which a thread holds several
/// vectors, and of which few fit shared memory at once.
fn turned(lab: &mut Lab) -> Result<()> {
    for (batch, length, heads, head_dim) in
        [(1, 2, 1, 2), (2, 33, 3, 6), (2, 35, 2, 8), (2, 70, 2, 36), (1, 37, 2, 134), (1, 19, 1, 1028)]
    {
        if lab.halves() && head_dim % 4 != 0 {
            continue;
        }
        let shape = Shape { batch, length, width: heads * head_dim };
        let qkv = steep(lab, shape, heads, 1.0);
        let turns = table(length, head_dim, 100.0);
        compare(lab, shape, heads, (qkv, Some(turns)), roundings(length + head_dim + 16))?;
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
    let qkv = low(lab, shape);
    compare(lab, shape, 1, (qkv, None), roundings(2_000))
}

/// One head's q near 7.3 and k near -7.3: with 8 features all scores are near -150, with 32 near -300.
pub fn low(lab: &mut Lab, shape: Shape) -> Vec<f32> {
    lab.case("all scores far below zero");
    let mut qkv = lab.normal(3 * shape.elements());
    for row in qkv.chunks_mut(3 * shape.width) {
        let (q, rest) = row.split_at_mut(shape.width);
        q.iter_mut().zip(rest).for_each(|(q, k)| (*q, *k) = (7.3 + *q * 0.1, *k * 0.1 - 7.3));
    }
    qkv
}

/// Sums over many blocks of positions.
fn long_rows(lab: &mut Lab) -> Result<()> {
    let shape = Shape { batch: 1, length: 977, width: 64 };
    lay(lab, shape, 1, 1.0, roundings(977 + 64 + 16))
}
