//! Mazes from tables of any layout, and from lists without answers, which are solved here.
//!
//! Every row is judged: size, characters, one start and one goal, and an answer that is its question with a shortest
//! path marked; a maze without an answer has exactly one shortest path.

use std::path::Path;

use super::{CHARACTERS, GOAL, Maze, OPEN, PATH, START, distances, solution_fault};
use crate::Result;
use crate::data::table::{Judged, Kind, OnInvalid, Record, Sound, Table};

const KIND: Kind = Kind {
    fits: |text| {
        text.bytes().all(|byte| CHARACTERS.contains(&byte)) && text.contains('S') && text.contains('G')
    },
    solved: |text| text.contains('o'),
    comments: false,
};

/// The sound mazes of a file; `size` is (rows, columns), or the square that each row's length makes.
///
/// # Errors
/// [`crate::Error::Io`] if the file cannot be read, [`crate::Error::File`] if there is no column of mazes.
pub(super) fn open(
    path: &Path,
    size: Option<(usize, usize)>,
    on_invalid: Option<OnInvalid>,
) -> Result<Sound<Maze>> {
    let agree = |first: &Maze, maze: &Maze| {
        let shape = |maze: &Maze| format!("{}x{}", maze.cols, maze.rows);
        let (first, found) = (shape(first), shape(maze));
        (found != first).then(|| format!("question is {found}, the lines before are {first}"))
    };
    let judge = move |record: &Record| maze(&record.question, record.answer.as_deref(), size);
    Ok(Sound::new(Table::open(path, KIND)?, on_invalid, Box::new(judge), agree))
}

/// Checks one row; the error says what is wrong in which column.
fn maze(question: &str, answer: Option<&str>, size: Option<(usize, usize)>) -> Judged<Maze> {
    let side = question.len().isqrt();
    let (rows, cols) = size.unwrap_or((side, side));
    let question = tokens("question", question, (rows, cols))?;
    let count = |token: u8| question.iter().filter(|&&found| found == token).count();
    if (count(START), count(GOAL), count(PATH)) != (1, 1, 0) {
        let found = format!("{} S, {} G and {} o", count(START), count(GOAL), count(PATH));
        return Err(format!("question has {found}, expected one S, one G and no o"));
    }
    let answer = match answer {
        Some(answer) => tokens("answer", answer, (rows, cols))?,
        None => solved(rows, cols, &question)?,
    };
    let fits = |(question, answer): (&u8, &u8)| question == answer || (*question, *answer) == (OPEN, PATH);
    if let Some(at) = question.iter().zip(&answer).position(|pair| !fits(pair)) {
        return Err(format!("answer differs from question at {at} by more than a marked path"));
    }
    let wide = |tokens: &[u8]| tokens.iter().map(|&token| i32::from(token)).collect::<Vec<_>>();
    match solution_fault(cols, &wide(&question), &wide(&answer)) {
        Some(fault) => Err(format!("answer: {fault}")),
        None => Ok(Maze { rows, cols, question, answer }),
    }
}

fn tokens(name: &str, text: &str, (rows, cols): (usize, usize)) -> Judged<Vec<u8>> {
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
    text.bytes().enumerate().map(token).collect()
}

/// The maze, which has one start and one goal, with its only shortest path.
fn solved(rows: usize, cols: usize, question: &[u8]) -> Judged<Vec<u8>> {
    let place = |token: u8| question.iter().position(|&found| found == token).unwrap_or_default();
    let (start, goal) = (place(START), place(GOAL));
    let ways = distances(rows, cols, question, start);
    if ways.moves[goal].is_none() {
        return Err("question: no way leads from start to goal".to_owned());
    }
    if !ways.unique[goal] {
        return Err("question has several shortest paths".to_owned());
    }
    let mut answer = question.to_vec();
    ways.between(goal).for_each(|cell| answer[cell] = PATH);
    Ok(answer)
}
