//! Exact search: how far every cell of a maze is, and whether there is more than one shortest way.

use std::collections::VecDeque;

use super::WALL;

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
