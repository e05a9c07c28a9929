//! Grids whose blanks are spaces, without any frame: known as such once all their lines are seen.
//!
//! Cells stand side by side, or with a space between them. Nobody sees spaces at the end of a line, so these may be missing.

use super::grid::Shape;

/// A line with its number.
pub(super) type Line = (usize, String);

/// Keeps lines of digits and spaces until they tell what they are.
pub(super) struct Spaced {
    shape: Shape,
    lines: Vec<Line>,
}

impl Spaced {
    pub fn new(shape: Shape) -> Spaced {
        Spaced { shape, lines: Vec::new() }
    }

    pub fn is_open(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Takes in a line and returns those that are decided: with dots for blanks, or as they are where spaces are none.
    pub fn line(&mut self, number: usize, text: &str) -> Vec<Line> {
        let gap = self.is_gap(text);
        let ends =
            gap && (!self.is_open() || (self.lines.len() == self.shape.size() && self.gaps_are_rows()));
        if ends || !self.may_be_row(text) {
            let mut decided = self.end();
            decided.push((number, text.to_owned()));
            return decided;
        }
        self.lines.push((number, text.to_owned()));
        match self.is_whole() {
            true => self.end(),
            false => Vec::new(),
        }
    }

    /// What is left.
    pub fn end(&mut self) -> Vec<Line> {
        self.grid().unwrap_or_else(|| std::mem::take(&mut self.lines))
    }

    fn may_be_row(&self, text: &str) -> bool {
        let size = self.shape.size();
        let digit =
            |sign: char| sign.to_digit(10).is_some_and(|digit| (1..=size).contains(&(digit as usize)));
        let width = text.trim_end().chars().count();
        width < 2 * size && text.chars().all(|sign| sign == ' ' || digit(sign))
    }

    /// Whether a line may be a row of blanks whose spaces are gone, or stand between rows.
    fn is_gap(&self, text: &str) -> bool {
        text.trim().is_empty() && text.chars().count() < self.shape.size()
    }

    fn gaps(&self) -> usize {
        self.lines.iter().filter(|(_, text)| self.is_gap(text)).count()
    }

    /// No puzzle has many rows without clues.
    fn gaps_are_rows(&self) -> bool {
        3 * self.gaps() <= self.shape.size()
    }

    /// Whether empty lines stand between bands, as far as is known.
    fn gaps_part_bands(&self) -> bool {
        let mut rows = 0;
        self.lines.iter().all(|(_, text)| {
            let gap = self.is_gap(text);
            rows += usize::from(!gap);
            !gap || rows % self.shape.box_rows() == 0
        })
    }

    fn is_whole(&self) -> bool {
        let (size, gaps) = (self.shape.size(), self.gaps());
        let with_gaps = self.lines.len() == size && self.gaps_are_rows() && !self.gaps_part_bands();
        self.lines.len() - gaps == size || with_gaps
    }

    /// The lines as rows with dots, if they are a grid with a blank inside.
    fn grid(&mut self) -> Option<Vec<Line>> {
        let size = self.shape.size();
        let written = self.lines.iter().rposition(|(_, text)| !self.is_gap(text))? + 1;
        let without = self.lines.len() - self.gaps() == size;
        let rows: Vec<&Line> =
            self.lines[..written].iter().filter(|(_, text)| !without || !self.is_gap(text)).collect();
        let inside = rows.iter().any(|(_, text)| text.trim_end().contains(' '));
        if rows.len() != size || !inside || !(without || self.gaps_are_rows()) {
            return None;
        }
        let dotted = |apart: usize| -> Option<Vec<Line>> {
            rows.iter().map(|(number, text)| Some((*number, dotted(text, size, apart)?))).collect()
        };
        let grid = dotted(1).or_else(|| dotted(2))?;
        self.lines.clear();
        Some(grid)
    }
}

/// A row of `size` cells, each at a multiple of `apart`.
fn dotted(text: &str, size: usize, apart: usize) -> Option<String> {
    let mut row = vec!['.'; size];
    for (place, sign) in text.trim_end().chars().enumerate().filter(|(_, sign)| *sign != ' ') {
        if place % apart > 0 {
            return None;
        }
        *row.get_mut(place / apart)? = sign;
    }
    Some(row.into_iter().collect())
}
