//! Where puzzles come from: the command line, files, and standard input, line by line.

use std::io::BufRead;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::cli::stop::Stop;
use crate::data::pasted::{Found, Puzzle, Reader};
use crate::model::ModelConfig;
use crate::report::say;
use crate::{Error, Result, files};

/// Lines of standard input that are read ahead.
const AHEAD: usize = 4096;
/// How often who waits for a line looks whether to end.
const LOOK: Duration = Duration::from_millis(100);

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
    Input(Input),
    Unreadable(Error),
}

impl Source {
    /// What arguments stand for, in their order, each read when its turn comes.
    /// After a wish to end there are no more.
    pub fn of(arguments: &[String], stop: &Stop) -> impl Iterator<Item = Source> {
        let one = arguments.len() == 1;
        let wanted = arguments.iter().zip(1..).take_while(|_| !stop.wanted());
        wanted.map(move |(argument, number)| match argument.as_str() {
            "-" => Source::Input(Input::open(stop.clone())),
            _ if one => of_argument("PUZZLE", argument),
            _ => of_argument(&format!("PUZZLE {number}"), argument),
        })
    }

    /// With standard input read to its end.
    pub fn whole(self) -> Result<Source> {
        let Source::Input(mut input) = self else { return Ok(self) };
        let mut text = String::new();
        while let Some((_, line)) = input.next()? {
            text = text + &line + "\n";
        }
        Ok(Source::Text { name: INPUT.into(), text })
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
            Source::Input(input) => {
                hand_on(&mut waiting, 0, most, solve)?;
                each_line(input, config, most, solve)?;
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
    mut input: Input,
    config: &ModelConfig,
    most: usize,
    solve: &mut dyn FnMut(Vec<Given>) -> Result<()>,
) -> Result<()> {
    let Some(mut reader) = reader(config) else { return Ok(()) };
    let (mut waiting, mut any) = (Vec::new(), false);
    while let Some(first) = input.next()? {
        let mut next = Some(first);
        while let Some((number, line)) = next {
            waiting.extend(reader.line(number, &line).into_iter().map(|found| given(INPUT, found, true)));
            next = if waiting.len() < most { input.waiting()? } else { None };
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

/// A line and its number, from 1 on.
pub type Line = (usize, String);

/// The lines of standard input as they come, until its end or a wish to end.
pub struct Input {
    lines: Receiver<(usize, std::io::Result<Vec<u8>>)>,
    stop: Stop,
}

impl Input {
    fn open(stop: Stop) -> Input {
        let (sender, lines) = mpsc::sync_channel(AHEAD);
        std::thread::spawn(move || {
            let lines = (1..).zip(std::io::stdin().lock().split(b'\n'));
            // Nobody listens after an error.
            lines.map(|line| sender.send(line)).take_while(std::result::Result::is_ok).for_each(drop);
        });
        Input { lines, stop }
    }

    /// The next line, waited for; none at the end.
    pub fn next(&mut self) -> Result<Option<Line>> {
        while !self.stop.wanted() {
            match self.lines.recv_timeout(LOOK) {
                Err(RecvTimeoutError::Timeout) => {}
                found => return found.ok().map(text_of).transpose(),
            }
        }
        Ok(None)
    }

    /// The next line, if it has come already.
    pub fn waiting(&mut self) -> Result<Option<Line>> {
        self.lines.try_recv().ok().map(text_of).transpose()
    }
}

fn text_of((number, line): (usize, std::io::Result<Vec<u8>>)) -> Result<Line> {
    let line = line.map_err(Error::io(INPUT))?;
    Ok((number, String::from_utf8_lossy(&line).into_owned()))
}
