//! Exact search: how far every cell of a maze is, whether there is more than one shortest way, and whether an
//! answer marks one.

use std::collections::VecDeque;

use super::{GOAL, OPEN, PATH, START, WALL};

/// The cells next to `cell` up, down, left and right, in row-major numbering.
pub(super) fn neighbours(rows: usize, cols: usize, cell: usize) -> impl Iterator<Item = usize> {
    let (row, col) = (cell / cols, cell % cols);
    [
        (row > 0).then(|| cell - cols),
        (row + 1 < rows).then(|| cell + cols),
        (col > 0).then(|| cell - 1),
        (col + 1 < cols).then(|| cell + 1),
    ]
    .into_iter()
    .flatten()
}

/// Shortest ways from one cell to all cells of a maze.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distances {
    /// Moves needed for each cell, (rows * cols); `None` where no way leads.
    pub moves: Vec<Option<usize>>,
    /// Whether each cell has exactly one shortest way, (rows * cols).
    pub unique: Vec<bool>,
    /// The cell before each on one shortest way.
    previous: Vec<usize>,
}

/// Breadth-first search from `start` over all cells of `tokens` (rows * cols) that are no walls.
///
/// A cell's shortest way is unique if it has one neighbour that is a move nearer, and that one's is unique.
pub fn distances(rows: usize, cols: usize, tokens: &[u8], start: usize) -> Distances {
    let mut moves = vec![None; tokens.len()];
    let mut unique = vec![false; tokens.len()];
    let mut previous = vec![start; tokens.len()];
    moves[start] = Some(0);
    unique[start] = true;
    let mut queue = VecDeque::from([(start, 0)]);
    while let Some((cell, so_far)) = queue.pop_front() {
        for next in neighbours(rows, cols, cell).filter(|&next| tokens[next] != WALL) {
            match moves[next] {
                None => {
                    moves[next] = Some(so_far + 1);
                    (unique[next], previous[next]) = (unique[cell], cell);
                    queue.push_back((next, so_far + 1));
                }
                Some(known) if known == so_far + 1 => unique[next] = false,
                Some(_) => {}
            }
        }
    }
    Distances { moves, unique, previous }
}

impl Distances {
    /// The cells between the start and `goal` on a shortest way, from the goal's side; none where no way leads.
    pub fn between(&self, goal: usize) -> impl Iterator<Item = usize> {
        let inner = self.moves[goal].unwrap_or(0).saturating_sub(1);
        std::iter::successors(Some(self.previous[goal]), |&cell| Some(self.previous[cell])).take(inner)
    }
}

/// The first thing that keeps `answer` from being `question` with a shortest path marked; both are tokens,
/// (rows * cols) with at least one column.
pub fn solution_fault(cols: usize, question: &[i32], answer: &[i32]) -> Option<String> {
    let places =
        |token: u8| question.iter().enumerate().filter(move |(_, found)| **found == i32::from(token));
    let (mut starts, mut goals) = (places(START), places(GOAL));
    let (Some((start, _)), Some((goal, _)), None, None) =
        (starts.next(), goals.next(), starts.next(), goals.next())
    else {
        return Some("the question has not one start and one goal".into());
    };
    let marked = |(from, to): (&i32, &i32)| (*from, *to) == (i32::from(OPEN), i32::from(PATH));
    if let Some(at) = question.iter().zip(answer).position(|pair| pair.0 != pair.1 && !marked(pair)) {
        return Some(format!("the answer changes token {} to {} at {at}", question[at], answer[at]));
    }
    let open = |tokens: &[i32], walls: &[u8]| -> Vec<u8> {
        let wall = |token: &i32| walls.iter().any(|&wall| i32::from(wall) == *token);
        tokens.iter().map(|token| if wall(token) { WALL } else { OPEN }).collect()
    };
    let rows = question.len() / cols;
    let moves = |tokens: Vec<u8>| distances(rows, cols, &tokens, start).moves[goal];
    let Some(shortest) = moves(open(question, &[WALL])) else {
        return Some("no way leads from start to goal".into());
    };
    let marks = answer.iter().filter(|&&token| token == i32::from(PATH)).count();
    if moves(open(answer, &[WALL, OPEN])) == Some(shortest) && marks + 1 == shortest {
        return None;
    }
    Some(format!(
        "the {marks} marked cells are no shortest path, which has {} between start and goal",
        shortest - 1
    ))
}
