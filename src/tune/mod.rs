//! Tuning: which variants of the kernels an adapter runs fastest at the shapes of a recipe.
//!
//! A [`Trial`] is a small plan at those shapes; [`measure()`] runs it with each candidate, drops those that disagree
//! with the plain kernels and times the others. [`tune`] asks one question after the other: a tile for the products of
//! each purpose, and which of the answers hold in a whole training step. [`cache`] keeps those.

pub mod cache;
mod measure;
mod trial;

pub use cache::{Cache, Cached, Choice, Key};
#[cfg(feature = "testing")]
pub use measure::plain;
pub use measure::{Candidate, Outcome, bound, measure};
pub use trial::Trial;

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Result;
use crate::bench::Subject;
use crate::engine::Device;
use crate::plan::{MatrixTile, Purpose, Target, Tile, Tiles};

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
        let chosen = tuner.tiles_for(purpose)?;
        tiles.tiled = tiles.tiled.with(purpose, chosen.tiled.of(purpose));
        tiles.matrices = tiles.matrices.with(purpose, chosen.matrices.of(purpose));
    }
    let tiles = tuner.in_a_step(tiles)?;
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
const TRIALS: u32 = Purpose::ALL.len() as u32 + 1;

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

/// What a choice calls tiles, and what products take where that is something else.
fn named(wanted: String, taken: &[String]) -> String {
    match taken == [wanted.clone()] {
        true => wanted,
        false => format!("{wanted} (here {})", taken.join(" and ")),
    }
}

impl Tuner<'_> {
    /// The fastest tiles for the products of a purpose.
    fn tiles_for(&mut self, purpose: Purpose) -> Result<Tiles> {
        let trial = Trial::products(self.subject, purpose);
        let ways = self.ways(&trial, purpose)?;
        self.fastest(&trial, ways)
    }

    /// Of the tiles that were chosen purpose by purpose those with which a training step is fastest: in it products end in
    /// more than a stored sum, and some of that costs a tile more than it gains.
    fn in_a_step(&mut self, chosen: Tiles) -> Result<Tiles> {
        let own = self.default.tiles;
        let with = |tiles: Tiles, purpose: &Purpose| Tiles {
            tiled: tiles.tiled.with(*purpose, chosen.tiled.of(*purpose)),
            matrices: tiles.matrices.with(*purpose, chosen.matrices.of(*purpose)),
        };
        let changed: Vec<Purpose> = Purpose::ALL.into_iter().filter(|one| with(own, one) != own).collect();
        if changed.is_empty() {
            return Ok(own);
        }
        let way = |subset: usize| {
            let taken: Vec<Purpose> = changed
                .iter()
                .enumerate()
                .filter(|(at, _)| subset >> at & 1 == 1)
                .map(|(_, one)| *one)
                .collect();
            let tiles = taken.iter().fold(own, with);
            let names: Vec<&str> = taken.iter().map(|one| Trial::products(self.subject, *one).name).collect();
            let name = if names.is_empty() {
                "default".to_owned()
            } else {
                format!("as chosen: {}", names.join("; "))
            };
            (tiles, Candidate { name, target: Target { tiles, ..self.default } })
        };
        let ways = std::iter::once(0).chain((1..1 << changed.len()).rev()).map(way).collect();
        self.fastest(&Trial::step(self.subject), ways)
    }

    /// The fastest of `ways`, the first of which is the default; it stays where all others were dropped.
    fn fastest(&mut self, trial: &Trial<'_>, ways: Vec<(Tiles, Candidate)>) -> Result<Tiles> {
        (self.say)(trial.name);
        let (ways, candidates): (Vec<Tiles>, Vec<Candidate>) = ways.into_iter().unzip();
        let (device, repetitions, start) = (self.device, self.repetitions, self.outcomes.len());
        let outcomes = self.budget.share(|time| measure(device, trial, &candidates, repetitions, time))?;
        self.outcomes.extend(outcomes);
        let own = self.outcomes[start..].iter_mut().zip(&ways);
        let timed = own.filter_map(|(outcome, tiles)| Some((outcome.seconds?, outcome, *tiles)));
        let Some((_, chosen, tiles)) = timed.min_by(|a, b| a.0.total_cmp(&b.0)) else {
            return Ok(self.default.tiles);
        };
        chosen.chosen = true;
        Ok(tiles)
    }

    /// Tiles, the default's first, each that products of these shapes take other kernels for; of matrix units too, where
    /// plans are laid out for them.
    fn ways(&mut self, trial: &Trial<'_>, purpose: Purpose) -> Result<Vec<(Tiles, Candidate)>> {
        let own = self.default.tiles;
        let tiled = Tile::ALL.map(|tile| {
            let tiled = own.tiled.with(purpose, tile);
            (format!("tiled {tile}"), Tiles { tiled, ..own })
        });
        let units = MatrixTile::ALL.map(|tile| {
            let matrices = own.matrices.with(purpose, tile);
            (format!("units {}", tile.name()), Tiles { matrices, ..own })
        });
        let units = units.into_iter().filter(|_| self.default.matrices.is_some());
        let mut wanted: Vec<(String, Tiles)> = tiled.into_iter().chain(units).collect();
        wanted.sort_by_key(|(_, tiles)| *tiles != own);
        let mut ways: Vec<(Tiles, Candidate)> = Vec::new();
        let mut known: Vec<(Vec<String>, String)> = Vec::new();
        for (name, tiles) in wanted {
            let target = Target { tiles, ..self.default };
            let taken = Trial::kernels_of_products(self.subject, purpose, target)?;
            // Where all products are too small for a tile, it is another name for the small one.
            if let Some((_, same)) = known.iter().find(|(known, _)| *known == taken) {
                let why = format!("at these shapes the same as {}", named(same.clone(), &taken));
                self.skipped.push(format!("{}, {name}: {why}", trial.name));
                continue;
            }
            ways.push((tiles, Candidate { name: named(name.clone(), &taken), target }));
            known.push((taken, name));
        }
        Ok(ways)
    }
}
