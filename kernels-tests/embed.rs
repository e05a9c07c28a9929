//! The input embedding and its gradients against f64: padded, missing and wide puzzle embeddings, positions.

use std::f64::consts::FRAC_1_SQRT_2;

use trm::Result;
use trm::ops::embed::{Embed, EmbedGradients, KERNEL};
use trm::plan::Shape;

use crate::check::roundings;
use crate::harness::{KernelTests, Lab, Mutant, Needs};

/// Tests and mutants of `embed`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[("sizes", sizes)],
    mutants: &[
        Mutant {
            name: "forgets_the_prefix",
            from: "params.length - params.prefix) + position - params.prefix]",
            to: "params.length - params.prefix) + 0u * position]",
        },
        Mutant {
            name: "cuts_rows_short",
            from: "if place < params.emb_ndim {",
            to: "if place + 1u < params.emb_ndim {",
        },
        Mutant {
            name: "takes_the_first_identifier",
            from: "identifiers[sample] * params.emb_ndim",
            to: "identifiers[0u * sample] * params.emb_ndim",
        },
        Mutant { name: "forgets_positions", from: "params.learned != 0u", to: "params.learned > 1u" },
        Mutant { name: "forgets_the_scale", from: "x[index] = value * params.scale", to: "x[index] = value" },
        Mutant { name: "drops_a_position", from: "at < last; at++", to: "at + 1u < last; at++" },
        Mutant {
            name: "gradient_of_the_next_token",
            from: "if inputs[at] == token",
            to: "if inputs[at] == (token + 1u) % params.vocab",
        },
        Mutant { name: "puzzle_gradient_unscaled", from: "+ place] * params.scale", to: "+ place]" },
    ],
};

#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    seq_len: usize,
    prefix: usize,
    emb_ndim: usize,
    vocab: usize,
    width: usize,
    learned: bool,
}

const IDS: usize = 5;

/// Values of an embedding: data, tables, upstream gradient.
struct Values {
    inputs: Vec<i32>,
    identifiers: Vec<i32>,
    tokens: Vec<f32>,
    puzzle_emb: Vec<f32>,
    embed_pos: Vec<f32>,
    dx: Vec<f32>,
}

/// x and the gradients of tokens, positions and puzzle rows.
struct Expected {
    x: Vec<f64>,
    tokens: Vec<f64>,
    embed_pos: Vec<f64>,
    puzzle_rows: Vec<f64>,
}

/// Spec, "Input": every element of x comes from at most one table entry and one position; gradients go back there.
fn reference(sizes: Sizes, values: &Values) -> Expected {
    let Sizes { batch, seq_len, prefix, emb_ndim, width, learned, .. } = sizes;
    let length = prefix + seq_len;
    let scale = (width as f64).sqrt() * if learned { FRAC_1_SQRT_2 } else { 1.0 };
    let mut expected = Expected {
        x: Vec::new(),
        tokens: vec![0.0; values.tokens.len()],
        embed_pos: vec![0.0; values.embed_pos.len()],
        puzzle_rows: vec![0.0; batch * emb_ndim],
    };
    for at in 0..batch * length * width {
        let (sample, position, column) = (at / width / length, at / width % length, at % width);
        let (mut value, dx) = (0.0, f64::from(values.dx[at]) * scale);
        if position >= prefix {
            let token = values.inputs[sample * seq_len + position - prefix] as usize;
            value += f64::from(values.tokens[token * width + column]);
            expected.tokens[token * width + column] += dx;
        } else if position * width + column < emb_ndim {
            let place = position * width + column;
            let row = values.identifiers[sample] as usize * emb_ndim;
            value += f64::from(values.puzzle_emb[row + place]);
            expected.puzzle_rows[sample * emb_ndim + place] = dx;
        }
        if learned {
            value += f64::from(values.embed_pos[position * width + column]);
            expected.embed_pos[position * width + column] += dx;
        }
        expected.x.push(value * scale);
    }
    expected
}

fn sizes(lab: &mut Lab) -> Result<()> {
    let smallest = Sizes { batch: 1, seq_len: 1, prefix: 0, emb_ndim: 0, vocab: 1, width: 2, learned: false };
    let odd = Sizes { batch: 3, seq_len: 7, prefix: 2, emb_ndim: 65, vocab: 5, width: 33, learned: false };
    for sizes in [
        smallest,
        Sizes { learned: true, ..smallest },
        Sizes { batch: 3, prefix: 1, emb_ndim: 1, ..smallest },
        odd,
        Sizes { learned: true, ..odd },
        // The embedding fills its positions exactly; more positions than it fills; several chunks of positions.
        Sizes { emb_ndim: 66, ..odd },
        Sizes { prefix: 16, emb_ndim: 34, vocab: 11, seq_len: 81, learned: true, ..odd },
        Sizes { batch: 8, seq_len: 81, prefix: 0, emb_ndim: 0, width: 64, ..odd },
    ] {
        lay(lab, sizes)?;
    }
    Ok(())
}

fn draw(lab: &mut Lab, sizes: Sizes) -> Values {
    let Sizes { batch, seq_len, prefix, emb_ndim, vocab, width, learned } = sizes;
    let length = prefix + seq_len;
    Values {
        inputs: lab.below(batch * seq_len, vocab),
        identifiers: lab.below(batch, IDS),
        tokens: lab.normal(vocab * width),
        puzzle_emb: lab.normal(IDS * emb_ndim),
        embed_pos: lab.normal(if learned { length * width } else { 0 }),
        dx: lab.normal(batch * length * width),
    }
}

fn lay(lab: &mut Lab, sizes: Sizes) -> Result<()> {
    let Sizes { batch, seq_len, prefix, emb_ndim, vocab, width, learned } = sizes;
    lab.case(format!("B {batch} S {seq_len} P {prefix} N {emb_ndim} V {vocab} D {width}, learned {learned}"));
    let values = draw(lab, sizes);
    let expected = reference(sizes, &values);
    let embed = Embed {
        shape: Shape { batch, length: prefix + seq_len, width },
        prefix,
        vocab,
        emb_ndim,
        inputs: lab.ints("inputs", &values.inputs),
        identifiers: lab.ints("identifiers", &values.identifiers),
        tokens: lab.floats("tokens", &values.tokens),
        puzzle_emb: (emb_ndim > 0).then(|| lab.floats("puzzle_emb", &values.puzzle_emb)),
        embed_pos: learned.then(|| lab.floats("embed_pos", &values.embed_pos)),
    };
    let gradients = EmbedGradients {
        tokens: lab.output("tokens' gradient", vocab * width),
        embed_pos: learned.then(|| lab.output("positions' gradient", values.embed_pos.len())),
        puzzle_rows: (emb_ndim > 0).then(|| lab.output("puzzle_rows", batch * emb_ndim)),
        scale: 1.0,
    };
    let dx = lab.floats("dx", &values.dx);
    lab.tape.record(true);
    let x = embed.push(&mut lab.tape, Some(gradients))?;
    lab.tape.contribute(x, dx);
    lab.tape.reverse()?;
    // sqrt(D) and the learned factor are rounded, and x is a sum of two and a product.
    lab.expect("x", x, expected.x, roundings(5));
    // Sums over the positions that hold a token, or over the batch.
    lab.expect("tokens' gradient", gradients.tokens, expected.tokens, roundings(batch * seq_len + 3));
    if let Some(tensor) = gradients.embed_pos {
        lab.expect("positions' gradient", tensor, expected.embed_pos, roundings(batch + 3));
    }
    if let Some(tensor) = gradients.puzzle_rows {
        lab.expect("puzzle_rows", tensor, expected.puzzle_rows, roundings(3));
    }
    Ok(())
}
