//! Mazes from CSV files with the columns source, question, answer and rating, as Maze-Hard has them.
//!
//! Every row is checked: size, characters, one start and one goal, and an answer that is its question with a shortest
//! path marked.

use std::path::Path;

use super::{CHARACTERS, GOAL, Maze, OPEN, PATH, START, solution_fault};
use crate::{Error, Result};

const COLUMNS: &str = "source,question,answer,rating";

/// All mazes of a file; `size` is (rows, columns), or the square that the first row's length makes.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::File`] with line and column name for what is wrong in it.
pub(super) fn read(path: &Path, size: Option<(usize, usize)>) -> Result<Vec<Maze>> {
    let fix = format!("give rows of {COLUMNS}");
    let file = std::fs::File::open(path).map_err(Error::io(path)).map_err(|error| error.or_missing(&fix))?;
    let broken = |problem: String| Error::file(path, problem, fix.as_str());
    let mut reader = csv::Reader::from_reader(file);
    let headers = reader.headers().map_err(|error| broken(error.to_string()))?;
    let column = |name: &str| {
        let missing = || broken(format!("line 1: no column \"{name}\""));
        headers.iter().position(|header| header.trim().eq_ignore_ascii_case(name)).ok_or_else(missing)
    };
    let (question, answer) = (column("question")?, column("answer")?);
    let (mut mazes, mut size) = (Vec::new(), size);
    for record in reader.records() {
        let record = record.map_err(|error| broken(error.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let maze = maze(&record[question], &record[answer], size)
            .map_err(|problem| broken(format!("line {line}: {problem}")))?;
        size = Some((maze.rows, maze.cols));
        mazes.push(maze);
    }
    if mazes.is_empty() { Err(broken("no mazes after line 1".into())) } else { Ok(mazes) }
}

/// Checks one row; the error says what is wrong in which column.
fn maze(question: &str, answer: &str, size: Option<(usize, usize)>) -> std::result::Result<Maze, String> {
    let side = question.len().isqrt();
    let (rows, cols) = size.unwrap_or((side, side));
    let tokens = |name: &str, text: &str| {
        let cells = rows.saturating_mul(cols);
        if text.is_empty() || text.len() != cells {
            return Err(format!("{name} has {} characters, expected {} ({cols}x{rows})", text.len(), cells));
        }
        let token = |(at, character): (usize, u8)| {
            let known = CHARACTERS.iter().position(|&known| known == character);
            known.map(|index| index as u8 + 1).ok_or_else(|| {
                let found = char::from(character).escape_default();
                format!("{name} has '{found}' at {at}, expected one of \"# SGo\"")
            })
        };
        text.bytes().enumerate().map(token).collect::<std::result::Result<Vec<u8>, String>>()
    };
    let (question, answer) = (tokens("question", question)?, tokens("answer", answer)?);
    let count = |token: u8| question.iter().filter(|&&found| found == token).count();
    if (count(START), count(GOAL), count(PATH)) != (1, 1, 0) {
        let found = format!("{} S, {} G and {} o", count(START), count(GOAL), count(PATH));
        return Err(format!("question has {found}, expected one S, one G and no o"));
    }
    let fits = |(question, answer): (&u8, &u8)| question == answer || (*question, *answer) == (OPEN, PATH);
    match question.iter().zip(&answer).position(|pair| !fits(pair)) {
        Some(at) => Err(format!("answer differs from question at {at} by more than a marked path")),
        None => {
            let tokens = |tokens: &[u8]| tokens.iter().map(|&token| i32::from(token)).collect::<Vec<_>>();
            let fault = solution_fault(cols, &tokens(&question), &tokens(&answer));
            fault.map_or(Ok(Maze { rows, cols, question, answer }), |fault| Err(format!("answer: {fault}")))
        }
    }
}
