//! `trm eval`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::data::arc::{SUBMISSION_FILE, Score, TEST_PUZZLES_FILE};
use crate::data::{Dataset, Split};
use crate::eval::vote::{Sweep, Voted};
use crate::eval::{
    AtStep, Breakdown, Evaluation, Evaluator, Look, SavedAnswers, Selection, Share, Valid, Visit, arc,
    check_fit, vote,
};
use crate::model::Metrics;
use crate::model::init::Weights;
use crate::report::{Table, describe, describe_passes, say, write_arc_html};
use crate::{Error, Result, files};

use super::common::{DeviceArgs, WeightsArgs, retry_once};
use super::output::Output;
use super::stop::Stop;
use super::sweep::{Axis, Swept, sweep_of};
use super::thinking::ThinkingArgs;

/// Largest batch unless asked for another: more fills a GPU no better and takes memory.
const DEFAULT_BATCH: usize = 128;
/// Time between two lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Measure a model on the test split of a data set
///
/// Reports the share of right cells, of samples that are right in every cell (exact), of Sudokus and mazes also of those that
/// keep the rules as well as their labels do (valid; of mazes by a way as short), and of samples whose halt head is right
/// about that, after the last supervision step and after every one before. On ARC the augmented answers are voted on,
/// and submission.json is written; several --weights vote together, as all evaluations of a run do in the release's log.
/// Ctrl-C ends it with the figures of the samples that are done, and 130.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    weights: WeightsArgs,

    /// Data set whose test split to measure on
    ///
    /// Its sizes must be those that the model was trained for.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// B, samples at once [default: 128, or all if there are fewer]
    ///
    /// It changes speed and memory, not results. More than there are answers to give counts as that many.
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u16).range(1..))]
    batch: Option<u16>,

    /// Evaluate so many examples only
    ///
    /// Whole groups, drawn by --seed: the same ones each time. Not on ARC, where answers vote.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,

    #[command(flatten)]
    thinking: ThinkingArgs,

    /// Compare rollouts and steps, as in "--sweep rollouts=1,4,16 steps=16,32"
    ///
    /// A table of exact accuracy by each rule of --select against compute. The widest and deepest choice runs once, of which
    /// the others are parts.
    #[arg(long, value_name = "AXIS=LIST", num_args = 1..=2, conflicts_with = "select")]
    sweep: Vec<Axis>,

    /// Submission to write on ARC [default: submission.json beside the weights]
    ///
    /// Two attempts for each test input, in the competition's layout.
    #[arg(long, value_name = "FILE")]
    submission: Option<PathBuf>,

    /// HTML report to write on ARC
    ///
    /// Every task with its inputs, targets and first candidates, drawn in one file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// File of arrays for numpy to write the answers to
    ///
    /// An .npz with examples (places in the test split), puzzle_identifiers, predictions, q_halt and steps; of several
    /// models the answers of the first. Not with rollouts, whose answers are elected.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["augment", "rollouts", "sweep"])]
    save_predictions: Option<PathBuf>,

    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Serialize)]
struct Summary {
    samples: usize,
    seconds: f64,
    #[serde(flatten)]
    measured: Option<Measured>,
    #[serde(flatten)]
    voted: Option<Voted>,
    #[serde(flatten)]
    valid: Option<Valid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sweep: Option<Swept>,
    #[serde(flatten)]
    arc: Option<ArcSummary>,
    #[serde(flatten)]
    breakdown: Option<Breakdown>,
}

#[derive(Serialize)]
struct Measured {
    loss: f64,
    #[serde(flatten)]
    metrics: Metrics,
    by_step: Vec<AtStep>,
}

#[derive(Serialize)]
struct ArcSummary {
    tasks: usize,
    /// By K.
    pass_at: BTreeMap<usize, f64>,
    inputs_without_prediction: usize,
    /// Rollouts of which the model made NaN.
    lost: usize,
    submission: PathBuf,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let (mut config, weights, others) = args.weights.load_all()?;
    config.arch.halt_max_steps = args.thinking.steps(&config.arch);
    let sweep = args.sweep(config.arch.halt_max_steps)?;
    let breadth = match &sweep {
        Some(sweep) => args.thinking.breadth_up_to(&config.arch, last(&sweep.rollouts))?,
        None => args.thinking.breadth(&config.arch)?,
    };
    config.arch.halt_max_steps =
        sweep.as_ref().map_or(config.arch.halt_max_steps, |sweep| last(&sweep.steps));
    let dataset = Arc::new(Dataset::open(&args.data, Split::Test)?);
    check_fit(&config, &dataset)?;
    Breakdown::check(&dataset)?;
    let on_arc = args.data.join(TEST_PUZZLES_FILE).is_file();
    if let (false, Some(_)) = (on_arc, args.submission.as_ref().or(args.html.as_ref())) {
        let problem = format!("{} is no ARC data set", args.data.display());
        return Err(Error::usage("--submission, --html", problem, "leave them out"));
    }
    if !on_arc && !others.is_empty() {
        let problem = format!("{} models are given", 1 + others.len());
        return Err(Error::usage("--weights", problem, "give one: models vote on ARC data sets only"));
    }
    let submission = args.submission.clone().unwrap_or_else(|| args.weights.folder().join(SUBMISSION_FILE));
    let written = on_arc.then_some((&submission, "--submission")).into_iter();
    let saved = args.save_predictions.iter().map(|path| (path, "--save-predictions"));
    for (path, argument) in written.chain(saved).chain(args.html.iter().map(|path| (path, "--html"))) {
        if let Some(obstacle) = files::obstacle(path) {
            return Err(Error::usage(
                argument,
                format!("{} {obstacle}", path.display()),
                "name another file",
            ));
        }
    }
    if let (true, Some(limit)) = (on_arc, args.limit) {
        let problem = format!("is {limit}, and all answers of an ARC task vote together");
        return Err(Error::usage("--limit", problem, "leave it out"));
    }
    if on_arc && sweep.is_some() {
        let problem = "the answers to an ARC task's variants vote together";
        return Err(Error::usage("--sweep", problem, "leave it out"));
    }
    let selection = Selection::of(&dataset, args.limit.unwrap_or_default() as usize, args.thinking.seed);
    let samples = selection.len();
    let answers = samples.max(1) * breadth.rollouts;
    let batch = args.batch.map_or(DEFAULT_BATCH, usize::from).min(answers);
    let stop = Stop::on_signals("finishing the samples at work")?;
    let device = args.device.open_for(args.weights.precision(&config.arch)?)?;
    let started = Instant::now();
    let mut answers =
        args.save_predictions.as_ref().map(|_| SavedAnswers::of(selection.places(), config.seq_len));
    let mut keep = |look: Look<'_>| {
        if let Some(answers) = &mut answers {
            answers.keep(look);
        }
        Ok(())
    };
    let measured = retry_once(&device, |device| {
        let mut evaluator = Evaluator::with(&config, device, batch, breadth)?;
        evaluator.load(&weights)?;
        evaluator.stop_when(stop.flag());
        match &sweep {
            Some(sweep) => {
                let progress = told_of(samples);
                let cells = vote::sweep(&mut evaluator, sweep, &dataset, &selection, progress)?;
                let swept = Swept::of(&evaluator, cells, started.elapsed().as_secs_f64());
                Ok((Summary { samples: swept.samples(), sweep: Some(swept), ..Summary::of(0, None) }, None))
            }
            None if on_arc => {
                let (summary, score) =
                    score_arc(args, (&mut evaluator, &others), samples, &submission, &mut keep)?;
                Ok((summary, Some(score)))
            }
            None if breadth.rollouts > 1 => {
                let voted = vote::evaluate(&mut evaluator, &dataset, &selection, told_of(samples))?;
                let breakdown = Breakdown::of(&dataset, &selection, &voted.outcomes)?;
                let valid = Valid::of(&voted.outcomes);
                let summary = Summary::of(voted.samples, None);
                Ok((Summary { voted: Some(voted), valid, breakdown, ..summary }, None))
            }
            None => {
                let progress = told_of(samples);
                let (pace, data) = (breadth.pace(true), dataset.clone());
                let measured = evaluator.evaluate_shown(pace, data, &selection, &mut keep, progress)?;
                let breakdown = Breakdown::of(&dataset, &selection, &measured.outcomes)?;
                Ok((Summary { breakdown, ..Summary::of(measured.samples, Some(measured)) }, None))
            }
        }
    });
    let cut_off = stop.wanted();
    let (mut summary, mut score) = match measured {
        Ok(found) => found,
        // Nothing was measured yet, which is nobody's fault.
        Err(Error::File { .. }) if cut_off => return Ok(ExitCode::from(stop.exit_code())),
        Err(error) => return Err(error),
    };
    summary.seconds = started.elapsed().as_secs_f64();
    if cut_off {
        say(format!("interrupted: the figures are those of the first of {samples} samples"));
        (summary.arc, score) = (None, None);
    }
    // Before the files, which a full disk may refuse.
    output.data(&summary, text)?;
    if let (Some(answers), Some(path)) = (&answers, &args.save_predictions) {
        answers.write(path)?;
    }
    if let Some(score) = score {
        write_files(args, &score, &submission)?;
    }
    Ok(if cut_off { ExitCode::from(stop.exit_code()) } else { ExitCode::SUCCESS })
}

fn write_files(args: &Args, score: &Score, submission: &Path) -> Result<()> {
    score.write_submission(submission)?;
    let title = format!("{} on {}", args.weights.folder().display(), args.data.display());
    args.html.as_ref().map_or(Ok(()), |path| write_arc_html(path, &title, score))
}

impl Args {
    /// What --sweep asks for.
    fn sweep(&self, steps: usize) -> Result<Option<Sweep>> {
        if self.sweep.is_empty() {
            return Ok(None);
        }
        let sweep = sweep_of(&self.sweep, [self.thinking.rollouts(), steps], self.thinking.names())?;
        Ok(Some(sweep))
    }
}

/// The largest of an axis.
fn last(axis: &[usize]) -> usize {
    axis.last().copied().unwrap_or(1)
}

impl Summary {
    fn of(samples: usize, evaluation: Option<Evaluation>) -> Summary {
        let valid = evaluation.as_ref().and_then(|evaluation| Valid::of(&evaluation.outcomes));
        let measured = evaluation.map(|Evaluation { metrics, by_step, .. }| Measured {
            loss: metrics.loss(),
            metrics,
            by_step,
        });
        Summary {
            samples,
            seconds: 0.0,
            measured,
            voted: None,
            valid,
            sweep: None,
            arc: None,
            breakdown: None,
        }
    }
}

fn score_arc(
    args: &Args,
    (evaluator, others): (&mut Evaluator, &[Weights]),
    samples: usize,
    submission: &Path,
    keep: &mut Visit<'_>,
) -> Result<(Summary, Score)> {
    let (pace, progress) = (evaluator.breadth().pace(true), told_of((1 + others.len()) * samples));
    let arc::ArcEvaluation { score, evaluation, samples, lost } =
        arc::evaluate(evaluator, others, pace, &args.data, keep, progress)?;
    let arc = ArcSummary {
        tasks: score.tasks.len(),
        pass_at: score.pass_at.clone(),
        inputs_without_prediction: score.inputs_without_prediction,
        lost,
        submission: submission.to_path_buf(),
    };
    Ok((Summary { arc: Some(arc), ..Summary::of(samples, evaluation) }, score))
}

/// Says every few seconds how many samples are done; those at work count by the steps that they have taken.
fn told_of(samples: usize) -> impl FnMut(f64) {
    let mut told = Instant::now();
    move |done| {
        if told.elapsed() >= LINE_EVERY {
            told = Instant::now();
            say(format!("{done:.0} of {samples} samples", done = done.floor()));
        }
    }
}

/// A table of parts of the samples.
fn parts<'a>(by: &str, parts: impl Iterator<Item = (String, &'a Share)>) -> String {
    let mut table = Table::new([by, "samples", "exact", "exact accuracy", "accuracy"]);
    for (name, Share { samples, exact, exact_accuracy, accuracy }) in parts {
        let shares = [exact_accuracy, accuracy].map(|share| percent(*share));
        table.row([name, samples.to_string(), exact.to_string()].into_iter().chain(shares));
    }
    format!("\n{table}")
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// What a choice among rollouts came to.
fn chosen(voted: &Voted) -> String {
    let [exact, alone, any, accuracy] =
        [voted.exact_accuracy, voted.exact_accuracy_alone, voted.exact_accuracy_any, voted.accuracy]
            .map(percent);
    let Voted { votes, select, exact: count, labelled, .. } = voted;
    let valid = voted.keep_rules.map_or(String::new(), |keep| {
        format!("; {keep} answers keep the rules, of the other {} the vote counts", voted.samples - keep)
    });
    format!(
        "exact accuracy {exact} ({count} of {labelled}) by {votes} rollouts and the rule {select} ({alone} by the first \
         alone, {any} by any), accuracy {accuracy}{valid}\n{}",
        lost_text(voted.lost)
    )
}

/// A line about rollouts without a vote, if there are any.
pub(super) fn lost_text(lost: usize) -> String {
    match lost {
        0 => String::new(),
        _ => format!("{lost} rollouts are lost, of which the model made NaN, and have no vote\n"),
    }
}

fn text(summary: &Summary) -> String {
    let mut text = format!("{} samples in {:.1} s", summary.samples, summary.seconds);
    if let Some(measured) = &summary.measured {
        text += &format!(": {}\n\n", describe(&measured.metrics));
        let mut table = Table::new(["step", "exact accuracy", "accuracy", "halted"]);
        for at in &measured.by_step {
            let shares = [at.exact_accuracy, at.accuracy, at.halted].map(percent);
            table.row([at.step.to_string()].into_iter().chain(shares));
        }
        text += &table.to_string();
    }
    if let Some(voted) = &summary.voted {
        text += &format!(": {}", chosen(voted));
    }
    if let Some(Valid { valid, valid_accuracy }) = summary.valid {
        let share = percent(valid_accuracy);
        text += &format!(
            "\nvalid {share}: {valid} keep the rules as well as their labels, whichever cells differ\n"
        );
    }
    if let Some(swept) = &summary.sweep {
        text += &format!("\n{}", swept.text());
    }
    if let Some(Breakdown { by_list, by_clues }) = &summary.breakdown {
        if !by_list.is_empty() {
            text += &parts("list", by_list.iter().map(|part| (part.list.clone(), &part.share)));
        }
        text += &parts("clues", by_clues.iter().map(|part| (part.clues.to_string(), &part.share)));
    }
    if let Some(arc) = &summary.arc {
        let missing = arc.inputs_without_prediction;
        let passes = match arc.pass_at.is_empty() {
            true => "no solutions to compare with".into(),
            false => describe_passes(&arc.pass_at),
        };
        text += &format!("\n{} tasks: {passes}; {missing} test inputs without a prediction\n", arc.tasks);
        text += &lost_text(arc.lost);
        text += &format!("two attempts each: {}\n", arc.submission.display());
    }
    text
}
