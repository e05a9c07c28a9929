//! `trm bench`.

mod card;
mod compare;
mod scaling;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::bench::{Measurement, Mode, Subject, kernels, roofline, step};
use crate::engine::Device;
use crate::plan::Precision;
use crate::report::{Bars, Table, say};
use crate::{Error, Result, files};

use super::common::{DeviceArgs, ModelArgs, RecomputeArgs};
use super::output::Output;

/// Measure how fast a device runs the kernels and whole steps, and how close that is to its limits
///
/// Times are the best of several repetitions, the things compared taking turns. With --json one object a line, which
/// "trm bench compare" pairs with those of another run; its commit is what TRM_COMMIT said when trm was built, else
/// where the folder of trm's sources stands while it measures.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(clap::Subcommand)]
enum Bench {
    /// Every distinct dispatch of a step: time, rates, share of what the device's roofline allows
    ///
    /// A dispatch is repeated in one pass of one submission and timed by the device's timestamps where it has any, so
    /// that neither submitting nor waiting counts.
    Kernels(Kernels),
    /// Whole steps: time, time to encode and submit, time on the device, CPU time per dispatch
    ///
    /// An evaluation step, and, with --train, a training step; with --recompute, one of either kind.
    Step(Steps),
    /// The device's limits: multiply-adds, those of its matrix units, and copied bytes per second
    ///
    /// Measured with kernels made for it: twelve independent chains a thread and a copy of 64 MiB, both in f32 whatever
    /// --precision says, and, where there are matrix units, sixteen sums a subgroup of products of f16.
    Roofline(Limits),
    /// Time of an evaluation step against B, L, T and n: slope and intercept of the line through it
    ///
    /// B at the powers of two up to --batch; L, T and n at a quarter, a half, three quarters and all of their own
    /// value. With --json, each measurement has the line that its quantity lies on.
    Scaling(scaling::Args),
    /// A device on one page: agreement, limits, steps, kernels, a short training, in four minutes
    ///
    /// What an engineer sends to a colleague about a GPU: DIR/card.html, which needs nothing beside it, and
    /// DIR/card.json. Steps of sudoku-mlp, sudoku-att and maze-hard at B 8, 64, 256 and 768 as they fit, and from B 1
    /// where there is no GPU; in f32 and f16 unless --precision says which. What fails is on the page too; exits with 1
    /// then.
    Card(card::Args),
    /// Pair two runs by what they measured, and print how many times faster the second is
    ///
    /// Both files hold what a bench printed with --json. Where the one run is in another precision than the other, they
    /// are paired all the same, and the output says so.
    Compare(compare::Args),
}

/// What every measurement takes.
#[derive(clap::Args)]
struct Common {
    #[command(flatten)]
    device: DeviceArgs,

    /// Repetitions; the best counts
    ///
    /// More of them find quieter moments of a busy machine.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    repetitions: u16,

    /// Draw the result as an SVG file
    ///
    /// Bars, or lines for scaling. The file is replaced as a whole.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Steps {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    model: ModelArgs,

    /// Measure the training step
    ///
    /// With reverse pass and optimisers.
    #[arg(long)]
    train: bool,

    #[command(flatten)]
    recompute: RecomputeArgs,
}

#[derive(clap::Args)]
struct Kernels {
    #[command(flatten)]
    steps: Steps,

    /// Only the dispatches with this in their names
    ///
    /// As the table prints them: "attention", or "n=512 k=1536". Shares and the total are then theirs alone.
    #[arg(long, value_name = "PART", default_value = "", hide_default_value = true)]
    only: String,
}

#[derive(clap::Args)]
struct Limits {
    #[command(flatten)]
    common: Common,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    match &args.bench {
        Bench::Kernels(args) => args.measure(output)?,
        Bench::Step(args) => args.step(output)?,
        Bench::Roofline(args) => args.measure(output)?,
        Bench::Scaling(args) => args.measure(output)?,
        Bench::Card(args) => return args.measure(output),
        Bench::Compare(args) => args.compare(output)?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Common {
    fn repetitions(&self) -> usize {
        self.repetitions.into()
    }

    /// The device. A drawing that could not be kept is refused before anything is
    /// measured.
    fn open(&self, precision: Precision) -> Result<Device> {
        let svg = self.svg.as_deref();
        if let Some((path, problem)) = svg.and_then(|path| Some((path, files::obstacle(path)?))) {
            return Err(Error::usage(
                "--svg",
                format!("{} {problem}", path.display()),
                "give a file to write",
            ));
        }
        self.device.open_for(precision)
    }

    /// The device in the precision that was asked for, else that of the subject, which is told.
    fn open_for(&self, subject: &mut Subject) -> Result<Device> {
        let device = self.open(subject.settings.precision)?;
        subject.settings.precision = device.target().precision.into();
        Ok(device)
    }

    fn draw(&self, svg: impl FnOnce() -> String) -> Result<()> {
        match &self.svg {
            Some(path) => files::write_atomic(path, svg().as_bytes()),
            None => Ok(()),
        }
    }

    /// Bars of `measured`, whose keys all begin with `prefix`, in milliseconds of a step.
    fn draw_bars(&self, title: &str, prefix: &str, measured: &[Measurement]) -> Result<()> {
        self.draw(|| {
            let mut bars = Bars::new(title, "ms");
            for one in measured {
                let note = format!("{:.1} GFLOP/s, {:.1} GB/s", one.gflops, one.gbytes);
                bars.bar(short(one, prefix), one.seconds * one.count as f64 * 1e3, note);
            }
            bars.to_string()
        })
    }
}

fn short<'a>(one: &'a Measurement, prefix: &str) -> &'a str {
    one.key.strip_prefix(prefix).unwrap_or(&one.key).trim_start_matches('/')
}

impl Steps {
    fn subject(&self) -> Result<Subject> {
        let mut subject = self.model.subject(None)?;
        self.recompute.apply(&mut subject.settings);
        Ok(subject)
    }

    fn mode(&self, subject: &Subject) -> Mode {
        match (self.train || self.recompute.wanted(), subject.settings.recompute) {
            (false, _) => Mode::Eval,
            (true, false) => Mode::Train,
            (true, true) => Mode::Recompute,
        }
    }

    fn step(&self, output: &Output) -> Result<()> {
        let mut subject = self.subject()?;
        let device = self.common.open_for(&mut subject)?;
        let modes = [Mode::Eval, Mode::Train, Mode::Recompute];
        let count = 1 + modes.iter().position(|&mode| mode == self.mode(&subject)).unwrap_or_default();
        let measured = step::measure(&device, &subject, &modes[..count], self.common.repetitions())?;
        self.common.draw(|| {
            let mut bars = Bars::new(&format!("supervision steps of {}", subject.name), "ms");
            measured.iter().for_each(|one| bars.bar(&one.key, one.seconds * 1e3, String::new()));
            bars.to_string()
        })?;
        output.lines(&measured, step_table)
    }
}

impl Kernels {
    fn measure(&self, output: &Output) -> Result<()> {
        let Kernels { steps, only } = self;
        let mut subject = steps.subject()?;
        let (device, mode) = (steps.common.open_for(&mut subject)?, steps.mode(&subject));
        let repetitions = steps.common.repetitions();
        let mut kernels = kernels::Kernels::load(&device, &subject, mode, only)?;
        say("measuring the device's limits");
        let limits = limits_of(&device, repetitions)?.roofline;
        say("measuring kernels");
        let measured = kernels.measure(limits, repetitions)?;
        let prefix = subject.key("kernels", mode);
        steps.common.draw_bars(&format!("{prefix}, time in a step"), &prefix, &measured)?;
        let matrices = limits.matrix_gflops.map(|rate| format!(", {rate:.1} GFLOP/s on matrix units"));
        let matrices = matrices.unwrap_or_default();
        let limits = format!("limits: {:.1} GFLOP/s, {:.1} GB/s{matrices}", limits.gflops, limits.gbytes);
        output.lines(&measured, |measured| format!("{}{limits}\n", kernel_table(measured, &prefix)))
    }
}

/// The limits; matrix units that do not work are named.
fn limits_of(device: &Device, repetitions: usize) -> Result<roofline::Limits> {
    let limits = roofline::measure(device, repetitions)?;
    limits.units_fault.iter().for_each(say);
    Ok(limits)
}

/// A row per distinct dispatch, and their sum.
fn kernel_table(measured: &[Measurement], prefix: &str) -> Table {
    let titles = ["kernel", "count", "us each", "ms of step", "%", "GFLOP/s", "GB/s", "% of roofline"];
    let mut table = Table::new(titles);
    let of_step = |one: &Measurement| one.seconds * one.count as f64;
    let total: f64 = measured.iter().map(of_step).sum();
    for one in measured {
        table.row([
            short(one, prefix).to_owned(),
            one.count.to_string(),
            format!("{:.1}", one.seconds * 1e6),
            format!("{:.2}", of_step(one) * 1e3),
            format!("{:.1}", 100.0 * of_step(one) / total.max(1e-12)),
            format!("{:.1}", one.gflops),
            format!("{:.1}", one.gbytes),
            format!("{:.0}", 100.0 * one.roofline_share.unwrap_or(0.0)),
        ]);
    }
    let flops: f64 = measured.iter().map(|one| one.cost.flops as f64 * one.count as f64).sum();
    let count: u64 = measured.iter().map(|one| one.count).sum();
    let cells = ["total".into(), count.to_string(), String::new(), format!("{:.2}", total * 1e3)];
    table.row(cells.into_iter().chain(["100.0".into(), format!("{:.1}", flops / total.max(1e-12) * 1e-9)]));
    table
}

fn step_table(measured: &[Measurement]) -> String {
    let titles =
        ["step", "ms", "GFLOP/s", "dispatches", "encode ms", "submit ms", "device ms", "CPU us/dispatch"];
    let mut table = Table::new(titles);
    let ms = |seconds: Option<f64>| seconds.map_or_else(|| "-".into(), |time| format!("{:.2}", time * 1e3));
    for one in measured {
        let per_dispatch = one.encode_seconds.map(|time| time / one.count.max(1) as f64 * 1e6);
        table.row([
            one.key.clone(),
            format!("{:.2}", one.seconds * 1e3),
            format!("{:.1}", one.gflops),
            one.count.to_string(),
            ms(one.encode_seconds),
            ms(one.submit_seconds),
            ms(one.device_seconds),
            per_dispatch.map_or_else(|| "-".into(), |time| format!("{time:.2}")),
        ]);
    }
    table.to_string()
}

impl Limits {
    fn measure(&self, output: &Output) -> Result<()> {
        let measured = limits_of(&self.common.open(Precision::F32)?, self.common.repetitions())?.measured;
        self.common.draw_bars("limits", "roofline", &measured)?;
        output.lines(&measured, |measured| {
            let mut table = Table::new(["limit", "GFLOP/s", "GB/s", "ms"]);
            for one in measured {
                let rates = [one.gflops, one.gbytes, one.seconds * 1e3].map(|value| format!("{value:.1}"));
                table.row([short(one, "roofline").to_owned()].into_iter().chain(rates));
            }
            table.to_string()
        })
    }
}
