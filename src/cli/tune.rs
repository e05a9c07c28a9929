//! `trm tune`.

use std::process::ExitCode;
use std::time::Duration;

use crate::engine::gpu::table;
use crate::report::{Table, say};
use crate::tune::{Cache, Choice, Key, Outcome, Tuned, bound, tune};
use crate::{Error, Result};

use super::common::{DeviceArgs, ModelArgs};
use super::output::Output;

/// The recipe whose shapes count where none is named, which is then said.
const RECIPE: &str = "sudoku-mlp";

/// Find out which variants of the kernels a GPU runs fastest, and take them from now on
///
/// Measures tiles at the shapes of a recipe. A candidate whose results differ from
/// those of the plain kernels by more than an NMSE of 1e-10 (in bf16 1e-3, in f16 1e-5) is dropped. The choice is kept
/// per adapter, driver and precision in the platform's cache folder, and every command with --device takes it, whatever
/// its recipe and batch: tune at the shapes that count most.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: DeviceArgs,

    #[command(flatten)]
    model: ModelArgs,

    /// Repetitions; the best counts
    ///
    /// More of them find quieter moments of a busy machine.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    repetitions: u16,

    /// Time for all measurements together
    ///
    /// When it is over, the fastest of what was measured until then is taken.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let mut subject = args.model.subject(Some(RECIPE))?;
    let device = args.device.open_untuned(subject.settings.precision)?;
    let (info, precision) = (device.info(), device.target().precision);
    subject.settings.precision = precision.into();
    if info.kind == "cpu" {
        let fix = "name a GPU that \"trm devices\" lists, also one in software";
        return Err(Error::usage("--device", "the CPU engine has nothing to tune", fix));
    }
    let mut choice = Choice {
        key: Key::of(&info, precision),
        recipe: subject.name.clone(),
        batch: subject.batch,
        seq_len: subject.config.seq_len,
        vocab_size: subject.config.vocab_size,
        tiles: device.target().tiles,
    };
    let cache = match args.device.no_tune_cache() {
        true => None,
        false => {
            let homeless = || {
                let fix = "set HOME, or give it";
                Error::usage("--no-tune-cache", "is missing and there is no home folder", fix)
            };
            let cache = Cache::of_user().ok_or_else(homeless)?;
            cache.prepare(&choice.key)?;
            Some(cache)
        }
    };
    let by_default = if args.model.names_recipe() { "" } else { "; --recipe names another one" };
    say(format!("shapes: {}{by_default}", choice.measured()));
    let row = table::defaults(&info);
    say(format!("default: {}", row.why));
    say(format!("candidates may differ from the plain kernels by an NMSE of {:.0e}", bound(precision)));
    let time = Duration::from_secs(args.seconds.into());
    let measuring = |trial: &str| say(format!("measuring {trial}"));
    let tuned = tune(&device, &subject, args.repetitions.into(), time, measuring)?;
    choice.tiles = tuned.tiles;
    match cache {
        Some(cache) => say(format!("kept in {}", cache.store(&choice)?.display())),
        None => say("not kept (--no-tune-cache)"),
    }
    let broken = |error: toml::ser::Error| Error::io("standard output")(std::io::Error::other(error));
    let tiles = toml::to_string(&tuned.tiles).map_err(broken)?;
    output.data(&tuned, |tuned| text(tuned, &tiles))?;
    Ok(ExitCode::SUCCESS)
}

/// What was measured and what was not, and the choice as the file says it.
fn text(tuned: &Tuned, tiles: &str) -> String {
    let mut table = Table::new(["trial", "variant", "ms", "of the default", "NMSE", "chosen"]);
    for one in &tuned.outcomes {
        let number = |value: Option<f64>, text: fn(f64) -> String| value.map_or_else(|| "-".to_owned(), text);
        table.row([
            one.trial.to_owned(),
            one.variant.clone(),
            number(one.seconds.map(|seconds| seconds * 1e3), |ms| format!("{ms:.3}")),
            number(one.ratio, |ratio| format!("{ratio:.2}")),
            number(one.nmse, |nmse| format!("{nmse:.0e}")),
            (if one.chosen { "yes" } else { "" }).to_owned(),
        ]);
    }
    let dropped = |one: &Outcome| {
        one.dropped.as_ref().map(|reason| format!("dropped: {}, {}: {reason}\n", one.trial, one.variant))
    };
    let dropped: String = tuned.outcomes.iter().filter_map(dropped).collect();
    let skipped: String = tuned.skipped.iter().map(|one| format!("skipped: {one}\n")).collect();
    format!("{table}{dropped}{skipped}\nthe choice:\n{tiles}")
}
