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

/// Lays down `out[c] = scale * sum over r of x[r, c]`, x (rows, width). In a step of several micro-batches it is added to
/// what `out` holds; see [`clear`].
pub fn column_sums(
    tape: &mut Tape,
    mut x: Tensor,
    mut rows: usize,
    width: usize,
    mut scale: f32,
    out: Tensor,
) -> Result<()> {
    while rows > CHUNK {
        let chunks = rows.div_ceil(CHUNK);
        let sums = tape.tensor(Role::Gradient, chunks * width);
        push(tape, x, [rows, width], scale, false, sums)?;
        (x, rows, scale) = (sums, chunks, 1.0);
    }
    let add = tape.micro_batches() > 1;
    push(tape, x, [rows, width], scale, add, out)
}

/// Lays down zeros in `out`, before the body of a step of several micro-batches adds to it.
pub fn clear(tape: &mut Tape, x: Tensor, out: Tensor) -> Result<()> {
    let width = tape.elements(out);
    push(tape, x, [0, width], 0.0, false, out)
}

/// One sum for each chunk of rows; of none at all, zeros.
fn push(
    tape: &mut Tape,
    x: Tensor,
    [rows, width]: [usize; 2],
    scale: f32,
    add: bool,
    sums: Tensor,
) -> Result<()> {
    let count = rows.div_ceil(CHUNK).max(1) * width;
    tape.call(&KERNEL, "sum_rows")
        .bind("x", x)
        .bind("sums", sums)
        .count("count", count)
        .count("rows", rows)
        .count("width", width)
        .count("chunk", CHUNK)
        .count("add", usize::from(add))
        .float("scale", scale)
        .flops(rows * width)
        .threads(count)
        .push()
}

fn sum_rows(call: &mut Call<'_>) {
    let (rows, width, chunk) = (call.count("rows"), call.count("width"), call.count("chunk"));
    let (scale, add, x) = (call.float("scale"), call.count("add") != 0, call.input("x"));
    call.output("sums").par_chunks_exact_mut(width).enumerate().for_each(|(index, sums)| {
        let mut totals = vec![0.0; width];
        let first = index * chunk;
        for line in x[first * width..rows.min(first + chunk) * width].chunks_exact(width) {
            totals.iter_mut().zip(line).for_each(|(total, x)| *total += x);
        }
        let known = |sum: f32| if add { sum } else { 0.0 };
        sums.iter_mut().zip(totals).for_each(|(sum, total)| *sum = known(*sum) + total * scale);
    });
}
