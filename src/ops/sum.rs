//! Sums of equal shapes: a net's inputs z + y + x, and gradients that arrive from several consumers.

use rayon::prelude::*;

use crate::Result;
use crate::plan::{Call, Element, Entry, Kernel, Reverse, Role, Tape, Tensor};

/// `shaders/sum.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "sum",
    source: include_str!("../../shaders/sum.wgsl"),
    entries: &[Entry { name: "sum", twin: add_all }],
};

/// Terms that one dispatch adds.
const MOST: usize = 4;

/// The sum of `terms`, all of one size; a single term is returned as it is. The reverse rule hands the gradient
/// on to every term that wants one, without work.
pub fn sum(tape: &mut Tape, terms: &[Tensor]) -> Result<Tensor> {
    if let [term] = *terms {
        return Ok(term);
    }
    let element = tape.target().precision;
    let total = add(tape, terms, Role::Activation, element)?;
    hand_on(tape, terms, total);
    Ok(total)
}

/// Leaves the reverse rule of `total`, the sum of `terms`.
pub fn hand_on(tape: &mut Tape, terms: &[Tensor], total: Tensor) {
    if terms.iter().any(|&term| tape.needs_grad(term)) {
        tape.rule(total, Sum { terms: terms.to_vec(), total });
    }
}

/// The gradient of `tensor` as the target stores those: the sum of all contributions to it, or the only one as it is;
/// None where nothing flowed back.
pub fn gradient(tape: &mut Tape, tensor: Tensor) -> Result<Option<Tensor>> {
    let contributions = tape.take_contributions(tensor);
    match *contributions {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        _ => add(tape, &contributions, Role::Gradient, tape.target().gradient()).map(Some),
    }
}

/// The same in elements of this type.
pub fn gradient_in(tape: &mut Tape, tensor: Tensor, element: Element) -> Result<Option<Tensor>> {
    let contributions = tape.take_contributions(tensor);
    match *contributions {
        [] => Ok(None),
        [only] if tape.element(only) == element => Ok(Some(only)),
        _ => add(tape, &contributions, Role::Gradient, element).map(Some),
    }
}

/// Lays down a copy of `from` to `to`, of the same size.
pub fn copy(tape: &mut Tape, from: Tensor, to: Tensor) -> Result<()> {
    lay(tape, from, [from; 3], 1, to)
}

fn add(tape: &mut Tape, terms: &[Tensor], role: Role, element: Element) -> Result<Tensor> {
    let (mut total, mut rest) = (terms[0], &terms[1..]);
    loop {
        let (now, later) = rest.split_at(rest.len().min(MOST - 1));
        let term = |index: usize| now.get(index).copied().unwrap_or(total);
        let count = tape.elements(total);
        // What is only on its way to the total keeps all of its bits.
        let element = if later.is_empty() { element } else { Element::F32 };
        let next = tape.tensor_of(role, count, element);
        lay(tape, total, [term(0), term(1), term(2)], now.len() + 1, next)?;
        if later.is_empty() {
            return Ok(next);
        }
        (total, rest) = (next, later);
    }
}

fn lay(tape: &mut Tape, a: Tensor, [b, c, d]: [Tensor; 3], terms: usize, total: Tensor) -> Result<()> {
    let count = tape.elements(total);
    tape.call(&KERNEL, "sum")
        .bind("a", a)
        .bind("b", b)
        .bind("c", c)
        .bind("d", d)
        .bind("total", total)
        .count("count", count.div_ceil(4))
        .count("terms", terms)
        .flops(count * (terms - 1))
        .threads(count.div_ceil(4))
        .push()
}

struct Sum {
    terms: Vec<Tensor>,
    total: Tensor,
}

impl Reverse for Sum {
    fn reverse(&self, tape: &mut Tape) -> Result<()> {
        if let Some(gradient) = gradient(tape, self.total)? {
            self.terms.iter().for_each(|&term| tape.contribute(term, gradient));
        }
        Ok(())
    }
}

fn add_all(call: &mut Call<'_>) {
    let terms = call.count("terms");
    let inputs = [call.input("a"), call.input("b"), call.input("c"), call.input("d")];
    let total = call.output("total");
    const BLOCK: usize = 4096;
    total.par_chunks_mut(BLOCK).enumerate().for_each(|(block, out)| {
        let start = block * BLOCK;
        out.copy_from_slice(&inputs[0][start..start + out.len()]);
        for term in &inputs[1..terms] {
            out.iter_mut().zip(&term[start..]).for_each(|(value, term)| *value += term);
        }
    });
}
