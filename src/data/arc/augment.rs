//! Augmentation of ARC tasks: a symmetry of the square and a permutation of the colours 1 to 9.
//!
//! The puzzle identifier carries the augmentation, `task|||t<symmetry>|||<ten colour digits>`, so that a
//! prediction can be brought back to the colours and the orientation of the task as it was given.
//! Source: the release's ARC builder, which tries at most five times as many as it is asked for.

use std::collections::HashSet;
use std::str::FromStr;

use super::grid::{COLOURS, Grid};
use super::task::{Pair, SEPARATOR, Task};
use crate::data::dihedral::Dihedral;
use crate::data::random_state::RandomState;
use crate::rng::Rng;

/// Who draws the augmentations, and by that which puzzle has which identifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identifiers {
    /// trm: tasks keep the order of their files, and each has random numbers of its own.
    #[default]
    Own,
    /// trm in the way of the release's builder, so that a checkpoint of the release finds its puzzles: the same tasks,
    /// order of subsets, number of augmentations and seed give the same `identifiers.json`, byte by byte.
    Release,
}

impl FromStr for Identifiers {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Identifiers, String> {
        match text {
            "own" => Ok(Identifiers::Own),
            "release" => Ok(Identifiers::Release),
            _ => Err("expected own or release".to_owned()),
        }
    }
}

/// How many draws are made for every augmentation wanted: tasks of few colours have few different ones.
const DRAWS_PER_AUGMENTATION: usize = 5;

/// First the colours are exchanged, then the grid is turned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Augmentation {
    dihedral: Dihedral,
    /// `colours[c]` takes the place of colour c; `colours[0]` is 0.
    colours: [u8; COLOURS],
}

impl Augmentation {
    /// The augmentation that changes nothing; its identifier is the task's own name.
    pub const IDENTITY: Augmentation =
        Augmentation { dihedral: Dihedral::IDENTITY, colours: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] };

    /// A uniformly random one.
    pub fn draw(rng: &mut Rng) -> Augmentation {
        let dihedral = Dihedral::ALL[rng.below(Dihedral::ALL.len())];
        let mut colours = Augmentation::IDENTITY.colours;
        rng.shuffle(&mut colours[1..]);
        Augmentation { dihedral, colours }
    }

    /// The one that the release's builder draws.
    pub(super) fn draw_as_release(random: &mut RandomState) -> Augmentation {
        let dihedral = Dihedral::ALL[random.up_to(7)];
        let mut colours = Augmentation::IDENTITY.colours;
        random.shuffle(&mut colours[1..]);
        Augmentation { dihedral, colours }
    }

    /// The grid after the augmentation.
    pub fn apply(&self, grid: &Grid) -> Grid {
        let coloured: Vec<u8> =
            grid.cells().iter().map(|&colour| self.colours[usize::from(colour)]).collect();
        let (rows, cols) = self.dihedral.shape(grid.rows(), grid.cols());
        Grid::new(rows, cols, self.dihedral.apply(grid.rows(), grid.cols(), &coloured))
    }

    /// The grid that [`Augmentation::apply`] made `grid` of.
    pub fn undo(&self, grid: &Grid) -> Grid {
        let turn = self.dihedral.inverse();
        let (rows, cols) = turn.shape(grid.rows(), grid.cols());
        let mut original = [0; COLOURS];
        for (colour, &replacement) in self.colours.iter().enumerate() {
            original[usize::from(replacement)] = colour as u8;
        }
        let turned = turn.apply(grid.rows(), grid.cols(), grid.cells());
        Grid::new(
            rows,
            cols,
            turned.iter().map(|&colour| original[usize::from(colour)]).collect::<Box<[u8]>>(),
        )
    }

    /// The puzzle identifier of `task` under this augmentation.
    pub fn name(&self, task: &str) -> String {
        if *self == Augmentation::IDENTITY {
            return task.to_owned();
        }
        let digits: String = self.colours.iter().map(|colour| char::from(b'0' + colour)).collect();
        format!("{task}{SEPARATOR}t{}{SEPARATOR}{digits}", self.dihedral.index())
    }

    /// The task and augmentation of a puzzle identifier; a name without separators is the task as given.
    /// `None` if the augmentation cannot be read.
    pub fn parse(name: &str) -> Option<(&str, Augmentation)> {
        let mut parts = name.splitn(3, SEPARATOR);
        let task = parts.next()?;
        let Some(turn) = parts.next() else { return Some((task, Augmentation::IDENTITY)) };
        let dihedral = Dihedral::new(turn.strip_prefix('t')?.parse().ok()?)?;
        let digits = parts.next()?.as_bytes();
        let colours: [u8; COLOURS] =
            digits.iter().map(|digit| digit.wrapping_sub(b'0')).collect::<Vec<_>>().try_into().ok()?;
        let mut sorted = colours;
        sorted.sort_unstable();
        (sorted == Augmentation::IDENTITY.colours).then_some((task, Augmentation { dihedral, colours }))
    }
}

/// The task as given, then up to `count` augmentations of which no two show the same set of pairs.
///
/// At most `5 * count` are drawn, so a task with few colours or much symmetry gets fewer.
pub fn distinct(task: &Task, count: usize, mut draw: impl FnMut() -> Augmentation) -> Vec<Augmentation> {
    let mut augmentations = vec![Augmentation::IDENTITY];
    let mut seen = HashSet::from([content(task, &Augmentation::IDENTITY)]);
    for _ in 0..count.saturating_mul(DRAWS_PER_AUGMENTATION) {
        if augmentations.len() > count {
            break;
        }
        let augmentation = draw();
        if seen.insert(content(task, &augmentation)) {
            augmentations.push(augmentation);
        }
    }
    augmentations
}

/// All pairs of the augmented task as bytes, in an order that depends on nothing but the pairs.
fn content(task: &Task, augmentation: &Augmentation) -> Vec<u8> {
    let bytes_of = |grid: &Grid| {
        let grid = augmentation.apply(grid);
        let mut bytes = vec![grid.rows() as u8, grid.cols() as u8];
        bytes.extend_from_slice(grid.cells());
        bytes
    };
    let bytes_of_pair = |pair: &Pair| {
        // Without a solution as if it were one black cell, as in the release.
        let output = pair.output.as_ref().map_or(vec![1, 1, 0], bytes_of);
        [bytes_of(&pair.input), output].concat()
    };
    let mut pairs: Vec<Vec<u8>> = task.train.iter().chain(&task.test).map(bytes_of_pair).collect();
    pairs.sort_unstable();
    pairs.concat()
}
