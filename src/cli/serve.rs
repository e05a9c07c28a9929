//! `trm serve`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;

use crate::checkpoint::Model;
use crate::data::own::{Dialogue, VOCABULARY_FILE, Words};
use crate::data::{Dataset, Split};
use crate::eval::{Breadth, check_fit};
use crate::model::ModelConfig;
use crate::report::say;
use crate::serve::{Limits, Server};
use crate::{Error, Result};

use super::common::{DeviceArgs, WeightsArgs, bytes};
use super::output::Output;
use super::stop::Stop;
use super::thinking::ThinkingArgs;

/// Answer puzzles over HTTP
///
/// POST /solve takes {"puzzles": [...]}: Sudokus and mazes as text, in any layout that "trm solve" reads, questions of an own
/// task in its words, with --data, or any model's lists of tokens; how widely and how long to think about them may be asked
/// for within limits. GET /health says what is loaded, GET /metrics counts for Prometheus. Puzzles of all requests share the
/// batch: one that is done leaves its slot to one that waits. Without another address only this machine is listened to;
/// there are no accounts and no encryption, which are a proxy's work.
///
/// A signal ends it: what has come until then is answered.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    weights: WeightsArgs,

    /// Data set of the model's own task, whose words questions and answers are then in
    ///
    /// One that "trm data table" has made. Lists of tokens are taken, too.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    #[command(flatten)]
    thinking: ThinkingArgs,

    /// Rollouts that a request may ask for [default: as many as --rollouts]
    ///
    /// For each of its puzzles, as "rollouts" beside "puzzles"; and so for "augment", "noise", "random_states", "select",
    /// "steps" and "seed". What a request does not say is as given here.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    most_rollouts: Option<u32>,

    /// Supervision steps that a request may ask for [default: as many as --steps]
    ///
    /// As "steps" beside "puzzles".
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..))]
    most_steps: Option<u16>,

    /// Address and port to listen to
    ///
    /// With port 0 the system chooses one. The address is printed as soon as puzzles are taken.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: String,

    /// Rollouts computed at once [default: 256, or 32 without a GPU, or as many as fit the device]
    ///
    /// Fewer are computed at once while there are fewer to do.
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u16).range(1..))]
    batch: Option<u16>,

    /// Rollouts that may wait, of most puzzles one
    ///
    /// A request that finds no room for all of its puzzles is answered with 503, and when to try again.
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    queue: u32,

    /// Puzzles of one request
    ///
    /// One with more is answered with 413.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    most_puzzles: u32,

    /// Size of a request, as in 1MiB or 500kB
    ///
    /// A larger one is answered with 413.
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = bytes)]
    most_bytes: u64,

    /// Time of a request, as in 60s or 500ms
    ///
    /// One that is not answered within is answered with 504. As long as that, at the most, the end takes.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,

    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Serialize)]
struct Listening {
    listening: String,
    batch: usize,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let (tell, told) = oneshot::channel();
    let stop = Stop::telling("answering what has come until now", move || {
        // Nobody listens where the server has ended by itself.
        let _ = tell.send(());
    })?;
    let (mut config, weights) = args.weights.load()?;
    let steps = args.thinking.steps(&config.arch);
    let most_steps = args.most_steps.map_or(steps, usize::from);
    if most_steps < steps {
        let problem = format!("{most_steps}, but puzzles usually take up to {steps}");
        return Err(Error::usage("--most-steps", problem, "give at least as many, or fewer --steps"));
    }
    let usual = Breadth { steps, ..args.thinking.breadth(&config.arch)? };
    config.arch.halt_max_steps = most_steps;
    let refused = |error: std::io::Error| {
        let fix = "give an address of this machine and a port that is free, or port 0";
        Error::usage("--listen", format!("{}: {error}", args.listen), fix)
    };
    let dialogue = args.data.as_ref().map(|data| dialogue_of(data, &config)).transpose()?;
    let listener = TcpListener::bind(&args.listen).map_err(refused)?;
    let device = args.device.open_for(args.weights.precision(&config.arch)?)?;
    let limits = Limits {
        batch: args.batch.map(usize::from),
        queue: args.queue as usize,
        most_puzzles: args.most_puzzles.min(args.queue) as usize,
        most_rollouts: args.most_rollouts.map_or(usual.rollouts, |most| most as usize),
        body: usize::try_from(args.most_bytes).unwrap_or(usize::MAX),
        time: args.timeout,
    };
    let model = Model { config, weights };
    let mut server = Server::open(model, device, usual, limits, listener)?.telling(|line| say(line));
    if let Some(dialogue) = dialogue {
        server = server.speaking(dialogue)?;
    }
    let address = server.address()?;
    if !address.ip().is_loopback() {
        say(format!("listen: {address} is open to other machines, which are asked for no password"));
    }
    let listening = Listening { listening: format!("http://{address}"), batch: server.widest() };
    output.data(&listening, |listening| {
        format!("listening on {}, {} rollouts at once\n", listening.listening, listening.batch)
    })?;
    server.run(async { drop(told.await) })?;
    Ok(if stop.wanted() { ExitCode::from(stop.exit_code()) } else { ExitCode::SUCCESS })
}

/// The words of a data set that fits the model.
fn dialogue_of(data: &Path, config: &ModelConfig) -> Result<Dialogue> {
    let dataset = Arc::new(Dataset::open(data, Split::Test)?);
    check_fit(config, &dataset)?;
    let words = Words::load(data)?.ok_or_else(|| {
        let problem = format!("{} holds no {VOCABULARY_FILE}, so its task has no words", data.display());
        Error::usage("--data", problem, "leave it out: Sudokus and mazes are known as they are")
    })?;
    Dialogue::of(words, &dataset)
}
