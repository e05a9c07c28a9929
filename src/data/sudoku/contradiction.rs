//! Clues that no solution can keep, seen without a search.

use super::grid::Grid;

/// Two cells of `puzzle` that hold one digit though they share a row, column or box.
pub fn contradiction(puzzle: &Grid) -> Option<String> {
    let (shape, cells) = (puzzle.shape(), puzzle.cells());
    let place = |cell: usize| format!("row {}, column {}", cell / shape.size() + 1, cell % shape.size() + 1);
    (0..cells.len()).filter(|&cell| cells[cell] != 0).find_map(|cell| {
        let mut before = (0..cell).filter(|&other| cells[other] == cells[cell]);
        let (other, unit) = before.find_map(|other| {
            let units = shape.units_of(other).into_iter().zip(shape.units_of(cell));
            let shared = { units }.zip(["row", "column", "box"]).find(|((one, two), _)| one == two)?;
            Some((other, shared.1))
        })?;
        let (digit, one, two) = (cells[cell], place(other), place(cell));
        Some(format!("contradicts itself: {one} and {two} both have {digit}, in one {unit}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_both_cells() {
        let named = |text: &str| contradiction(&Grid::parse(text).unwrap());
        assert_eq!(named("1234............"), None);
        let row = "contradicts itself: row 1, column 1 and row 1, column 2 both have 1, in one row";
        assert_eq!(named("1111............").as_deref(), Some(row));
        let column = "contradicts itself: row 1, column 2 and row 4, column 2 both have 3, in one column";
        assert_eq!(named(".3...........3..").as_deref(), Some(column));
        let inside = "contradicts itself: row 3, column 3 and row 4, column 4 both have 2, in one box";
        assert_eq!(named("..........2....2").as_deref(), Some(inside));
    }
}
