//! What fused dispatches read: sums of tensors (B, L, D), each perhaps with an RMS norm that is still pending.
//!
//! A pending norm is a scale per group (a position, or a feature of a sample) that the reader applies while it
//! reads, so that the norm costs no pass over memory. Behind the words of such a tensor lie the sums of squares that
//! the scales follow from. The WGSL side is `shaders/lib/terms.wgsl`.

use super::math::vectorised;
use super::multiply::Source;
use crate::plan::{Axis, Call, DispatchBuilder, Shape, Stored, Target, Tensor, Tile, align};
use crate::{Error, Result};

/// A tensor (B, L, D), perhaps without its norm yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Its words, and its sums of squares behind them where a norm is pending.
    pub tensor: Tensor,
    /// The norm to be applied by whoever reads it.
    pub norm: Option<PendingNorm>,
}

impl Term {
    /// A tensor as it is.
    pub fn settled(tensor: Tensor) -> Term {
        Term { tensor, norm: None }
    }
}

/// The norm that a [`Term`] still lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingNorm {
    /// What is normalised: each position over D, or each feature over L.
    pub axis: Axis,
    /// Partial sums of squares per group.
    pub parts: usize,
}

/// Most terms of one sum.
const MOST_TERMS: usize = 3;

/// Words of shared memory that the two tiles of a product and what goes with their rows leave for scales.
fn words_for_scales(target: &Target) -> usize {
    let tile = target.tiles.fused;
    let left = target.shared_bytes.saturating_sub(tile.shared_bytes()) as usize / 4;
    left.saturating_sub(tile.height())
}

/// A sum of terms of one shape, read by a product over `over`.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// (B, L, D) of each term.
    pub shape: Shape,
    /// The axis that the product contracts (`project_in`) or maps to (`project_out`).
    pub over: Axis,
    /// Of the pending norms.
    pub eps: f32,
    /// In the order in which they are added.
    pub terms: &'a [Term],
}

impl Terms<'_> {
    /// Whether one dispatch can read them: not too many terms, and scales that fit into shared memory.
    pub fn fit(target: &Target, shape: Shape, over: Axis, terms: usize, pending: Option<Axis>) -> bool {
        let kept = kept_groups(target.tiles.fused, shape, over, pending);
        (1..=MOST_TERMS).contains(&terms) && terms * kept <= words_for_scales(target)
    }

    /// Where the sums of squares of a pending norm start.
    pub fn squares_at(&self) -> usize {
        align(self.shape.words())
    }

    /// Binds terms, constants and parameters of `shaders/lib/terms.wgsl`.
    pub(super) fn bind<'t>(&self, call: DispatchBuilder<'t>, target: Target) -> Result<DispatchBuilder<'t>> {
        let pending: Vec<PendingNorm> = self.terms.iter().filter_map(|term| term.norm).collect();
        let norm = pending.first().copied();
        if pending.iter().any(|other| Some(*other) != norm) {
            return Err(Error::kernel("terms", "a sum of terms whose pending norms differ"));
        }
        let axis = norm.map(|norm| norm.axis);
        if !Terms::fit(&target, self.shape, self.over, self.terms.len(), axis) {
            return Err(Error::kernel("terms", format!("{} terms do not fit", self.terms.len())));
        }
        let mask =
            self.terms.iter().enumerate().map(|(at, term)| usize::from(term.norm.is_some()) << at).sum();
        let term = |at: usize| self.terms.get(at).unwrap_or(&self.terms[0]).tensor;
        Ok(call
            .constant("TERMS", self.terms.len())
            .constant("NORM_OVER_L", usize::from(axis == Some(Axis::Length)))
            .constant("KEPT", kept_groups(target.tiles.fused, self.shape, self.over, axis))
            .constant("OVER_L", usize::from(self.over == Axis::Length))
            .bind("term_0", term(0))
            .bind("term_1", term(1))
            .bind("term_2", term(2))
            .count("pending", mask)
            .count("positions", self.shape.rows())
            .count("length", self.shape.length)
            .count("width", self.shape.width)
            .count("groups", groups(self.shape, axis.unwrap_or(Axis::Width)))
            .count("parts", norm.map_or(0, |norm| norm.parts))
            .count("squares_at", self.squares_at())
            .float("eps", self.eps))
    }
}

/// Groups of the norm over `axis`.
pub(super) fn groups(shape: Shape, axis: Axis) -> usize {
    match axis {
        Axis::Width => shape.rows(),
        Axis::Length => shape.batch * shape.width,
    }
}

/// Groups that one tile of a product over `over` meets at the most, rounded up so that lengths share shaders.
fn kept_groups(tile: Tile, shape: Shape, over: Axis, pending: Option<Axis>) -> usize {
    let groups = match (over, pending.unwrap_or(Axis::Width)) {
        (Axis::Width, Axis::Width) => tile.height(),
        (Axis::Width, Axis::Length) => {
            ((tile.height() - 2) / shape.length + 2).min(shape.batch) * shape.width
        }
        (Axis::Length, Axis::Width) => shape.length,
        (Axis::Length, Axis::Length) => shape.width,
    };
    groups.next_multiple_of(64)
}

/// The terms of a dispatch on the CPU engine, as an operand whose lines are positions (B L) or, of one sample,
/// features.
pub(super) struct CpuTerms<'a> {
    /// L.
    pub(super) length: usize,
    /// D.
    pub(super) width: usize,
    terms: Vec<(Stored<'a>, Option<Vec<f32>>)>,
    norm_over_l: bool,
}

impl<'a> CpuTerms<'a> {
    pub(super) fn of(call: &Call<'a>) -> CpuTerms<'a> {
        let norm_over_l = call.constant("NORM_OVER_L") == 1;
        let (length, width) = (call.count("length"), call.count("width"));
        let (groups, parts, eps) = (call.count("groups"), call.count("parts"), call.float("eps"));
        let normed = if norm_over_l { length } else { width } as f32;
        let term = |at: usize| {
            let words = call.stored(["term_0", "term_1", "term_2"][at]);
            let pending = call.count("pending") >> at & 1 == 1;
            let scales = pending.then(|| {
                let mut squares = vec![0.0; groups * parts];
                words.read(call.count("squares_at"), &mut squares);
                let sums = squares.chunks_exact(parts).map(|parts| parts.iter().sum::<f32>());
                sums.map(|sum| 1.0 / (sum / normed + eps).sqrt()).collect()
            });
            (words, scales)
        };
        CpuTerms { length, width, terms: (0..call.constant("TERMS")).map(term).collect(), norm_over_l }
    }

    /// The features of a position from `from` on.
    pub(super) fn read(&self, position: usize, from: usize, out: &mut [f32]) {
        for (index, (words, scales)) in self.terms.iter().enumerate() {
            let mut buffer = [0.0; RUN];
            for (run, out) in out.chunks_mut(RUN).enumerate() {
                let from = from + run * RUN;
                let words = words.view(position * self.width + from, out.len(), &mut buffer);
                let scales = match scales {
                    Some(scales) if self.norm_over_l => {
                        Scales::Each(&scales[position / self.length * self.width + from..][..out.len()])
                    }
                    Some(scales) => Scales::One(scales[position]),
                    None => Scales::One(1.0),
                };
                vectorised(|| scales.add(words, index == 0, out));
            }
        }
    }
}

/// Elements that are read at once.
const RUN: usize = 64;

/// What a term is multiplied with: a scale for each feature, or one for all.
enum Scales<'a> {
    Each(&'a [f32]),
    One(f32),
}

impl Scales<'_> {
    #[inline(always)]
    fn add(&self, words: &[f32], first: bool, out: &mut [f32]) {
        match (self, first) {
            (Scales::Each(scales), true) => {
                let terms = words.iter().zip(*scales);
                out.iter_mut().zip(terms).for_each(|(sum, (word, scale))| *sum = word * scale);
            }
            (Scales::Each(scales), false) => {
                let terms = words.iter().zip(*scales);
                out.iter_mut().zip(terms).for_each(|(sum, (word, scale))| *sum += word * scale);
            }
            (Scales::One(scale), true) => {
                out.iter_mut().zip(words).for_each(|(sum, word)| *sum = word * scale);
            }
            (Scales::One(scale), false) => {
                out.iter_mut().zip(words).for_each(|(sum, word)| *sum += word * scale);
            }
        }
    }
}

/// Lines are positions, depth is D.
impl Source for CpuTerms<'_> {
    fn along_depth(&self) -> bool {
        true
    }

    fn read(&self, position: usize, from: usize, out: &mut [f32]) {
        CpuTerms::read(self, position, from, out);
    }
}

/// One sample of [`CpuTerms`]: lines are features, depth is L.
pub(super) struct SampleTerms<'a> {
    /// All samples.
    pub(super) terms: &'a CpuTerms<'a>,
    /// Which of them.
    pub(super) sample: usize,
}

impl Source for SampleTerms<'_> {
    fn along_depth(&self) -> bool {
        false
    }

    fn read(&self, position: usize, from: usize, out: &mut [f32]) {
        self.terms.read(self.sample * self.terms.length + position, from, out);
    }
}
