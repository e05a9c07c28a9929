//! Options that recipes leave off: runs with them go on bit for bit, and what is off changes no plan.

use std::path::Path;

use libtest_mimic::{Failed, Trial};
use trm::data::symmetry::Symmetries;
use trm::engine::Device;
use trm::model::step::{Batches, Optimiser, eval_plan, train_plan};
use trm::plan::{Plan, Target};
use trm::recipe::Recipe;
use trm::train::Trainer;

use crate::data::trials;
use crate::harness::{Needs, on_each};
use crate::models::{optimiser, small};
use crate::train_puzzle_emb::{data, recipe};

/// This file's tests.
pub fn tests() -> Vec<Trial> {
    let each = trials("recipe_options", &[("only_what_is_on_costs_dispatches", only_what_is_on)]);
    let resumed = on_each("recipe_options::runs_with_them_go_on", Needs::Adapter, |device| {
        goes_on(device, &recipe(&ALL_ON)?)?;
        goes_on(device, &recipe(&["train.optimizer=muon", "arch.mlp_t=true", "arch.pos_encodings=none"])?)
    });
    each.into_iter().chain(resumed).collect()
}

/// Settings with every option on.
const ALL_ON: [&str; 5] = [
    "arch.random_init=1",
    "arch.damping=0.1",
    "arch.noise=0.05",
    "train.label_smoothing=0.1",
    "train.curriculum=0.5",
];

/// A run that stops and goes on elsewhere has the bits of one that does not.
fn goes_on(device: &Device, recipe: &Recipe) -> Result<(), Failed> {
    let (_folder, dataset) = data(12)?;
    let steps = |trainer: &mut Trainer| (0..4).try_for_each(|_| trainer.step());
    let mut whole = Trainer::new(recipe, dataset.clone(), device)?;
    steps(&mut whole)?;
    let half = whole.state()?;
    steps(&mut whole)?;
    let mut resumed = Trainer::new(recipe, dataset, device)?;
    resumed.restore(Path::new("state"), &half)?;
    steps(&mut resumed)?;
    let (whole, resumed) = (whole.state()?, resumed.state()?);
    match whole.buffers.iter().find(|(name, words)| resumed.buffers.get(*name) != Some(words)) {
        Some((name, _)) => Err(format!("{name} differs").into()),
        None => Ok(()),
    }
}

/// Dispatches by kernel and entry, in their order.
fn names(plan: &Plan) -> Vec<String> {
    plan.dispatches.iter().map(trm::plan::Dispatch::name).collect()
}

fn only_what_is_on() {
    let plans = |config: &trm::model::ModelConfig, optimiser: &Optimiser| {
        let train = train_plan(config, optimiser, 4, Target::default()).unwrap();
        let eval = eval_plan(config, 4, Target::default()).unwrap();
        [train, eval].map(|plan| names(&plan))
    };
    let off = small(trm::model::ArchName::Trm);
    let plain = plans(&off, &optimiser(4));
    assert!(!plain.iter().flatten().any(|name| name.starts_with("damp.") || name == "carry.draw_state"));
    assert_eq!(plain, plans(&off, &Optimiser { label_smoothing: 0.1, ..optimiser(4) }));
    let augment = Some(Symmetries::Maze { rows: 1, cols: off.seq_len });
    let augmented = Batches { augment, ..4.into() };
    let replaced = plain[0].clone().into_iter().map(|name| match name.as_str() {
        "carry.take_samples" => "symmetry.maze".into(),
        _ => name,
    });
    let varied = train_plan(&off, &optimiser(4), augmented, Target::default()).unwrap();
    assert_eq!(replaced.collect::<Vec<String>>(), names(&varied));
    let mut drawn = off.clone();
    drawn.arch.random_init = 1.0;
    let replaced = plain.clone().map(|names| {
        let draws = |name: String| if name == "carry.reset_state" { "carry.draw_state".into() } else { name };
        names.into_iter().map(draws).collect::<Vec<String>>()
    });
    assert_eq!(replaced, plans(&drawn, &optimiser(4)));
    let mut damped = off;
    damped.arch.noise = 0.1;
    let updates = 6;
    for (plain, damped) in plain.iter().zip(plans(&damped, &optimiser(4))) {
        let dampings = damped.iter().filter(|name| name.starts_with("damp.")).count();
        assert_eq!((dampings, damped.len()), (updates, plain.len() + updates));
    }
}
