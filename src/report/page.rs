//! Trainings as one HTML page: nothing outside it is needed to read it, on a light screen or a dark one.

use std::collections::BTreeSet;

use super::History;
use super::axis::short;
use super::curves::{Chart, Kind};
use super::draw::{Board, Panel, panel_svg};
use super::history::of_step;
use super::html::{bar, escaped, page, records, table};
use super::past_sessions::PastSession;
use crate::bench::Measurement;
use crate::data::IGNORE_LABEL;
use crate::train::{Sample, Samples};

/// Letters of charts stay as large as the page's, whatever the width; pictures of puzzles are as their own files.
const STYLE: &str = "\
.chart{padding:.6em 1em 3em 3.8em}.chart>svg{width:100%;height:clamp(12em,28vw,17em);display:block}\
.chart svg{overflow:visible}.chart text{fill:var(--dim);font-size:12px}.chart line{stroke:var(--line)}\
.chart polyline{fill:none;stroke:currentColor;stroke-width:1.6;stroke-linejoin:round;vector-effect:non-scaling-stroke}\
.chart circle{fill:currentColor}\
.panels{display:flex;align-items:flex-start;gap:.5em;margin:.2em 0 1em}.panels svg{max-width:100%;height:auto}\
@media(max-width:600px){.panels:not(.small){flex-wrap:wrap}}\
.run{display:flex;gap:.4em}.runs{display:flex;flex-wrap:wrap;gap:0 1.2em}\
i{flex:none;width:1.4em;border-top:3px solid;margin-top:.6em}";

/// Kernels that are shown one by one.
const KERNELS: usize = 16;

/// Pixels of a picture that can be read on a phone beside two others.
const SMALL: usize = 220;

/// Hues of neighbours differ most.
const GOLDEN_ANGLE: f64 = 137.508;

/// The page on `runs`: their curves over each other, what sets their recipes apart, their sessions, and what could not
/// be read.
pub fn runs_html(runs: &[History]) -> String {
    let title = runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>().join(", ");
    let kinds: BTreeSet<Kind> = runs.iter().flat_map(|run| run.curves.keys().copied()).collect();
    let chart = |kind: &Kind| {
        let chart = Chart::of(runs, *kind)?;
        Some(format!("<h2>{}</h2>\n{}{chart}", escaped(&kind.title()), legend(&chart)))
    };
    let charts: String = kinds.iter().filter_map(chart).collect();
    let hue = |place: usize| (215.0 + GOLDEN_ANGLE * place as f64) % 360.0;
    // Curves that lie on each other are seen through the gaps of those above.
    let gap = |place: usize| 5 * (place % 3);
    let colours = (0..runs.len()).map(|place| {
        let (hue, gap) = (hue(place), gap(place));
        format!(".c{place}{{color:hsl({hue:.0} 70% var(--light));stroke-dasharray:10 {gap}}}")
    });
    let style = std::iter::once(STYLE.to_owned()).chain(colours).collect::<String>();
    let body =
        [overview(runs), charts, samples(runs), kernels(runs), recipes(runs), sessions(runs), notes(runs)]
            .concat();
    page(&title, &style, &body)
}

/// Which colour is whose, where there are several.
fn legend(chart: &Chart<'_>) -> String {
    let names: Vec<String> = chart.runs().map(|(place, name)| coloured(place, name)).collect();
    if names.len() > 1 { format!("<div class=runs>{}</div>\n", names.concat()) } else { String::new() }
}

fn coloured(place: usize, name: &str) -> String {
    format!("<span class=run><i class=c{place}></i>{}</span>", escaped(name))
}

/// Which colour is whose, and how far it came.
fn overview(runs: &[History]) -> String {
    let rows = runs.iter().enumerate().map(|(place, run)| {
        let best = run
            .best
            .map_or_else(|| "-".into(), |(step, share)| format!("{:.2} % after {step} steps", 100.0 * share));
        vec![coloured(place, &run.name), run.steps.to_string(), best]
    });
    table(&["run", "training steps", "best test exact accuracy"], rows)
}

/// What the models made of a few test samples at their last evaluations.
fn samples(runs: &[History]) -> String {
    let drawn: String = runs
        .iter()
        .filter_map(|run| Some((run, run.samples.as_ref()?)))
        .map(|(run, samples)| {
            let drawn: String = samples.samples.iter().map(|sample| panels(samples, sample)).collect();
            format!("<h3>{}, after {} training steps</h3>\n{drawn}", escaped(&run.name), samples.step)
        })
        .collect();
    if drawn.is_empty() { drawn } else { format!("<h2>Test samples at the last evaluation</h2>\n{drawn}") }
}

/// Given, answered with the wrong cells marked, and the label.
fn panels(Samples { kind, words, .. }: &Samples, Sample { inputs, labels, answer }: &Sample) -> String {
    let asked = |cell: usize| labels.get(cell).is_some_and(|label| *label != IGNORE_LABEL);
    // What has no label is nobody's answer.
    let labelled = |tokens: &[i32]| -> Vec<i32> {
        tokens.iter().enumerate().map(|(cell, token)| if asked(cell) { *token } else { 0 }).collect()
    };
    let (answer, label) = (labelled(answer), labelled(labels));
    let wrong = answer.iter().zip(&label).filter(|(found, label)| found != label).count();
    let all = (0..labels.len()).filter(|cell| asked(*cell)).count();
    let verdict = if wrong == 0 { "right".to_owned() } else { format!("wrong in {wrong} of {all} cells") };
    let panel = |caption: &str, previous: &[i32], tokens: &[i32]| Panel {
        caption: caption.to_owned(),
        board: Board::of(*kind, words.as_ref(), inputs, previous, tokens),
    };
    let panels =
        [panel("given", inputs, inputs), panel("answer", &label, &answer), panel("label", &label, &label)];
    let class = if panels.iter().all(|panel| panel.width() <= SMALL) { "panels small" } else { "panels" };
    // HTML knows the name of the language.
    let drawn = panels.map(|panel| panel_svg(&panel).replace(" xmlns=\"http://www.w3.org/2000/svg\"", ""));
    format!("<p>{verdict}\n<div class='{class}'>{}</div>\n", drawn.concat())
}

/// Where the time of a step goes, of runs whose folder holds a measurement.
fn kernels(runs: &[History]) -> String {
    let drawn: String = runs
        .iter()
        .filter(|run| !run.kernels.is_empty())
        .map(|run| {
            let (shown, rest) = run.kernels.split_at(run.kernels.len().min(KERNELS));
            // The words before the last slash are those of the whole measurement.
            let name = |kernel: &Measurement| kernel.key.rsplit('/').next().unwrap_or_default().to_owned();
            let mut rows: Vec<(String, f64)> =
                shown.iter().map(|kernel| (name(kernel), of_step(kernel))).collect();
            if !rest.is_empty() {
                rows.push((format!("{} others", rest.len()), rest.iter().map(of_step).sum()));
            }
            let longest = rows.iter().map(|row| row.1).fold(f64::MIN_POSITIVE, f64::max);
            let rows = rows.into_iter().map(|(name, seconds)| {
                vec![escaped(&name), format!("{:.3}", 1e3 * seconds), bar(seconds / longest)]
            });
            format!("<h3>{}</h3>\n{}", escaped(&run.name), table(&["kernel", "ms", ""], rows))
        })
        .collect();
    if drawn.is_empty() { drawn } else { format!("<h2>Time of a step by kernel</h2>\n{drawn}") }
}

/// Keys whose values differ, and all of them to unfold.
fn recipes(runs: &[History]) -> String {
    let known: Vec<&History> = runs.iter().filter(|run| !run.recipe.is_empty()).collect();
    let keys: BTreeSet<&String> = known.iter().flat_map(|run| run.recipe.keys()).collect();
    let titles: Vec<String> =
        ["key".to_owned()].into_iter().chain(known.iter().map(|run| escaped(&run.name))).collect();
    let row = |key: &&String| {
        let values =
            known.iter().map(|run| run.recipe.get(*key).map_or_else(|| "-".into(), |value| escaped(value)));
        [escaped(key)].into_iter().chain(values).collect::<Vec<String>>()
    };
    let (same, different): (Vec<Vec<String>>, Vec<_>) =
        keys.iter().map(row).partition(|row| row.windows(2).skip(1).all(|pair| pair[0] == pair[1]));
    let differences = match (known.len(), different.is_empty()) {
        (0, _) => return String::new(),
        (1, _) => String::new(),
        (_, true) => "<p>They are the same.</p>\n".to_owned(),
        (2, _) => table(&titles, different),
        _ => records(&titles, different),
    };
    let shared = same.into_iter().map(|row| row.into_iter().take(2).collect());
    let (heading, summary) = match known.len() {
        1 => ("Recipe", "all of it"),
        _ => ("Recipes: what differs", "what is the same"),
    };
    let shared = table(&["key", "value"], shared);
    format!("<h2>{heading}</h2>\n{differences}<details><summary>{summary}</summary>{shared}</details>\n")
}

fn sessions(runs: &[History]) -> String {
    let of_run = |run: &History| -> Vec<Vec<String>> {
        let last = run.sessions.len().saturating_sub(1);
        let row = |(place, session)| session_row(run, session, place == last);
        run.sessions.iter().enumerate().map(row).collect()
    };
    let rows: Vec<Vec<String>> = runs.iter().flat_map(of_run).collect();
    if rows.is_empty() {
        return String::new();
    }
    let titles = ["run", "began", "trm", "device", "precision", "steps", "time", "samples/s", "ended"];
    format!("<h2>Sessions</h2>\n{}", records(&titles, rows))
}

fn session_row(run: &History, session: &PastSession, is_last: bool) -> Vec<String> {
    let (start, end) = (&session.start, session.end.as_ref());
    let device = match start.driver.is_empty() {
        true => start.device.clone(),
        false => format!("{} ({})", start.device, start.driver),
    };
    let unknown = || "-".to_owned();
    let unended = if is_last { "killed, or still at work" } else { "killed" };
    let cells = [
        run.name.clone(),
        start.time.clone(),
        format!("{} {}", start.trm, start.commit),
        device,
        start.precision.clone(),
        format!("{} to {}", start.step, end.map_or_else(|| "?".into(), |end| end.step.to_string())),
        end.map_or_else(unknown, |end| format!("{:.0} s", end.seconds)),
        session.samples_per_s().map_or_else(unknown, short),
        end.map_or_else(|| unended.into(), |end| end.ended.clone()),
    ];
    cells.iter().map(|cell| escaped(cell)).collect()
}

fn notes(runs: &[History]) -> String {
    let notes: String =
        runs.iter().flat_map(|run| &run.notes).map(|note| format!("<li>{}\n", escaped(note))).collect();
    if notes.is_empty() { notes } else { format!("<h2>Notes</h2>\n<ul class=dim>{notes}</ul>\n") }
}
