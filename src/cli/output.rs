//! Standard output: data as text or JSON.

use std::io::{self, ErrorKind, IsTerminal, Write};

use serde::Serialize;

use crate::report::plain_terminal;
use crate::text::printable;
use crate::{Error, Result};

/// How a command hands out its data.
pub struct Output {
    json: bool,
}

impl Output {
    /// JSON or text.
    pub fn new(json: bool) -> Output {
        Output { json }
    }

    /// Prints `value` as JSON, or what `text` makes of it, without what would steer a terminal.
    pub fn data<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        self.painted(value, |value| printable(&text(value)).into_owned())
    }

    /// The same for text with colours; names from files must be made [`printable`] on their way into it.
    pub fn painted<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        self.next(value, text).or_else(pardon)
    }

    /// The same for one of many: an error where the reader has left, who wants no other either.
    pub fn next<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        if !self.json {
            return write(&text(value));
        }
        let json =
            serde_json::to_string(value).map_err(|error| Error::io("standard output")(error.into()))?;
        write(&(json_escaped(&json) + "\n"))
    }

    /// Prints `value` where data is JSON; as [`Output::next`].
    pub fn json<T: Serialize>(&self, value: &T) -> Result<()> {
        self.next(value, |_| String::new())
    }

    /// Prints `text`, where data is text; as [`Output::painted`].
    pub fn text(&self, text: &str) -> Result<()> {
        if self.json { Ok(()) } else { print(text) }
    }

    /// Prints `values` as JSON, one a line, or what `text` makes of them.
    pub fn lines<T: Serialize>(&self, values: &[T], text: impl FnOnce(&[T]) -> String) -> Result<()> {
        if !self.json {
            return print(&printable(&text(values)));
        }
        values.iter().try_for_each(|value| self.data(value, |_| String::new()))
    }

    /// Whether text on standard output may be coloured: it goes to a terminal, which is none
    /// without (`TERM=dumb`), and `NO_COLOR` is not set.
    pub fn colour(&self) -> bool {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        !self.json && !refused && !plain_terminal() && io::stdout().is_terminal()
    }
}

/// JSON whose strings spell out the control characters that JSON itself lets pass; it means the same.
fn json_escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        match character.is_control() {
            true => escaped += &format!("\\u{:04x}", u32::from(character)),
            false => escaped.push(character),
        }
    }
    escaped
}

/// Writes to standard output; a reader that has left is no error.
fn print(text: &str) -> Result<()> {
    write(text).or_else(pardon)
}

fn write(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::io("standard output"))
}

/// Lets it pass that a reader has left.
pub fn pardon(error: Error) -> Result<()> {
    match error {
        Error::Io { source, .. } if source.kind() == ErrorKind::BrokenPipe => Ok(()),
        error => Err(error),
    }
}
