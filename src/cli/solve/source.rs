//! Where puzzles come from: the command line, files, and standard input, line by line.

use std::io::BufRead;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::data::pasted::{Found, Puzzle, Reader, only, text_of};
use crate::model::ModelConfig;
use crate::report::say;
use crate::{Error, Result};

use super::super::stop::Stop;

/// Lines of standard input that are read ahead.
const AHEAD: usize = 4096;

/// How often it is asked meanwhile whether to end.
const MEANWHILE: Duration = Duration::from_millis(100);
/// Cells of the smallest puzzle.
const LEAST_CELLS: usize = 16;

/// A puzzle, and where it was given.
pub struct Placed {
    /// As errors call it.
    pub place: String,
    pub puzzle: Puzzle,
    /// Whether it has several solutions, as far as it was examined.
    pub several: bool,
}

impl Placed {
    /// The same after a search for its solutions, which may take longer than to read it; an error where it has none.
    pub fn examined(self) -> Given {
        match self.puzzle.solutions() {
            Some(0) => Err(Error::usage(self.place, "has no solution: its clues contradict each other", FIX)),
            solutions => Ok(Placed { several: solutions == Some(2), ..self }),
        }
    }
}

/// A puzzle as it was given, or why it cannot be used.
pub type Given = std::result::Result<Placed, Error>;

/// Something that holds puzzles.
pub enum Source {
    /// A puzzle that was typed, or the content of a file.
    Text {
        /// What errors call it.
        name: String,
        text: String,
    },
    /// Standard input, which may be open for long.
    Input,
    Unreadable(Error),
}

impl Source {
    /// What arguments stand for, in their order, each read when its turn comes.
    pub fn of(arguments: &[String]) -> impl Iterator<Item = Source> {
        let one = arguments.len() == 1;
        arguments.iter().zip(1..).map(move |(argument, number)| match argument.as_str() {
            "-" => Source::Input,
            _ if one => of_argument("PUZZLE", argument),
            _ => of_argument(&format!("PUZZLE {number}"), argument),
        })
    }

    /// The same for puzzles, of which the shell may have made many arguments of one.
    pub fn of_puzzles(arguments: &[String]) -> impl Iterator<Item = Source> {
        let joined = joined(arguments);
        let each = if joined.is_some() { &[] } else { arguments };
        joined.into_iter().chain(Source::of(each))
    }

    /// With standard input read to its end.
    pub fn whole(self, stop: &Stop) -> Result<Source> {
        let Source::Input = self else { return Ok(self) };
        let mut text = String::new();
        each_lines(stop, AHEAD, &mut |lines| {
            lines.iter().for_each(|(_, line)| text += &format!("{line}\n"));
            Ok(())
        })?;
        Ok(Source::Text { name: INPUT.into(), text })
    }
}

/// Hands on the puzzles of all sources in their order, up to `most` at once.
pub fn each(
    sources: impl Iterator<Item = Source>,
    config: &ModelConfig,
    most: usize,
    stop: &Stop,
    solve: &mut dyn FnMut(Vec<Given>) -> Result<()>,
) -> Result<()> {
    let mut waiting = Vec::new();
    let solve = &mut |given| if stop.wanted() { Ok(()) } else { solve(given) };
    for source in sources {
        match source {
            Source::Input => {
                hand_on(&mut waiting, 0, most, solve)?;
                each_line(config, most, stop, solve)?;
            }
            Source::Text { name, text } => waiting.extend(of_text(&name, &text, config)),
            Source::Unreadable(error) => waiting.push(Err(error)),
        }
        hand_on(&mut waiting, most, most, solve)?;
    }
    hand_on(&mut waiting, 0, most, solve)
}

/// Hands on what waits, `most` at once, until no more than `left` wait.
fn hand_on(
    waiting: &mut Vec<Given>,
    left: usize,
    most: usize,
    solve: &mut dyn FnMut(Vec<Given>) -> Result<()>,
) -> Result<()> {
    while waiting.len() > left {
        let rest = waiting.split_off(waiting.len().min(most));
        solve(std::mem::replace(waiting, rest))?;
    }
    Ok(())
}

/// A text, or the file that it names.
fn of_argument(name: &str, argument: &str) -> Source {
    let path = Path::new(argument);
    if path.is_file() {
        return match text_of(path) {
            Ok(text) => Source::Text { name: path.display().to_string(), text },
            Err(error) => Source::Unreadable(error),
        };
    }
    if is_name(argument) || path.is_dir() {
        let problem = if path.is_dir() { "is a folder" } else { "no such file, and no puzzle" };
        return Source::Unreadable(Error::file(path, problem, "name a file of puzzles, or give one"));
    }
    Source::Text { name: name.into(), text: argument.into() }
}

/// Whether it looks like the name of a file.
fn is_name(argument: &str) -> bool {
    let end = Path::new(argument).extension();
    let ends_as_file = end.is_some_and(|end| end.to_string_lossy().chars().all(char::is_alphabetic));
    let letters = argument.chars().filter(|sign| sign.is_alphabetic()).count();
    (ends_as_file || argument.contains('/')) && letters > 2 && !argument.contains('\n')
}

/// The puzzle that the shell has divided into arguments, none of which is one; an error where they make none.
fn joined(arguments: &[String]) -> Option<Source> {
    let is_part = |argument: &String| {
        let short = argument.chars().count() < LEAST_CELLS && argument != "-";
        // A dot is a blank cell before it is a folder.
        let exists = argument.contains(|sign| sign != '.') && Path::new(argument).exists();
        short && !is_name(argument) && !exists && only(argument).is_none()
    };
    if arguments.len() < 2 || !arguments.iter().all(is_part) {
        return None;
    }
    let count = arguments.len();
    if let Some(text) = only(&arguments.join("\n")) {
        say(format!("note: {count} arguments are read as one puzzle; quotes around it keep it whole"));
        return Some(Source::Text { name: "PUZZLE".into(), text });
    }
    let problem = format!("{count} arguments are no puzzles, neither each by itself nor joined");
    let fix = "put quotes around a puzzle that has spaces or lines in it";
    Some(Source::Unreadable(Error::usage("PUZZLE", problem, fix)))
}

fn of_text(name: &str, text: &str, config: &ModelConfig) -> Vec<Given> {
    let Some(reader) = reader(config) else { return Vec::new() };
    let found = reader.all(text);
    if found.is_empty() {
        return vec![Err(Error::usage(name, "holds no puzzle", NONE))];
    }
    let lines = text.lines().count();
    found.into_iter().map(|found| given(name, found, lines > 1)).collect()
}

pub const INPUT: &str = "standard input";
const NONE: &str = "give all cells of a Sudoku, with . for blanks, or rows of \"# SG\" of a maze";
const FIX: &str = "correct it or leave it out";

fn given(name: &str, Found { line, puzzle, note }: Found<Puzzle>, by_line: bool) -> Given {
    let place = if by_line { format!("{name}, line {line}") } else { name.to_owned() };
    if let Some(note) = note {
        say(format!("note: {place}: {note}"));
    }
    match puzzle {
        Ok(puzzle) => Ok(Placed { place, puzzle, several: false }),
        Err(problem) => Err(Error::usage(place, problem, FIX)),
    }
}

fn reader(config: &ModelConfig) -> Option<Reader> {
    Reader::of_sizes(config.seq_len, config.vocab_size)
}

/// Hands on the puzzles in the lines that are waiting, without waiting for more.
fn each_line(
    config: &ModelConfig,
    most: usize,
    stop: &Stop,
    solve: &mut dyn FnMut(Vec<Given>) -> Result<()>,
) -> Result<()> {
    let Some(mut reader) = reader(config) else { return Ok(()) };
    let mut any = false;
    each_lines(stop, most, &mut |lines| {
        let found = lines.iter().flat_map(|(number, line)| reader.line(*number, line));
        let mut waiting: Vec<Given> = found.map(|found| given(INPUT, found, true)).collect();
        any |= !waiting.is_empty();
        hand_on(&mut waiting, 0, most, solve)
    })?;
    let left = reader.end().into_iter();
    let mut waiting: Vec<Given> = left.map(|found| given(INPUT, found, true)).collect();
    if !any && waiting.is_empty() {
        waiting.push(Err(Error::usage(INPUT, "holds no puzzle", NONE)));
    }
    hand_on(&mut waiting, 0, most, solve)
}

/// Hands on the lines of standard input, numbered from 1 on, up to `most` that are waiting at once, until it ends or `stop`
/// is wanted.
pub fn each_lines(
    stop: &Stop,
    most: usize,
    take: &mut dyn FnMut(Vec<(usize, String)>) -> Result<()>,
) -> Result<()> {
    let lines = lines_of_input();
    while !stop.wanted() {
        let first = match lines.recv_timeout(MEANWHILE) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let waiting = std::iter::once(first).chain(lines.try_iter()).take(most);
        let text = |(number, line): Line| {
            let line = line.map_err(Error::io(INPUT))?;
            Ok((number, String::from_utf8_lossy(&line).into_owned()))
        };
        take(waiting.map(text).collect::<Result<_>>()?)?;
    }
    Ok(())
}

type Line = (usize, std::io::Result<Vec<u8>>);

/// Numbered from 1 on, as they come.
fn lines_of_input() -> Receiver<Line> {
    let (sender, lines) = mpsc::sync_channel(AHEAD);
    std::thread::spawn(move || {
        let lines = (1..).zip(std::io::stdin().lock().split(b'\n'));
        // Nobody listens after an error.
        lines.map(|line| sender.send(line)).take_while(std::result::Result::is_ok).for_each(drop);
    });
    lines
}
