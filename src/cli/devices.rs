//! `trm devices`.

use std::process::ExitCode;

use serde::Serialize;

use crate::Result;
use crate::engine::{DeviceInfo, devices, select};
use crate::plan::Element;
use crate::report::Table;
use crate::text::BinaryBytes;
use crate::tune::{self, Cache, Cached, Key};

use super::output::Output;

/// List the devices that trm can use, their limits, and which one it takes by default
///
/// GPUs come with the index that --device takes, their driver, the limits that bound the batch size and the optional
/// features that trm makes use of, and what "trm tune" chose variants at, for each precision. Tune files that cannot be
/// used are named.
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
    /// One for each precision that it is tuned for.
    tuned: Vec<TunedAt>,
    /// Tune files that are there and cannot be used, and why.
    unusable: Vec<String>,
}

/// What was measured.
#[derive(Serialize)]
struct TunedAt {
    precision: Element,
    recipe: String,
    batch: usize,
    seq_len: usize,
    vocab_size: usize,
    /// The same for people.
    #[serde(skip)]
    text: String,
}

impl From<tune::Choice> for TunedAt {
    fn from(choice: tune::Choice) -> TunedAt {
        let (precision, text) = (choice.key.precision, choice.measured());
        let tune::Choice { recipe, batch, seq_len, vocab_size, .. } = choice;
        TunedAt { precision, recipe, batch, seq_len, vocab_size, text }
    }
}

impl Listed {
    fn of(info: DeviceInfo) -> Listed {
        let (mut tuned, mut unusable) = (Vec::new(), Vec::new());
        for (_, precision) in Element::ALL {
            match Cache::of_user().map(|cache| cache.load(&Key::of(&info, precision))) {
                Some(Cached::Tuned(choice)) => tuned.push((*choice).into()),
                Some(Cached::Unusable(problem)) => unusable.push(super::with_options(&problem)),
                Some(Cached::Nothing) | None => {}
            }
        }
        Listed { info, tuned, unusable }
    }

    /// What there is to say beside the table.
    fn lines(&self) -> String {
        let Some(index) = self.info.index else { return String::new() };
        let driver = format!("driver of {index}: {}\n", self.info.driver);
        let tuned =
            self.tuned.iter().map(|at| format!("{index} in {} is tuned at {}\n", at.precision, at.text));
        let unusable = self
            .unusable
            .iter()
            .map(|problem| format!("{index} has a tune file that is not taken: {problem}\n"));
        [driver].into_iter().chain(tuned).chain(unusable).collect()
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
    for Listed { info, tuned, .. } in &listing.devices {
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
            or_none(tuned.iter().map(|at| at.precision.name()).collect::<Vec<_>>().join(" ")),
        ]);
    }
    let lines: String = listing.devices.iter().map(Listed::lines).collect();
    format!("{table}{lines}auto takes: {} ({})\n", listing.auto.name, listing.auto.reason)
}
