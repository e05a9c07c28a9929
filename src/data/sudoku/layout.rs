//! Sudokus in any layout of cells: a line of all cells, a row a line, with bars, spaces, commas or rules, several in a
//! text. Blanks are those of `cells`, or spaces, as `spaced` finds out.

use super::cells::{QUOTES, Row, SEPARATORS, Style};
use super::contradiction::contradiction;
use super::grid::{Grid, Shape, solution_fault};
use super::spaced::Spaced;
use crate::data::pasted::Found;

/// Finds Sudokus of one size in the lines of a text.
pub struct Layouts {
    shape: Shape,
    /// Lines that may be rows with spaces for blanks, before it is known.
    spaced: Spaced,
    rows: Vec<Row>,
    /// What stands above the rows and may be the first of them: an empty line of a table, a header of digits.
    above: Vec<Row>,
    /// The first line of the open puzzle.
    first: usize,
    /// Whether a puzzle has come before.
    any: bool,
}

/// Of the lines that hold a row of a puzzle of `shape`, or a whole one, in a table in one field: whether they come to whole
/// puzzles, and how many they are.
pub fn lines_of(shape: Shape, lines: &[&str]) -> (bool, usize) {
    let cells = |text: &str| Some(Row::of(shape, 0, text)).filter(Row::is_meant).map(|row| row.cells.len());
    let mut spaced = Spaced::new(shape);
    let mut decided: Vec<_> = lines.iter().flat_map(|line| spaced.line(0, line)).collect();
    decided.extend(spaced.end());
    let held = |(_, line): &(usize, String)| {
        let line = uncommented(line);
        let known = [shape.size(), shape.cells()];
        let mut fields = line.split(SEPARATORS).chain(whole_words(shape, line));
        let whole = fields.any(|field| cells(field) == Some(shape.cells()));
        cells(line).filter(|cells| known.contains(cells)).or(whole.then_some(shape.cells()))
    };
    let held: Vec<usize> = decided.iter().filter_map(held).collect();
    (held.iter().sum::<usize>().is_multiple_of(shape.cells()), held.len())
}

/// What stands before a comment; `#1` before a puzzle is its number.
fn uncommented(text: &str) -> &str {
    let numbered = text.trim_start().strip_prefix('#').and_then(|rest| {
        let rest = rest.strip_prefix(|sign: char| sign.is_ascii_digit())?;
        let rest = rest.trim_start_matches(|sign: char| sign.is_ascii_digit());
        let after = rest.strip_prefix(['.', ':', ')']).unwrap_or(rest);
        after.starts_with([' ', '\t']).then_some(after)
    });
    numbered.unwrap_or(text).split('#').next().unwrap_or_default()
}

/// Words that are whole puzzles or answers, of several in a line: others are numbers and names.
fn whole_words(shape: Shape, text: &str) -> impl Iterator<Item = &str> {
    let several = text.split_whitespace().nth(1).is_some();
    let words = text.split_whitespace().filter(move |_| several).map(|word| word.trim_matches(QUOTES));
    words.filter(move |word| {
        let row = Row::of(shape, 0, word);
        let clues = row.cells.iter().any(|cell| *cell > 0);
        let cells = word.chars().count();
        clues && row.strange.is_empty() && cells == row.cells.len() && cells == shape.cells()
    })
}

/// What keeps the answer that a table gives from being one.
fn wrong_answer(puzzle: &Grid, answer: &str) -> Option<String> {
    let fault = match Grid::parse(answer) {
        Ok(answer) => solution_fault(puzzle, &answer)?,
        Err(_) => format!("has {} cells", answer.chars().count()),
    };
    Some(format!("the answer that stands beside it is wrong: it {fault}"))
}

/// The second line of a table of Markdown.
fn is_markdown_rule(text: &str) -> bool {
    text.contains("--") && text.contains('|') && text.chars().all(|sign| "|-: ".contains(sign))
}

impl Layouts {
    /// Nothing found yet.
    pub fn new(shape: Shape) -> Layouts {
        let (rows, above) = (Vec::new(), Vec::new());
        Layouts { shape, spaced: Spaced::new(shape), rows, above, first: 0, any: false }
    }

    /// Whether a puzzle has begun.
    pub fn is_open(&self) -> bool {
        !self.rows.is_empty() || self.spaced.is_open()
    }

    /// Takes in a line and returns what ends with it.
    pub fn line(&mut self, number: usize, text: &str) -> Vec<Found<Grid>> {
        if !self.rows.is_empty() {
            return self.read(number, text);
        }
        let decided = self.spaced.line(number, text);
        decided.iter().flat_map(|(number, text)| self.read(*number, text)).collect()
    }

    /// What is left at the end of the text.
    pub fn end(&mut self) -> Vec<Found<Grid>> {
        let left = self.spaced.end();
        let mut found: Vec<_> = left.iter().flat_map(|(number, text)| self.read(*number, text)).collect();
        found.extend(self.close());
        found
    }

    fn read(&mut self, number: usize, text: &str) -> Vec<Found<Grid>> {
        let line = uncommented(text);
        let text = line.trim();
        let columns = self.columns(text);
        let (text, answer) = columns.unwrap_or((self.without_changes(text).unwrap_or(line), None));
        let row = Row::of(self.shape, number, text);
        if text.trim().is_empty() && row.cells.is_empty() {
            return self.gap().into_iter().collect();
        }
        if row.is_words() {
            return self.close().into_iter().collect();
        }
        if is_markdown_rule(text) {
            self.part_header();
        }
        if row.cells.is_empty() || self.is_rule(&row) {
            return Vec::new();
        }
        if row.is_unwritten(text) {
            // The first puzzle of a text has no line of nothing before it, the others have one.
            let begun = self.above.len() > usize::from(self.any);
            let ended = if begun && self.lacks_a_row() { self.close() } else { None };
            if self.rows.is_empty() {
                self.above.push(row);
                return ended.into_iter().collect();
            }
        }
        let mut found: Vec<Found<Grid>> = self.strays().into_iter().collect();
        let alone = columns.is_some() || row.cells.len() >= self.shape.cells();
        // A line of all cells belongs to nothing before it.
        if !self.rows.is_empty() && row.style != Style::Dashes && alone {
            found.extend(self.close());
        }
        if self.rows.is_empty() {
            self.first = row.number;
        }
        self.rows.push(row);
        // Where there are too many, it is a puzzle of another size up to its end.
        if alone || self.count() == self.shape.cells() {
            found.extend(self.close().map(|ended| ended.noted(|grid| wrong_answer(grid, answer?))));
        }
        found
    }

    /// Of the line of a table the puzzle and what may be its answer: of columns with about as many cells as a puzzle has, the
    /// first one with blanks, and the other.
    fn columns<'t>(&self, text: &'t str) -> Option<(&'t str, Option<&'t str>)> {
        let is_table = text.contains(SEPARATORS);
        let fields = text.split(SEPARATORS).flat_map(|field| {
            let words: Vec<&str> = whole_words(self.shape, field).collect();
            if words.is_empty() && is_table { vec![field] } else { words }
        });
        let field = |field: &'t str| {
            let field = field.trim().trim_matches('"');
            let row = Row::of(self.shape, 0, field);
            let about = row.is_meant() && 2 * row.cells.len() > self.shape.cells();
            about.then_some((field, row.cells.contains(&0)))
        };
        let mut columns: Vec<(&str, bool)> = fields.filter_map(field).collect();
        let puzzle = columns.iter().position(|(_, blanks)| *blanks).unwrap_or(0);
        let whole = !columns.is_empty();
        whole.then(|| (columns.remove(puzzle).0, columns.first().map(|(answer, _)| *answer)))
    }

    /// A row that trm printed without the marks of changed cells beside it.
    fn without_changes<'t>(&self, text: &'t str) -> Option<&'t str> {
        let (row, marks) = text.split_once("    ")?;
        let cells = row.chars().filter(|sign| !" |".contains(*sign)).count();
        let are_marks = marks.chars().all(|sign| ".* |+-".contains(sign)) && marks.len() == row.len();
        let is_rule = row.chars().all(|sign| "+-".contains(sign));
        (are_marks && (is_rule || cells == self.shape.size())).then_some(row)
    }

    /// An empty line ends a puzzle unless all its rows, or its bands, have one after them.
    fn gap(&mut self) -> Option<Found<Grid>> {
        let band = self.shape.box_rows() * self.shape.size();
        let whole = self.count().is_multiple_of(band) && self.count() < self.shape.cells();
        let (last, before) = self.rows.split_last_mut()?;
        last.gap = whole || (last.cells.len() == self.shape.size() && before.iter().all(|row| row.gap));
        if last.gap { None } else { self.close() }
    }

    /// Rows with empty lines after them belong to no puzzle whose rows have none.
    fn strays(&mut self) -> Option<Found<Grid>> {
        let (last, before) = self.rows.split_last()?;
        let cells: usize = before.iter().map(|row| row.cells.len()).sum();
        let band = self.shape.box_rows() * self.shape.size();
        let apart = !last.gap && !before.is_empty() && before.iter().all(|row| row.gap);
        if !apart || cells.is_multiple_of(band) {
            return None;
        }
        let last = self.rows.pop()?;
        let (ended, number) = (self.close(), last.number);
        self.rows.push(last);
        self.first = number;
        ended
    }

    /// What stands above the rule of a table of Markdown is its header, be it empty; a grid that is drawn with rules has one
    /// after the next row, too.
    fn part_header(&mut self) {
        if self.rows.len() != 1 {
            return;
        }
        let blank = |row: &Row| row.cells.iter().all(|cell| *cell == 0);
        match self.above.pop_if(|header| !blank(header)) {
            Some(first) => {
                self.first = first.number;
                self.rows.insert(0, first);
            }
            None => self.above.extend(self.rows.pop().filter(|row| row.strange.is_empty() && !blank(row))),
        }
    }

    fn lacks_a_row(&self) -> bool {
        self.count() + self.shape.size() == self.shape.cells()
    }

    /// The puzzle that is open.
    fn close(&mut self) -> Option<Found<Grid>> {
        if let Some(above) = self.above.pop().filter(|_| self.lacks_a_row()) {
            self.first = above.number;
            self.rows.insert(0, above);
        }
        self.above.clear();
        let rows: Vec<&Row> = self.rows.iter().filter(|row| !self.is_rule(row)).collect();
        let (puzzle, any) = (self.grid(&rows), !rows.is_empty());
        self.rows.clear();
        self.any |= any;
        any.then_some(Found { line: self.first, puzzle, note: None })
    }

    /// Dashes are rules where other signs are blanks, or where there are as many as no row has.
    fn is_rule(&self, row: &Row) -> bool {
        let signs = self.rows.iter().any(|row| row.style == Style::Signs);
        let lengths = [self.shape.size(), self.shape.cells()];
        row.style == Style::Dashes && (signs || !lengths.contains(&row.cells.len()))
    }

    fn count(&self) -> usize {
        self.rows.iter().filter(|row| !self.is_rule(row)).map(|row| row.cells.len()).sum()
    }

    fn grid(&self, rows: &[&Row]) -> Result<Grid, String> {
        let (shape, cells) = (self.shape, rows.iter().map(|row| row.cells.len()).sum::<usize>());
        let mut before = 0;
        for row in rows {
            if let Some((at, sign)) = row.strange.first() {
                let (cell, side) = (before + at, shape.size());
                let place = match cells == shape.cells() {
                    true => format!("row {}, column {}", cell / side + 1, cell % side + 1),
                    false => format!("line {}", row.number),
                };
                return Err(format!("{sign:?} in {place}, expected 1 to {side} or a blank, as ."));
            }
            before += row.cells.len();
        }
        if cells != shape.cells() {
            return Err(format!("{cells} cells, the model solves puzzles of {} ({shape})", shape.cells()));
        }
        let mut grid = Grid::blank(shape);
        let digits = rows.iter().flat_map(|row| &row.cells);
        grid.cells_mut().iter_mut().zip(digits).for_each(|(cell, digit)| *cell = *digit);
        contradiction(&grid).map_or(Ok(grid), Err)
    }
}
