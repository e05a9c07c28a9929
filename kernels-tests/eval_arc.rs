//! ARC end to end with hand-made tasks: data, answers, votes, submission and report.

use std::fs;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use trm::data::arc::{Identifiers, OnDuplicate, Options, build};
use trm::data::{Dataset, OnInvalid, Split};
use trm::engine::Device;
use trm::eval::arc::{self, ArcEvaluation};
use trm::eval::{Breadth, Evaluator, Pace};
use trm::model::init::Weights;
use trm::recipe::Recipe;
use trm::report::{Progress, write_arc_html};
use trm::train::{RunOptions, run};

use crate::data_arc::{Source, challenges};
use crate::harness::{Needs, on_each};

type Outcome = std::result::Result<(), Failed>;

/// This file's tests.
pub fn tests() -> Vec<Trial> {
    let whole = on_each("eval_arc::every_augmented_input_votes", Needs::Adapter, end_to_end);
    let trained = Trial::test("eval_arc::a_training_votes", || training_votes(&Device::cpu()));
    whole.into_iter().chain([trained]).collect()
}

fn check(what: &str, right: bool) -> Outcome {
    if right { Ok(()) } else { Err(what.into()) }
}

/// A model of random weights: what it answers is nonsense, but every answer must be counted.
fn end_to_end(device: &Device) -> Outcome {
    let folder = tempfile::tempdir()?;
    let (train, evaluation) = challenges();
    let prefix = folder.path().join("arc-agi");
    for (subset, tasks) in [("training", train), ("evaluation", evaluation)] {
        let path = folder.path().join(format!("arc-agi_{subset}_challenges.json"));
        fs::write(path, serde_json::to_vec(&tasks)?)?;
    }
    let data = folder.path().join("data");
    let summary = build(
        &Options {
            out: data.clone(),
            input_file_prefix: prefix.to_string_lossy().into_owned(),
            subsets: vec!["training".into(), "evaluation".into()],
            test_set_names: vec!["evaluation".into()],
            num_aug: 3,
            on_duplicate: OnDuplicate::Error,
            identifiers: Identifiers::Own,
            on_invalid: OnInvalid::Error,
            seed: 1,
        },
        &mut |_, _| {},
    )?;
    let dataset = Dataset::open(&data, Split::Test)?;
    let config = recipe(&[])?.model(&dataset)?;
    let mut evaluator = Evaluator::new(&config, device, 3)?;

    let mut told = Vec::new();
    let pace = Pace { every_step: true, ..Pace::default() };
    let mut ask = |others: &[Weights]| -> trm::Result<ArcEvaluation> {
        evaluator.load(&Weights::fresh(&config, 2))?;
        told.clear();
        arc::evaluate(&mut evaluator, others, pace, &data, &mut |_| Ok(()), |samples| told.push(samples))
    };
    let several = ask(&[Weights::fresh(&config, 3)])?;
    let found = ask(&[])?;
    let (alone, all) = (&found.score.tasks[0].inputs[0], &several.score.tasks[0].inputs[0]);
    check("votes of others", all.votes == 2 * alone.votes && all.distinct >= alone.distinct)?;
    check("metrics of others", several.evaluation == found.evaluation)?;
    check("examples", dataset.examples() == 2 * summary.test.total_puzzles)?;
    // Three samples have done one of their two steps.
    check("progress", told[0] == 1.5 && told.is_sorted())?;
    check("the end of progress", told.last() == Some(&(dataset.examples() as f64)))?;
    let [task] = &found.score.tasks[..] else { return Err("expected one task".into()) };
    check("votes are missing", task.inputs.iter().all(|input| input.votes == 4))?;
    check("pass@K is missing", found.score.pass_at.len() == 6)?;
    check("steps are missing", found.evaluation.is_some_and(|found| found.by_step.len() == 2))?;

    // The answer chosen among the rollouts of an input is one vote.
    let breadth = Breadth { rollouts: 3, noise: 1.0, ..Breadth::default() };
    let mut evaluator = Evaluator::with(&config, device, 4, breadth)?;
    evaluator.load(&Weights::fresh(&config, 2))?;
    let mut done = 0.0;
    let wide = arc::evaluate(&mut evaluator, &[], pace, &data, &mut |_| Ok(()), |samples| done = samples)?;
    check("votes of rollouts", wide.score.tasks[0].inputs.iter().all(|input| input.votes == 4))?;
    check("the end of rollouts", wide.evaluation.is_none() && done == dataset.examples() as f64)?;

    // One that is stopped says how many inputs it is done with.
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    evaluator.stop_when(stop.clone());
    let halt = |_| stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let some = arc::evaluate(&mut evaluator, &[], pace, &data, &mut |_| Ok(()), halt)?;
    check("all are counted", wide.samples == dataset.examples() && found.samples == wide.samples)?;
    check("those that were not done are counted", some.samples == 1)?;

    let submission = folder.path().join("submission.json");
    found.score.write_submission(&submission)?;
    let submitted: Value = serde_json::from_slice(&fs::read(submission)?)?;
    check("attempts", submitted["swap"].as_array().is_some_and(|inputs| inputs.len() == 2))?;
    let html = folder.path().join("report.html");
    write_arc_html(&html, "a <small> model", &found.score)?;
    let text = fs::read_to_string(html)?;
    check("the title is escaped", text.contains("<h1>a &lt;small&gt; model</h1>"))?;
    check("drawings are missing", text.matches("<svg").count() >= 6)
}

fn recipe(more: &[&str]) -> trm::Result<Recipe> {
    let small = [
        "arch.hidden_size=8",
        "arch.num_heads=1",
        "arch.halt_max_steps=2",
        "arch.H_cycles=1",
        "arch.L_cycles=1",
        "arch.L_layers=1",
        "arch.puzzle_emb_ndim=8",
        "arch.puzzle_emb_len=1",
    ];
    let sets: Vec<String> = small.iter().chain(more).map(|set| (*set).to_owned()).collect();
    Recipe::load("arc1", &sets)
}

/// Each evaluation of a training says pass@K, and leaves a submission; without solutions, it trains all the same.
fn training_votes(device: &Device) -> Outcome {
    for solved in [true, false] {
        let source = Source::new();
        if !solved {
            source.remove("p_evaluation_solutions.json");
        }
        let options = source.options(2);
        build(&options, &mut |_, _| {})?;
        let recipe = recipe(&[
            "train.global_batch_size=4",
            "train.epochs=4",
            "train.eval_interval=2",
            "train.eval_examples=0",
            "train.precision=f32",
        ])?;
        let run_folder = tempfile::tempdir()?;
        let out = run_folder.path().join("run");
        let mut progress = Progress::new(&out, || false);
        let outcome = run(RunOptions::new(&recipe, &options.out, &out, device), &mut progress)?;
        check("the run did not end", outcome.finished)?;
        let log = fs::read_to_string(out.join("metrics.jsonl"))?;
        let lines = log.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let tested: Vec<&Value> = lines.iter().filter(|line| line["split"] == "test").collect();
        check("evaluations", tested.len() == 2)?;
        check("pass@K", tested.iter().all(|line| line["pass_at"]["1000"].is_number() == solved))?;
        check("accuracy without labels", tested.iter().all(|line| line["accuracy"].is_number() == solved))?;
        let submitted: Value = serde_json::from_slice(&fs::read(out.join("submission.json"))?)?;
        check("submission", submitted.as_object().is_some_and(|tasks| !tasks.is_empty()))?;
    }
    Ok(())
}
