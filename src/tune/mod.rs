//! Tuning: which variants of the kernels an adapter runs fastest at the shapes of a recipe.
//!
//! A [`Trial`] is a small plan at those shapes; [`measure()`] runs it with each candidate, drops those that disagree
//! with the plain kernels and times the others. [`tune`] asks one question after the other: a tile for the products of
//! each purpose, tiles or broadcasts, attention, fusion. [`cache`] keeps the answers.

pub mod cache;
mod measure;
mod trial;

pub use cache::{Cache, Cached, Choice, Key};
pub use measure::{Candidate, Outcome, bound, measure};
pub use trial::Trial;

use serde::Serialize;

use crate::Result;
use crate::bench::Subject;
use crate::engine::Device;
use crate::model::recursion::Recursion;
use crate::plan::{AttentionVariant, Element, GemmVariant, Purpose, Target, Tile, Tiles, Variants};

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

/// Measures all candidates on `device`, whose own target is the default that they are compared with. Says each trial
/// before it starts.
///
/// # Errors
/// [`crate::Error::Limit`] where the shapes do not fit the device, device failures.
pub fn tune(
    device: &Device,
    subject: &Subject,
    repetitions: usize,
    mut say: impl FnMut(&str),
) -> Result<Tuned> {
    let (default, outcomes, skipped) = (device.target(), Vec::new(), Vec::new());
    let mut tuner = Tuner { device, subject, default, repetitions, say: &mut say, outcomes, skipped };
    let mut variants = default.variants();
    tuner.choose_products(&mut variants)?;
    tuner.choose_attention(&mut variants)?;
    tuner.choose_fusion(&mut variants)?;
    Ok(Tuned { variants, outcomes: tuner.outcomes, skipped: tuner.skipped })
}

struct Tuner<'a> {
    device: &'a Device,
    subject: &'a Subject,
    default: Target,
    repetitions: usize,
    say: &'a mut dyn FnMut(&str),
    outcomes: Vec<Outcome>,
    skipped: Vec<String>,
}

const BROADCAST: &str = "broadcast";

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

fn attention_name(variant: AttentionVariant) -> &'static str {
    match variant {
        AttentionVariant::Tiled => "tiled",
        AttentionVariant::Rows => "rows",
        AttentionVariant::Joined => "joined",
    }
}

fn fusion_name(target: Target) -> String {
    match (target.fuses(), target.pairs_by_broadcasts()) {
        (true, _) => format!("fused {}", target.tiles.fused),
        (false, true) => "fused by broadcasts".into(),
        (false, false) => "one op at a time".into(),
    }
}

impl Tuner<'_> {
    /// Why kernels that broadcast within a subgroup are no candidates, if they are not.
    fn no_broadcasts(&self) -> Option<&'static str> {
        let subgroups = self.device.info().features.iter().any(|feature| feature == "subgroups");
        match self.default.precision {
            Element::F32 if subgroups => None,
            Element::F32 => Some("takes subgroups, which this device does not have"),
            Element::Bf16 | Element::F16 => Some("is for f32 only"),
        }
    }

    /// Measures the ways to do `trial`, `standard` first, and adds what became of them; returns where they start.
    fn measure(&mut self, trial: &Trial<'_>, standard: &str, ways: &[(String, Variants)]) -> Result<usize> {
        let mut candidates: Vec<Candidate> = ways
            .iter()
            .map(|(name, variants)| Candidate { name: name.clone(), target: self.default.with(*variants) })
            .collect();
        candidates.sort_by_key(|candidate| candidate.name != standard);
        let start = self.outcomes.len();
        self.outcomes.extend(measure(self.device, trial, &candidates, self.repetitions)?);
        Ok(start)
    }

    /// The fastest outcome from `start` on that `suits`.
    fn fastest(&self, start: usize, suits: impl Fn(&Outcome) -> bool) -> Option<(usize, f64)> {
        let timed = self.outcomes.iter().enumerate().skip(start).filter(|(_, outcome)| suits(outcome));
        let timed = timed.filter_map(|(at, outcome)| Some((at, outcome.seconds?)));
        timed.min_by(|a, b| a.1.total_cmp(&b.1))
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
        let Some((best, _)) = self.fastest(start, |_| true) else { return Ok(otherwise) };
        let chosen = &mut self.outcomes[best];
        chosen.chosen = true;
        Ok(ways.iter().find(|(name, _)| *name == chosen.variant).map_or(otherwise, |(_, variants)| *variants))
    }

    /// A tile for each purpose; then tiles or broadcasts for all of them, by the time that they take in a step.
    fn choose_products(&mut self, variants: &mut Variants) -> Result<()> {
        let subject = self.subject;
        let recursion = Recursion::of(&subject.config.arch);
        let updates = recursion.updates.len();
        let purposes = [
            (Purpose::Forward, updates),
            (Purpose::Reverse, updates - recursion.grad_from),
            // One product for all updates.
            (Purpose::WeightGradient, 1),
        ];
        let mut best = Vec::new();
        let (mut tiled, mut broadcast) = (0.0, 0.0);
        for (purpose, times) in purposes {
            let trial = Trial::products(subject, purpose);
            (self.say)(trial.name);
            let ways = self.ways_of_products(&trial, purpose)?;
            // The first of the tiled ways is that with the default's tile.
            let standard = match self.default.gemm {
                GemmVariant::Broadcast => BROADCAST,
                _ => &ways[0].0,
            };
            let start = self.measure(&trial, standard, &ways)?;
            let by_tiles = self.fastest(start, |outcome| outcome.variant != BROADCAST);
            let by_broadcasts = self.fastest(start, |outcome| outcome.variant == BROADCAST);
            let cost = |found: Option<(usize, f64)>| {
                found.map_or(f64::INFINITY, |(_, seconds)| seconds * times as f64)
            };
            tiled += cost(by_tiles);
            broadcast += cost(by_broadcasts);
            let taken =
                by_tiles.and_then(|(at, _)| ways.iter().find(|(name, _)| *name == self.outcomes[at].variant));
            if let Some((_, way)) = taken {
                variants.tiles = variants.tiles.with(purpose, way.tiles.of(purpose));
            }
            best.push((by_tiles, by_broadcasts));
        }
        variants.gemm = if broadcast < tiled { GemmVariant::Broadcast } else { GemmVariant::Tiled };
        for (by_tiles, by_broadcasts) in best {
            let taken = if broadcast < tiled { by_broadcasts } else { by_tiles };
            if let Some((at, _)) = taken {
                self.outcomes[at].chosen = true;
            }
        }
        Ok(())
    }

    /// Tiles, the default's first, each that products of these shapes take other kernels for; and broadcasts.
    fn ways_of_products(&mut self, trial: &Trial<'_>, purpose: Purpose) -> Result<Vec<(String, Variants)>> {
        let own = self.default.variants();
        let standard = own.tiles.of(purpose);
        let mut ways: Vec<(String, Variants)> = Vec::new();
        let mut known: Vec<(Vec<Tile>, Tile)> = Vec::new();
        for tile in [standard].into_iter().chain(Tile::ALL.into_iter().filter(|&tile| tile != standard)) {
            let tiles = own.tiles.with(purpose, tile);
            let way = Variants { gemm: GemmVariant::Tiled, tiles, ..own };
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
        match self.no_broadcasts() {
            None => ways.push((BROADCAST.to_owned(), Variants { gemm: GemmVariant::Broadcast, ..own })),
            Some(why) => self.skipped.push(format!("{}, {BROADCAST}: {why}", trial.name)),
        }
        Ok(ways)
    }

    /// Tiled, or by rows, which broadcasts.
    fn choose_attention(&mut self, variants: &mut Variants) -> Result<()> {
        let subject = self.subject;
        let trial = Trial::attention(subject);
        let name = |attention| attention_name(attention).to_owned();
        if subject.config.arch.mlp_t {
            self.skipped.push(format!("{}: {} has none", trial.name, subject.name));
        } else if let Some(why) = self.no_broadcasts() {
            self.skipped.push(format!("{}, {}: {why}", trial.name, name(AttentionVariant::Rows)));
        } else {
            (self.say)(trial.name);
            let (own, standard) = (*variants, name(self.default.attention));
            let ways = [AttentionVariant::Tiled, AttentionVariant::Rows];
            let ways = ways.map(|attention| (name(attention), Variants { attention, ..own }));
            *variants = self.choose(&trial, &standard, ways.to_vec(), own)?;
        }
        Ok(())
    }

    /// Fused kernels, of every tile where they are tiled, and one op at a time.
    fn choose_fusion(&mut self, variants: &mut Variants) -> Result<()> {
        let own = *variants;
        let fused = |fused| Variants { fused: true, tiles: Tiles { fused, ..own.tiles }, ..own };
        // What broadcasts has no tiles.
        let ways = match self.default.with(Variants { fused: true, ..own }).pairs_by_broadcasts() {
            true => vec![fused(own.tiles.fused)],
            false => Tile::ALL.map(fused).to_vec(),
        };
        let ways = ways.into_iter().chain([Variants { fused: false, ..own }]);
        let named: Vec<(String, Variants)> =
            ways.map(|way| (fusion_name(self.default.with(way)), way)).collect();
        let standard = fusion_name(self.default.with(Variants {
            fused: self.default.fused,
            tiles: Tiles { fused: self.default.tiles.fused, ..own.tiles },
            ..own
        }));
        let trial = Trial::passes(self.subject);
        (self.say)(trial.name);
        *variants = self.choose(&trial, &standard, named, own)?;
        Ok(())
    }
}
