//! A coloured grid, and the 30 x 30 canvas of tokens on which the model sees it.
//!
//! Tokens: 0 padding, 1 end of grid, 2..=11 the colours 0..=9. The grid lies at an offset on the canvas; a row
//! of end tokens lies below it and a column of them right of it, where the canvas has room.

use serde::{Serialize, Serializer};

/// Rows and columns of the canvas, the most that a grid can have.
pub const CANVAS: usize = 30;
/// S, the tokens of an example.
pub const SEQ_LEN: usize = CANVAS * CANVAS;
/// Tokens are `0..VOCAB_SIZE`.
pub const VOCAB_SIZE: usize = 2 + COLOURS;
/// Colours are `0..COLOURS`; 0 is the background.
pub const COLOURS: usize = 10;
/// Red, green and blue of each colour as people are used to see it: black, blue, red, green, yellow, grey,
/// magenta, orange, light blue, maroon.
pub const PALETTE: [[u8; 3]; COLOURS] = [
    [0, 0, 0],
    [0, 116, 217],
    [255, 65, 54],
    [46, 204, 64],
    [255, 220, 0],
    [170, 170, 170],
    [240, 18, 190],
    [255, 133, 27],
    [127, 219, 255],
    [135, 12, 37],
];

/// Token outside of a grid and its end tokens; also the ignored label.
pub(super) const PAD: u8 = 0;
/// Token below and right of a grid.
const END: u8 = 1;
const FIRST_COLOUR: u8 = 2;

/// At most 30 x 30 cells of colours 0..=9, row-major.
///
/// Only [`Grid::crop`] makes grids without cells. The order of grids is that of (rows, columns, cells).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grid {
    rows: u8,
    cols: u8,
    cells: Box<[u8]>,
}

impl Grid {
    /// A grid from its rows as a file gives them.
    ///
    /// # Errors
    /// What is wrong and where: none or more than 30 rows or columns, rows of unequal length, a value beyond 0..=9.
    pub fn from_rows(rows: &[Vec<i64>]) -> Result<Grid, String> {
        let cols = rows.first().map_or(0, Vec::len);
        if !(1..=CANVAS).contains(&rows.len()) || !(1..=CANVAS).contains(&cols) {
            return Err(format!("{} x {cols} cells, expected 1 x 1 to {CANVAS} x {CANVAS}", rows.len()));
        }
        if let Some(row) = rows.iter().position(|row| row.len() != cols) {
            return Err(format!("row {row} has {} cells, row 0 has {cols}", rows[row].len()));
        }
        let colour = |at: usize, value: i64| match u8::try_from(value) {
            Ok(colour) if usize::from(colour) < COLOURS => Ok(colour),
            _ => Err(format!("row {} column {}: colour {value}, expected 0 to 9", at / cols, at % cols)),
        };
        let values = rows.iter().flatten().enumerate();
        let cells = values.map(|(at, &value)| colour(at, value)).collect::<Result<Box<[u8]>, String>>()?;
        Ok(Grid::new(rows.len(), cols, cells))
    }

    /// `cells` are `rows * cols` colours, both sides at most 30.
    pub(super) fn new(rows: usize, cols: usize, cells: impl Into<Box<[u8]>>) -> Grid {
        Grid { rows: rows as u8, cols: cols as u8, cells: cells.into() }
    }

    /// How many rows, at most 30.
    pub fn rows(&self) -> usize {
        usize::from(self.rows)
    }

    /// How many columns, at most 30.
    pub fn cols(&self) -> usize {
        usize::from(self.cols)
    }

    /// The colours, row-major.
    pub fn cells(&self) -> &[u8] {
        &self.cells
    }

    /// Whether there is no cell, which only a prediction can be.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Draws the grid on an empty canvas, its top left cell at (row, column) `offset`: (900) tokens.
    pub fn encode(&self, offset: (usize, usize)) -> Vec<u8> {
        let mut canvas = vec![PAD; SEQ_LEN];
        let (top, left) = offset;
        let (bottom, right) = (top + self.rows(), left + self.cols());
        for (row, cells) in self.cells.chunks_exact(self.cols().max(1)).enumerate() {
            let start = (top + row) * CANVAS + left;
            for (token, colour) in canvas[start..].iter_mut().zip(cells) {
                *token = colour + FIRST_COLOUR;
            }
            if right < CANVAS {
                canvas[start + cells.len()] = END;
            }
        }
        if bottom < CANVAS {
            canvas[bottom * CANVAS + left..bottom * CANVAS + right].fill(END);
        }
        canvas
    }

    /// The grid and the offset that [`Grid::encode`] made `tokens` (900) of; `None` if it makes no such canvas.
    pub fn decode(tokens: &[i32]) -> Option<(Grid, (usize, usize))> {
        let [top, left, bottom, right] = bounds(tokens)?;
        let lines = tokens.chunks_exact(CANVAS).take(bottom + 1).skip(top);
        let cells = lines.flat_map(|line| &line[left..=right]).map(|&token| colour_of(token));
        let grid = Grid::new(bottom + 1 - top, right + 1 - left, cells.collect::<Option<Box<[u8]>>>()?);
        let encoded = grid.encode((top, left));
        let same = encoded.iter().map(|&token| i32::from(token)).eq(tokens.iter().copied());
        same.then_some((grid, (top, left)))
    }

    /// The largest rectangle at the canvas's top left corner that holds nothing but colours; of equally large
    /// ones the one with the fewest rows. `tokens` are (900); without a colour in the corner the grid is empty.
    pub fn crop(tokens: &[i32]) -> Grid {
        let (mut width, mut best) = (CANVAS, (0, 0));
        for (row, line) in tokens.chunks_exact(CANVAS).enumerate() {
            width = line.iter().take(width).map_while(|&token| colour_of(token)).count();
            if (row + 1) * width > best.0 * best.1 {
                best = (row + 1, width);
            }
        }
        let (rows, cols) = best;
        let lines = tokens.chunks_exact(CANVAS).take(rows);
        let cells = lines.flat_map(|line| line.iter().take(cols).filter_map(|&token| colour_of(token)));
        Grid::new(rows, cols, cells.collect::<Box<[u8]>>())
    }
}

/// The first row, the first column, the last row and the last column of a canvas with a colour in it.
pub(crate) fn bounds(tokens: &[i32]) -> Option<[usize; 4]> {
    let coloured = tokens.iter().enumerate().filter(|(_, token)| colour_of(**token).is_some());
    coloured.map(|(at, _)| (at / CANVAS, at % CANVAS)).fold(None, |bounds, (row, col)| {
        let [top, left, bottom, right] = bounds.unwrap_or([row, col, row, col]);
        Some([top.min(row), left.min(col), bottom.max(row), right.max(col)])
    })
}

/// The colour of a token, unless it is padding, an end token or no token at all.
pub fn colour_of(token: i32) -> Option<u8> {
    let colour = u8::try_from(token).ok()?.checked_sub(FIRST_COLOUR)?;
    (usize::from(colour) < COLOURS).then_some(colour)
}

/// A list of rows, as in the challenge files.
impl Serialize for Grid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.cells.chunks_exact(self.cols().max(1)))
    }
}
