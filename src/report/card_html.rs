//! The card of a device as one HTML page: nothing outside it is needed to read it, on paper, a phone or a dark screen.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::describe;
use super::html::{bar, escaped, page, table};
use crate::bench::Measurement;
use crate::bench::card::{Card, Kernels, Part, Step, Training};
use crate::eval::verify::Report;
use crate::text::BinaryBytes;

/// Dispatches shown of each step.
const SHOWN: usize = 12;

/// Numbers are told apart by their ends.
const STYLE: &str = "th,td{text-align:right;white-space:nowrap}th:first-child,td:first-child{text-align:left}\
td:first-child{white-space:normal;min-width:9em}";

/// The page.
pub fn card_html(card: &Card) -> String {
    let verdict = match card.ok {
        true => String::new(),
        false => "<p class=bad>Something failed: see below.</p>".to_owned(),
    };
    let body = [
        facts(card),
        verdict,
        part("Limits", &card.roofline, |limits| limits_table(limits, &card.roofline_again.measured)),
        clocks(card),
        part("Agreement with the published model", &card.verify, agreement),
        part("Supervision steps", &card.steps, steps),
        part("Kernels of training steps", &card.kernels, kernels),
        part("A short training", &card.training, trainings),
    ];
    page(&card.device.name, STYLE, &body.concat())
}

fn percent(share: Option<f64>) -> String {
    share
        .filter(|share| share.is_finite())
        .map_or_else(|| "-".into(), |share| format!("{:.0} %", 100.0 * share))
}

/// A heading, what was found, and what was not.
fn part<T>(title: &str, part: &Part<T>, body: impl FnOnce(&[T]) -> String) -> String {
    let body = if part.measured.is_empty() { String::new() } else { body(&part.measured) };
    let lines = |lines: &[String]| lines.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("<br>");
    let faults = match part.faults.is_empty() {
        true => String::new(),
        false => format!("<p class=bad>Failed: {}</p>\n", lines(&part.faults)),
    };
    let left_out = match part.left_out.len() {
        0 => String::new(),
        count => {
            let lines = lines(&part.left_out);
            format!("<details class=dim><summary>left out: {count}</summary>{lines}</details>\n")
        }
    };
    format!("<h2>{title} <span class=dim>{:.0} s</span></h2>\n{body}{faults}{left_out}", part.seconds)
}

fn facts(card: &Card) -> String {
    let device = &card.device;
    let bytes = |limit: Option<u64>| limit.map(|limit| BinaryBytes(limit).to_string());
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let rows = [
        ("kind", known(&[device.kind.as_str(), &device.backend].join(" "))),
        ("driver", known(&device.driver)),
        ("system", known(&card.system)),
        ("largest binding", bytes(device.max_binding_bytes)),
        ("largest buffer", bytes(device.max_buffer_bytes)),
        ("shared memory of a workgroup", bytes(device.max_shared_bytes.map(u64::from))),
        ("matrix units", card.matrices.clone()),
        ("activations", Some(card.storage.clone())),
        ("trm", known(&[card.version, &card.commit].join(" "))),
        ("measured in", Some(format!("{:.0} s of {:.0}", card.seconds, card.budget_seconds))),
    ];
    let rows = rows.into_iter().filter_map(|(name, value)| Some(vec![name.into(), escaped(&value?)]));
    table(&["", ""], rows)
}

fn rate(one: &Measurement) -> f64 {
    one.gflops.max(one.gbytes)
}

fn limits_table(limits: &[Measurement], again: &[Measurement]) -> String {
    let row = |one: &Measurement| {
        let (what, rate_of) = match one.key.rsplit('/').next() {
            Some("copy") => ("bytes read or written", format!("{:.0} GB/s", one.gbytes)),
            Some("matrices") => ("multiply-adds of matrix units, f16", flops(one)),
            _ => ("multiply-adds, f32", flops(one)),
        };
        let again = again.iter().find(|other| other.key == one.key);
        vec![what.into(), rate_of, percent(again.map(|other| rate(other) / rate(one)))]
    };
    table(&["limit", "rate", "the same at the end"], limits.iter().map(row))
}

fn flops(one: &Measurement) -> String {
    match one.gflops {
        small if small < 1e3 => format!("{small:.0} GFLOP/s"),
        large => format!("{:.1} TFLOP/s", 1e-3 * large),
    }
}

/// What the times are worth.
fn clocks(card: &Card) -> String {
    let pairs = card.roofline.measured.iter().zip(&card.roofline_again.measured);
    let differs = pairs.filter(|(one, other)| (rate(other) / rate(one) - 1.0).abs() > 0.1).count();
    let warning = match (differs, card.roofline_again.measured.is_empty()) {
        (_, true) => "They were not measured again at the end, so that nothing is known of its steadiness.",
        (0, _) => "Measured again at the end they were the same within a tenth.",
        _ => {
            "<span class=bad>Measured again at the end they differed by more than a tenth: the clock was not steady, \
             or something else was running.</span>"
        }
    };
    format!(
        "<p class=dim>A resting GPU runs at a fraction of its clock: everything was compiled first, and the device kept \
         busy for 0.3 s with the very work before it was timed. Times are the best of several. Heat, power limits and \
         other programs still show. {warning}</p>\n"
    )
}

fn agreement(reports: &[Report]) -> String {
    let row = |report: &Report| {
        let worst = |wanted: &str| {
            let found = report.cases.iter().filter_map(|case| case.worst.get(wanted)).copied();
            found.reduce(f64::max).map_or_else(|| "-".into(), |worst| format!("{worst:.0e}"))
        };
        let right = report.cases.iter().filter(|case| case.ok).count();
        let verdict = format!("{right} of {}", report.cases.len());
        let verdict = if report.ok { verdict } else { format!("<span class=bad>{verdict}</span>") };
        let excused = report.cases.iter().filter(|case| !case.ill_conditioned.is_empty()).count();
        let errors = ["loss", "grads", "weights"].map(worst);
        [report.precision.to_string(), verdict, excused.to_string()].into_iter().chain(errors).collect()
    };
    let titles =
        ["precision", "models right", "of them ill-conditioned", "worst loss", "gradients", "weights (NMSE)"];
    table(&titles, reports.iter().map(row))
}

/// A table for each recipe.
fn steps(steps: &[Step]) -> String {
    let mut recipes: Vec<&str> = Vec::new();
    let mut best = BTreeMap::<(&str, &str), f64>::new();
    for step in steps {
        if !recipes.contains(&step.recipe.as_str()) {
            recipes.push(&step.recipe);
        }
        let best = best.entry((&step.recipe, step.mode)).or_default();
        *best = best.max(step.samples_per_s);
    }
    let row = |step: &&Step| {
        let most = best[&(step.recipe.as_str(), step.mode)];
        vec![
            format!("B {} {} {}", step.batch, step.mode, step.measured.origin.precision),
            format!("{:.2}", 1e3 * step.measured.seconds),
            format!("{:.*}", usize::from(step.samples_per_s < 100.0), step.samples_per_s),
            bar(step.samples_per_s / most),
            flops(&step.measured),
            percent(step.measured.roofline_share),
        ]
    };
    let titles = ["step", "ms", "samples/s", "", "rate", "of the limits"];
    let section = |recipe: &str| {
        let mut steps: Vec<&Step> = steps.iter().filter(|step| step.recipe == recipe).collect();
        steps.sort_by_key(|step| (step.mode, step.batch));
        format!("<h3>{recipe}</h3>\n{}", table(&titles, steps.iter().map(row)))
    };
    let sections: String = recipes.into_iter().map(section).collect();
    format!(
        "<p class=dim>Bars are samples per second beside the most of that kind of step. The last column is the time of a \
         step whose every dispatch runs at the limit that applies to it, over the time taken.</p>\n{sections}"
    )
}

fn kernels(all: &[Kernels]) -> String {
    let section = |of: &Kernels| {
        let time = |one: &Measurement| one.seconds * one.count as f64;
        let total: f64 = of.measured.iter().map(time).sum();
        let row = |one: &Measurement| {
            let name = one.key.rsplit('/').next().unwrap_or_default();
            let share = one.roofline_share;
            vec![
                escaped(name),
                one.count.to_string(),
                format!("{:.2}", 1e3 * time(one)),
                percent(Some(time(one) / total)),
                bar(time(one) / total),
                percent(share),
            ]
        };
        let titles = ["dispatch", "count", "ms of step", "share", "", "of its limit"];
        let rest = of.measured.len().saturating_sub(SHOWN);
        let rest = match rest {
            0 => String::new(),
            rest => format!("<p class=dim>and {rest} shorter ones</p>\n"),
        };
        let rows = table(&titles, of.measured.iter().take(SHOWN).map(row));
        format!("<h3>{}, B {}, {}</h3>\n{rows}{rest}", of.recipe, of.batch, of.precision)
    };
    let sections: String = all.iter().map(section).collect();
    format!(
        "<p class=dim>Limits are multiply-adds in f32, those of matrix units where the dispatch uses them, or traffic. More \
         than 100 %: small tensors lie in caches, and some processors multiply pairs of bfloat16 faster.</p>\n{sections}"
    )
}

fn trainings(all: &[Training]) -> String {
    let row = |one: &Training| {
        let of = if one.steps < one.total_steps { " (the time was over)" } else { "" };
        let test = one.test.as_ref().zip(one.test_step);
        let test = test.map(|(test, step)| format!("after {step} steps: {}", describe(test)));
        let test = test.unwrap_or_else(|| "not evaluated".into());
        let cells: [&dyn Display; 3] = [&one.skipped_steps, &format!("{:.0}", one.samples_per_s), &test];
        let first = format!("{}, {}", one.recipe, one.precision);
        let steps = format!("{} of {}{of}", one.steps, one.total_steps);
        let own = [first, steps, format!("{:.1}", one.seconds), format!("{:.3}", one.loss)];
        own.into_iter().chain(cells.map(|cell| cell.to_string())).collect()
    };
    let titles = ["run", "steps", "s", "last loss", "steps skipped", "samples/s", "puzzles never seen"];
    table(&titles, all.iter().map(row))
}
