//! `trm devices`.

use std::process::ExitCode;

use indicatif::BinaryBytes;
use serde::Serialize;

use trm::Result;
use trm::engine::{DeviceInfo, devices, select};
use trm::plan::Element;
use trm::report::Table;
use trm::tune::{Cache, Cached, Key};

use super::output::Output;

/// List the devices that trm can use, their limits, and which one it takes by default
///
/// GPUs come with the index that --device takes, their driver, the limits that bound the batch size and the optional
/// features that trm makes use of, and the precisions that "trm tune" chose variants for.
#[derive(clap::Args)]
pub struct Args {}

#[derive(Serialize)]
struct Listing {
    devices: Vec<Listed>,
    auto: Choice,
}

/// A device, and what "trm tune" measured on it.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    info: DeviceInfo,
    /// Precisions that it is tuned for.
    tuned: Vec<Element>,
}

impl Listed {
    fn of(info: DeviceInfo) -> Listed {
        let tuned = |precision: &Element| {
            let cached = Cache::of_user().map(|cache| cache.load(&Key::of(&info, *precision)));
            matches!(cached, Some(Cached::Tuned(_)))
        };
        let tuned = Element::ALL.into_iter().map(|(_, precision)| precision).filter(tuned).collect();
        Listed { info, tuned }
    }
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
    let devices = devices().into_iter().map(Listed::of).collect();
    output.data(&Listing { devices, auto }, text)?;
    Ok(ExitCode::SUCCESS)
}

fn text(listing: &Listing) -> String {
    let mut table = Table::new([
        "name",
        "device",
        "kind",
        "backend",
        "largest binding",
        "largest buffer",
        "features",
        "tuned",
    ]);
    for Listed { info, tuned } in &listing.devices {
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
            or_none(tuned.iter().map(|precision| precision.name()).collect::<Vec<_>>().join(" ")),
        ]);
    }
    let drivers = listing.devices.iter().filter_map(|Listed { info, .. }| {
        info.index.map(|index| format!("driver of {index}: {}\n", info.driver))
    });
    let drivers: String = drivers.collect();
    format!("{table}{drivers}auto takes: {} ({})\n", listing.auto.name, listing.auto.reason)
}
