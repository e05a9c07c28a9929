//! Text from files, drivers and libraries, made fit to be shown.

use std::borrow::Cow;
use std::fmt::{self, Display};

/// A number of bytes for people: `1.50 GiB`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BinaryBytes(pub u64);

impl Display for BinaryBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let power = self.0.max(1).ilog2() / 10;
        match power.checked_sub(1) {
            Some(unit) => {
                let amount = self.0 as f64 / 2f64.powi(10 * power as i32);
                write!(f, "{amount:.2} {}", UNITS[unit as usize])
            }
            None => write!(f, "{} B", self.0),
        }
    }
}

/// All white space, line ends included, as single spaces.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// So many of what `one` is, as "1 step" and "2 steps".
pub(crate) fn counted(count: impl TryInto<u64> + Display + Copy, one: &str) -> String {
    let plural = if count.try_into().is_ok_and(|count| count == 1) { "" } else { "s" };
    format!("{count} {one}{plural}")
}

/// Text as it may go to a terminal: what would steer it there, or turn the direction of writing, is spelt out as
/// `\u{1b}`. Only line feeds stay.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match steers(character) {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

fn steers(character: char) -> bool {
    let turns =
        matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (character.is_control() && character != '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        assert_eq!(
            [counted(0, "step"), counted(1_u64, "step"), counted(2, "step")],
            ["0 steps", "1 step", "2 steps"]
        );
    }

    #[test]
    fn bytes_are_counted_in_powers_of_two() {
        let text = [0, 1023, 1024, 1536 << 20, u64::MAX].map(|bytes| BinaryBytes(bytes).to_string());
        assert_eq!(text, ["0 B", "1023 B", "1.00 KiB", "1.50 GiB", "16.00 EiB"]);
    }

    #[test]
    fn nothing_steers_a_terminal() {
        let text = "a\x1b[2Jb\u{9b}31m\tc\r\x7f\u{202e}d\0e\nf é";
        assert_eq!(printable(text), "a\\u{1b}[2Jb\\u{9b}31m\\tc\\r\\u{7f}\\u{202e}d\\u{0}e\nf é");
        assert!(matches!(printable("plain\ntext"), Cow::Borrowed(_)));
    }
}
