//! Copies of weights as products read them, made once per supervision step: in the target's precision, in rows of whole
//! vectors.

use crate::Result;
use crate::plan::{Call, Element, Entry, Kernel, Role, Tape, Target, Tensor};

/// `shaders/store_weight.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "store_weight",
    source: include_str!("../../shaders/store_weight.wgsl"),
    entries: &[Entry { name: "store", twin: store }],
};

/// A weight, and the copy of it that products read.
#[derive(Clone, Copy, Debug)]
pub struct Weight {
    /// What is trained.
    pub master: Tensor,
    /// The same in the target's precision.
    pub stored: Tensor,
    /// Zeros behind each row of `stored`.
    pub padding: usize,
}

impl Weight {
    /// Lays down the copy of `master` (N, `k`) that products read; `master` itself where it is just that.
    ///
    /// # Errors
    /// As [`crate::plan::DispatchBuilder::push`].
    pub fn store(tape: &mut Tape, master: Tensor, k: usize) -> Result<Weight> {
        let (target, padding) = (tape.target(), Weight::padding(&tape.target(), k));
        if target.precision == Element::F32 {
            return Ok(Weight::from(master));
        }
        let count = tape.elements(master) / k * (k + padding);
        let stored = tape.tensor_of(Role::Weights, count, target.precision);
        let call = tape.call(&KERNEL, "store").bind("x", master).bind("y", stored).count("count", count);
        call.count("from_columns", k).count("to_columns", k + padding).threads(count / 2).push()?;
        Ok(Weight { master, stored, padding })
    }

    /// Zeros behind each row of `k` elements: halves come by vectors of eight.
    pub fn padding(target: &Target, k: usize) -> usize {
        match target.precision {
            Element::F32 => 0,
            Element::Bf16 | Element::F16 => k.next_multiple_of(8) - k,
        }
    }
}

impl From<Tensor> for Weight {
    fn from(master: Tensor) -> Weight {
        Weight { master, stored: master, padding: 0 }
    }
}

fn store(call: &mut Call<'_>) {
    let (from, to) = (call.count("from_columns"), call.count("to_columns"));
    let (x, mut y) = (call.input("x"), call.output_stored("y"));
    let zeros = vec![0.0; to - from];
    for (row, x) in x.chunks_exact(from).enumerate() {
        y.write(row * to, x);
        y.write(row * to + from, &zeros);
    }
}
