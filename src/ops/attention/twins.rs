//! The CPU twins. A task is one head of a sample. Its scores are made strip by strip, each over every position: a
//! column for each query (forward) or for each key (reverse), so that softmax takes whole vectors and the next product
//! reads the scores where they lie.

use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use super::super::math::exp;
use super::super::multiply::{COLUMNS, LANES, Lanes, Matrix, Rows, Strip, halves};
use super::super::rope::turn;
use crate::plan::{Call, Stored, StoredMut};

/// Sizes that the twins share.
#[derive(Clone, Copy)]
struct Sizes {
    length: usize,
    heads: usize,
    head_dim: usize,
    scale: f32,
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
        Sizes {
            length: call.count("length"),
            heads: call.count("heads"),
            head_dim: call.constant("HEAD_DIM"),
            scale: call.float("scale"),
        }
    }

    fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// The rows of each head of a sample's (L, `parts`, heads, d), in the order of (heads, `parts`, L).
    fn rows<'a>(&self, sample: StoredMut<'a>, parts: usize) -> Vec<Vec<StoredMut<'a>>> {
        let mut rows: Vec<Vec<StoredMut<'a>>> =
            (0..self.heads * parts).map(|_| Vec::with_capacity(self.length)).collect();
        for (index, row) in sample.chunks(self.head_dim).into_iter().enumerate() {
            let (part, head) = (index / self.heads % parts, index % self.heads);
            rows[head * parts + part].push(row);
        }
        rows
    }
}

/// One head of a sample.
#[derive(Clone, Copy)]
struct Head<'a> {
    sizes: Sizes,
    qkv: Stored<'a>,
    sample: usize,
    head: usize,
}

impl<'a> Head<'a> {
    /// Its q, k or v: a line for each position.
    fn part(&self, part: Part) -> Matrix<'a> {
        let width = self.sizes.width();
        let row = 3 * self.sample * self.sizes.length + part as usize;
        Matrix {
            words: self.qkv,
            start: row * width + self.head * self.sizes.head_dim,
            line: 3 * width,
            depth: 1,
        }
    }

    /// Its features of o or its gradient: a line for each position.
    fn own(&self, o: Stored<'a>) -> Matrix<'a> {
        let width = self.sizes.width();
        let start = self.sample * self.sizes.length * width + self.head * self.sizes.head_dim;
        Matrix { words: o, start, line: width, depth: 1 }
    }

    /// A row for each position: scores come of them.
    fn positions(&self, lines: Matrix<'_>) -> Rows {
        Rows::pack(&lines, self.sizes.length, self.sizes.head_dim, halves(self.qkv))
    }

    /// A row for each feature: they sum over scores.
    fn features(&self, lines: Matrix<'_>) -> Rows {
        Rows::pack(&lines.turned(), self.sizes.head_dim, self.sizes.length, halves(self.qkv))
    }
}

pub(super) fn forward(call: &mut Call<'_>) {
    let sizes = Sizes::of(call);
    let Sizes { length, heads, .. } = sizes;
    let (qkv, o, lse) = (call.stored("qkv"), call.output_stored("o"), call.output("lse"));
    let samples =
        o.chunks(length * sizes.width()).into_par_iter().zip(lse.par_chunks_exact_mut(heads * length));
    // Without tasks for all threads, heads are divided.
    let most = length.div_ceil(rayon::current_num_threads().div_ceil(samples.len() * heads));
    let block = most.next_multiple_of(COLUMNS);
    samples.enumerate().for_each(|(sample, (o, lse))| {
        let mut rows = sizes.rows(o, 1);
        let each = rows.par_iter_mut().zip(lse.par_chunks_exact_mut(length)).enumerate();
        each.for_each(|(head, (o, lse))| {
            let head = Head { sizes, qkv, sample, head };
            let (k, v) = (head.positions(head.part(Part::K)), head.features(head.part(Part::V)));
            let blocks = o.par_chunks_mut(block).zip(lse.par_chunks_mut(block)).enumerate();
            blocks.for_each_init(Default::default, |work, (index, out)| {
                softmax_of_queries(work, &head, [&k, &v], index * block, out);
            });
        });
    });
}

/// o and lse of the queries from `first` on, strip by strip.
fn softmax_of_queries(
    [queries, scores, sums]: &mut [Strip; 3],
    head: &Head<'_>,
    [k, v]: [&Rows; 2],
    first: usize,
    (o, lse): (&mut [StoredMut<'_>], &mut [f32]),
) {
    let Sizes { head_dim, scale, .. } = head.sizes;
    for (strip, (o, lse)) in o.chunks_mut(COLUMNS).zip(lse.chunks_mut(COLUMNS)).enumerate() {
        queries.load(&head.part(Part::Q), first + strip * COLUMNS, lse.len(), head_dim);
        scores.multiply(k, queries);
        let softmax = |vector| Arch::new().dispatch(Softmax { scores, vector, scale });
        let ends: Vec<Ends> = (0..queries.vectors()).map(softmax).collect();
        sums.multiply(v, scores);
        for (vector, (ends, lse)) in ends.iter().zip(lse.chunks_mut(LANES)).enumerate() {
            Arch::new().dispatch(Scale { sums, vector, factors: ends.factors });
            lse.copy_from_slice(&ends.lse[..lse.len()]);
        }
        sums.store(o);
    }
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

/// The twin of `reverse_queries`. It makes the whole of qkv's gradient: p and ds serve dq, dk and dv.
pub(super) fn reverse(call: &mut Call<'_>) {
    let sizes = Sizes::of(call);
    let Sizes { length, heads, .. } = sizes;
    let (qkv, o_grad, o) = (call.stored("qkv"), call.stored("o_grad"), call.stored("o_saved"));
    let (lse, delta, grads) = (call.input("lse_saved"), call.output("delta"), call.output("qkv_grad"));
    let turns = (call.constant("TURNED") == 1).then(|| call.input("turns"));
    let samples = grads.par_chunks_exact_mut(3 * length * sizes.width());
    let samples = samples.zip(delta.par_chunks_exact_mut(heads * length));
    samples.enumerate().for_each(|(sample, (grads, delta))| {
        let mut rows = sizes.rows(StoredMut::F32(&mut *grads), 3);
        let (parts, _) = rows.as_chunks_mut::<3>();
        let each = parts.par_iter_mut().zip(delta.par_chunks_exact_mut(length)).enumerate();
        each.for_each_init(Work::default, |work, (head, ([q_grads, k_grads, v_grads], delta))| {
            let lse = &lse[(sample * heads + head) * length..][..length];
            let head = Head { sizes, qkv, sample, head };
            let (o, o_grad) = (head.own(o), head.own(o_grad));
            Arch::new().dispatch(Deltas { o, o_grad, head_dim: sizes.head_dim, delta });
            work.keys_and_values(&head, o_grad, [lse, delta], [k_grads, v_grads]);
            work.store_query_grads(q_grads);
        });
        if let Some(turns) = turns {
            turn_back(&sizes, grads, turns);
        }
    });
}

/// Turns a sample's dq and dk back by the angles of their positions.
fn turn_back(sizes: &Sizes, grads: &mut [f32], turns: &[f32]) {
    let positions = grads.par_chunks_exact_mut(3 * sizes.width()).zip(turns.par_chunks_exact(sizes.head_dim));
    positions.with_min_len(16).for_each(|(grads, turns)| {
        let turned = grads[..2 * sizes.width()].chunks_exact_mut(sizes.head_dim);
        turned.for_each(|head| turn(head, turns, -1.0));
    });
}

/// The twin of `reverse_keys`, in plans that have it: [`reverse`] has made dk and dv.
pub(super) fn reversed(_: &mut Call<'_>) {}

/// delta: the sums of o times its gradient over the features of each position.
struct Deltas<'a> {
    o: Matrix<'a>,
    o_grad: Matrix<'a>,
    head_dim: usize,
    delta: &'a mut [f32],
}

impl NullaryFnOnce for Deltas<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Deltas { o, o_grad, head_dim, delta } = self;
        let mut buffers = [vec![0.0; head_dim], vec![0.0; head_dim]];
        for (position, delta) in delta.iter_mut().enumerate() {
            let [read, read_grad] = &mut buffers;
            let o = o.words.view(o.start + position * o.line, head_dim, read);
            let o_grad = o_grad.words.view(o_grad.start + position * o_grad.line, head_dim, read_grad);
            let ((o, o_last), (o_grad, last)) = (o.as_chunks::<LANES>(), o_grad.as_chunks::<LANES>());
            let mut sums = [0.0; LANES];
            for (o, o_grad) in o.iter().zip(o_grad) {
                sums = std::array::from_fn(|lane| sums[lane] + o[lane] * o_grad[lane]);
            }
            let rest: f32 = o_last.iter().zip(last).map(|(o, o_grad)| o * o_grad).sum();
            *delta = sums.iter().sum::<f32>() + rest;
        }
    }
}

/// What a task of the reverse pass works on.
#[derive(Default)]
struct Work {
    keys: Strip,
    values: Strip,
    scores: Strip,
    grad_scores: Strip,
    sums: Strip,
    /// A few features of a strip's keys.
    features: Strip,
    /// dq, as many features in each, of the keys so far.
    query_grads: Vec<Strip>,
}

impl Work {
    /// dk and dv strip by strip, and their part of dq.
    fn keys_and_values(
        &mut self,
        head: &Head<'_>,
        o_grad: Matrix<'_>,
        [lse, delta]: [&[f32]; 2],
        [k_grads, v_grads]: [&mut [StoredMut<'_>]; 2],
    ) {
        let Sizes { head_dim, scale, .. } = head.sizes;
        let [q, k, v] = [Part::Q, Part::K, Part::V].map(|part| head.part(part));
        let [(q, of_q), (o_grad, of_o_grad)] =
            [q, o_grad].map(|lines| (head.positions(lines), head.features(lines)));
        let Work { keys, values, scores, grad_scores, sums, .. } = self;
        self.query_grads.resize_with(head_dim.div_ceil(COLUMNS), Strip::default);
        self.query_grads.iter_mut().for_each(Strip::clear);
        let strips = k_grads.chunks_mut(COLUMNS).zip(v_grads.chunks_mut(COLUMNS)).enumerate();
        for (strip, (k_grads, v_grads)) in strips {
            let (first, columns) = (strip * COLUMNS, k_grads.len());
            keys.load(&k, first, columns, head_dim);
            values.load(&v, first, columns, head_dim);
            scores.multiply(&q, keys);
            grad_scores.multiply(&o_grad, values);
            for vector in 0..keys.vectors() {
                Arch::new().dispatch(ScoreGrads { scores, grad_scores, vector, lse, delta, scale });
            }
            sums.multiply(&of_q, grad_scores);
            sums.store(k_grads);
            sums.multiply(&of_o_grad, scores);
            sums.store(v_grads);
            let rows = grad_scores.as_rows(halves(head.qkv));
            let k = k.turned().from(k.start + first * k.line);
            for (index, query_grads) in self.query_grads.iter_mut().enumerate() {
                let feature = index * COLUMNS;
                self.features.load(&k, feature, COLUMNS.min(head_dim - feature), columns);
                query_grads.add_product(&rows, &mut self.features);
            }
        }
    }

    fn store_query_grads(&mut self, grads: &mut [StoredMut<'_>]) {
        for (index, sums) in self.query_grads.iter_mut().enumerate() {
            for (grads, sums) in grads.iter_mut().zip(sums.rows()) {
                grads.write(index * COLUMNS, sums);
            }
        }
    }
}

/// p in the place of scores and ds = p (dp - delta) scale in that of dp, of one vector of keys.
struct ScoreGrads<'a> {
    scores: &'a mut Strip,
    grad_scores: &'a mut Strip,
    vector: usize,
    lse: &'a [f32],
    delta: &'a [f32],
    scale: f32,
}

impl NullaryFnOnce for ScoreGrads<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let ScoreGrads { scores, grad_scores, vector, lse, delta, scale } = self;
        let steps = scores.steps_mut(vector).zip(grad_scores.steps_mut(vector));
        for ((score, grad), (&lse, &delta)) in steps.zip(lse.iter().zip(delta)) {
            for lane in 0..LANES {
                score[lane] = exp(score[lane] * scale - lse);
                grad[lane] = score[lane] * (grad[lane] - delta) * scale;
            }
        }
    }
}
