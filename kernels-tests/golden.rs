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
use trm::plan::Target;

use crate::harness::{Needs, on_each, on_gpu};

/// Three tests per vector.
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

/// On each device with the kernels that suit it, and on the adapter with those that run everywhere.
fn on_all(vector: Golden) -> [Trial; 3] {
    let vector = Arc::new(vector);
    let name = format!("golden::{}", vector.name);
    let again = vector.clone();
    let [cpu, gpu] = on_each(&name, Needs::Adapter, move |device| agrees(device, device.target(), &vector));
    let portable = move |device: &Device| agrees(device, Target::default(), &again);
    [cpu, gpu, on_gpu(format!("{name}::gpu, portable kernels"), Needs::Adapter, portable)]
}

fn agrees(device: &Device, target: Target, vector: &Golden) -> std::result::Result<(), Failed> {
    let report = verify(device, target, std::slice::from_ref(vector), |_| {})?;
    let worst = report.cases.iter().flat_map(|case| &case.worst);
    let lines: Vec<String> = worst
        .map(|(group, error)| format!("{group}: {error:.2e}, at most {:.0e}", bound(group, report.rounded)))
        .collect();
    if report.ok { Ok(()) } else { Err(lines.join("\n").into()) }
}
