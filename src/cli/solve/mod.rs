//! `trm solve`.

mod arc;
mod persistence;
mod pictures;
mod puzzles;
mod samples;
mod shipped;
mod solvers;
mod source;
mod words;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::data::inspect::Kind;
use crate::data::own::Words;
use crate::data::pasted::Reader;
use crate::eval::Thought;
use crate::report::{draw_answer, say};
use crate::text::printable;
use crate::train::SESSIONS_FILE;
use crate::{Error, Result, files};

use super::common::{DeviceArgs, WeightsArgs};
use super::output::{Output, pardon};
use super::stop::Stop;
use super::thinking::ThinkingArgs;
use pictures::{PictureArgs, Pictures};
pub use puzzles::Solved;
use solvers::Solvers;
use source::Source;

/// Solve Sudokus, mazes, ARC tasks or samples of any data set
///
/// Sudokus come in any layout of cells, with . 0 _ - * x ? or spaces for blanks: a line, nine lines, bars and rules between
/// them, JSON. Mazes are rows of "# SGo" (wall, open, start, goal, path). Both are given as they are, as files with one or
/// many, or on standard input. A puzzle that cannot be read or contradicts itself is named, and the others are solved. A
/// task of ARC is a JSON file; --data then names the data set that the model was trained on. Of an own task, a line holds a
/// question in its words, or a row of a table, which --data names, or the log of the run. With --data alone the puzzles are
/// samples of its test split, whatever their task is.
///
/// Without --weights and --run, each file or argument takes the model that comes with trm for its kind and size; it is named. Standard
/// input is then read to its end first.
///
/// Says of each answer whether it is right: a Sudoku solved by the rules, a path that is a shortest one. Exits with 1 if
/// one is not, and with 2 if a puzzle could not be used.
#[derive(clap::Args)]
#[command(mut_group("model", |group| group.required(false)))]
pub struct Args {
    #[command(flatten)]
    weights: WeightsArgs,

    /// Puzzles, or files of them; '-' reads standard input
    #[arg(value_name = "PUZZLE", required_unless_present = "data")]
    puzzles: Vec<String>,

    /// Data set whose test samples to solve, in whose words questions are, or, of ARC tasks, whose identifiers the model knows
    ///
    /// Samples are drawn as what they are: words of an own task, mazes with their paths, grids. A model of ARC has learnt
    /// an embedding for each task: tasks are found by name in the data set that it was trained on, which is also looked
    /// up in the log of --run.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Which samples of --data, from 0 on
    ///
    /// In the order of its files.
    #[arg(long, value_name = "N", num_args = 1.., default_value = "0", requires = "data", conflicts_with = "puzzles")]
    sample: Vec<usize>,

    #[command(flatten)]
    thinking: ThinkingArgs,

    /// Think again about puzzles without a right answer, with 4, 16 and so on, up to K rollouts [default: 64 with models
    /// that come with trm, unless --rollouts or --augment is given; else 0, never]
    ///
    /// Sudokus and mazes only, of which the rules say whether an answer is right; mazes have no more than 8 variants. Rollouts are variants of the puzzle, as
    /// with --augment, and the answers that keep the rules are chosen from, as with --select valid.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(..=65_536))]
    persist: Option<u32>,

    /// Print the answer after every supervision step
    ///
    /// Cells of Sudokus that changed are marked with colours on a terminal, unless NO_COLOR is set; else, and so are those
    /// of mazes, by stars.
    #[arg(long)]
    watch: bool,

    #[command(flatten)]
    pictures: PictureArgs,

    #[command(flatten)]
    device: DeviceArgs,
}

/// What became of all puzzles.
#[derive(Clone, Copy, Default)]
struct Tally {
    /// Could not be used.
    refused: usize,
    /// Have an answer that is right,
    solved: usize,
    /// one that is not,
    unsolved: usize,
    /// and one of which nobody knows.
    unjudged: usize,
}

/// What all kinds of puzzles need.
struct Session<'a> {
    args: &'a Args,
    output: &'a Output,
    solvers: Solvers,
    pictures: Pictures,
    tally: Tally,
    /// Most rollouts of puzzles without a right answer.
    persist: usize,
}

/// Puzzles that cannot be used and are named on standard error, so that one wrong file does not fill a screen.
const NAMED: usize = 20;

/// A puzzle that cannot be used.
#[derive(serde::Serialize)]
struct Refused {
    /// Where it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    error: String,
}

impl Refused {
    fn of(error: &Error) -> Refused {
        let (place, error) = match error {
            Error::Usage { argument, problem, .. } => (Some(argument.clone()), problem.clone()),
            Error::File { path, problem, .. } => (Some(path.display().to_string()), problem.clone()),
            error => (None, error.to_string()),
        };
        Refused { place, error: crate::cli::with_options(&error) }
    }
}

/// Rollouts of puzzles that models that come with trm do not solve at once.
const PERSISTENCE: u32 = 64;

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let pictures = Pictures::wanted(&args.pictures)?;
    let stop = Stop::on_signals("finishing the puzzles at work")?;
    let solved = match args.weights.are_given() || args.puzzles.is_empty() {
        true => with_model(args, output, pictures, &stop),
        false => with_shipped(args, output, pictures, &stop),
    };
    let (pictures, tally) = match solved {
        Ok(solved) => solved,
        Err(error) => return pardon(error).map(|()| ExitCode::SUCCESS),
    };
    if pictures.any() || !stop.wanted() {
        pictures.write()?;
    }
    tally.say(stop.wanted());
    if stop.wanted() {
        return Ok(ExitCode::from(stop.exit_code()));
    }
    Ok(match tally {
        Tally { refused: 1.., .. } => ExitCode::from(2),
        Tally { unsolved: 1.., .. } => ExitCode::FAILURE,
        Tally { .. } => ExitCode::SUCCESS,
    })
}

/// With the model that was named.
fn with_model(args: &Args, output: &Output, pictures: Pictures, stop: &Stop) -> Result<(Pictures, Tally)> {
    let (mut config, weights) = args.weights.load()?;
    config.arch.halt_max_steps = args.thinking.steps(&config.arch);
    let reader = Reader::of_sizes(config.seq_len, config.vocab_size);
    let on_arc = arc::is_for(&config);
    let own = if on_arc || args.puzzles.is_empty() { None } else { args.own_words(reader.is_some())? };
    if let (Some(data), false, false, None) = (&args.data, args.puzzles.is_empty(), on_arc, &own) {
        let problem = format!("{}, but the puzzles are given", data.display());
        return Err(Error::usage("--data", problem, "leave out one of them"));
    }
    let known = reader.is_some() || on_arc || own.is_some() || args.puzzles.is_empty();
    if !known {
        let problem = format!(
            "{} cells and {} tokens are neither Sudoku's nor a maze's nor ARC's",
            config.seq_len, config.vocab_size
        );
        let fix = "name its data set, --data, for questions in its words, or for samples of it, --sample";
        return Err(Error::usage("model", problem, fix));
    }
    let by_rules = !(on_arc || own.is_some() || args.puzzles.is_empty());
    if let Some(persist) = args.persist.filter(|persist| *persist > 0 && !by_rules) {
        let problem = format!("{persist}, but nobody knows the rules by which answers to these are right");
        return Err(Error::usage("--persist", problem, "leave it out: it is for Sudokus and mazes as given"));
    }
    let breadth = if on_arc {
        args.thinking.breadth_of_each(&config.arch)
    } else {
        args.thinking.breadth(&config.arch)
    }?;
    let device = args.device.open_for(args.weights.precision(&config.arch)?)?;
    let solvers = Solvers::new(config, weights, device, breadth, stop.clone());
    let persist = args.persistence(args.weights.are_shipped()?);
    let mut session = Session { args, output, solvers, pictures, tally: Tally::default(), persist };
    match (&args.data, own) {
        (Some(data), _) if args.puzzles.is_empty() => samples::run(&mut session, data)?,
        _ if on_arc => arc::run(&mut session)?,
        (_, Some((data, words))) => words::run(&mut session, &data, words)?,
        _ => puzzles::run(&mut session, Source::of_puzzles(&args.puzzles))?,
    }
    Ok((session.pictures, session.tally))
}

/// With models that come with trm, of which each file or argument takes the one for its kind and size.
fn with_shipped(
    args: &Args,
    output: &Output,
    mut pictures: Pictures,
    stop: &Stop,
) -> Result<(Pictures, Tally)> {
    if let Some(data) = &args.data {
        let problem = format!("{}, but no model is named", data.display());
        return Err(Error::usage("--data", problem, "name its model, --run or --weights, or leave it out"));
    }
    let mut tally = Tally::default();
    let (parts, refused) = shipped::parts(Source::of_puzzles(&args.puzzles), stop)?;
    refused.iter().try_for_each(|error| tally.refuse(error, output))?;
    if parts.is_empty() || stop.wanted() {
        return Ok((pictures, tally));
    }
    let persist = args.persistence(true);
    let device = args.device.open()?;
    for (shipped, sources) in parts {
        if stop.wanted() {
            break;
        }
        say(format!("weights: {}, which comes with trm", shipped.path()));
        let (mut config, weights) = shipped.load()?;
        config.arch.halt_max_steps = args.thinking.steps(&config.arch);
        let breadth = args.thinking.breadth(&config.arch)?;
        let solvers = Solvers::new(config, weights, device.clone(), breadth, stop.clone());
        let mut session = Session { args, output, solvers, pictures, tally, persist };
        puzzles::run(&mut session, sources.into_iter())?;
        (pictures, tally) = (session.pictures, session.tally);
    }
    Ok((pictures, tally))
}

impl Args {
    /// Most rollouts of puzzles without a right answer, by a model that comes with trm or by another.
    fn persistence(&self, shipped: bool) -> usize {
        let narrow = shipped && !self.thinking.is_wide();
        self.persist.unwrap_or(if narrow { PERSISTENCE } else { 0 }) as usize
    }

    /// The data set, where it is named or the log of a run says where it lay.
    fn data(&self) -> Option<PathBuf> {
        self.data.clone().or_else(|| {
            let data = data_of(&self.weights.folder())?;
            let gone = if data.is_dir() { "" } else { ", which is not there" };
            say(format!("data: {}, as the log of the run says{gone}", data.display()));
            gone.is_empty().then_some(data)
        })
    }

    /// The words of an own task, with its data set: the one that is named, or, unless the model is known to be of another
    /// kind, that of the run.
    fn own_words(&self, known: bool) -> Result<Option<(PathBuf, Words)>> {
        let data = if known { self.data.clone() } else { self.data() };
        let Some(data) = data else { return Ok(None) };
        Ok(Words::load(&data)?.map(|words| (data, words)))
    }
}

/// Where the log of a run says that its data lay.
fn data_of(run: &Path) -> Option<PathBuf> {
    #[derive(serde::Deserialize)]
    struct Start {
        data: PathBuf,
    }
    let log = files::read_to_string(&run.join(SESSIONS_FILE)).ok()?;
    let start: Option<Start> = log.lines().rev().find_map(|line| serde_json::from_str(line).ok());
    start.map(|start| start.data)
}

impl Tally {
    /// Says why a puzzle cannot be used; of many on standard error only for the first.
    fn refuse(&mut self, error: &Error, output: &Output) -> Result<()> {
        self.refused += 1;
        match self.refused {
            ..=NAMED => say(crate::cli::with_options(&format!("error: {error}"))),
            refused if refused == NAMED + 1 => say("error: ..., others are counted"),
            _ => {}
        }
        output.json(&Refused::of(error))
    }

    /// Counts an answer, which is right or not, where that is known.
    fn answered(&mut self, right: Option<bool>) {
        *(match right {
            Some(true) => &mut self.solved,
            Some(false) => &mut self.unsolved,
            None => &mut self.unjudged,
        }) += 1;
    }

    /// Says how many were solved, where there were several, or where the work was stopped before its end.
    fn say(&self, stopped: bool) {
        let Tally { refused, solved, unsolved, unjudged } = *self;
        let unused = match refused {
            0 => String::new(),
            refused => format!(", {refused} could not be used"),
        };
        let (judged, answered) = (solved + unsolved, solved + unsolved + unjudged);
        let told = match (judged, unjudged) {
            (0, 0) if refused == 0 => "nothing was answered".to_owned(),
            (0, 0) => format!("none of {refused} could be used"),
            (0, answered) => format!("answered {answered}{unused}"),
            (_, 0) => format!("solved {solved} of {judged}{unused}"),
            _ => format!("solved {solved} of {judged}, {unjudged} more answered{unused}"),
        };
        match stopped {
            true => say(format!("stopped: {told}; what came after was not tried")),
            // A single question is its own tally, and so are answers that nobody judges.
            false if answered + refused > 1 && (judged > 0 || refused > 0) => say(told),
            false => {}
        }
    }
}

impl Session<'_> {
    /// Says why a puzzle cannot be used, and goes on.
    fn refuse(&mut self, error: &Error) -> Result<()> {
        self.tally.refuse(error, self.output)
    }
}

/// The answers after all steps, or the last one, as people see them.
fn steps_text(view: &View<'_>, inputs: &[i32], thoughts: &[Thought], watch: bool, colour: bool) -> String {
    let mut previous = inputs;
    let skipped = if watch { 0 } else { thoughts.len().saturating_sub(1) };
    let mut text = String::new();
    for (index, thought) in thoughts.iter().enumerate().skip(skipped) {
        text += &format!("step {} of {}, halt {:.3}", index + 1, thoughts.len(), thought.confidence());
        text += &match index > skipped && previous == thought.answer {
            true => ", no change\n".to_owned(),
            false => format!("\n{}", view.draw(inputs, previous, &thought.answer, colour)),
        };
        previous = &thought.answer;
    }
    text
}

/// How tokens are shown.
struct View<'a> {
    kind: Kind,
    words: Option<&'a Words>,
}

impl View<'_> {
    fn draw(&self, inputs: &[i32], previous: &[i32], answer: &[i32], colour: bool) -> String {
        match self.words {
            Some(words) => format!("  {}\n", printable(&words.text(answer))),
            None => draw_answer(self.kind, inputs, previous, answer, colour),
        }
    }
}
