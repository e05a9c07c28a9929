//! Sign-SGD for puzzle embeddings: only the rows that a step used move, by the sign of their summed gradient.

use crate::Result;
use crate::plan::{Call, Entry, Kernel, Tape, Tensor, align, ints};

/// `shaders/sign_sgd.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "sign_sgd",
    source: include_str!("../../shaders/sign_sgd.wgsl"),
    entries: &[Entry { name: "update", twin: update }],
};

/// The tensors of an update.
#[derive(Clone, Copy, Debug)]
pub struct SignSgd {
    /// B.
    pub batch: usize,
    /// Slots of a part of `identifiers` and of `rows`; divides B.
    pub micro_batch: usize,
    /// Width of a row.
    pub emb_ndim: usize,
    /// Decoupled weight decay of the rows used.
    pub weight_decay: f32,
    /// (B) identifiers of the running samples.
    pub identifiers: Tensor,
    /// (B, emb_ndim) gradients, one row per slot.
    pub rows: Tensor,
    /// The identifier of the first row of `puzzle_emb`.
    pub first_identifier: usize,
    /// (rows, emb_ndim): the table, or a part of it.
    pub puzzle_emb: Tensor,
    /// (1) an integer: where it is not 0, the update changes nothing.
    pub skip: Tensor,
}

impl SignSgd {
    /// Lays the update down.
    pub fn push(&self, tape: &mut Tape, clock: Tensor) -> Result<()> {
        let count = self.batch * self.emb_ndim;
        let held = tape.elements(self.puzzle_emb) / self.emb_ndim;
        tape.call(&KERNEL, "update")
            .bind("clock", clock)
            .bind("identifiers", self.identifiers)
            .bind("rows", self.rows)
            .bind("puzzle_emb", self.puzzle_emb)
            .bind("skip", self.skip)
            .count("count", count)
            .count("batch", self.batch)
            .count("emb_ndim", self.emb_ndim)
            .count("first_identifier", self.first_identifier)
            .count("held", held)
            .count("micro_batch", self.micro_batch)
            .count("row_stride", align(self.micro_batch * self.emb_ndim))
            .count("identifier_stride", align(self.micro_batch))
            .float("weight_decay", self.weight_decay)
            .threads(count)
            .push()
    }
}

fn update(call: &mut Call<'_>) {
    if ints(call.input("skip"))[0] != 0 {
        return;
    }
    let (emb_ndim, decay) = (call.count("emb_ndim"), call.float("weight_decay"));
    let (first, held) = (call.count("first_identifier"), call.count("held"));
    let (lr, rows) = (call.input("clock")[2], call.input("rows"));
    let (batch, micro_batch) = (call.count("batch"), call.count("micro_batch"));
    let first_word =
        |slot: usize, words: usize, stride: usize| slot / micro_batch * stride + slot % micro_batch * words;
    let identifiers = ints(call.input("identifiers"));
    let identifier_of = |slot: usize| identifiers[first_word(slot, 1, call.count("identifier_stride"))];
    let identifiers: Vec<i32> = (0..batch).map(identifier_of).collect();
    let row_stride = call.count("row_stride");
    let row_of = |slot: usize| &rows[first_word(slot, emb_ndim, row_stride)..][..emb_ndim];
    let table = call.output("puzzle_emb");
    let mut g = vec![0.0f32; emb_ndim];
    for (slot, identifier) in identifiers.iter().enumerate() {
        let at = (*identifier as usize).wrapping_sub(first);
        if at >= held || identifiers[..slot].contains(identifier) {
            continue;
        }
        g.fill(0.0);
        for other in (slot..batch).filter(|other| identifiers[*other] == *identifier) {
            g.iter_mut().zip(row_of(other)).for_each(|(g, row)| *g += row);
        }
        let row = &mut table[at * emb_ndim..][..emb_ndim];
        for (value, g) in row.iter_mut().zip(&g) {
            let sign = if *g == 0.0 { 0.0 } else { g.signum() };
            *value = *value * (1.0 - lr * decay) - lr * sign;
        }
    }
}
