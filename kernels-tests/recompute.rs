//! Training steps that compute inner activations again, against steps that keep them.
//!
//! What is computed again has the bits that were dropped, and so has everything that follows from it.

use libtest_mimic::{Failed, Trial};
use trm::engine::Device;
use trm::model::ModelConfig;
use trm::model::step::{Optimiser, train_plan};
use trm::plan::{Element, Target};

use crate::data::trials;
use crate::harness::{Needs, on_each};
use crate::models::{Session, architectures, optimiser, small_mixer};

/// One test for each architecture, element type and device.
pub fn tests() -> Vec<Trial> {
    let mut all =
        trials("recompute", &[("frozen_weights_have_no_products", frozen_weights_have_no_products)]);
    // With heads that halves allow, in all of them.
    for (name, mut config) in architectures().into_iter().filter(|(name, _)| *name != "trm uneven heads") {
        (config.arch.hidden_size, config.arch.num_heads) = (16, 2);
        for (stored, precision) in [("f32", Element::F32), ("bf16", Element::Bf16)] {
            let (name, config) = (format!("recompute::{}::{stored}", name.replace(' ', "_")), config.clone());
            all.extend(on_each(&name, Needs::Adapter, move |device| agrees(device, &config, precision)));
        }
    }
    all
}

const BATCH: usize = 3;

fn agrees(device: &Device, config: &ModelConfig, precision: Element) -> Result<(), Failed> {
    let device = device.clone().in_precision(precision);
    let [kept, again] = [false, true].map(|recompute| {
        let mut session = Session::new(&device.clone().recomputing(recompute), config, BATCH)?;
        session.step(1)?;
        let results = ["logits", "q_logits", "metrics", "carry.halted", "gradients"];
        results.into_iter().map(|name| session.run.read_ints(name)).collect::<trm::Result<Vec<_>>>()
    });
    if kept? == again? { Ok(()) } else { Err("the forward pass, the metrics or the gradients differ".into()) }
}

/// Gradients that nobody wants cost nothing.
fn frozen_weights_have_no_products() {
    let counts = [false, true].map(|recompute| {
        let optimiser = Optimiser { freeze_weights: true, ..optimiser(BATCH) };
        let target = Target { recompute, ..Target::default() };
        let plan = train_plan(&small_mixer(), &optimiser, BATCH, target).unwrap();
        let weights = plan.dispatches.iter().filter(|dispatch| dispatch.label.ends_with(".weight"));
        (weights.count(), plan.dispatches.len())
    });
    // Computing again takes a dispatch for each recorded MLP: two in each of two layers, three times.
    assert_eq!(counts[0].0 + counts[1].0, 0);
    assert_eq!(counts[1].1, counts[0].1 + 2 * 2 * 3);
}
