//! The graphs of `gradients.rs`: each op between linear layers, over odd sizes.

use libtest_mimic::Trial;
use trm::Result;
use trm::ops::attention::attention;
use trm::ops::embed::{Embed, EmbedGradients};
use trm::ops::linear::{After, linear};
use trm::ops::mlp::Mlp;
use trm::ops::rms_norm::RmsNorm;
use trm::ops::rope::table;
use trm::ops::sum::{hand_on, sum};
use trm::plan::{Axis, LinearForm, Shape, Tensor};

use crate::gradients::{Build, Graph, tests_of};

/// One test per graph and device.
pub fn tests() -> Vec<Trial> {
    tests_of(GRAPHS)
}

const GRAPHS: &[(&str, Build)] = &[
    ("mlp_over_width", |graph| mlp_over(graph, Axis::Width)),
    ("mlp_over_length", |graph| mlp_over(graph, Axis::Length)),
    ("rms_norm_over_width", |graph| rms_norm_over(graph, Axis::Width)),
    ("rms_norm_over_length", |graph| rms_norm_over(graph, Axis::Length)),
    ("norm_with_sum", norm_with_sum),
    ("attention_with_rope", attention_with_rope),
    ("shared_inputs", shared_inputs),
    ("biases_and_residuals", biases_and_residuals),
    ("embedding", |graph| embedding(graph, false)),
    ("embedding_with_positions", |graph| embedding(graph, true)),
    ("three_passes_over_width", |graph| passes(graph, Axis::Width, ODD)),
    ("three_passes_over_length", |graph| passes(graph, Axis::Length, ODD)),
    ("three_contiguous_passes_over_width", |graph| passes(graph, Axis::Width, ALIGNED)),
    ("three_contiguous_passes_over_length", |graph| passes(graph, Axis::Length, ALIGNED)),
];

/// 105 words: stacked tensors are padded to 128.
const ODD: Shape = Shape { batch: 3, length: 5, width: 7 };

/// 128 words: stacked tensors are contiguous.
const ALIGNED: Shape = Shape { batch: 2, length: 8, width: 8 };

/// y = W x along an axis, with a weight of its own.
fn layer(graph: &mut Graph, name: &str, axis: Axis, input: Shape, out: usize, x: Tensor) -> Result<Tensor> {
    let n_in = if axis == Axis::Width { input.width } else { input.length };
    let weight = graph.weight(name, (out, n_in));
    linear(&mut graph.tape, LinearForm { axis, input, out }, x, weight, After::Nothing)
}

/// An MLP with its residual between two layers.
fn mlp_over(graph: &mut Graph, axis: Axis) -> Result<Tensor> {
    let x = graph.input("x", ODD.elements());
    let h = layer(graph, "before", Axis::Width, ODD, ODD.width, x)?;
    let k = if axis == Axis::Width { ODD.width } else { ODD.length };
    let gate_up = graph.weight("gate_up", (2 * 11, k)).into();
    let down = graph.weight("down", (k, 11)).into();
    let form = LinearForm { axis, input: ODD, out: 2 * 11 };
    let y = Mlp { name: "mlp".into(), form, gate_up, down }.push(&mut graph.tape, h)?;
    layer(graph, "after", Axis::Width, ODD, 9, y)
}

fn rms_norm_over(graph: &mut Graph, axis: Axis) -> Result<Tensor> {
    let x = graph.input("x", ODD.elements());
    let h = layer(graph, "before", Axis::Width, ODD, 11, x)?;
    let shape = Shape { width: 11, ..ODD };
    let y = RmsNorm { shape, axis, eps: 1e-5 }.push(&mut graph.tape, h, None)?;
    layer(graph, "after", Axis::Width, shape, 6, y)
}

/// What is normalised goes on by itself, and in a sum with two others.
fn norm_with_sum(graph: &mut Graph) -> Result<Tensor> {
    let (x, e) = (graph.input("x", ODD.elements()), graph.input("e", ODD.elements()));
    let h = layer(graph, "before", Axis::Width, ODD, ODD.width, x)?;
    let norm = RmsNorm { shape: ODD, axis: Axis::Width, eps: 1e-5 };
    let (y, total) = norm.push_with_sum(&mut graph.tape, h, None, &[x, e])?;
    hand_on(&mut graph.tape, &[y, x, e], total);
    let a = layer(graph, "first", Axis::Width, ODD, 5, total)?;
    let b = layer(graph, "second", Axis::Width, ODD, 5, y)?;
    sum(&mut graph.tape, &[a, b])
}

fn attention_with_rope(graph: &mut Graph) -> Result<Tensor> {
    let (heads, head_dim) = (3, 4);
    let shape = Shape { batch: 2, length: 5, width: heads * head_dim };
    let x = graph.input("x", shape.elements());
    let angles = table(shape.length, head_dim, 100.0).iter().map(|value| value.to_bits()).collect();
    let angles = graph.data("angles", angles);
    let weight = graph.weight("qkv", (3 * shape.width, shape.width));
    let form = LinearForm { axis: Axis::Width, input: shape, out: 3 * shape.width };
    let qkv = linear(&mut graph.tape, form, x, weight, After::Turn { table: angles, heads })?;
    let o = attention(&mut graph.tape, shape, heads, qkv, Some(angles))?;
    layer(graph, "o", Axis::Width, shape, 7, o)
}

/// x and what is made of it enter several sums, some of them twice, and several layers.
fn shared_inputs(graph: &mut Graph) -> Result<Tensor> {
    let (x, e) = (graph.input("x", ODD.elements()), graph.input("e", ODD.elements()));
    let a = layer(graph, "first", Axis::Width, ODD, ODD.width, x)?;
    let s = sum(&mut graph.tape, &[a, x, e, a])?;
    let b = layer(graph, "second", Axis::Width, ODD, ODD.width, s)?;
    let t = sum(&mut graph.tape, &[s, b, a, e, x, b])?;
    let c = layer(graph, "third", Axis::Length, ODD, ODD.length, t)?;
    let d = layer(graph, "fourth", Axis::Width, ODD, ODD.width, t)?;
    sum(&mut graph.tape, &[c, d, s])
}

/// A residual over each axis, and one bias that two layers share.
fn biases_and_residuals(graph: &mut Graph) -> Result<Tensor> {
    let x = graph.input("x", ODD.elements());
    let bias = graph.bias("bias", ODD.width);
    let form = |axis, out| LinearForm { axis, input: ODD, out };
    let first = graph.weight("first", (ODD.width, ODD.width));
    let a = linear(&mut graph.tape, form(Axis::Width, ODD.width), x, first, After::Bias(bias))?;
    let second = graph.weight("second", (ODD.width, ODD.width));
    let b = linear(&mut graph.tape, form(Axis::Width, ODD.width), a, second, After::Residual(x))?;
    let third = graph.weight("third", (ODD.length, ODD.length));
    let c = linear(&mut graph.tape, form(Axis::Length, ODD.length), b, third, After::Residual(a))?;
    let fourth = graph.weight("fourth", (ODD.width, ODD.width));
    linear(&mut graph.tape, form(Axis::Width, ODD.width), c, fourth, After::Bias(bias))
}

/// Tokens and puzzle rows that repeat, a puzzle embedding that does not fill its positions.
fn embedding(graph: &mut Graph, learned: bool) -> Result<Tensor> {
    let (batch, seq_len, prefix, width, vocab, emb_ndim) = (4, 6, 2, 7, 5, 10);
    let shape = Shape { batch, length: prefix + seq_len, width };
    let inputs: Vec<u32> = (0..batch * seq_len).map(|at| (at * at % 4) as u32).collect();
    let identifiers = [2, 0, 2, 1];
    let (tokens, tokens_out) = graph.table("tokens", vocab * width);
    let (puzzle_emb, rows_out) = graph.rows("puzzle_emb", 3 * emb_ndim, emb_ndim, &identifiers);
    let positions = learned.then(|| graph.table("positions", shape.length * width));
    let embed = Embed {
        shape,
        prefix,
        vocab,
        emb_ndim,
        inputs: graph.data("inputs", inputs),
        identifiers: graph.data("identifiers", identifiers.map(|id| id as u32).to_vec()),
        tokens,
        puzzle_emb: Some(puzzle_emb),
        embed_pos: positions.map(|(table, _)| table),
    };
    let gradients = EmbedGradients {
        tokens: tokens_out,
        embed_pos: positions.map(|(_, out)| out),
        puzzle_rows: Some(rows_out),
        scale: 1.0,
    };
    let x = embed.push(&mut graph.tape, Some(gradients))?;
    let h = layer(graph, "after", Axis::Width, shape, 5, x)?;
    layer(graph, "across", Axis::Length, Shape { width: 5, ..shape }, 3, h)
}

/// Three passes through one weight and one norm, as in a recursion; the weight's gradient is one product.
fn passes(graph: &mut Graph, axis: Axis, shape: Shape) -> Result<Tensor> {
    let (x, z) = (graph.input("x", shape.elements()), graph.input("z", shape.elements()));
    let size = if axis == Axis::Width { shape.width } else { shape.length };
    let weight = graph.weight("weight", (size, size));
    let form = LinearForm { axis, input: shape, out: size };
    let mut h = z;
    for _ in 0..3 {
        let inputs = sum(&mut graph.tape, &[h, x])?;
        let product = linear(&mut graph.tape, form, inputs, weight, After::Residual(inputs))?;
        h = RmsNorm { shape, axis, eps: 1e-5 }.push(&mut graph.tape, product, None)?;
    }
    layer(graph, "head", Axis::Width, shape, 3, h)
}
