//! The eight symmetries of a rectangle of cells, numbered as the release numbers them.
//!
//! 0 identity; 1, 2, 3 rotations by 90, 180, 270 degrees counter-clockwise; 4 left-right mirror; 5 up-down mirror;
//! 6 transpose; 7 reflection along the other diagonal. The numbers are part of ARC's puzzle identifiers
//! (`task|||t<number>|||...`), so their meaning must not change.

/// One of the eight symmetries, by its number in the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dihedral(u8);

impl Dihedral {
    /// The symmetry that changes nothing.
    pub const IDENTITY: Dihedral = Dihedral(0);

    /// All eight, in the order of their numbers.
    pub const ALL: [Dihedral; 8] = {
        let mut all = [Dihedral(0); 8];
        let mut index = 0;
        while index < 8 {
            all[index] = Dihedral(index as u8);
            index += 1;
        }
        all
    };

    /// The symmetry with this number, `None` from 8 on.
    pub fn new(index: usize) -> Option<Dihedral> {
        Dihedral::ALL.get(index).copied()
    }

    /// Its number, 0..8.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The symmetry that undoes this one: the quarter turns undo each other, every other one undoes itself.
    pub fn inverse(self) -> Dihedral {
        match self.0 {
            1 => Dihedral(3),
            3 => Dihedral(1),
            _ => self,
        }
    }

    /// Whether a (rows, columns) rectangle stays (rows, columns): all but the quarter turns and diagonal reflections.
    pub fn keeps_shape(self) -> bool {
        matches!(self.0, 0 | 2 | 4 | 5)
    }

    /// (rows, columns) after the symmetry.
    pub fn shape(self, rows: usize, cols: usize) -> (usize, usize) {
        if self.keeps_shape() { (rows, cols) } else { (cols, rows) }
    }

    /// The row-major `cells` of a (rows, cols) rectangle after the symmetry, row-major in [`Dihedral::shape`].
    ///
    /// `cells` holds `rows * cols` values.
    pub fn apply<T: Copy>(self, rows: usize, cols: usize, cells: &[T]) -> Vec<T> {
        let row = cols as isize;
        let (last_row, last_col) = (row * (rows as isize - 1), row - 1);
        // Where the first cell comes from, and how far its source moves from row to row and from column to column.
        let (first, by_row, by_col) = match self.0 {
            0 => (0, row, 1),
            1 => (last_col, -1, row),
            2 => (last_row + last_col, -row, -1),
            3 => (last_row, 1, -row),
            4 => (last_col, row, -1),
            5 => (last_row, -row, 1),
            6 => (0, 1, row),
            _ => (last_row + last_col, -1, -row),
        };
        let (new_rows, new_cols) = self.shape(rows, cols);
        let source = |r, c| (first + r as isize * by_row + c as isize * by_col) as usize;
        let mut moved = Vec::with_capacity(cells.len());
        for r in 0..new_rows {
            moved.extend((0..new_cols).map(|c| cells[source(r, c)]));
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 2 x 3 rectangle, every symmetry written out by hand.
    #[test]
    fn every_symmetry_moves_cells_as_the_release_does() {
        let cells = [1, 2, 3, 4, 5, 6];
        let expected: [[u8; 6]; 8] = [
            [1, 2, 3, 4, 5, 6],
            [3, 6, 2, 5, 1, 4],
            [6, 5, 4, 3, 2, 1],
            [4, 1, 5, 2, 6, 3],
            [3, 2, 1, 6, 5, 4],
            [4, 5, 6, 1, 2, 3],
            [1, 4, 2, 5, 3, 6],
            [6, 3, 5, 2, 4, 1],
        ];
        for (symmetry, expected) in Dihedral::ALL.into_iter().zip(expected) {
            assert_eq!(symmetry.apply(2, 3, &cells), expected, "{symmetry:?}");
        }
    }

    #[test]
    fn the_inverse_undoes_every_symmetry() {
        let cells = [1, 2, 3, 4, 5, 6];
        for symmetry in Dihedral::ALL {
            let (rows, cols) = symmetry.shape(2, 3);
            let there = symmetry.apply(2, 3, &cells);
            assert_eq!(symmetry.inverse().apply(rows, cols, &there), cells, "{symmetry:?}");
            assert_eq!(symmetry.inverse().shape(rows, cols), (2, 3));
        }
    }
}
