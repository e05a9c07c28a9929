//! Products one after the other, without packing in between: what one gives lies as the next one reads it.
//!
//! A strip is up to 32 columns of a second operand, step by step in depth. The product of rows with a strip is a strip
//! again, whose depth are those rows. Its columns lie side by side in vectors: what a softmax does to each column takes
//! whole vectors.

use super::panels::{LANES, Line, multiply_tile, pack, transpose};
use super::source::Source;
use super::{Rows, steps};
use crate::ops::math::vectorised;
use crate::plan::{StoredMut, bf16_bits};

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
        self.clear();
        self.add_product(rows, strip);
    }

    /// Leaves nothing: the next product begins anew.
    pub(super) fn clear(&mut self) {
        self.lines.clear();
    }

    /// Adds the product of `rows` with `strip`, unless it is empty and becomes that product.
    pub(super) fn add_product(&mut self, rows: &Rows, strip: &mut Strip) {
        let add = !self.lines.is_empty();
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
        let steps = self.lines.chunks(2 * vectors).zip(self.rounded.chunks_exact_mut(vectors));
        for (two, joined) in steps {
            let (low, high) = two.split_at(vectors);
            let high = high.iter().chain(std::iter::repeat(&Line([0; LANES])));
            for ((low, high), joined) in low.iter().zip(high).zip(joined) {
                vectorised(|| {
                    for ((low, high), word) in low.0.iter().zip(&high.0).zip(&mut joined.0) {
                        let bits = |word: &u32| u32::from(bf16_bits(f32::from_bits(*word)));
                        *word = bits(low) | bits(high) << 16;
                    }
                });
            }
        }
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
    pub(super) fn rows(&mut self) -> impl Iterator<Item = &mut [f32]> {
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

    /// Writes each column as a line of `out`: from `start` on, `line` elements from one to the next.
    pub(in crate::ops) fn store(&mut self, out: &mut StoredMut<'_>, start: usize, line: usize) {
        self.each_column(|column, elements| out.write(start + column * line, elements));
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::super::{Matrix, multiplies_bf16};
    use super::*;
    use crate::plan::Stored;
    use crate::rng::Rng;

    fn normal(count: usize, seed: u64) -> Vec<f32> {
        let mut rng = Rng::new(seed, 0);
        (0..count).map(|_| rng.normal() as f32).collect()
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
                sums.store(&mut StoredMut::F32(&mut stored), 0, rows);

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
