//! RMS norm over D or over L, without a learned scale (the release's choice).
//!
//! y = x rstd, rstd = 1 / sqrt(mean(x^2) + eps). Saved: y and rstd; x is not needed again.
//! Reverse: dx = rstd (dy - y mean(dy y)).

use rayon::prelude::*;

use super::math::vectorised;
use super::sum::gradient;
use crate::plan::{Axis, Call, Entry, Kernel, Reverse, Role, Shape, Tape, Tensor};
use crate::{Error, Result};

/// `shaders/rms_norm.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "rms_norm",
    source: include_str!("../../shaders/rms_norm.wgsl"),
    entries: &[
        Entry { name: "rows", twin: rows },
        Entry { name: "rows_add", twin: rows_add },
        Entry { name: "rows_reverse", twin: rows_reverse },
        Entry { name: "columns", twin: columns },
        Entry { name: "columns_reverse", twin: columns_reverse },
    ],
};

/// RMS norm over an axis of (B, L, D).
#[derive(Clone, Copy, Debug)]
pub struct RmsNorm {
    /// (B, L, D).
    pub shape: Shape,
    /// What is normalised: each position over D, or each feature over L.
    pub axis: Axis,
    /// Added to the mean square.
    pub eps: f32,
}

impl RmsNorm {
    /// Lays down y = rms_norm(x), x in f32, and its reverse rule, writing into `y` where the caller owns the place.
    pub fn push(self, tape: &mut Tape, x: Tensor, y: Option<Tensor>) -> Result<Tensor> {
        let entry = if self.axis == Axis::Width { "rows" } else { "columns" };
        self.normalise(tape, entry, x, y, &[], 0)
    }

    /// [`RmsNorm::push`] over D, and in the same dispatch the sum of y and one or two `others`, which no gradient
    /// flows through: that is for [`super::sum::Sum`] to say. Returns y and the sum.
    pub fn push_with_sum(
        self,
        tape: &mut Tape,
        x: Tensor,
        y: Option<Tensor>,
        others: &[Tensor],
    ) -> Result<(Tensor, Tensor)> {
        let ([first, .., second] | [first @ second]) = *others else {
            return Err(Error::kernel("rms_norm", "nothing is added to what is normalised"));
        };
        let total = tape.activation(self.shape.elements());
        let more = [("first", first), ("second", second), ("total", total)];
        Ok((self.normalise(tape, "rows_add", x, y, &more, others.len())?, total))
    }

    fn normalise(
        self,
        tape: &mut Tape,
        entry: &'static str,
        x: Tensor,
        y: Option<Tensor>,
        more: &[(&'static str, Tensor)],
        addends: usize,
    ) -> Result<Tensor> {
        let y = y.unwrap_or_else(|| tape.activation(self.shape.elements()));
        let rstd = tape.tensor(Role::Activation, self.groups());
        self.lay(tape, entry, addends, &[&[("x", x), ("y", y), ("rstd", rstd)], more].concat())?;
        tape.rule(y, Recorded { norm: self, x, y, rstd });
        Ok(y)
    }

    /// What is normalised by itself: positions, or features of a sample.
    fn groups(&self) -> usize {
        match self.axis {
            Axis::Width => self.shape.rows(),
            Axis::Length => self.shape.batch * self.shape.width,
        }
    }

    fn lay(
        &self,
        tape: &mut Tape,
        entry: &'static str,
        addends: usize,
        tensors: &[(&'static str, Tensor)],
    ) -> Result<()> {
        let Shape { batch, length, width } = self.shape;
        let mut call = tape.call(&KERNEL, entry);
        for &(name, tensor) in tensors {
            call = call.bind(name, tensor);
        }
        call = call.count("groups", self.groups()).count("width", width).count("addends", addends);
        call = call.float("eps", self.eps).flops(4 * self.shape.elements());
        match self.axis {
            Axis::Width => call.count("length", width).groups_1d(self.groups()).push(),
            Axis::Length => call.count("length", length).threads(batch * width.div_ceil(2)).push(),
        }
    }
}

struct Recorded {
    norm: RmsNorm,
    x: Tensor,
    y: Tensor,
    rstd: Tensor,
}

impl Reverse for Recorded {
    fn reverse(&self, tape: &mut Tape) -> Result<()> {
        let Some(dy) = gradient(tape, self.y)? else { return Ok(()) };
        let dx = tape.gradient(self.norm.shape.elements());
        let entry = if self.norm.axis == Axis::Width { "rows_reverse" } else { "columns_reverse" };
        let tensors = [("dy", dy), ("y_saved", self.y), ("rstd_saved", self.rstd), ("dx", dx)];
        self.norm.lay(tape, entry, 0, &tensors)?;
        tape.contribute(self.x, dx);
        Ok(())
    }
}

/// y and what else starts from it.
fn rows_add(call: &mut Call<'_>) {
    let (length, addends, total) = (call.count("length"), call.count("addends"), call.output("total"));
    let others = [call.input("first"), call.input("second")];
    let y = normalise_rows(call);
    let lines = total.par_chunks_exact_mut(length).enumerate();
    lines.with_min_len(16).for_each(|(row, total)| {
        total.copy_from_slice(&y[row * length..][..length]);
        for other in &others[..addends] {
            total.iter_mut().zip(&other[row * length..]).for_each(|(sum, other)| *sum += other);
        }
    });
}

fn rows(call: &mut Call<'_>) {
    normalise_rows(call);
}

/// Writes y and rstd; returns y, in f32.
fn normalise_rows<'c>(call: &mut Call<'c>) -> &'c [f32] {
    let (length, eps, x) = (call.count("length"), call.float("eps"), call.input("x"));
    let (y, rstd) = (call.output("y"), call.output("rstd"));
    let lines = y.par_chunks_exact_mut(length).zip(x.par_chunks_exact(length)).zip(rstd);
    lines.with_min_len(16).for_each(|((y, x), rstd)| {
        vectorised(|| {
            *rstd = 1.0 / (dot(x, x) / length as f32 + eps).sqrt();
            y.iter_mut().zip(x).for_each(|(y, x)| *y = x * *rstd);
        });
    });
    y
}

fn rows_reverse(call: &mut Call<'_>) {
    let length = call.count("length");
    let (dy, y, rstd) = (call.input("dy"), call.input("y_saved"), call.input("rstd_saved"));
    let lines = call.output("dx").par_chunks_exact_mut(length).enumerate();
    lines.with_min_len(16).for_each(|(row, dx)| {
        let (dy, y) = (&dy[row * length..][..length], &y[row * length..][..length]);
        vectorised(|| {
            let mean = dot(dy, y) / length as f32;
            let terms = dy.iter().zip(y);
            dx.iter_mut().zip(terms).for_each(|(dx, (dy, y))| *dx = rstd[row] * (dy - y * mean));
        });
    });
}

/// Sixteen partial sums, so that the compiler may use vector registers; the order is fixed.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; 16];
    let (a_blocks, b_blocks) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        (0..16).for_each(|lane| lanes[lane] += a[lane] * b[lane]);
    }
    lanes.iter().sum::<f32>() + rest
}

fn columns(call: &mut Call<'_>) {
    let (length, width, eps, x) =
        (call.count("length"), call.count("width"), call.float("eps"), call.input("x"));
    let (y, rstd) = (call.output("y"), call.output("rstd"));
    let samples = y.par_chunks_exact_mut(length * width).zip(x.par_chunks_exact(length * width));
    samples.zip(rstd.par_chunks_exact_mut(width)).for_each(|((y, x), rstd)| {
        vectorised(|| {
            rstd.fill(0.0);
            for line in x.chunks_exact(width) {
                rstd.iter_mut().zip(line).for_each(|(sum, x)| *sum += x * x);
            }
            rstd.iter_mut().for_each(|sum| *sum = 1.0 / (*sum / length as f32 + eps).sqrt());
            for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                y.iter_mut().zip(x.iter().zip(&*rstd)).for_each(|(y, (x, rstd))| *y = x * rstd);
            }
        });
    });
}

fn columns_reverse(call: &mut Call<'_>) {
    let (length, width) = (call.count("length"), call.count("width"));
    let (dy, y, rstd) = (call.input("dy"), call.input("y_saved"), call.input("rstd_saved"));
    let size = length * width;
    call.output("dx").par_chunks_exact_mut(size).enumerate().for_each(|(sample, dx)| {
        let (dy, y) = (&dy[sample * size..][..size], &y[sample * size..][..size]);
        let rstd = &rstd[sample * width..][..width];
        let mut means = vec![0.0f32; width];
        vectorised(|| {
            for (dy, y) in dy.chunks_exact(width).zip(y.chunks_exact(width)) {
                means.iter_mut().zip(dy.iter().zip(y)).for_each(|(mean, (dy, y))| *mean += dy * y);
            }
            means.iter_mut().for_each(|mean| *mean /= length as f32);
            let lines = dy.chunks_exact(width).zip(y.chunks_exact(width));
            for (dx, (dy, y)) in dx.chunks_exact_mut(width).zip(lines) {
                let terms = dy.iter().zip(y).zip(rstd.iter().zip(&means));
                dx.iter_mut()
                    .zip(terms)
                    .for_each(|(dx, ((dy, y), (rstd, mean)))| *dx = rstd * (dy - y * mean));
            }
        });
    });
}
