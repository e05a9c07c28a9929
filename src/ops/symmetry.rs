//! Samples drawn as symmetries of their examples: what a slot that has halted takes of a Sudoku or a maze is one of the
//! variants that are the same puzzle in other clothes.

use super::carry::{Samples, bound, take_identifiers};
use crate::data::sudoku;
use crate::data::symmetry::{Symmetries, VariantDraw};
use crate::plan::{Call, Entry, Kernel, Tape, Tensor, ints, ints_mut};
use crate::{Error, Result};

/// `shaders/symmetry.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "symmetry",
    source: include_str!("../../shaders/symmetry.wgsl"),
    entries: &[Entry { name: "sudoku", twin: sudoku }, Entry { name: "maze", twin: maze }],
};

/// In which variants samples come.
#[derive(Clone, Copy, Debug)]
pub struct Variants {
    /// Those of the data.
    pub symmetries: Symmetries,
    /// (B, [`VariantDraw::WORDS`]): what each sample's is drawn by.
    pub draws: Tensor,
}

/// Lays down: slots that have halted take their sample from `incoming`, in the variant drawn for it.
pub fn take_variants_where(
    tape: &mut Tape,
    (batch, seq_len): (usize, usize),
    halted: Tensor,
    variants: Variants,
    incoming: Samples,
    running: Samples,
) -> Result<()> {
    let (entry, [rows, columns, box_rows, box_columns]) = match variants.symmetries {
        Symmetries::Sudoku(shape) => {
            ("sudoku", [shape.size(), shape.size(), shape.box_rows(), shape.box_columns()])
        }
        Symmetries::Maze { rows, cols } => ("maze", [rows, cols, 1, 1]),
    };
    if rows * columns != seq_len {
        return Err(Error::kernel("symmetry", format!("{rows} x {columns} cells are not S {seq_len}")));
    }
    let call = tape.call(&KERNEL, entry).bind("halted", halted).bind("variants", variants.draws);
    bound(call, incoming, running)
        .count("rows", rows)
        .count("columns", columns)
        .count("box_rows", box_rows)
        .count("box_columns", box_columns)
        .groups([batch, 1, 1])
        .push()
}

fn sudoku(call: &mut Call<'_>) {
    let shape = sudoku::Shape::of_size(call.count("columns"));
    take(call, Symmetries::Sudoku(shape.expect("the op was given a shape of this size")));
}

fn maze(call: &mut Call<'_>) {
    take(call, Symmetries::Maze { rows: call.count("rows"), cols: call.count("columns") });
}

fn take(call: &mut Call<'_>, symmetries: Symmetries) {
    let (halted, cells) = (ints(call.input("halted")), call.count("rows") * call.count("columns"));
    let draws = ints(call.input("variants")).chunks_exact(VariantDraw::WORDS);
    let variants: Vec<_> = draws
        .zip(halted)
        .map(|(draw, &halted)| (halted != 0).then(|| symmetries.draw(&mut VariantDraw::of_words(draw).rng())))
        .collect();
    for (to, from) in [("inputs", "incoming_inputs"), ("labels", "incoming_labels")] {
        let (from, to) = (ints(call.input(from)), ints_mut(call.output(to)));
        for ((to, from), variant) in to.chunks_exact_mut(cells).zip(from.chunks_exact(cells)).zip(&variants) {
            if let Some(variant) = variant {
                to.copy_from_slice(&variant.apply(from));
            }
        }
    }
    take_identifiers(call);
}
