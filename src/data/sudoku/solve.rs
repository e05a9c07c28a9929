//! An exact solver: depth-first search that always branches on the cell with the fewest candidates, after all digits
//! that have a single place.
//!
//! Candidates are bit masks of the digits not yet seen in the cell's row, column and box. The search goes on
//! until the caller has seen enough solutions, so that the same code solves, proves uniqueness and, with
//! digits tried in random order, draws full grids.

use super::grid::{Grid, MAX_CELLS, MAX_SIZE};
use crate::rng::Rng;

/// A thousand times what the hardest puzzles with a solution take; some without any would take years.
const MOST_GUESSES: u64 = 1 << 17;

/// The solution of `puzzle`, if it has exactly one.
pub fn unique_solution(puzzle: &Grid) -> Option<Grid> {
    let mut solutions = [None; 2];
    let found = search(puzzle, None, u64::MAX, &mut solutions).found;
    solutions[0].filter(|_| found == 1)
}

/// The only solution of `puzzle`, and how often the search had to guess: to choose among the candidates of a cell, until
/// there was nothing left to try.
///
/// # Errors
/// What is wrong where there is none, or more than one.
pub(super) fn solve(puzzle: &Grid) -> Result<(Grid, u64), String> {
    let mut solutions = [None; 2];
    let Outcome { found, guesses } = search(puzzle, None, MOST_GUESSES, &mut solutions);
    match (found, solutions[0]) {
        _ if guesses >= MOST_GUESSES => {
            Err(format!("question takes more than {MOST_GUESSES} guesses to solve"))
        }
        (1, Some(solution)) => Ok((solution, guesses)),
        (0, _) => Err("question has no solution".to_owned()),
        _ => Err("question has several solutions".to_owned()),
    }
}

/// How many solutions `puzzle` has, counted up to 2; none where the search takes too long.
pub fn count_solutions(puzzle: &Grid) -> Option<usize> {
    let Outcome { found, guesses } = search(puzzle, None, MOST_GUESSES, &mut [None; 2]);
    (found == 2 || guesses < MOST_GUESSES).then_some(found)
}

/// A solution of `puzzle`, drawn at random among all (not uniformly).
pub(super) fn random_solution(puzzle: &Grid, rng: &mut Rng) -> Option<Grid> {
    let mut solutions = [None; 1];
    search(puzzle, Some(rng), u64::MAX, &mut solutions);
    solutions[0]
}

/// What a search came to.
struct Outcome {
    /// Solutions found.
    found: usize,
    /// Digits tried in cells that had several candidates.
    guesses: u64,
}

/// Puts the first solutions into `solutions`, until that is full or `most` guesses are made.
fn search(puzzle: &Grid, rng: Option<&mut Rng>, most: u64, solutions: &mut [Option<Grid>]) -> Outcome {
    let outcome = Outcome { found: 0, guesses: 0 };
    let mut search =
        Search { grid: Grid::blank(puzzle.shape()), seen: [[0; MAX_SIZE]; 3], rng, solutions, outcome, most };
    for (cell, &digit) in puzzle.cells().iter().enumerate().filter(|(_, digit)| **digit != 0) {
        if search.candidates(cell) & 1 << digit == 0 {
            return search.outcome;
        }
        search.toggle(cell, digit);
        search.grid.cells_mut()[cell] = digit;
    }
    search.run();
    search.outcome
}

struct Search<'a> {
    grid: Grid,
    /// Digits seen in each row, column and box, as bits `1..=size`.
    seen: [[u16; MAX_SIZE]; 3],
    rng: Option<&'a mut Rng>,
    solutions: &'a mut [Option<Grid>],
    outcome: Outcome,
    most: u64,
}

impl Search<'_> {
    fn run(&mut self) {
        let Some((cell, mut candidates)) = self.next_cell() else {
            self.solutions[self.outcome.found] = Some(self.grid);
            self.outcome.found += 1;
            return;
        };
        let guessed = u64::from(candidates.count_ones() > 1);
        while candidates != 0 && self.outcome.found < self.solutions.len() && self.outcome.guesses < self.most
        {
            self.outcome.guesses += guessed;
            let digit = self.pick(candidates);
            candidates &= !(1 << digit);
            self.toggle(cell, digit);
            self.grid.cells_mut()[cell] = digit;
            self.run();
            self.grid.cells_mut()[cell] = 0;
            self.toggle(cell, digit);
        }
    }

    /// The blank cell to fill next, and with what; none if the grid is full.
    fn next_cell(&self) -> Option<(usize, u16)> {
        let constrained = self.most_constrained()?;
        // Draws keep their order: what a seed gives stays what it is.
        let hidden = (constrained.1.count_ones() > 1 && self.rng.is_none()).then(|| self.hidden());
        hidden.flatten().or(Some(constrained))
    }

    /// A cell that alone can take a digit of its row, column or box, with that digit; with none where a digit has no place.
    fn hidden(&self) -> Option<(usize, u16)> {
        let shape = self.grid.shape();
        // Digits that one cell at least, and that two cells at least, of each unit can take.
        let (mut once, mut twice) = ([[0u16; MAX_SIZE]; 3], [[0u16; MAX_SIZE]; 3]);
        let mut candidates = [0u16; MAX_CELLS];
        for (cell, _) in self.grid.cells().iter().enumerate().filter(|(_, digit)| **digit == 0) {
            candidates[cell] = self.candidates(cell);
            for (kind, unit) in shape.units_of(cell).into_iter().enumerate() {
                twice[kind][unit] |= once[kind][unit] & candidates[cell];
                once[kind][unit] |= candidates[cell];
            }
        }
        (0..shape.cells()).filter(|&cell| candidates[cell] != 0).find_map(|cell| {
            (0..3).zip(shape.units_of(cell)).find_map(|(kind, unit)| {
                let all = ((1 << shape.size()) - 1) << 1;
                if once[kind][unit] | self.seen[kind][unit] != all {
                    return Some((cell, 0));
                }
                let alone = candidates[cell] & !twice[kind][unit];
                // Two digits that have no other place: none of them can be right.
                (alone != 0).then_some((cell, if alone.is_power_of_two() { alone } else { 0 }))
            })
        })
    }

    /// The blank cell with the fewest candidates and these; none if the grid is full.
    fn most_constrained(&self) -> Option<(usize, u16)> {
        let mut best = None;
        let mut fewest = u32::MAX;
        for (cell, _) in self.grid.cells().iter().enumerate().filter(|(_, digit)| **digit == 0) {
            let candidates = self.candidates(cell);
            if candidates.count_ones() < fewest {
                fewest = candidates.count_ones();
                best = Some((cell, candidates));
                if fewest <= 1 {
                    break;
                }
            }
        }
        best
    }

    fn candidates(&self, cell: usize) -> u16 {
        let shape = self.grid.shape();
        let [row, column, block] = shape.units_of(cell);
        let seen = self.seen[0][row] | self.seen[1][column] | self.seen[2][block];
        ((1 << shape.size()) - 1) << 1 & !seen
    }

    fn toggle(&mut self, cell: usize, digit: u8) {
        for (seen, unit) in self.seen.iter_mut().zip(self.grid.shape().units_of(cell)) {
            seen[unit] ^= 1 << digit;
        }
    }

    /// One of the candidates: the lowest, or a random one.
    fn pick(&mut self, mut candidates: u16) -> u8 {
        if let Some(rng) = &mut self.rng {
            for _ in 0..rng.below(candidates.count_ones() as usize) {
                candidates &= candidates - 1;
            }
        }
        candidates.trailing_zeros() as u8
    }
}
