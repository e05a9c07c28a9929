//! Makes mazes whose shortest path is unique and long.
//!
//! A random depth-first walk carves a tree of corridors over every other row and column, a few more walls are
//! opened to make loops, and start and goal are placed where the exact search finds a single shortest path of
//! the length asked for. No two mazes of a request are symmetries of each other. These are not
//! the mazes of Maze-Hard, whose generator was not published.

use std::collections::HashSet;
use std::path::PathBuf;

use super::solve::{Distances, distances, neighbours};
use super::{GOAL, Maze, OPEN, PATH, START, WALL};
use crate::rng::Rng;
use crate::{Error, Result};

const STREAM: u64 = 0x6D61_7A65 << 32;
/// Fewest and most rows or columns.
const SIDES: std::ops::RangeInclusive<usize> = 3..=30;
/// Failed attempts at one maze before the request counts as unsatisfiable.
const ATTEMPTS: usize = 2000;
/// Among the rooms of a maze one in this many may get a further opening.
const ROOMS_PER_LOOP: usize = 8;

/// A data set of generated mazes.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// The folder to write; it must not exist or be empty.
    pub out: PathBuf,
    /// Mazes to learn from.
    pub train: usize,
    /// Mazes to measure on, none of which is a symmetry of one to learn from.
    pub test: usize,
    /// Rows of every maze, 3 to 30.
    pub rows: usize,
    /// Columns of every maze, 3 to 30.
    pub cols: usize,
    /// Least number of moves from start to goal.
    pub min_path: usize,
    /// Whether the train split gets all symmetries of each maze.
    pub aug: bool,
    /// Seed of the mazes.
    pub seed: u64,
}

/// Different mazes, one after the other.
pub struct Generator<'a> {
    options: &'a GenerateOptions,
    rng: Rng,
    seen: HashSet<Vec<u8>>,
}

impl<'a> Generator<'a> {
    /// A generator that has made none yet.
    ///
    /// # Errors
    /// [`Error::Usage`] for sizes out of range.
    pub fn new(options: &'a GenerateOptions) -> Result<Generator<'a>> {
        let GenerateOptions { rows, cols, .. } = *options;
        if !SIDES.contains(&rows) || !SIDES.contains(&cols) {
            let problem = format!("{cols}x{rows}, expected 3x3 to 30x30");
            return Err(Error::usage("size", problem, "choose a size in between"));
        }
        Ok(Generator { options, rng: Rng::new(options.seed, STREAM), seen: HashSet::new() })
    }

    /// A maze that is no symmetry of an earlier one.
    ///
    /// # Errors
    /// [`Error::Usage`] if none is found in a bounded number of attempts.
    pub fn maze(&mut self) -> Result<Maze> {
        for _ in 0..ATTEMPTS {
            if let Some(maze) = self.attempt()
                && self.seen.insert(canonical(&maze))
            {
                return Ok(maze);
            }
        }
        let GenerateOptions { rows, cols, min_path, .. } = self.options;
        let problem = format!(
            "{min_path} moves on {cols}x{rows}: after {} mazes with one such shortest path no further in {ATTEMPTS} attempts",
            self.seen.len()
        );
        Err(Error::usage("min_path", problem, "ask for a shorter path, a larger maze or fewer mazes"))
    }

    /// Carves a maze and places start and goal, if it has places far enough from each other.
    fn attempt(&mut self) -> Option<Maze> {
        let GenerateOptions { rows, cols, min_path, .. } = *self.options;
        let mut question = carve(rows, cols, &mut self.rng);
        let open: Vec<usize> = (0..rows * cols).filter(|&cell| question[cell] == OPEN).collect();
        let start = open[self.rng.below(open.len())];
        let around = distances(rows, cols, &question, start);
        // The cell farthest from anywhere has the longest paths of its own; it is the second choice of a start.
        let farthest = open.iter().copied().max_by_key(|&cell| around.moves[cell])?;
        let (start, ways, goals) = [start, farthest].into_iter().find_map(|start| {
            let ways = distances(rows, cols, &question, start);
            let goals = goals(&ways, min_path);
            (!goals.is_empty()).then_some((start, ways, goals))
        })?;
        let goal = goals[self.rng.below(goals.len())];
        (question[start], question[goal]) = (START, GOAL);
        let mut answer = question.clone();
        ways.between(goal).for_each(|cell| answer[cell] = PATH);
        Some(Maze { rows, cols, question, answer })
    }
}

/// The cells with a single shortest path of at least `min_path` moves, and at least one.
fn goals(ways: &Distances, min_path: usize) -> Vec<usize> {
    let far =
        |&cell: &usize| ways.unique[cell] && ways.moves[cell].is_some_and(|moves| moves >= min_path.max(1));
    (0..ways.moves.len()).filter(far).collect()
}

/// A maze without start and goal: rooms on every other row and column, joined to a tree, and a few loops.
fn carve(rows: usize, cols: usize, rng: &mut Rng) -> Vec<u8> {
    let mut cells = vec![WALL; rows * cols];
    let (top, left) = (rng.below(2), rng.below(2));
    let rooms = (rows - top).div_ceil(2) * (cols - left).div_ceil(2);
    let first = top * cols + left;
    cells[first] = OPEN;
    let mut walk = vec![first];
    while let Some(&room) = walk.last() {
        let closed: Vec<(usize, usize)> =
            doors(rows, cols, room).filter(|&(_, beyond)| cells[beyond] == WALL).collect();
        if closed.is_empty() {
            walk.pop();
            continue;
        }
        let (door, beyond) = closed[rng.below(closed.len())];
        (cells[door], cells[beyond]) = (OPEN, OPEN);
        walk.push(beyond);
    }
    for _ in 0..rng.below(rooms / ROOMS_PER_LOOP + 1) {
        let wall = rng.below(cells.len());
        let between = (wall / cols + top + wall % cols + left) % 2 == 1;
        if between && neighbours(rows, cols, wall).count() == 4 {
            cells[wall] = OPEN;
        }
    }
    cells
}

/// The (wall, room) pairs around a room: what is one and what is two cells away.
fn doors(rows: usize, cols: usize, room: usize) -> impl Iterator<Item = (usize, usize)> {
    let (row, col) = (room / cols, room % cols);
    [
        (row >= 2).then(|| (room - cols, room - 2 * cols)),
        (row + 2 < rows).then(|| (room + cols, room + 2 * cols)),
        (col >= 2).then(|| (room - 1, room - 2)),
        (col + 2 < cols).then(|| (room + 1, room + 2)),
    ]
    .into_iter()
    .flatten()
}

/// The same tokens for every symmetry of a maze.
fn canonical(maze: &Maze) -> Vec<u8> {
    let turned = maze.symmetries().map(|symmetry| symmetry.apply(maze.rows, maze.cols, &maze.question));
    turned.min().unwrap_or_default()
}
