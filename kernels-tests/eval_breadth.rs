//! Breadth at inference: rollouts that differ, the choice among them, and sweeps.

use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use trm::data::inspect::Kind;
use trm::data::{Batch, Dataset, Split, TestBatches, sudoku};
use trm::engine::Device;
use trm::eval::vote::{self, Sweep, Voted};
use trm::eval::{Breadth, Evaluator, Question, Select, Selection, Solution, Solver};
use trm::model::init::Weights;
use trm::model::{ModelConfig, Params};

use crate::eval_roll::{SAMPLES, mazes, model};
use crate::harness::{Needs, on_each};

type Outcome = std::result::Result<(), Failed>;
type Test = fn(&Device) -> Outcome;

/// This file's tests.
pub fn tests() -> Vec<Trial> {
    let both = on_each("eval_breadth::rollouts_differ_and_repeat", Needs::Adapter, rollouts);
    // Of these the host has all to do.
    let host: [(&str, Test); 7] = [
        ("variants_vote", votes),
        ("the_first_rollout_is_the_plain_answer", plain),
        ("sweeps_are_parts_of_one_run", sweeps),
        ("settled_answers_end", settled),
        ("what_a_model_draws_sets_rollouts_apart", own_draws),
        ("a_rollout_of_nan_is_lost", lost),
        ("what_makes_no_sense_is_refused", refused),
    ];
    let alone = |(name, test): (&str, Test)| {
        Trial::test(format!("eval_breadth::{name}"), move || test(&Device::cpu()))
    };
    both.into_iter().chain(host.into_iter().map(alone)).collect()
}

type Model = (ModelConfig, Weights);

fn check(what: &str, right: bool) -> Outcome {
    if right { Ok(()) } else { Err(what.into()) }
}

fn evaluator(
    device: &Device,
    (config, weights): &Model,
    batch: usize,
    breadth: Breadth,
) -> trm::Result<Evaluator> {
    let mut evaluator = Evaluator::with(config, device, batch, breadth)?;
    evaluator.load(weights)?;
    Ok(evaluator)
}

fn voted(device: &Device, model: &Model, dataset: &Arc<Dataset>, breadth: Breadth) -> trm::Result<Voted> {
    let mut evaluator = evaluator(device, model, 5, breadth)?;
    vote::evaluate(&mut evaluator, dataset, &Selection::all(dataset), |_| {})
}

fn augmented(augment: usize, seed: u64) -> Breadth {
    Breadth { rollouts: 1 + augment, augment, seed, ..Breadth::default() }
}

fn votes(device: &Device) -> Outcome {
    let (_folder, dataset) = mazes()?;
    let model = model(&dataset, true)?;
    let alone = evaluator(device, &model, 5, Breadth::default())?.evaluate(dataset.clone(), |_| {})?;
    let one = voted(device, &model, &dataset, augmented(0, 0))?;
    check("one vote is the answer itself", (one.accuracy - alone.accuracy).abs() < 1e-12)?;
    let eight = voted(device, &model, &dataset, augmented(7, 0))?;
    check("votes are missing", eight.votes == 8 && eight.labelled == SAMPLES)?;
    check("steps are missing", (eight.steps - 48.0).abs() < 1e-12)?;
    let refused = voted(device, &model, &dataset, augmented(8, 0)).err();
    let message = refused.map(|error| error.to_string()).unwrap_or_default();
    check(&message, message.starts_with("augment: 8, these mazes have 7 further symmetries"))?;
    sudoku_votes(device)
}

fn sudoku_votes(device: &Device) -> Outcome {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("data");
    sudoku::build_generated(
        &sudoku::GenerateOptions {
            out: out.clone(),
            size: 4,
            train: 1,
            test: 3,
            min_clues: None,
            max_clues: None,
            num_aug: 0,
            seed: 1,
        },
        &mut |_| {},
    )?;
    let dataset = Arc::new(Dataset::open(&out, Split::Test)?);
    let model = model(&dataset, true)?;
    let run = |seed| voted(device, &model, &dataset, Breadth { halt: true, ..augmented(4, seed) });
    let (first, again) = (run(1)?, run(1)?);
    check("the seed decides", first == again && first.votes == 5)?;
    let valid = Breadth { select: Select::Valid, ..augmented(4, 1) };
    check("nobody asked the rules", voted(device, &model, &dataset, valid)?.keep_rules.is_some())
}

/// The mazes as questions.
fn questions(dataset: &Arc<Dataset>) -> trm::Result<Vec<Question>> {
    let mut batches = TestBatches::new(dataset.clone(), 1);
    let mut one = Batch::new(1, dataset.metadata().seq_len);
    let mut all = Vec::new();
    while batches.next_batch(&mut one)? == 1 {
        let kind = Kind::of_dataset(dataset, &one.inputs, &one.labels);
        all.push(Question { kind, inputs: one.inputs.clone(), identifier: one.puzzle_identifiers[0] });
    }
    Ok(all)
}

fn solve(
    device: &Device,
    (config, weights): &Model,
    batch: usize,
    breadth: Breadth,
    questions: &[Question],
) -> trm::Result<Vec<Solution>> {
    Solver::with(config, weights, device, batch, breadth)?.solve_all(questions)
}

const NOISY: Breadth = Breadth {
    rollouts: 4,
    augment: 0,
    noise: 1.0,
    random_states: 0.0,
    select: Select::Vote,
    halt: false,
    settle: 0,
    steps: 0,
    seed: 3,
};

/// The same seed gives the same answers in any batch and any list; rollouts by noise or restarts do not all agree.
fn rollouts(device: &Device) -> Outcome {
    let (_folder, dataset) = mazes()?;
    let (model, mut questions) = (model(&dataset, false)?, questions(&dataset)?);
    questions.truncate(3);
    for (name, breadth) in [
        ("noise", NOISY),
        ("restarts", Breadth { noise: 0.0, random_states: 1.0, ..NOISY }),
        ("all", Breadth { random_states: 1.0, augment: 1, select: Select::Residual, ..NOISY }),
    ] {
        let wide = solve(device, &model, 7, breadth, &questions)?;
        let backwards: Vec<Question> = questions.iter().rev().cloned().collect();
        let mut narrow = solve(device, &model, 2, breadth, &backwards)?;
        narrow.reverse();
        check(&format!("{name}: the batch or the list decides"), wide == narrow)?;
        let votes = |all: &[Solution]| -> Vec<usize> {
            all.iter().filter_map(|one| one.elected.as_ref()).map(|elected| elected.votes).collect()
        };
        check(&format!("{name}: rollouts agree"), votes(&wide).iter().any(|&votes| votes < 4))?;
        let other = solve(device, &model, 7, Breadth { seed: 4, ..breadth }, &questions)?;
        check(&format!("{name}: the seed does nothing"), other != wide)?;
    }
    Ok(())
}

/// A model that starts from random states needs no noise to have rollouts that differ.
fn own_draws(device: &Device) -> Outcome {
    let (_folder, dataset) = mazes()?;
    let (mut model, questions) = (model(&dataset, true)?, questions(&dataset)?);
    model.0.arch.random_init = 1.0;
    let breadth = Breadth { noise: 0.0, ..NOISY };
    let wide = solve(device, &model, 5, breadth, &questions)?;
    check("the batch decides", solve(device, &model, 3, breadth, &questions)? == wide)?;
    let agree = |one: &Solution| one.elected.as_ref().is_some_and(|elected| elected.votes == 4);
    check("rollouts agree", !wide.iter().all(agree))
}

/// Whatever the others do, the first rollout thinks as one alone does.
fn plain(device: &Device) -> Outcome {
    let (_folder, dataset) = mazes()?;
    let (model, questions) = (model(&dataset, true)?, questions(&dataset)?);
    let alone = solve(device, &model, 4, Breadth::default(), &questions)?;
    let many = solve(device, &model, 4, Breadth { random_states: 0.5, ..NOISY }, &questions)?;
    check("a choice of one", alone.iter().all(|one| one.elected.is_none()))?;
    let same = alone.iter().zip(&many).all(|(one, many)| one.thoughts == many.thoughts);
    check("the first rollout is disturbed", same)?;
    check(
        "nothing was chosen",
        many.iter().all(|one| one.elected.as_ref().is_some_and(|choice| choice.of == 4)),
    )
}

/// Each cell of a sweep is what a run of its own finds.
fn sweeps(device: &Device) -> Outcome {
    let (_folder, dataset) = mazes()?;
    let mut model = model(&dataset, true)?;
    let all = Selection::all(&dataset);
    let breadth = Breadth { select: Select::Residual, ..NOISY };
    let sweep = Sweep { rollouts: vec![1, 2, 4], steps: vec![2, 6] };
    let cells = vote::sweep(&mut evaluator(device, &model, 5, breadth)?, &sweep, &dataset, &all, |_| {})?;
    let places: Vec<_> = cells.iter().map(|cell| (cell.rollouts, cell.steps)).collect();
    check("cells are missing", places == [(1, 2), (1, 6), (2, 2), (2, 6), (4, 2), (4, 6)])?;
    for cell in &cells {
        model.0.arch.halt_max_steps = cell.steps;
        check("rules are missing", cell.by.len() == 4)?;
        let expected = (cell.rollouts * cell.steps) as f64;
        check("steps do not add up", (cell.steps_taken - expected).abs() < 1e-12)?;
        for (&select, swept) in &cell.by {
            let noise = if cell.rollouts == 1 { 0.0 } else { breadth.noise };
            let own = Breadth { rollouts: cell.rollouts, noise, select, ..breadth };
            let own = voted(device, &model, &dataset, own)?;
            check(&format!("{own:?} against {swept:?}"), own == *swept)?;
            check("more than any", swept.exact_accuracy <= swept.exact_accuracy_any)?;
        }
    }
    Ok(())
}

/// A rollout ends at the first step at which its answer stayed the same for so many.
fn settled(device: &Device) -> Outcome {
    let (_folder, dataset) = mazes()?;
    let (mut model, questions) = (model(&dataset, true)?, questions(&dataset)?);
    // Blocks that add nothing: the states come to rest.
    for param in Params::of(&model.0).table.iter().filter(|param| param.name.ends_with("down_proj.weight")) {
        model.1.get_mut(param).iter_mut().for_each(|weight| *weight = 0.0);
    }
    let all = solve(device, &model, 3, Breadth::default(), &questions)?;
    let ended = solve(device, &model, 3, Breadth { settle: 2, ..Breadth::default() }, &questions)?;
    let mut early = 0;
    for (all, ended) in all.iter().zip(&ended) {
        let same = |step: usize| {
            step >= 2
                && all.thoughts[step - 2..=step]
                    .iter()
                    .all(|thought| thought.answer == all.thoughts[step].answer)
        };
        let steps = (0..6).find(|&step| same(step)).map_or(6, |step| step + 1);
        check("ends elsewhere", ended.thoughts == all.thoughts[..steps])?;
        early += usize::from(steps < 6);
    }
    check("none settles early: the test shows nothing", early > 0)
}

/// Noise beyond all numbers costs the rollouts that it disturbs, and not the puzzle.
fn lost(device: &Device) -> Outcome {
    let (_folder, dataset) = mazes()?;
    let mut model = model(&dataset, true)?;
    let breadth = Breadth { noise: 3e38, ..NOISY };
    let alone = voted(device, &model, &dataset, Breadth::default())?;
    let found = voted(device, &model, &dataset, breadth)?;
    check(&format!("{found:?}"), found.lost == 3 * SAMPLES && found.labelled == SAMPLES)?;
    check("the first rollout counts", found.exact == alone.exact && found.accuracy == alone.accuracy)?;
    let solved = solve(device, &model, 5, breadth, &questions(&dataset)?)?;
    let left = |one: &Solution| {
        one.elected.as_ref().is_some_and(|elected| (elected.votes, elected.of, elected.lost) == (1, 4, 3))
    };
    check("lost rollouts are not told", solved.iter().all(left))?;
    let bias = Params::of(&model.0).get("q_head.bias").ok_or("no bias")?.clone();
    model.1.get_mut(&bias).fill(f32::NAN);
    let said =
        voted(device, &model, &dataset, breadth).err().map(|error| error.to_string()).unwrap_or_default();
    check(&said, said.starts_with("q_halt of all rollouts: NaN"))
}

fn refused(device: &Device) -> Outcome {
    let (_folder, dataset) = mazes()?;
    let model = model(&dataset, true)?;
    for (breadth, beginning) in [
        (Breadth { rollouts: 3, ..Breadth::default() }, "rollouts: 3, of which 1 would be different"),
        (Breadth { augment: 1, ..NOISY }, ""),
        (Breadth { noise: 0.0, augment: 1, ..NOISY }, "rollouts: 4, of which 2 would be different"),
        (Breadth { rollouts: 1, ..NOISY }, "rollouts: there is one"),
        (Breadth { rollouts: 0, ..NOISY }, "rollouts: 0"),
        (Breadth { noise: -1.0, ..NOISY }, "noise: -1"),
        (Breadth { random_states: f32::NAN, ..NOISY }, "random_states: NaN"),
    ] {
        let said = evaluator(device, &model, 2, breadth).err().map(|error| error.to_string());
        let said = said.unwrap_or_default();
        check(
            &format!("{breadth:?}: {said}"),
            said.starts_with(beginning) && said.is_empty() == beginning.is_empty(),
        )?;
    }
    let mut other = questions(&dataset)?;
    other.truncate(1);
    other[0].kind = Kind::Other;
    let said = solve(device, &model, 2, Breadth { select: Select::Valid, ..NOISY }, &other).err();
    let said = said.map(|error| error.to_string()).unwrap_or_default();
    check(&said, said.starts_with("select: valid, but these are neither"))
}
