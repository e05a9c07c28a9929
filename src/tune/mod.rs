//! Tuning: which variants of the kernels an adapter runs fastest at the shapes of a recipe.
//!
//! A [`Trial`] is a small plan at those shapes; [`measure()`] runs it with each candidate, drops those that disagree
//! with the plain kernels and times the others. [`tune`] asks one question after the other: a tile for the products of
//! each purpose. [`cache`] keeps the answers.

pub mod cache;
mod measure;
mod trial;

pub use cache::{Cache, Cached, Choice, Key};
pub use measure::{Candidate, Outcome, bound, measure};
pub use trial::Trial;

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Result;
use crate::bench::Subject;
use crate::engine::Device;
use crate::plan::{Purpose, Target, Tile, Tiles};

/// The outcome of tuning.
#[derive(Clone, Debug, Serialize)]
pub struct Tuned {
    /// What to take.
    pub tiles: Tiles,
    /// Every candidate of every trial.
    pub outcomes: Vec<Outcome>,
    /// Trials and candidates that were not measured, as there was nothing to choose: `trial, candidate: why`.
    pub skipped: Vec<String>,
}

/// Measures all candidates on `device`, whose own target is the default that they are compared with, as long as there is
/// `time`; what was measured until then is chosen from. Says each trial before it starts.
///
/// # Errors
/// [`crate::Error::Limit`] where the shapes do not fit the device, device failures.
pub fn tune(
    device: &Device,
    subject: &Subject,
    repetitions: usize,
    time: Duration,
    mut say: impl FnMut(&str),
) -> Result<Tuned> {
    let (default, outcomes, skipped) = (device.target(), Vec::new(), Vec::new());
    let budget = Budget { left: time, trials: TRIALS };
    let mut tuner = Tuner { device, subject, default, repetitions, budget, say: &mut say, outcomes, skipped };
    let mut tiles = default.tiles;
    for purpose in Purpose::ALL {
        tiles = tiles.with(purpose, tuner.tile_for(purpose)?);
    }
    Ok(Tuned { tiles, outcomes: tuner.outcomes, skipped: tuner.skipped })
}

struct Tuner<'a> {
    device: &'a Device,
    subject: &'a Subject,
    default: Target,
    repetitions: usize,
    budget: Budget,
    say: &'a mut dyn FnMut(&str),
    outcomes: Vec<Outcome>,
    skipped: Vec<String>,
}

/// The questions of [`tune`].
const TRIALS: u32 = Purpose::ALL.len() as u32;

/// The time that there is for trials, of which each gets an equal share of what those before it have left.
struct Budget {
    left: Duration,
    trials: u32,
}

impl Budget {
    /// Does `work`, which is told how much time it has.
    fn share<R>(&mut self, work: impl FnOnce(Duration) -> R) -> R {
        let start = Instant::now();
        let done = work(self.left / self.trials.max(1));
        self.left = self.left.saturating_sub(start.elapsed());
        self.trials = self.trials.saturating_sub(1);
        done
    }
}

/// What a choice calls a tile, and what products take of it where that is another one.
fn tiled_name(tile: Tile, taken: &[Tile]) -> String {
    match taken == [tile] {
        true => format!("tiled {tile}"),
        false => format!("tiled {tile} (here {})", names(taken)),
    }
}

fn names(tiles: &[Tile]) -> String {
    tiles.iter().map(|tile| tile.name()).collect::<Vec<_>>().join(" and ")
}

impl Tuner<'_> {
    /// The fastest tile for the products of a purpose; the default's where all others were dropped.
    fn tile_for(&mut self, purpose: Purpose) -> Result<Tile> {
        let trial = Trial::products(self.subject, purpose);
        (self.say)(trial.name);
        let (ways, candidates): (Vec<Tile>, Vec<Candidate>) = self.ways(&trial, purpose)?.into_iter().unzip();
        let (device, repetitions, start) = (self.device, self.repetitions, self.outcomes.len());
        let outcomes = self.budget.share(|time| measure(device, &trial, &candidates, repetitions, time))?;
        self.outcomes.extend(outcomes);
        let own = self.outcomes[start..].iter_mut().zip(&ways);
        let timed = own.filter_map(|(outcome, tile)| Some((outcome.seconds?, outcome, *tile)));
        let Some((_, chosen, tile)) = timed.min_by(|a, b| a.0.total_cmp(&b.0)) else {
            return Ok(self.default.tiles.of(purpose));
        };
        chosen.chosen = true;
        Ok(tile)
    }

    /// Tiles, the default's first, each that products of these shapes take other kernels for.
    fn ways(&mut self, trial: &Trial<'_>, purpose: Purpose) -> Result<Vec<(Tile, Candidate)>> {
        let standard = self.default.tiles.of(purpose);
        let mut ways: Vec<(Tile, Candidate)> = Vec::new();
        let mut known: Vec<(Vec<Tile>, Tile)> = Vec::new();
        for tile in [standard].into_iter().chain(Tile::ALL.into_iter().filter(|&tile| tile != standard)) {
            let target = Target { tiles: self.default.tiles.with(purpose, tile), ..self.default };
            let taken = Trial::tiles_of_products(self.subject, purpose, target)?;
            // Where all products are too small for a tile, it is another name for the small one.
            if let Some((_, same)) = known.iter().find(|(known, _)| *known == taken) {
                let why = format!("at these shapes the same as tiled {same}, {}", names(&taken));
                self.skipped.push(format!("{}, tiled {tile}: {why}", trial.name));
                continue;
            }
            ways.push((tile, Candidate { name: tiled_name(tile, &taken), target }));
            known.push((taken, tile));
        }
        Ok(ways)
    }
}
