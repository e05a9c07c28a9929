//! The cells in a line of text, whatever stands between them.
//!
//! Blanks are `. 0 _ - * x ?`, other dots and squares, or nothing: between the separators of a table, and as spaces between
//! the bars of a grid.

use super::grid::{BLANKS, Shape};

/// What separates the columns of a table.
pub(super) const SEPARATORS: [char; 3] = [',', ';', '\t'];
/// What stands around cells of a table or a list and is nothing itself.
pub(super) const QUOTES: [char; 4] = ['"', '\'', '[', ']'];

/// The cells of a line.
pub(super) struct Row {
    /// The line, from 1 on.
    pub number: usize,
    /// Digits, 0 for blanks.
    pub cells: Vec<u8>,
    /// What is no cell, and no separator either, with the places that it takes among the cells.
    pub strange: Vec<(usize, char)>,
    pub style: Style,
    /// An empty line follows.
    pub gap: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Style {
    /// Dashes only: a row of blanks, or a rule between boxes.
    Dashes,
    /// Blanks are other signs than dashes, so that rows of these are rules.
    Signs,
    /// It says neither.
    Open,
}

impl Row {
    /// The cells of a line of a puzzle of `shape`.
    pub fn of(shape: Shape, number: usize, text: &str) -> Row {
        let text = with_bars(text);
        let (text, style) = match with_blanks(shape, &text) {
            Some(filled) => (filled, Style::Signs),
            None => (text, Style::Open),
        };
        let mut row = Row { number, cells: Vec::new(), strange: Vec::new(), style, gap: false };
        let mut dashes = 0;
        for sign in text.chars() {
            let digit = match sign {
                sign if BLANKS.contains(&sign) => {
                    row.style = Style::Signs;
                    0
                }
                '-' => {
                    dashes += 1;
                    0
                }
                '|' | '+' | ',' | ';' | ':' | '=' => continue,
                sign if QUOTES.contains(&sign) || sign.is_whitespace() => continue,
                sign => match sign.to_digit(10) {
                    Some(digit) if digit as usize <= shape.size() => digit as u8,
                    _ => {
                        row.strange.push((row.cells.len(), sign));
                        0
                    }
                },
            };
            row.cells.push(digit);
        }
        if dashes == row.cells.len() && row.style == Style::Open {
            row.style = Style::Dashes;
            // Crossings are in rules only.
            if text.contains('+') {
                row.cells.clear();
            }
        }
        row
    }

    /// Whether it has a cell for each of a row and nothing is written in them: `text` is what it was read from.
    pub fn is_unwritten(&self, text: &str) -> bool {
        let blank = self.style == Style::Signs && self.cells.iter().all(|cell| *cell == 0);
        blank && !text.contains('-') && !text.contains(BLANKS)
    }

    /// Whether it is meant as cells, though some may be wrong.
    pub fn is_meant(&self) -> bool {
        8 * self.strange.len() <= self.cells.len()
    }

    /// Whether it is words, or whatever else stands between puzzles.
    pub fn is_words(&self) -> bool {
        let letters = self.strange.iter().filter(|(_, sign)| !sign.is_ascii_digit()).count();
        letters > 0 && 2 * letters >= self.cells.len()
    }
}

/// The same with one sign each for the lines of a frame: rules, bars and crossings.
fn with_bars(text: &str) -> String {
    let plain = |sign: char| match sign {
        '\u{2500}' | '\u{2501}' | '\u{2504}' | '\u{2505}' | '\u{2508}' | '\u{2509}' | '\u{2550}' => '=',
        '\u{2502}' | '\u{2503}' | '\u{2506}' | '\u{2507}' | '\u{250a}' | '\u{250b}' | '\u{2551}' => '|',
        '\u{250c}'..='\u{257f}' => '+',
        sign => sign,
    };
    text.chars().map(plain).collect()
}

/// The same with a dot for each cell of which nothing is written, where what stands around the cells tells how many there
/// are.
fn with_blanks(shape: Shape, text: &str) -> Option<String> {
    let framed = text.trim().strip_prefix('|').and_then(|text| text.strip_suffix('|'));
    let thick = |text: &str| text.replace("||", "|");
    // Bars at both ends frame as many cells as some puzzle has.
    let frames = |text: &str| Shape::ALL.iter().any(|shape| text.split('|').count() == shape.size());
    let bare = Some(text).filter(|_| !framed.is_some_and(frames));
    let bars = framed.into_iter().chain(bare).flat_map(|text| [text.to_owned(), thick(text)]);
    let tables = SEPARATORS.iter().map(|separator| (text.to_owned(), *separator));
    tables.chain(bars.map(|text| (text, '|'))).find_map(|(text, separator)| {
        let fields: Vec<&str> = text.split(separator).collect();
        let filled = match fields.len() {
            count if count == shape.size() || count == shape.cells() => {
                fields.iter().map(|field| one(field)).collect()
            }
            count if separator == '|' && count * shape.box_columns() == shape.size() => {
                banded(shape, &fields)
            }
            _ => None,
        };
        filled.filter(|filled: &String| filled.contains('.'))
    })
}

/// The cell of a field.
fn one(field: &str) -> Option<char> {
    let mut signs = field.trim().trim_matches(QUOTES).trim().chars();
    let sign = signs.next().unwrap_or('.');
    signs.next().is_none().then_some(sign)
}

/// The cells between bars, each a sign wide. Between two of them there is a space, or none, and so there is beside the bars,
/// but for the ends of the line.
fn banded(shape: Shape, bands: &[&str]) -> Option<String> {
    const SPACES: [(usize, usize); 3] = [(0, 0), (0, 1), (1, 1)];
    // Whoever writes something for blanks does not leave them out.
    if bands.iter().any(|band| band.contains(BLANKS)) {
        return None;
    }
    let ways = [1, 2].into_iter().flat_map(|apart| SPACES.map(|(ends, inside)| (apart, ends, inside)));
    let (count, last) = (shape.box_columns(), bands.len() - 1);
    ways.into_iter().find_map(|(apart, ends, inside)| {
        let mut filled = String::new();
        for (number, band) in bands.iter().enumerate() {
            let before = if number == 0 { ends } else { inside };
            let after = if number == last { ends } else { inside };
            let width = before + (count - 1) * apart + 1 + after;
            let mut signs: Vec<char> = band.chars().collect();
            // Nobody sees spaces at the end of a line.
            if signs.len() > width || (signs.len() < width && number < last) {
                return None;
            }
            signs.resize(width, ' ');
            let places = (0..count).map(|cell| before + cell * apart);
            filled.extend(places.map(|place| std::mem::replace(&mut signs[place], ' ')).map(
                |sign| match sign {
                    ' ' => '.',
                    sign => sign,
                },
            ));
            // Whatever is left is beside the cells.
            if signs.iter().any(|sign| *sign != ' ') {
                return None;
            }
        }
        Some(filled)
    })
}
