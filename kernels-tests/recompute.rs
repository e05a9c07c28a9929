//! Training steps that compute inner activations again, against steps that keep them.
//!
//! What is computed again has the bits that were dropped, and so has everything that follows from it. Only the
//! gradients of weights differ: they are sums over passes, one by one instead of in one product.

use libtest_mimic::{Failed, Trial};
use trm::engine::Device;
use trm::model::params::Home;
use trm::model::step::{Optimiser, train_plan};
use trm::model::{ModelConfig, Params};
use trm::plan::{Element, Target};

use crate::check::{self, roundings};
use crate::data::trials;
use crate::harness::{Needs, on_each};
use crate::models::{Session, architectures, optimiser, small_mixer};

/// One test for each architecture, element type and device.
pub fn tests() -> Vec<Trial> {
    let mut all =
        trials("recompute", &[("frozen_weights_have_no_products", frozen_weights_have_no_products)]);
    for (name, mut config) in architectures() {
        // Heads that halves allow.
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
    let [kept, again] = [false, true].map(|recompute| -> trm::Result<_> {
        let mut session = Session::new(&device.clone().recomputing(recompute), config, BATCH)?;
        session.step(1)?;
        let exact = ["logits", "q_logits", "metrics", "carry.halted"].map(|name| session.run.read_ints(name));
        let exact = exact.into_iter().collect::<trm::Result<Vec<_>>>()?;
        Ok((exact, session.run.read_floats("gradients")?))
    });
    let ((exact, expected), (exact_again, found)) = (kept?, again?);
    if exact != exact_again {
        return Err("the forward pass or the metrics differ".into());
    }
    let (updates, rows) = (1 + config.arch.L_cycles, BATCH * config.length());
    for param in Params::of(config).table.iter().filter(|param| param.home == Home::Trained) {
        let part = param.offset..param.offset + param.words();
        let (found, expected) = (&found[part.clone()], &expected[part]);
        // Weights that one pass uses once, and tables, are summed in the same order.
        let bound = if param.name.contains(".layers.") { roundings(updates * rows) } else { 0.0 };
        let expected: Vec<f64> = expected.iter().map(|&value| f64::from(value)).collect();
        check::close(found, &expected, bound).map_err(|failure| format!("{}: {failure}", param.name))?;
    }
    Ok(())
}

/// Gradients that nobody wants cost nothing, however weights' gradients are taken.
fn frozen_weights_have_no_products() {
    let counts = [false, true].map(|recompute| {
        let optimiser = Optimiser { freeze_weights: true, ..optimiser(BATCH) };
        let target = Target { recompute, ..Target::default() };
        let plan = train_plan(&small_mixer(), &optimiser, BATCH, target).unwrap();
        let weights = plan.dispatches.iter().filter(|dispatch| dispatch.label.ends_with(".weight"));
        (weights.count(), plan.dispatches.len())
    });
    // Computing again takes two dispatches for each recorded MLP: two in each of two layers, three times.
    assert_eq!(counts[0].0 + counts[1].0, 0);
    assert_eq!(counts[1].1, counts[0].1 + 2 * 2 * 2 * 3);
}
