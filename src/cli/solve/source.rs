//! Where puzzles come from: the command line, files, and standard input, line by line.

use std::io::{BufRead, Read};
use std::path::Path;
use std::sync::mpsc::{self, Receiver};

use crate::data::pasted::{Found, Puzzle, Reader};
use crate::model::ModelConfig;
use crate::report::say;
use crate::{Error, Result, files};

/// Lines of standard input that are read ahead.
const AHEAD: usize = 4096;

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

    /// With standard input read to its end.
    pub fn whole(self) -> Result<Source> {
        let Source::Input = self else { return Ok(self) };
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(Error::io(INPUT))?;
        Ok(Source::Text { name: INPUT.into(), text: String::from_utf8_lossy(&bytes).into_owned() })
    }
}

/// Hands on the puzzles of all sources in their order, up to `most` at once.
pub fn each(
    sources: impl Iterator<Item = Source>,
    config: &ModelConfig,
    most: usize,
    solve: &mut dyn FnMut(Vec<Given>) -> Result<()>,
) -> Result<()> {
    let mut waiting = Vec::new();
    for source in sources {
        match source {
            Source::Input => {
                hand_on(&mut waiting, 0, most, solve)?;
                each_line(config, most, solve)?;
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
        return match files::read_to_string(path) {
            Ok(text) => Source::Text { name: path.display().to_string(), text },
            Err(error) => Source::Unreadable(error),
        };
    }
    let ends_as_file =
        path.extension().is_some_and(|end| end.to_string_lossy().chars().all(char::is_alphabetic));
    let letters = argument.chars().filter(|sign| sign.is_alphabetic()).count();
    let is_name = (ends_as_file || argument.contains('/')) && letters > 2 && !argument.contains('\n');
    if is_name || path.is_dir() {
        let problem = if path.is_dir() { "is a folder" } else { "no such file, and no puzzle" };
        return Source::Unreadable(Error::file(path, problem, "name a file of puzzles, or give one"));
    }
    Source::Text { name: name.into(), text: argument.into() }
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

const INPUT: &str = "standard input";
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
    solve: &mut dyn FnMut(Vec<Given>) -> Result<()>,
) -> Result<()> {
    let Some(mut reader) = reader(config) else { return Ok(()) };
    let (lines, mut waiting, mut any) = (lines_of_input(), Vec::new(), false);
    while let Ok(first) = lines.recv() {
        for (number, line) in std::iter::once(first).chain(lines.try_iter()) {
            let line = line.map_err(Error::io(INPUT))?;
            let line = String::from_utf8_lossy(&line);
            waiting.extend(reader.line(number, &line).into_iter().map(|found| given(INPUT, found, true)));
            if waiting.len() >= most {
                break;
            }
        }
        any |= !waiting.is_empty();
        hand_on(&mut waiting, 0, most, solve)?;
    }
    waiting.extend(reader.end().into_iter().map(|found| given(INPUT, found, true)));
    if !any && waiting.is_empty() {
        waiting.push(Err(Error::usage(INPUT, "holds no puzzle", NONE)));
    }
    hand_on(&mut waiting, 0, most, solve)
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
