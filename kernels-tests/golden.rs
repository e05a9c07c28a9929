//! Two training steps of every golden vector on each device, through `trm verify`'s own code.
//!
//! The vectors are those that come with trm, or all of the folder that `TRM_GOLDEN_DIR` names.

use std::path::Path;
use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use trm::Result;
use trm::engine::Device;
use trm::eval::golden::Golden;
use trm::eval::verify::{bound, verify};
use trm::plan::{Element, Target};

use crate::harness::{Needs, on_each, on_gpu};

/// The tests of all vectors.
pub fn tests() -> Vec<Trial> {
    match vectors() {
        Ok(vectors) => vectors.into_iter().flat_map(on_all).collect(),
        Err(error) => {
            let message = error.to_string();
            vec![Trial::test("golden::vectors_are_readable", move || Err(message.into()))]
        }
    }
}

fn vectors() -> Result<Vec<Golden>> {
    match std::env::var_os("TRM_GOLDEN_DIR") {
        Some(folder) => Golden::folder(Path::new(&folder)),
        None => Golden::built_in(),
    }
}

/// On each device in each precision; on the CPU engine with the plan for GPUs too, whose attention is reversed in two
/// dispatches. That computing again gives the same bits is asked in `recompute.rs`.
fn on_all(vector: Golden) -> Vec<Trial> {
    let vector = Arc::new(vector);
    let name = format!("golden::{}", vector.name);
    let mut trials = Vec::new();
    for (stored, precision) in Element::ALL {
        let (name, vector) = (format!("{name}::{stored}"), vector.clone());
        let own = move |device: &Device| agrees(device, Target { precision, ..device.target() }, &vector);
        trials.extend(on_each(&name, Needs::Adapter, own));
    }
    let (units, of_units) = (format!("{name}::f16 on matrix units::gpu"), vector.clone());
    trials.push(on_gpu(units, Needs::Cooperative, move |device| {
        let target = Target { precision: Element::F16, matrices: device.cooperative(), ..device.target() };
        agrees(device, target, &of_units)
    }));
    let portable = move || agrees(&Device::cpu(), Target::default(), &vector);
    trials.push(Trial::test(format!("{name}::plan for GPUs::cpu"), portable));
    trials
}

fn agrees(device: &Device, target: Target, vector: &Golden) -> std::result::Result<(), Failed> {
    let report = verify(device, target, std::slice::from_ref(vector), |_| {})?;
    let worst = report.cases.iter().flat_map(|case| &case.worst);
    let lines: Vec<String> = worst
        .map(|(group, error)| format!("{group}: {error:.2e}, at most {:.0e}", bound(group, report.precision)))
        .collect();
    if report.ok { Ok(()) } else { Err(lines.join("\n").into()) }
}
