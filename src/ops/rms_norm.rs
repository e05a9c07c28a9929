//! RMS norm over D or over L, without a learned scale (the release's choice).
//!
//! y = x rstd, rstd = 1 / sqrt(mean(x^2) + eps). Saved: y and rstd; x is not needed again.
//! Reverse: dx = rstd (dy - y mean(dy y)).

use rayon::prelude::*;

use super::math::vectorised;
use super::sum::gradient;
use super::terms::groups;
use crate::Result;
use crate::plan::{Axis, Call, Entry, Kernel, Reverse, Role, Shape, Tape, Tensor};

/// `shaders/rms_norm.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "rms_norm",
    source: include_str!("../../shaders/rms_norm.wgsl"),
    entries: &[
        Entry { name: "rows", twin: rows },
        Entry { name: "rows_reverse", twin: rows_reverse },
        Entry { name: "columns", twin: columns },
        Entry { name: "columns_reverse", twin: columns_reverse },
    ],
};

/// Lays down y = rms_norm(x) over `axis` and its reverse rule, writing into `y` where the caller owns the place.
pub fn rms_norm(
    tape: &mut Tape,
    shape: Shape,
    axis: Axis,
    eps: f32,
    x: Tensor,
    y: Option<Tensor>,
) -> Result<Tensor> {
    let y = y.unwrap_or_else(|| tape.activation(shape.words()));
    let norm = Norm { shape, axis, eps, x, y, rstd: tape.tensor(Role::Activation, groups(shape, axis)) };
    let entry = if axis == Axis::Width { "rows" } else { "columns" };
    norm.push(tape, entry, 2, &[("x", x), ("y", y), ("rstd", norm.rstd)])?;
    tape.rule(y, norm);
    Ok(y)
}

struct Norm {
    shape: Shape,
    axis: Axis,
    eps: f32,
    x: Tensor,
    y: Tensor,
    rstd: Tensor,
}

impl Norm {
    /// Over L, a thread has `columns_each` columns of a sample.
    fn push(
        &self,
        tape: &mut Tape,
        entry: &'static str,
        columns_each: usize,
        tensors: &[(&'static str, Tensor)],
    ) -> Result<()> {
        let Shape { batch, length, width } = self.shape;
        let groups = groups(self.shape, self.axis);
        let mut call = tape.call(&KERNEL, entry);
        for &(name, tensor) in tensors {
            call = call.bind(name, tensor);
        }
        call = call.count("groups", groups).float("eps", self.eps).flops(4 * self.shape.words());
        call = call.count("width", width);
        match self.axis {
            Axis::Width => call.count("length", width).groups_1d(groups).push(),
            Axis::Length => call.count("length", length).threads(batch * width.div_ceil(columns_each)).push(),
        }
    }
}

impl Reverse for Norm {
    fn reverse(&self, tape: &mut Tape) -> Result<()> {
        let Some(dy) = gradient(tape, self.y)? else { return Ok(()) };
        let dx = tape.tensor(Role::Gradient, self.shape.words());
        let entry = if self.axis == Axis::Width { "rows_reverse" } else { "columns_reverse" };
        let tensors = [("dy", dy), ("y_saved", self.y), ("rstd_saved", self.rstd), ("dx", dx)];
        self.push(tape, entry, 1, &tensors)?;
        tape.contribute(self.x, dx);
        Ok(())
    }
}

fn rows(call: &mut Call<'_>) {
    let (length, eps, x) = (call.count("length"), call.float("eps"), call.input("x"));
    let (y, rstd) = (call.output("y"), call.output("rstd"));
    let lines = y.par_chunks_exact_mut(length).zip(x.par_chunks_exact(length)).zip(rstd);
    lines.with_min_len(16).for_each(|((y, x), rstd)| {
        vectorised(|| {
            *rstd = 1.0 / (dot(x, x) / length as f32 + eps).sqrt();
            y.iter_mut().zip(x).for_each(|(y, x)| *y = x * *rstd);
        });
    });
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
