//! `trm devices`.

use std::process::ExitCode;

use indicatif::BinaryBytes;
use serde::Serialize;

use trm::Result;
use trm::engine::{DeviceInfo, devices, select};
use trm::report::Table;

use super::output::Output;

/// List the devices that trm can use, their limits, and which one it takes by default
///
/// GPUs come with the index that --device takes, their driver, the limits that bound the batch size and the optional
/// features that trm makes use of.
#[derive(clap::Args)]
pub struct Args {}

#[derive(Serialize)]
struct Listing {
    devices: Vec<DeviceInfo>,
    auto: Choice,
}

/// What `--device auto` takes.
#[derive(Serialize)]
struct Choice {
    index: Option<usize>,
    name: String,
    reason: String,
}

pub fn run(_: &Args, output: &Output) -> Result<ExitCode> {
    let (device, reason) = select("auto")?;
    let info = device.info();
    let auto = Choice { index: info.index, name: info.name, reason };
    output.data(&Listing { devices: devices(), auto }, text)?;
    Ok(ExitCode::SUCCESS)
}

fn text(listing: &Listing) -> String {
    let mut table =
        Table::new(["name", "device", "kind", "backend", "largest binding", "largest buffer", "features"]);
    for info in &listing.devices {
        let index = info.index.map_or_else(|| "cpu".to_owned(), |index| index.to_string());
        let bytes =
            |limit: Option<u64>| limit.map_or_else(|| "-".into(), |limit| BinaryBytes(limit).to_string());
        let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        table.row([
            info.name.clone(),
            index,
            info.kind.clone(),
            or_none(info.backend.clone()),
            bytes(info.max_binding_bytes),
            bytes(info.max_buffer_bytes),
            or_none(info.features.join(" ")),
        ]);
    }
    let drivers = listing
        .devices
        .iter()
        .filter_map(|info| info.index.map(|index| format!("driver of {index}: {}\n", info.driver)));
    let drivers: String = drivers.collect();
    format!("{table}{drivers}auto takes: {} ({})\n", listing.auto.name, listing.auto.reason)
}
