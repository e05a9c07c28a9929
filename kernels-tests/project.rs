//! What `project_in` and `project_out` share: terms with pending norms, and the f64 reference of their sum.

use trm::ops::terms::{PendingNorm, Term, Terms};
use trm::plan::{Axis, Shape, align};

use crate::harness::Lab;

/// Of the pending norms: large enough to be seen where it is dropped.
const EPS: f32 = 0.03;

/// Shapes (B, L, D), with the groups of a norm around and across a tile of 64 positions.
pub const SHAPES: [(usize, usize, usize); 6] =
    [(1, 1, 2), (3, 1, 6), (2, 7, 10), (1, 65, 4), (3, 33, 66), (2, 97, 36)];

/// Lays `count` terms of `shape` down, those in `pending` without their norm over `axis`; returns them with their sum.
pub fn terms(
    lab: &mut Lab,
    shape: Shape,
    axis: Axis,
    count: usize,
    pending: impl Fn(usize) -> bool,
) -> (Vec<Term>, Vec<f64>) {
    let mut sum = vec![0.0; shape.words()];
    let mut terms = Vec::new();
    for index in 0..count {
        let mut values = lab.normal(shape.words());
        // Groups of different sizes, so that a scale that is taken from a neighbour is seen.
        for (at, value) in values.iter_mut().enumerate() {
            *value *= 1.0 + (group(shape, axis, at) % 5) as f32;
        }
        let norm = pending(index).then_some(PendingNorm { axis, parts: 3 });
        let wide: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
        let squares = squares(shape, axis, &wide);
        for (at, total) in sum.iter_mut().enumerate() {
            *total += f64::from(values[at]) * norm.map_or(1.0, |_| rstd(&squares, shape, axis, at));
        }
        if norm.is_some() {
            values.resize(align(shape.words()), f32::NAN);
            // Uneven parts of each group's squares.
            values.extend(
                squares.iter().flat_map(|square| [0.5, 0.25, 0.25].map(|part| (square * part) as f32)),
            );
        }
        let tensor = lab.floats(&format!("term {index}"), &values);
        terms.push(Term { tensor, norm });
    }
    (terms, sum)
}

/// The group of the word `at`: its position, or its feature in its sample.
fn group(shape: Shape, axis: Axis, at: usize) -> usize {
    match axis {
        Axis::Width => at / shape.width,
        Axis::Length => at / (shape.length * shape.width) * shape.width + at % shape.width,
    }
}

/// Sums of squares per group.
pub fn squares(shape: Shape, axis: Axis, values: &[f64]) -> Vec<f64> {
    let groups = if axis == Axis::Width { shape.rows() } else { shape.batch * shape.width };
    let mut squares = vec![0.0; groups];
    for (at, &value) in values.iter().enumerate() {
        squares[group(shape, axis, at)] += value * value;
    }
    squares
}

/// The scale that the norm gives the word `at`.
pub fn rstd(squares: &[f64], shape: Shape, axis: Axis, at: usize) -> f64 {
    let normed = if axis == Axis::Width { shape.width } else { shape.length };
    1.0 / (squares[group(shape, axis, at)] / normed as f64 + f64::from(EPS)).sqrt()
}

/// The sum of `terms` for a product over `over`.
pub fn sum_of(shape: Shape, over: Axis, terms: &[Term]) -> Terms<'_> {
    Terms { shape, over, eps: EPS, terms }
}

/// W (n_out, K) times the words `x` (B, L, D) over an axis, in f64, onto `c` (B, L, n_out) or (B, n_out, D).
pub fn add_product(shape: Shape, over: Axis, weight: &[f32], x: &[f64], c: &mut [f64]) {
    let k = if over == Axis::Width { shape.width } else { shape.length };
    let n_out = weight.len() / k;
    for (at, total) in c.iter_mut().enumerate() {
        let (row, read): (usize, Box<dyn Fn(usize) -> usize>) = match over {
            Axis::Width => (at % n_out, Box::new(move |k| at / n_out * shape.width + k)),
            Axis::Length => {
                let (sample, feature) = (at / (n_out * shape.width), at % shape.width);
                (
                    at / shape.width % n_out,
                    Box::new(move |k| (sample * shape.length + k) * shape.width + feature),
                )
            }
        };
        *total += (0..k).map(|index| f64::from(weight[row * k + index]) * x[read(index)]).sum::<f64>();
    }
}
