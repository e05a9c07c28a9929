//! The input embedding x = sqrt(D) [puzzle embedding; token embeddings], with learned positions on demand.
//!
//! Reverse: the tokens' gradient is a sum over the positions that hold each token, in two stages without
//! atomics; positions are column sums over the batch; puzzle rows are cut out of dx, one per slot.

use rayon::prelude::*;

use super::column_sums::{CHUNK, column_sums};
use super::sum::gradient_in;
use crate::Result;
use crate::plan::{Call, Element, Entry, Kernel, Reverse, Role, Shape, Tape, Tensor, ints};

/// `shaders/embed.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "embed",
    source: include_str!("../../shaders/embed.wgsl"),
    entries: &[
        Entry { name: "forward", twin: forward },
        Entry { name: "reverse_tokens", twin: reverse_tokens },
        Entry { name: "reverse_puzzle", twin: reverse_puzzle },
    ],
};

/// Factor of the learned-position embedding: the release's 1 / sqrt(2), to nine digits.
const LEARNED_SCALE: f32 = 0.707_106_77;

/// The tables and data that an embedding reads, and their sizes.
#[derive(Clone, Copy, Debug)]
pub struct Embed {
    /// (B, L, D) of x.
    pub shape: Shape,
    /// P: positions of the puzzle embedding.
    pub prefix: usize,
    /// V.
    pub vocab: usize,
    /// Width of a puzzle embedding row; 0 for none.
    pub emb_ndim: usize,
    /// (B, S) tokens.
    pub inputs: Tensor,
    /// (B) puzzle identifiers.
    pub identifiers: Tensor,
    /// (V, D).
    pub tokens: Tensor,
    /// (identifiers, emb_ndim), where there is one.
    pub puzzle_emb: Option<Tensor>,
    /// (L, D), where positions are learned.
    pub embed_pos: Option<Tensor>,
}

/// Where the gradients of an embedding go.
#[derive(Clone, Copy, Debug)]
pub struct EmbedGradients {
    /// (V, D).
    pub tokens: Tensor,
    /// (L, D).
    pub embed_pos: Option<Tensor>,
    /// (B, emb_ndim): one row per slot, before equal identifiers are summed.
    pub puzzle_rows: Option<Tensor>,
    /// What they are multiplied by on their way there.
    pub scale: f32,
}

impl Embed {
    /// Lays down x. With `gradients`, leaves the reverse rule that fills them.
    pub fn push(self, tape: &mut Tape, gradients: Option<EmbedGradients>) -> Result<Tensor> {
        let x = tape.tensor(Role::Activation, self.shape.elements());
        self.call(tape, "forward", self.shape.elements(), 1.0)
            .bind("inputs", self.inputs)
            .bind("identifiers", self.identifiers)
            .bind("tokens", self.tokens)
            .bind("puzzle_emb", self.puzzle_emb.unwrap_or(self.tokens))
            .bind("embed_pos", self.embed_pos.unwrap_or(self.tokens))
            .bind("x", x)
            .push()?;
        if let Some(gradients) = gradients {
            tape.rule(x, EmbedReverse { embed: self, gradients, x });
        }
        Ok(x)
    }

    fn scale(&self) -> f32 {
        let scale = (self.shape.width as f32).sqrt();
        if self.embed_pos.is_some() { LEARNED_SCALE * scale } else { scale }
    }

    fn call<'t>(
        &self,
        tape: &'t mut Tape,
        entry: &'static str,
        count: usize,
        factor: f32,
    ) -> crate::plan::DispatchBuilder<'t> {
        tape.call(&KERNEL, entry)
            .count("count", count)
            .count("width", self.shape.width)
            .count("length", self.shape.length)
            .count("prefix", self.prefix)
            .count("emb_ndim", self.emb_ndim)
            .count("vocab", self.vocab)
            .count("chunk", CHUNK)
            .count("positions", self.shape.batch * (self.shape.length - self.prefix))
            .count("learned", usize::from(self.embed_pos.is_some()))
            .float("scale", factor * self.scale())
            .threads(count)
    }
}

struct EmbedReverse {
    embed: Embed,
    gradients: EmbedGradients,
    x: Tensor,
}

impl Reverse for EmbedReverse {
    fn reverse(&self, tape: &mut Tape) -> Result<()> {
        let Some(dx) = gradient_in(tape, self.x, Element::F32)? else { return Ok(()) };
        let Embed { shape, prefix, vocab, emb_ndim, .. } = self.embed;
        let table = vocab * shape.width;
        let chunks = (shape.batch * (shape.length - prefix)).div_ceil(CHUNK);
        let partials = tape.tensor(Role::Gradient, chunks * table);
        self.embed
            .call(tape, "reverse_tokens", chunks * table, self.gradients.scale)
            .bind("inputs", self.embed.inputs)
            .bind("dx", dx)
            .bind("token_partials", partials)
            .push()?;
        column_sums(tape, partials, chunks, table, 1.0, self.gradients.tokens)?;
        if let Some(out) = self.gradients.embed_pos {
            column_sums(
                tape,
                dx,
                shape.batch,
                shape.length * shape.width,
                self.gradients.scale * self.embed.scale(),
                out,
            )?;
        }
        if let Some(out) = self.gradients.puzzle_rows {
            let call = self.embed.call(tape, "reverse_puzzle", shape.batch * emb_ndim, self.gradients.scale);
            call.bind("dx", dx).bind("puzzle_rows", out).push()?;
        }
        Ok(())
    }
}

fn forward(call: &mut Call<'_>) {
    let (width, length, prefix) = (call.count("width"), call.count("length"), call.count("prefix"));
    let (emb_ndim, learned, scale) =
        (call.count("emb_ndim"), call.count("learned") != 0, call.float("scale"));
    let (inputs, identifiers) = (ints(call.input("inputs")), ints(call.input("identifiers")));
    let (tokens, puzzle_emb, embed_pos) =
        (call.input("tokens"), call.input("puzzle_emb"), call.input("embed_pos"));
    call.output("x").par_chunks_exact_mut(width).enumerate().for_each(|(row, x)| {
        let (sample, position) = (row / length, row % length);
        if position >= prefix {
            let token = inputs[sample * (length - prefix) + position - prefix] as usize;
            x.copy_from_slice(&tokens[token * width..][..width]);
        } else {
            let from = (position * width).min(emb_ndim);
            let to = ((position + 1) * width).min(emb_ndim);
            let row = identifiers[sample] as usize * emb_ndim;
            x.fill(0.0);
            x[..to - from].copy_from_slice(&puzzle_emb[row + from..row + to]);
        }
        if learned {
            x.iter_mut().zip(&embed_pos[position * width..]).for_each(|(x, pos)| *x += pos);
        }
        x.iter_mut().for_each(|x| *x *= scale);
    });
}

fn reverse_tokens(call: &mut Call<'_>) {
    let (width, length, prefix) = (call.count("width"), call.count("length"), call.count("prefix"));
    let (vocab, chunk, positions) = (call.count("vocab"), call.count("chunk"), call.count("positions"));
    let (inputs, dx, scale) = (ints(call.input("inputs")), call.input("dx"), call.float("scale"));
    let partials = call.output("token_partials").par_chunks_exact_mut(vocab * width).enumerate();
    partials.for_each(|(index, partial)| {
        partial.fill(0.0);
        for at in index * chunk..positions.min((index + 1) * chunk) {
            let row = at / (length - prefix) * length + prefix + at % (length - prefix);
            let line = &mut partial[inputs[at] as usize * width..][..width];
            line.iter_mut().zip(&dx[row * width..]).for_each(|(sum, dx)| *sum += dx);
        }
        partial.iter_mut().for_each(|sum| *sum *= scale);
    });
}

fn reverse_puzzle(call: &mut Call<'_>) {
    let (width, length, emb_ndim) = (call.count("width"), call.count("length"), call.count("emb_ndim"));
    let (dx, scale) = (call.input("dx"), call.float("scale"));
    for (sample, row) in call.output("puzzle_rows").chunks_exact_mut(emb_ndim).enumerate() {
        row.iter_mut().zip(&dx[sample * length * width..]).for_each(|(row, dx)| *row = dx * scale);
    }
}
