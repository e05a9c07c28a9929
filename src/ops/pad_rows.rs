//! Copies of weights with longer rows, made once per supervision step and read by all of its passes.

use crate::Result;
use crate::plan::{Call, Entry, Kernel, Role, Tape, Tensor};

/// `shaders/pad_rows.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "pad_rows",
    source: include_str!("../../shaders/pad_rows.wgsl"),
    entries: &[Entry { name: "pad", twin: pad }],
};

/// Lays down a copy of `x`, rows of `from` f32, whose rows are `to` long and end in zeros.
pub fn pad_rows(tape: &mut Tape, x: Tensor, from: usize, to: usize) -> Result<Tensor> {
    let count = tape.elements(x) / from.max(1) * to;
    let y = tape.tensor(Role::Weights, count);
    let call = tape.call(&KERNEL, "pad").bind("x", x).bind("y", y).count("count", count);
    call.count("from_columns", from).count("to_columns", to).threads(count).push()?;
    Ok(y)
}

fn pad(call: &mut Call<'_>) {
    let (from, to) = (call.count("from_columns"), call.count("to_columns"));
    let (x, y) = (call.input("x"), call.output("y"));
    for (y, x) in y.chunks_exact_mut(to).zip(x.chunks_exact(from)) {
        let (values, padding) = y.split_at_mut(from);
        values.copy_from_slice(x);
        padding.fill(0.0);
    }
}
