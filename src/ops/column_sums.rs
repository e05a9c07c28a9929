//! Sums over rows, in chunks so that neither one thread nor a driver's loop limit meets a long column.

use rayon::prelude::*;

use crate::Result;
use crate::plan::{Call, Entry, Kernel, Role, Tape, Tensor};

/// `shaders/column_sums.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "column_sums",
    source: include_str!("../../shaders/column_sums.wgsl"),
    entries: &[Entry { name: "sum_rows", twin: sum_rows }],
};

/// Rows that one thread adds.
pub const CHUNK: usize = 256;

/// Lays down `out[c] = scale * sum over r of x[r, c]`, x (rows, width).
pub fn column_sums(
    tape: &mut Tape,
    mut x: Tensor,
    mut rows: usize,
    width: usize,
    mut scale: f32,
    out: Tensor,
) -> Result<()> {
    loop {
        let chunks = rows.div_ceil(CHUNK).max(1);
        let sums = if chunks == 1 { out } else { tape.tensor(Role::Gradient, chunks * width) };
        tape.call(&KERNEL, "sum_rows")
            .bind("x", x)
            .bind("sums", sums)
            .count("count", chunks * width)
            .count("rows", rows)
            .count("width", width)
            .count("chunk", CHUNK)
            .float("scale", scale)
            .flops(rows * width)
            .threads(chunks * width)
            .push()?;
        if chunks == 1 {
            return Ok(());
        }
        (x, rows, scale) = (sums, chunks, 1.0);
    }
}

fn sum_rows(call: &mut Call<'_>) {
    let (rows, width, chunk) = (call.count("rows"), call.count("width"), call.count("chunk"));
    let (scale, x) = (call.float("scale"), call.input("x"));
    call.output("sums").par_chunks_exact_mut(width).enumerate().for_each(|(index, sums)| {
        sums.fill(0.0);
        let first = index * chunk;
        for line in x[first * width..rows.min(first + chunk) * width].chunks_exact(width) {
            sums.iter_mut().zip(line).for_each(|(sum, x)| *sum += x);
        }
        sums.iter_mut().for_each(|sum| *sum *= scale);
    });
}
