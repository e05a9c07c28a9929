//! Tuning: which variants of the kernels an adapter runs fastest at the shapes of a recipe.
//!
//! A [`Trial`] is a small plan at those shapes; [`measure()`] runs it with each candidate, drops those that disagree
//! with the plain kernels and times the others. [`tune`] asks one question after the other: a tile for the products of
//! each purpose, then fusion. [`cache`] keeps the answers.

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
use crate::plan::{Purpose, Target, Tile, Tiles, Variants};

/// The outcome of tuning.
#[derive(Clone, Debug, Serialize)]
pub struct Tuned {
    /// What to take.
    pub variants: Variants,
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
    let mut variants = default.variants();
    tuner.choose_products(&mut variants)?;
    tuner.choose_fusion(&mut variants)?;
    Ok(Tuned { variants, outcomes: tuner.outcomes, skipped: tuner.skipped })
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

/// The questions of [`tune`]: a tile for the products of each purpose, and fusion.
const TRIALS: u32 = 4;

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

fn fusion_name(target: Target) -> String {
    match target.fuses() {
        true => format!("fused {}", target.tiles.fused),
        false => "one op at a time".into(),
    }
}

impl Tuner<'_> {
    /// Measures the ways to do `trial`, `standard` first, and adds what became of them; returns where they start.
    fn measure(&mut self, trial: &Trial<'_>, standard: &str, ways: &[(String, Variants)]) -> Result<usize> {
        let mut candidates: Vec<Candidate> = ways
            .iter()
            .map(|(name, variants)| Candidate { name: name.clone(), target: self.default.with(*variants) })
            .collect();
        candidates.sort_by_key(|candidate| candidate.name != standard);
        let start = self.outcomes.len();
        let (device, repetitions) = (self.device, self.repetitions);
        let outcomes = self.budget.share(|time| measure(device, trial, &candidates, repetitions, time))?;
        self.outcomes.extend(outcomes);
        Ok(start)
    }

    /// Measures and takes the fastest way; `otherwise` where all were dropped.
    fn choose(
        &mut self,
        trial: &Trial<'_>,
        standard: &str,
        ways: Vec<(String, Variants)>,
        otherwise: Variants,
    ) -> Result<Variants> {
        let start = self.measure(trial, standard, &ways)?;
        let timed = self.outcomes[start..].iter_mut().filter_map(|outcome| Some((outcome.seconds?, outcome)));
        let Some((_, chosen)) = timed.min_by(|a, b| a.0.total_cmp(&b.0)) else { return Ok(otherwise) };
        chosen.chosen = true;
        Ok(ways.iter().find(|(name, _)| *name == chosen.variant).map_or(otherwise, |(_, variants)| *variants))
    }

    /// A tile for the products of each purpose.
    fn choose_products(&mut self, variants: &mut Variants) -> Result<()> {
        for purpose in [Purpose::Forward, Purpose::Reverse, Purpose::WeightGradient] {
            let trial = Trial::products(self.subject, purpose);
            (self.say)(trial.name);
            let ways = self.ways_of_products(&trial, purpose)?;
            // The first of the ways is that with the default's tile.
            let standard = ways[0].0.clone();
            let chosen = self.choose(&trial, &standard, ways, *variants)?;
            variants.tiles = variants.tiles.with(purpose, chosen.tiles.of(purpose));
        }
        Ok(())
    }

    /// Tiles, the default's first, each that products of these shapes take other kernels for.
    fn ways_of_products(&mut self, trial: &Trial<'_>, purpose: Purpose) -> Result<Vec<(String, Variants)>> {
        let own = self.default.variants();
        let standard = own.tiles.of(purpose);
        let mut ways: Vec<(String, Variants)> = Vec::new();
        let mut known: Vec<(Vec<Tile>, Tile)> = Vec::new();
        for tile in [standard].into_iter().chain(Tile::ALL.into_iter().filter(|&tile| tile != standard)) {
            let tiles = own.tiles.with(purpose, tile);
            let way = Variants { tiles, ..own };
            let taken = Trial::tiles_of_products(self.subject, purpose, self.default.with(way))?;
            // Where all products are too small for a tile, it is another name for the small one.
            if let Some((_, same)) = known.iter().find(|(known, _)| *known == taken) {
                let why = format!("at these shapes the same as tiled {same}, {}", names(&taken));
                self.skipped.push(format!("{}, tiled {tile}: {why}", trial.name));
                continue;
            }
            ways.push((tiled_name(tile, &taken), way));
            known.push((taken, tile));
        }
        Ok(ways)
    }

    /// Fused kernels, of every tile, and one op at a time.
    fn choose_fusion(&mut self, variants: &mut Variants) -> Result<()> {
        let own = *variants;
        let fused = |fused| Variants { fused: true, tiles: Tiles { fused, ..own.tiles } };
        let ways = Tile::ALL.map(fused).into_iter().chain([Variants { fused: false, ..own }]);
        let named: Vec<(String, Variants)> =
            ways.map(|way| (fusion_name(self.default.with(way)), way)).collect();
        let standard = fusion_name(self.default.with(Variants {
            fused: self.default.fused,
            tiles: Tiles { fused: self.default.tiles.fused, ..own.tiles },
        }));
        let trial = Trial::passes(self.subject);
        (self.say)(trial.name);
        *variants = self.choose(&trial, &standard, named, own)?;
        Ok(())
    }
}
