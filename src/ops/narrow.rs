//! Copies of weights as halves, made once per supervision step and read by all of its passes.

use crate::plan::{Call, Element, Entry, Kernel, Role, Tape, Tensor};
use crate::{Error, Result};

/// `shaders/narrow.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "narrow",
    source: include_str!("../../shaders/narrow.wgsl"),
    entries: &[Entry { name: "narrow", twin: copy }],
};

/// Lays down a copy of `x` in the target's precision; `x` itself where that is f32.
///
/// # Errors
/// [`Error::Kernel`] for an odd number of elements.
pub fn narrow(tape: &mut Tape, x: Tensor) -> Result<Tensor> {
    let (count, element) = (tape.elements(x), tape.target().precision);
    if element == Element::F32 {
        return Ok(x);
    }
    if count % 2 == 1 {
        return Err(Error::kernel("narrow.narrow", format!("{count} elements are no whole number of words")));
    }
    let y = tape.tensor_of(Role::Weights, count, element);
    let call = tape.call(&KERNEL, "narrow").bind("x", x).bind("y", y).count("count", count);
    call.threads(count / 2).push()?;
    Ok(y)
}

fn copy(call: &mut Call<'_>) {
    let x = call.input("x");
    call.output("y")[..x.len()].copy_from_slice(x);
}
