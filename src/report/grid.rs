//! A puzzle's answer as it changes from step to step.

use crate::data::sudoku::Grid;

const CLUE: &str = "\x1b[1m";
const CHANGED: &str = "\x1b[30;43m";
const RESET: &str = "\x1b[0m";
const BETWEEN: &str = "    ";

/// Draws `answer`. With colours, clues are bold and cells that differ from `previous` stand out; without, a
/// second drawing beside it has a star for each of these.
pub fn draw_answer(puzzle: &Grid, previous: &Grid, answer: &Grid, colour: bool) -> String {
    let changed = |cell: usize| answer.cells().get(cell) != previous.cells().get(cell);
    let clue = |cell: usize| puzzle.cells().get(cell).is_some_and(|&digit| digit != 0);
    let character = |cell: usize| match answer.cells().get(cell) {
        Some(&digit) if digit > 0 => digit.to_string(),
        _ => ".".to_owned(),
    };
    if colour {
        return answer.draw_with(|cell| match (changed(cell), clue(cell)) {
            (true, _) => format!("{CHANGED}{}{RESET}", character(cell)),
            (_, true) => format!("{CLUE}{}{RESET}", character(cell)),
            _ => character(cell),
        });
    }
    let drawing = answer.draw_with(character);
    if answer == previous {
        return drawing;
    }
    let marks = answer.draw_with(|cell| if changed(cell) { "*".to_owned() } else { ".".to_owned() });
    drawing.lines().zip(marks.lines()).flat_map(|(left, right)| [left, BETWEEN, right, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_changes_with_and_without_colours() {
        let grid = |text| Grid::parse(text).unwrap();
        let (puzzle, before) = (grid("1..............."), grid("12.............."));
        let after = grid("134.............");
        let plain = draw_answer(&puzzle, &before, &after, false);
        assert_eq!(plain.lines().next(), Some("1 3 | 4 .    . * | * ."));
        assert_eq!(draw_answer(&puzzle, &after, &after, false), after.draw());
        let coloured = draw_answer(&puzzle, &before, &after, true);
        assert!(coloured.starts_with("\x1b[1m1\x1b[0m \x1b[30;43m3\x1b[0m | "), "{coloured:?}");
    }
}
