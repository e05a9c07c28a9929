//! The table of puzzle embeddings, in as many parts as the device's binding limit asks for.
//!
//! ARC's table of a million rows of 512 is 2 GB, more than most adapters bind at once. A part holds consecutive
//! rows in a buffer of its own. A table in one part is read where it lies; of several parts the rows of the running
//! samples are gathered first, one dispatch for each part. Either way every value is the same, bit for bit.

use super::sign_sgd::SignSgd;
use crate::plan::{Call, Entry, Kernel, Role, Tape, Tensor, align, ints, ints_mut};
use crate::{Error, Result};

/// `shaders/puzzle_table.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "puzzle_table",
    source: include_str!("../../shaders/puzzle_table.wgsl"),
    entries: &[Entry { name: "gather", twin: gather }],
};

/// A table of (identifiers, emb_ndim).
#[derive(Clone, Debug)]
pub struct PuzzleTable {
    /// Width of a row.
    pub emb_ndim: usize,
    /// Rows of every part but the last, which may have fewer.
    rows_per_part: usize,
    parts: Vec<Tensor>,
}

/// A table as the input embedding reads it.
#[derive(Clone, Copy, Debug)]
pub struct Readable {
    /// (rows, emb_ndim).
    pub table: Tensor,
    /// (B) a row of `table` for each slot.
    pub rows: Tensor,
}

impl PuzzleTable {
    /// The buffer `puzzle_emb`, split where `rows` rows exceed what the tape's target binds at once.
    ///
    /// # Errors
    /// Those of [`PuzzleTable::split`].
    pub fn on(tape: &mut Tape, rows: usize, emb_ndim: usize) -> Result<PuzzleTable> {
        let parts = PuzzleTable::split(rows, emb_ndim, tape.target().binding_bytes)?;
        let sizes: Vec<usize> = parts.iter().map(|rows| rows * emb_ndim).collect();
        let rows_per_part = parts.first().copied().unwrap_or(rows);
        Ok(PuzzleTable::of(emb_ndim, rows_per_part, tape.split_buffer("puzzle_emb", Role::Weights, &sizes)))
    }

    /// A table whose parts are there already, each but the last of `rows_per_part` rows.
    pub fn of(emb_ndim: usize, rows_per_part: usize, parts: Vec<Tensor>) -> PuzzleTable {
        PuzzleTable { emb_ndim, rows_per_part, parts }
    }

    /// The rows of each part of a table of `rows` rows, none larger than `limit` bytes.
    ///
    /// # Errors
    /// [`Error::Limit`] where not even one row can be bound.
    pub fn split(rows: usize, emb_ndim: usize, limit: u64) -> Result<Vec<usize>> {
        let words = usize::try_from(limit / 4).unwrap_or(usize::MAX);
        if align(rows * emb_ndim) <= words {
            return Ok(vec![rows]);
        }
        // Buffers end on an aligned word, which has to lie within the limit, too.
        let per_part = words / align(1) * align(1) / emb_ndim;
        if per_part == 0 {
            return Err(Error::Limit {
                what: "a row of puzzle_emb".into(),
                needed: align(emb_ndim) as u64 * 4,
                limit,
                unit: "bytes",
                fix: "lower arch.puzzle_emb_ndim or use another device".into(),
            });
        }
        Ok((0..rows).step_by(per_part).map(|first| per_part.min(rows - first)).collect())
    }

    /// Lays down what makes the rows of `identifiers` (B) readable through one binding.
    pub fn readable(&self, tape: &mut Tape, batch: usize, identifiers: Tensor) -> Result<Readable> {
        if let [table] = self.parts[..] {
            return Ok(Readable { table, rows: identifiers });
        }
        let rows = tape.tensor(Role::Activation, batch * self.emb_ndim);
        let slots = tape.tensor(Role::Activation, batch);
        for (index, &part) in self.parts.iter().enumerate() {
            let held = tape.elements(part) / self.emb_ndim;
            tape.call(&KERNEL, "gather")
                .bind("identifiers", identifiers)
                .bind("part", part)
                .bind("rows", rows)
                .bind("slots", slots)
                .count("count", batch * self.emb_ndim)
                .count("emb_ndim", self.emb_ndim)
                .count("first_identifier", index * self.rows_per_part)
                .count("held", held)
                .threads(batch * self.emb_ndim)
                .push()?;
        }
        Ok(Readable { table: rows, rows: slots })
    }

    /// Lays down the update of all parts; `sgd` says what an update of one has in common.
    pub fn update(
        &self,
        tape: &mut Tape,
        clock: Tensor,
        sgd: impl Fn(Tensor, usize) -> SignSgd,
    ) -> Result<()> {
        for (index, &part) in self.parts.iter().enumerate() {
            sgd(part, index * self.rows_per_part).push(tape, clock)?;
        }
        Ok(())
    }
}

fn gather(call: &mut Call<'_>) {
    let (emb_ndim, held) = (call.count("emb_ndim"), call.count("held"));
    let first = call.count("first_identifier");
    let (identifiers, part) = (ints(call.input("identifiers")), call.input("part"));
    let (rows, slots) = (call.output("rows"), ints_mut(call.output("slots")));
    for (slot, row) in rows.chunks_exact_mut(emb_ndim).enumerate() {
        let at = (identifiers[slot] as usize).wrapping_sub(first);
        if at < held {
            row.copy_from_slice(&part[at * emb_ndim..][..emb_ndim]);
            slots[slot] = slot as i32;
        }
    }
}
