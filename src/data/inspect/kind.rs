//! Tells which puzzles a data set holds, which its files do not say.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::layout::SplitFiles;
use crate::Result;
use crate::data::sudoku::Shape;
use crate::data::{Dataset, arc, maze, own};

/// The puzzles of a data set, by vocabulary, length and the first example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "puzzle")]
pub enum Kind {
    /// Sudoku of `size` rows and columns.
    Sudoku {
        /// 4, 6 or 9.
        size: usize,
    },
    /// Mazes.
    Maze {
        /// How many rows.
        rows: usize,
        /// How many columns.
        cols: usize,
    },
    /// ARC canvases of 30 x 30.
    Arc,
    /// Something else, an own task, about which only the layout is known. Its name was `other` in older files.
    #[serde(rename = "own task", alias = "other")]
    Other,
}

impl Kind {
    pub(super) fn of(splits: &[SplitFiles]) -> Kind {
        let Some((split, set)) =
            splits.iter().find_map(|split| Some((split, split.sets.iter().find(|set| set.examples() > 0)?)))
        else {
            return Kind::Other;
        };
        let mut tokens = [vec![0; split.metadata.seq_len], vec![0; split.metadata.seq_len]];
        let [inputs, labels] = &mut tokens;
        if set.inputs.read_row(0, inputs).and_then(|()| set.labels.read_row(0, labels)).is_err() {
            return Kind::Other;
        }
        Kind::of_example(split.metadata.vocab_size, inputs, labels)
    }

    /// The puzzle of an example of `dataset`, (S) each. Whoever named the words of a task knows that it is none of these,
    /// whatever it looks like.
    pub fn of_dataset(dataset: &Dataset, inputs: &[i32], labels: &[i32]) -> Kind {
        match dataset.folder().parent().is_some_and(own::is_own) {
            true => Kind::Other,
            false => Kind::of_example(dataset.metadata().vocab_size, inputs, labels),
        }
    }

    /// The puzzle of the first example of `dataset`.
    ///
    /// # Errors
    /// [`crate::Error::File`] for a token or label that is not in the vocabulary, [`crate::Error::Failed`] where a file was cut
    /// short.
    pub fn of_first_example(dataset: &Dataset) -> Result<Kind> {
        let (mut inputs, mut labels) =
            (vec![0; dataset.metadata().seq_len], vec![0; dataset.metadata().seq_len]);
        let Some(set) = dataset.sets().iter().find(|set| set.examples() > 0) else { return Ok(Kind::Other) };
        dataset.read_example(set, 0, &mut inputs, &mut labels)?;
        Ok(Kind::of_dataset(dataset, &inputs, &labels))
    }

    /// Which puzzles those with so many cells and tokens may be, at least one. A maze may have other sides where only its cells
    /// are known: it is taken for a square, or for a row.
    pub fn of_sizes(seq_len: usize, vocab_size: usize) -> Vec<Kind> {
        let shape = Shape::of_cells(seq_len).filter(|shape| shape.vocab_size() == vocab_size);
        let sudoku = shape.map(|shape| Kind::Sudoku { size: shape.size() });
        let maze = (vocab_size == maze::VOCAB_SIZE).then(|| Kind::unknown_maze(seq_len));
        let arc = ((vocab_size, seq_len) == (arc::VOCAB_SIZE, arc::SEQ_LEN)).then_some(Kind::Arc);
        let known: Vec<Kind> = [sudoku, maze, arc].into_iter().flatten().collect();
        if known.is_empty() { vec![Kind::Other] } else { known }
    }

    /// A maze of which only the cells are known.
    fn unknown_maze(cells: usize) -> Kind {
        let side = cells.isqrt();
        let (rows, cols) = if side * side == cells { (side, side) } else { (1, cells) };
        Kind::Maze { rows, cols }
    }

    /// The puzzle with this many tokens of which `inputs` and `labels`, (S) each, are an example.
    pub fn of_example(vocab_size: usize, inputs: &[i32], labels: &[i32]) -> Kind {
        let shape = Shape::of_cells(inputs.len()).filter(|shape| shape.vocab_size() == vocab_size);
        // Mazes of 4 x 4 have the vocabulary of Sudoku, but no Sudoku is a sound maze, which has a single start; and where
        // none is sound, no solved Sudoku has a blank cell, which is 1.
        let is_maze = vocab_size == maze::VOCAB_SIZE;
        match (shape, sound_maze_size(inputs, labels).filter(|_| is_maze)) {
            (_, Some((rows, cols))) => Kind::Maze { rows, cols },
            (Some(shape), None) if !labels.contains(&1) => Kind::Sudoku { size: shape.size() },
            _ if is_maze => Kind::unknown_maze(inputs.len()),
            _ if (vocab_size, inputs.len()) == (arc::VOCAB_SIZE, arc::SEQ_LEN) => Kind::Arc,
            _ => Kind::Other,
        }
    }
}

impl fmt::Display for Kind {
    /// `Sudoku 6x6`, `mazes of 9x7`: columns first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Sudoku { size } => write!(f, "Sudoku {size}x{size}"),
            Kind::Maze { rows, cols } => write!(f, "mazes of {cols}x{rows}"),
            Kind::Arc => f.write_str("ARC"),
            Kind::Other => f.write_str("own task"),
        }
    }
}

/// (rows, columns) of a maze, which nothing in the files says: a square if the marked path leads from start to
/// goal in it, else the first rectangle in which it does.
fn sound_maze_size(inputs: &[i32], labels: &[i32]) -> Option<(usize, usize)> {
    let cells = inputs.len();
    let side = cells.isqrt();
    let sizes = (1..=cells).filter(|rows| cells.is_multiple_of(*rows)).map(|rows| (rows, cells / rows));
    let square = [(side, side)].into_iter().filter(|_| side * side == cells);
    square.chain(sizes).find(|&(_, cols)| maze::solution_fault(cols, inputs, labels).is_none())
}
