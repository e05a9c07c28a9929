//! `trm bench card`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::bench::card::{Card, Part};
use crate::files::{OutputFolder, write_atomic};
use crate::plan::Precision;
use crate::report::{card_html, say};
use crate::{Error, Result};

use super::super::common::DeviceArgs;
use super::super::output::Output;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: DeviceArgs,

    /// Folder to write: card.html and card.json
    ///
    /// It must not exist or be empty, and appears when both are complete.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Seconds that all parts share
    ///
    /// What there is no time for is left out, and named; the limits and the agreement of one model never are.
    #[arg(long, value_name = "N", default_value_t = 240, value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,
}

impl Args {
    pub fn measure(&self, output: &Output) -> Result<ExitCode> {
        let folder = OutputFolder::create(&self.out)?;
        let device = self.device.open_for(Precision::F32)?;
        let other = match self.device.precision() {
            None => Some(self.device.open_for(Precision::F16)?),
            Some(_) => None,
        };
        let budget = Duration::from_secs(self.seconds.into());
        let card = Card::measure(&device, other.as_ref(), budget, |part| say(format!("card: {part}")));
        let json = serde_json::to_string_pretty(&card)
            .map_err(|error| Error::io(folder.path().join("card.json"))(error.into()))?;
        write_atomic(&folder.path().join("card.json"), json.as_bytes())?;
        write_atomic(&folder.path().join("card.html"), card_html(&card).as_bytes())?;
        folder.commit()?;
        output.data(&card, |card| self.summary(card))?;
        Ok(if card.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// A line for each part, its faults, and where the rest is.
    fn summary(&self, card: &Card) -> String {
        let parts = [
            part("limits", &card.roofline),
            part("agreement", &card.verify),
            part("steps", &card.steps),
            part("kernels", &card.kernels),
            part("training", &card.training),
            part("limits again", &card.roofline_again),
        ];
        let path = self.out.join("card.html");
        format!("{}{} s; the card is {}\n", parts.concat(), card.seconds.round(), path.display())
    }
}

fn part<T>(name: &str, part: &Part<T>) -> String {
    let faults: String = part.faults.iter().map(|fault| format!("  FAILED: {fault}\n")).collect();
    format!("{name}: {} measured, {} left out\n{faults}", part.measured.len(), part.left_out.len())
}
