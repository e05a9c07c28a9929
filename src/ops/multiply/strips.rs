//! Products one after the other, without packing in between: what one gives lies as the next one reads it.
//!
//! A strip is up to 32 columns of a second operand, step by step in depth. The product of rows with a strip is a strip
//! again, whose depth are those rows. Its columns lie side by side in vectors: what a softmax does to each column takes
//! whole vectors.

use pulp::Arch;

use super::line::{LANES, Line};
use super::pairs::JoinSteps;
use super::panels::{multiply_tile, pack, transpose};
use super::source::{Matrix, Source};
use super::{Rows, multiplies_bf16, steps};
use crate::plan::{Stored, StoredMut};

/// Most columns of a strip.
pub(in crate::ops) const COLUMNS: usize = 2 * LANES;

/// One step of a strip: a value for each column.
pub(in crate::ops) type Lanes = [f32; LANES];

/// A few columns over all their depth, in f32.
#[derive(Default)]
pub(in crate::ops) struct Strip {
    columns: usize,
    lines: Vec<Line>,
    rounded: Vec<Line>,
    turned: Vec<Line>,
}

impl Strip {
    /// Vectors of columns, one or two.
    pub(in crate::ops) fn vectors(&self) -> usize {
        self.columns.div_ceil(LANES)
    }

    /// Takes lines `first` to `first` + `columns` of `source`, each `depth` deep.
    pub(in crate::ops) fn load(&mut self, source: &impl Source, first: usize, columns: usize, depth: usize) {
        assert!((1..=COLUMNS).contains(&columns));
        self.columns = columns;
        self.lines.resize(depth * self.vectors(), Line([0; LANES]));
        let stride = self.vectors();
        pack(source, (first, columns), (0, depth), false, &mut self.lines, stride);
    }

    /// Becomes the product of `rows` with `strip`, which is as deep as they are.
    pub(in crate::ops) fn multiply(&mut self, rows: &Rows, strip: &mut Strip) {
        self.take_product(rows, strip, false);
    }

    /// Leaves nothing: the next product begins anew.
    pub(in crate::ops) fn clear(&mut self) {
        self.lines.clear();
    }

    /// Adds the product of `rows` with `strip`, unless it is empty and becomes that product.
    pub(in crate::ops) fn add_product(&mut self, rows: &Rows, strip: &mut Strip) {
        self.take_product(rows, strip, !self.lines.is_empty());
    }

    fn take_product(&mut self, rows: &Rows, strip: &mut Strip, add: bool) {
        self.columns = strip.columns;
        let vectors = self.vectors();
        let (stride, per_panel) = (vectors * LANES, rows.per_panel);
        self.lines.resize(rows.rows.next_multiple_of(per_panel) * vectors, Line([0; LANES]));
        let operand = strip.operand(rows.pairs);
        for (a, c) in rows.panels().zip(self.lines.chunks_exact_mut(per_panel * vectors)) {
            let c = bytemuck::cast_slice_mut(c);
            multiply_tile(rows.pairs, per_panel, (a, operand), c, stride, add);
        }
        self.lines.truncate(rows.rows * vectors);
    }

    /// What a tile reads: the strip itself, or pairs of its steps as bfloat16.
    fn operand(&mut self, pairs: bool) -> &[Line] {
        if !pairs {
            return &self.lines;
        }
        let vectors = self.vectors();
        self.rounded.resize(steps(self.lines.len() / vectors, true) * vectors, Line([0; LANES]));
        Arch::new().dispatch(JoinSteps { lines: &self.lines, vectors, joined: &mut self.rounded });
        &self.rounded
    }

    /// Each step of one vector of columns; the last vector may have more lanes than there are columns.
    #[inline(always)]
    pub(in crate::ops) fn steps(&self, vector: usize) -> impl Iterator<Item = &Lanes> {
        self.lines[vector..].chunks(self.vectors()).map(|step| bytemuck::cast_ref(&step[0].0))
    }

    /// The same, to be changed.
    #[inline(always)]
    pub(in crate::ops) fn steps_mut(&mut self, vector: usize) -> impl Iterator<Item = &mut Lanes> {
        let vectors = self.vectors();
        self.lines[vector..].chunks_mut(vectors).map(|step| bytemuck::cast_mut(&mut step[0].0))
    }

    /// Every step: the columns' elements, one after the other.
    pub(in crate::ops) fn rows(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let (columns, stride) = (self.columns, self.vectors() * LANES);
        let words: &mut [f32] = bytemuck::cast_slice_mut(&mut self.lines);
        words.chunks_exact_mut(stride).map(move |row| &mut row[..columns])
    }

    /// Gives each column as a line to `take`.
    pub(super) fn each_column(&mut self, mut take: impl FnMut(usize, &mut [f32])) {
        let vectors = self.vectors();
        let depth = self.lines.len() / vectors;
        let blocks = depth.div_ceil(LANES);
        let Strip { lines, turned, .. } = self;
        turned.resize(LANES * blocks, Line([0; LANES]));
        for vector in 0..vectors {
            for block in 0..blocks {
                let step = |index: usize| (block * LANES + index) * vectors + vector;
                let line = |index: usize| lines.get(step(index)).map_or(&[0; LANES], |line| &line.0);
                transpose(&std::array::from_fn(line), &mut turned[block..], blocks);
            }
            let columns = (self.columns - vector * LANES).min(LANES);
            for (column, elements) in turned.chunks_exact_mut(blocks).enumerate().take(columns) {
                let elements: &mut [f32] = bytemuck::cast_slice_mut(elements);
                take(vector * LANES + column, &mut elements[..depth]);
            }
        }
    }

    /// Writes each column into its line of `out`.
    pub(in crate::ops) fn store(&mut self, out: &mut [StoredMut<'_>]) {
        self.each_column(|column, elements| out[column].write(0, elements));
    }

    /// The steps as rows of a product that is as deep as there are columns.
    pub(in crate::ops) fn as_rows(&mut self, halves: bool) -> Rows {
        let (line, steps) = (self.vectors() * LANES, self.lines.len() / self.vectors());
        let mut words = Stored::F32(bytemuck::cast_slice(&self.lines));
        if halves && multiplies_bf16() {
            self.rounded.resize(self.lines.len().div_ceil(2), Line([0; LANES]));
            let mut rounded = StoredMut::Bf16(bytemuck::cast_slice_mut(&mut self.rounded));
            rounded.write(0, bytemuck::cast_slice(&self.lines));
            words = Stored::Bf16(bytemuck::cast_slice(&self.rounded));
        }
        let matrix = Matrix { words, start: 0, line, depth: 1 };
        Rows::pack(&matrix, steps, self.columns, halves)
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;
    use crate::rng::Rng;

    fn normal(count: usize, seed: u64) -> Vec<f32> {
        let mut rng = Rng::new(seed, 0);
        (0..count).map(|_| rng.normal() as f32).collect()
    }

    /// The strip's steps times another's, once and once more on top, against f64.
    #[test]
    fn steps_are_rows_too() {
        for (steps, columns, features) in [(1, 1, 1), (27, 32, 16), (97, 17, 32), (14, 3, 20)] {
            for halves in [false, true] {
                let (a, b) = (normal(steps * columns, 1), normal(columns * features, 2));
                let [mut left, mut right, mut sums] = [(); 3].map(|_| Strip::default());
                left.load(&Matrix::across(Stored::F32(&a), columns), 0, columns, steps);
                right.load(&Matrix::across(Stored::F32(&b), features), 0, features, columns);
                for _ in 0..2 {
                    let rows = left.as_rows(halves);
                    sums.add_product(&rows, &mut right);
                }
                let rounds = halves && multiplies_bf16();
                let read =
                    |value: f32| f64::from(if rounds { bf16::from_f32(value).to_f32() } else { value });
                for (step, found) in sums.rows().enumerate() {
                    for (feature, found) in found.iter().enumerate() {
                        let terms = (0..columns)
                            .map(|at| read(a[step * columns + at]) * read(b[at * features + feature]));
                        let exact = 2.0 * terms.sum::<f64>();
                        assert!(
                            (f64::from(*found) - exact).abs() <= 1e-5 * (columns as f64).sqrt(),
                            "{found} {exact}, {steps} x {columns}"
                        );
                    }
                }
                assert_eq!(sums.rows().count(), steps);
            }
        }
    }

    /// A times B, then C times that, against f64: whatever is multiplied as halves is rounded there too.
    #[test]
    fn products_in_a_row_are_those_of_f64() {
        for (columns, depth, middle, rows) in
            [(1, 1, 1, 1), (16, 5, 14, 13), (17, 64, 97, 64), (32, 33, 29, 15)]
        {
            for halves in [false, true] {
                let (a, b) = (normal(middle * depth, 1), normal((columns + 3) * depth, 2));
                let c = normal(rows * middle, 3);
                let of = |words, line| Matrix::lines_of(Stored::F32(words), line);
                let [a_rows, c_rows] = [(&a, middle, depth), (&c, rows, middle)]
                    .map(|(words, rows, depth)| Rows::pack(&of(words, depth), rows, depth, halves));
                let [mut strip, mut scores, mut sums] = [(); 3].map(|_| Strip::default());
                strip.load(&of(&b, depth), 3, columns, depth);
                scores.multiply(&a_rows, &mut strip);
                sums.multiply(&c_rows, &mut scores);
                let mut stored = vec![0.0; columns * rows];
                sums.store(&mut StoredMut::F32(&mut stored).chunks(rows));

                let rounds = halves && multiplies_bf16();
                let read =
                    |value: f32| f64::from(if rounds { bf16::from_f32(value).to_f32() } else { value });
                for column in 0..columns {
                    let line = &b[(3 + column) * depth..][..depth];
                    let dot = |left: &[f32], right: &[f32]| -> f64 {
                        left.iter().zip(right).map(|(left, right)| read(*left) * read(*right)).sum()
                    };
                    let middles: Vec<f32> = a.chunks(depth).map(|a| dot(a, line) as f32).collect();
                    for row in 0..rows {
                        let (found, exact) =
                            (stored[column * rows + row], dot(&c[row * middle..][..middle], &middles));
                        // A middle value may fall on the other side of the middle between two halves.
                        let bound = if rounds { 1e-2 } else { 1e-5 } * ((depth * middle) as f64).sqrt();
                        assert!(
                            (f64::from(found) - exact).abs() <= bound,
                            "{found} {exact}, {rows} x {columns}"
                        );
                    }
                }
            }
        }
    }
}
