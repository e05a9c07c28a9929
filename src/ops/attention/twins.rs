//! The CPU twins. Scores are made strip by strip, each over every position: a column for each query (forward and dq) or
//! for each key (dk and dv), so that softmax takes whole vectors and the next product reads the scores where they lie.

use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use super::super::math::exp;
use super::super::multiply::{COLUMNS, LANES, Lanes, Matrix, Rows, Strip, halves};
use crate::plan::{Call, Stored, StoredMut};

/// Strips of one head in a task at the most: its packed rows are then read from the second cache.
const STRIPS: usize = 2;

/// Sizes that the twins share.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    length: usize,
    heads: usize,
    head_dim: usize,
    scale: f32,
    halves: bool,
}

/// q, k or v in qkv (B, L, 3, heads, d).
#[derive(Clone, Copy)]
enum Part {
    Q,
    K,
    V,
}

impl Sizes {
    fn of(call: &Call<'_>) -> Sizes {
        let (length, heads, head_dim) =
            (call.count("length"), call.count("heads"), call.constant("HEAD_DIM"));
        let qkv = call.stored("qkv");
        Sizes {
            batch: qkv.len() / (3 * length * heads * head_dim),
            length,
            heads,
            head_dim,
            scale: call.float("scale"),
            halves: halves(qkv),
        }
    }

    fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// One head of a sample of q, k or v: a line for each position.
    fn part<'a>(&self, qkv: Stored<'a>, sample: usize, part: Part, head: usize) -> Matrix<'a> {
        let start =
            sample * 3 * self.width() * self.length + part as usize * self.width() + head * self.head_dim;
        Matrix { words: qkv, start, line: 3 * self.width(), depth: 1 }
    }

    /// One head of a sample of o or its gradient: a line for each position.
    fn head<'a>(&self, o: Stored<'a>, sample: usize, head: usize) -> Matrix<'a> {
        let start = sample * self.width() * self.length + head * self.head_dim;
        Matrix { words: o, start, line: self.width(), depth: 1 }
    }

    /// A row for each position: scores come of them.
    fn positions(&self, lines: Matrix<'_>) -> Rows {
        Rows::pack(&lines, self.length, self.head_dim, self.halves)
    }

    /// A row for each feature: they sum over scores.
    fn features(&self, lines: Matrix<'_>) -> Rows {
        let turned = Matrix { line: lines.depth, depth: lines.line, ..lines };
        Rows::pack(&turned, self.head_dim, self.length, self.halves)
    }

    /// Positions of a task: as many strips as share packed rows, but enough tasks for all threads.
    fn block(&self) -> usize {
        let strips = self.batch * self.length.div_ceil(COLUMNS);
        COLUMNS * strips.div_ceil(2 * rayon::current_num_threads()).clamp(1, STRIPS)
    }

    /// The strips of a block that begins at `first`: (first position, columns).
    fn strips(&self, first: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let last = (first + self.block()).min(self.length);
        (first..last).step_by(COLUMNS).map(move |at| (at, COLUMNS.min(last - at)))
    }
}

/// Strips that a task works on.
#[derive(Default)]
struct Work {
    queries: Strip,
    grads: Strip,
    outputs: Strip,
    scores: Strip,
    grad_scores: Strip,
    sums: Strip,
}

/// What each block has for each head and position, moved to (heads, L).
fn gather(sizes: Sizes, blocks: &[Vec<f32>], all: &mut [f32]) {
    for (block, values) in blocks.iter().enumerate() {
        let first = block * sizes.block();
        let per_head = values.len() / sizes.heads;
        for (head, values) in values.chunks_exact(per_head).enumerate() {
            all[head * sizes.length + first..][..per_head].copy_from_slice(values);
        }
    }
}

pub(super) fn forward(call: &mut Call<'_>) {
    let sizes = Sizes::of(call);
    let Sizes { length, heads, head_dim, scale, .. } = sizes;
    let (qkv, width) = (call.stored("qkv"), sizes.width());
    let (o, lse) = (call.output_stored("o"), call.output("lse"));
    let samples = o.chunks(width * length).into_par_iter().zip(lse.par_chunks_exact_mut(heads * length));
    samples.enumerate().for_each(|(sample, (o, lse))| {
        let pack = |head| {
            let [k, v] = [Part::K, Part::V].map(|part| sizes.part(qkv, sample, part, head));
            (sizes.positions(k), sizes.features(v))
        };
        let packed: Vec<(Rows, Rows)> = (0..heads).into_par_iter().map(pack).collect();
        let block = |work: &mut Work, (block, mut o): (usize, StoredMut<'_>)| {
            let Work { queries, scores, sums, .. } = work;
            let first = block * sizes.block();
            let mut block_lse = Vec::with_capacity(heads * o.len() / width);
            for (head, (k, v)) in packed.iter().enumerate() {
                for (at, columns) in sizes.strips(first) {
                    queries.load(&sizes.part(qkv, sample, Part::Q, head), at, columns, head_dim);
                    scores.multiply(k, queries);
                    let softmax = |vector| Arch::new().dispatch(Softmax { scores, vector, scale });
                    let ends: Vec<Ends> = (0..queries.vectors()).map(softmax).collect();
                    sums.multiply(v, scores);
                    for (vector, ends) in ends.iter().enumerate() {
                        Arch::new().dispatch(Scale { sums, vector, factors: ends.factors });
                    }
                    sums.store(&mut o, (at - first) * width + head * head_dim, width);
                    block_lse.extend(ends.iter().flat_map(|ends| ends.lse).take(columns));
                }
            }
            block_lse
        };
        let blocks = o.chunks(sizes.block() * width).into_par_iter().enumerate();
        let blocks: Vec<Vec<f32>> = blocks.with_max_len(1).map_init(Work::default, block).collect();
        gather(sizes, &blocks, lse);
    });
}

/// What a softmax over columns leaves to be done.
struct Ends {
    /// One over the denominators.
    factors: Lanes,
    /// Their logs, of the scores as they were.
    lse: Lanes,
}

/// The numerators of a softmax over each scaled column of one vector, in place.
struct Softmax<'a> {
    scores: &'a mut Strip,
    vector: usize,
    scale: f32,
}

impl NullaryFnOnce for Softmax<'_> {
    type Output = Ends;

    #[inline(always)]
    fn call(self) -> Ends {
        let Softmax { scores, vector, scale } = self;
        let mut highest = [f32::MIN; LANES];
        for step in scores.steps(vector) {
            for (highest, score) in highest.iter_mut().zip(step) {
                // One instruction, which `f32::max` is not; a NaN comes out of the sums all the same.
                *highest = if *score > *highest { *score } else { *highest };
            }
        }
        highest.iter_mut().for_each(|highest| *highest *= scale);
        let mut denominators = [0.0; LANES];
        for step in scores.steps_mut(vector) {
            for ((score, highest), denominator) in step.iter_mut().zip(&highest).zip(&mut denominators) {
                *score = exp(*score * scale - highest);
                *denominator += *score;
            }
        }
        Ends {
            factors: denominators.map(|denominator| 1.0 / denominator),
            lse: std::array::from_fn(|lane| highest[lane] + denominators[lane].ln()),
        }
    }
}

/// Each column of one vector times its factor.
struct Scale<'a> {
    sums: &'a mut Strip,
    vector: usize,
    factors: Lanes,
}

impl NullaryFnOnce for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for step in self.sums.steps_mut(self.vector) {
            step.iter_mut().zip(&self.factors).for_each(|(sum, factor)| *sum *= factor);
        }
    }
}

pub(super) fn reverse_queries(call: &mut Call<'_>) {
    let sizes = Sizes::of(call);
    let Sizes { length, heads, head_dim, scale, .. } = sizes;
    let (qkv, o_grad, o) = (call.stored("qkv"), Stored::F32(call.input("o_grad")), call.stored("o_saved"));
    let (lse, delta, grads) = (call.input("lse_saved"), call.output("delta"), call.output("qkv_grad"));
    let (row, per_head) = (3 * sizes.width(), heads * length);
    let samples = grads.par_chunks_exact_mut(row * length).zip(delta.par_chunks_exact_mut(per_head));
    samples.zip(lse.par_chunks_exact(per_head)).enumerate().for_each(|(sample, ((grad, delta), lse))| {
        let pack = |head| {
            let [k, v] = [Part::K, Part::V].map(|part| sizes.part(qkv, sample, part, head));
            (sizes.positions(k), sizes.positions(v), sizes.features(k))
        };
        let packed: Vec<(Rows, Rows, Rows)> = (0..heads).into_par_iter().map(pack).collect();
        let block = |work: &mut Work, (block, grad): (usize, &mut [f32])| {
            let Work { queries, grads, outputs, scores, grad_scores, sums } = work;
            let (first, mut grad) = (block * sizes.block(), StoredMut::F32(grad));
            let mut block_delta = Vec::with_capacity(heads * grad.len() / row);
            for (head, (k, v, of_k)) in packed.iter().enumerate() {
                for (at, columns) in sizes.strips(first) {
                    queries.load(&sizes.part(qkv, sample, Part::Q, head), at, columns, head_dim);
                    grads.load(&sizes.head(o_grad, sample, head), at, columns, head_dim);
                    outputs.load(&sizes.head(o, sample, head), at, columns, head_dim);
                    scores.multiply(k, queries);
                    grad_scores.multiply(v, grads);
                    for (vector, lse) in lse[head * length + at..][..columns].chunks(LANES).enumerate() {
                        let delta = Arch::new().dispatch(Dot { left: grads, right: outputs, vector });
                        let lse = lanes(lse);
                        let of = QueryGrads { scores, grad_scores, vector, lse, delta, scale };
                        Arch::new().dispatch(of);
                        block_delta.extend(delta.iter().take(columns - vector * LANES));
                    }
                    sums.multiply(of_k, grad_scores);
                    sums.store(&mut grad, (at - first) * row + head * head_dim, row);
                }
            }
            block_delta
        };
        let blocks = grad.par_chunks_mut(sizes.block() * row).enumerate();
        let blocks: Vec<Vec<f32>> = blocks.with_max_len(1).map_init(Work::default, block).collect();
        gather(sizes, &blocks, delta);
    });
}

/// At most one value for each lane, then zeros.
fn lanes(values: &[f32]) -> Lanes {
    std::array::from_fn(|lane| values.get(lane).copied().unwrap_or_default())
}

/// The sums of products of two strips, column by column of one vector.
struct Dot<'a> {
    left: &'a Strip,
    right: &'a Strip,
    vector: usize,
}

impl NullaryFnOnce for Dot<'_> {
    type Output = Lanes;

    #[inline(always)]
    fn call(self) -> Lanes {
        let mut sums = [0.0; LANES];
        for (left, right) in self.left.steps(self.vector).zip(self.right.steps(self.vector)) {
            for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
                *sum += left * right;
            }
        }
        sums
    }
}

/// ds = p (dp - delta) scale in the place of dp, where columns are queries.
struct QueryGrads<'a> {
    scores: &'a Strip,
    grad_scores: &'a mut Strip,
    vector: usize,
    lse: Lanes,
    delta: Lanes,
    scale: f32,
}

impl NullaryFnOnce for QueryGrads<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let QueryGrads { scores, grad_scores, vector, lse, delta, scale } = self;
        for (score, grad) in scores.steps(vector).zip(grad_scores.steps_mut(vector)) {
            for lane in 0..LANES {
                let p = exp(score[lane] * scale - lse[lane]);
                grad[lane] = p * (grad[lane] - delta[lane]) * scale;
            }
        }
    }
}

pub(super) fn reverse_keys(call: &mut Call<'_>) {
    let sizes = Sizes::of(call);
    let Sizes { length, heads, head_dim, scale, .. } = sizes;
    let (qkv, o_grad) = (call.stored("qkv"), Stored::F32(call.input("o_grad")));
    let (lse, delta) = (call.input("lse_saved"), call.input("delta_saved"));
    let (row, width) = (3 * sizes.width(), sizes.width());
    let samples = call.output("qkv_grad").par_chunks_exact_mut(row * length).enumerate();
    samples.for_each(|(sample, grad)| {
        let pack = |head| {
            let (q, o_grad) = (sizes.part(qkv, sample, Part::Q, head), sizes.head(o_grad, sample, head));
            [q, o_grad].map(|lines| (sizes.positions(lines), sizes.features(lines)))
        };
        let packed: Vec<[(Rows, Rows); 2]> = (0..heads).into_par_iter().map(pack).collect();
        let block = |work: &mut Work, (block, grad): (usize, &mut [f32])| {
            let Work { queries: keys, grads: values, scores, grad_scores, sums, .. } = work;
            let (first, mut grad) = (block * sizes.block(), StoredMut::F32(grad));
            for (head, [(q, of_q), (o_grad, of_o_grad)]) in packed.iter().enumerate() {
                let [lse, delta] = [lse, delta].map(|all| &all[(sample * heads + head) * length..][..length]);
                for (at, columns) in sizes.strips(first) {
                    keys.load(&sizes.part(qkv, sample, Part::K, head), at, columns, head_dim);
                    values.load(&sizes.part(qkv, sample, Part::V, head), at, columns, head_dim);
                    scores.multiply(q, keys);
                    grad_scores.multiply(o_grad, values);
                    for vector in 0..keys.vectors() {
                        Arch::new().dispatch(KeyGrads { scores, grad_scores, vector, lse, delta, scale });
                    }
                    for (part, rows, scores) in
                        [(Part::K, of_q, &mut *grad_scores), (Part::V, of_o_grad, &mut *scores)]
                    {
                        sums.multiply(rows, scores);
                        let start = (at - first) * row + part as usize * width + head * head_dim;
                        sums.store(&mut grad, start, row);
                    }
                }
            }
        };
        let blocks = grad.par_chunks_mut(sizes.block() * row).enumerate();
        blocks.with_max_len(1).for_each_init(Work::default, block);
    });
}

/// p in the place of scores and ds = p (dp - delta) scale in that of dp, where columns are keys.
struct KeyGrads<'a> {
    scores: &'a mut Strip,
    grad_scores: &'a mut Strip,
    vector: usize,
    lse: &'a [f32],
    delta: &'a [f32],
    scale: f32,
}

impl NullaryFnOnce for KeyGrads<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let KeyGrads { scores, grad_scores, vector, lse, delta, scale } = self;
        let steps = scores.steps_mut(vector).zip(grad_scores.steps_mut(vector));
        for ((score, grad), (&lse, &delta)) in steps.zip(lse.iter().zip(delta)) {
            for lane in 0..LANES {
                score[lane] = exp(score[lane] * scale - lse);
                grad[lane] = score[lane] * (grad[lane] - delta) * scale;
            }
        }
    }
}
