//! Puzzle embeddings in training: a split table trains as a whole one does, frozen weights stay, and saved weights
//! meet other puzzles.

use std::path::Path;
use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;
use trm::checkpoint;
use trm::data::{Dataset, Split, Vocabulary, Writer, write_identifiers};
use trm::engine::Device;
use trm::model::Which;
use trm::model::init::Weights;
use trm::plan::Target;
use trm::recipe::Recipe;
use trm::train::Trainer;

use crate::harness::{Needs, on_each};

type Outcome = std::result::Result<(), Failed>;
type Test = fn(&Device) -> Outcome;

/// This file's tests.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, Test); 4] = [
        ("a_split_table_trains_as_a_whole_one", split_table),
        ("a_state_moves_between_split_and_whole", state_moves),
        ("frozen_weights_stay", frozen),
        ("saved_weights_begin_a_run", init_from),
    ];
    let both =
        |(name, test): (&str, Test)| on_each(&format!("train_puzzle_emb::{name}"), Needs::Adapter, test);
    tests.into_iter().flat_map(both).collect()
}

const SEQ_LEN: usize = 5;

/// A data set of `identifiers` puzzles, two to a group, of one example each.
pub fn data(identifiers: usize) -> Result<(TempDir, Arc<Dataset>), Failed> {
    let folder = tempfile::tempdir()?;
    let mut writer = Writer::create(folder.path(), Split::Train, "all", SEQ_LEN)?;
    for identifier in 1..identifiers {
        let tokens: Vec<u8> = (0..SEQ_LEN).map(|at| 1 + ((identifier * (at + 3)) % 4) as u8).collect();
        let labels: Vec<u8> = tokens.iter().map(|token| 1 + (token + identifier as u8) % 4).collect();
        writer.example(&tokens, &labels)?;
        writer.end_puzzle(identifier as i32)?;
        if identifier % 2 == 0 || identifier + 1 == identifiers {
            writer.end_group()?;
        }
    }
    writer.finish(Vocabulary {
        pad_id: 0,
        ignore_label_id: Some(0),
        blank_identifier_id: 0,
        vocab_size: 5,
        num_puzzle_identifiers: identifiers,
    })?;
    let names: Vec<String> = (0..identifiers).map(|identifier| identifier.to_string()).collect();
    write_identifiers(folder.path(), names.iter().map(String::as_str))?;
    let dataset = Arc::new(Dataset::open(folder.path(), Split::Train)?);
    Ok((folder, dataset))
}

/// A small model with puzzle embeddings and a batch of 7, for 40 epochs.
pub fn recipe(sets: &[&str]) -> trm::Result<Recipe> {
    let small = [
        "arch.hidden_size=16",
        "arch.num_heads=2",
        "arch.mlp_t=false",
        "arch.pos_encodings=rope",
        "arch.puzzle_emb_ndim=24",
        "arch.puzzle_emb_len=2",
        "arch.halt_max_steps=3",
        "train.global_batch_size=7",
        "train.epochs=40",
        "train.eval_interval=40",
        "train.lr_warmup_steps=2",
        "train.puzzle_emb_lr=1e-2",
    ];
    let sets: Vec<String> = small.iter().chain(sets).map(|set| (*set).to_owned()).collect();
    Recipe::load("tiny-sudoku4", &sets)
}

/// Trains for `steps` steps.
fn steps(trainer: &mut Trainer, steps: usize) -> trm::Result<()> {
    for _ in 0..steps {
        trainer.step()?;
    }
    while trainer.metrics(true)?.is_some() {}
    Ok(())
}

/// A target whose bindings hold ten rows of 24 and a bit.
fn narrow(device: &Device) -> Target {
    Target { binding_bytes: 1024, ..device.target() }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn check(what: &str, right: bool) -> Outcome {
    if right { Ok(()) } else { Err(what.into()) }
}

fn split_table(device: &Device) -> Outcome {
    let (_folder, dataset) = data(41)?;
    let recipe = recipe(&[])?;
    let mut whole = Trainer::new(&recipe, dataset.clone(), device)?;
    let mut split = Trainer::laid_out_for(narrow(device), &recipe, dataset, device)?;
    steps(&mut whole, 25)?;
    steps(&mut split, 25)?;
    let (whole, split) = (whole.state()?, split.state()?);
    check("no embedding has moved", whole.buffers["puzzle_emb"].iter().any(|&word| word != 0))?;
    for (name, words) in &whole.buffers {
        check(&format!("{name} differs"), *words == split.buffers[name])?;
    }
    Ok(())
}

fn state_moves(device: &Device) -> Outcome {
    let (_folder, dataset) = data(41)?;
    let recipe = recipe(&[])?;
    let mut whole = Trainer::new(&recipe, dataset.clone(), device)?;
    steps(&mut whole, 9)?;
    let mut split = Trainer::laid_out_for(narrow(device), &recipe, dataset, device)?;
    split.restore(Path::new("state"), &whole.state()?)?;
    steps(&mut whole, 9)?;
    steps(&mut split, 9)?;
    check("the runs differ", whole.state()? == split.state()?)
}

fn frozen(device: &Device) -> Outcome {
    let (_folder, dataset) = data(12)?;
    let mut trainer = Trainer::new(&recipe(&["train.freeze_weights=true"])?, dataset, device)?;
    let before = trainer.state()?;
    steps(&mut trainer, 12)?;
    let after = trainer.state()?;
    for name in ["weights", "first_moment", "second_moment", "ema", "initial_states"] {
        check(&format!("{name} moved"), before.buffers[name] == after.buffers[name])?;
    }
    check("no embedding learnt", before.buffers["puzzle_emb"] != after.buffers["puzzle_emb"])?;
    let refused = recipe(&["train.freeze_weights=true", "arch.puzzle_emb_ndim=0", "arch.puzzle_emb_len=0"]);
    let message = refused.err().map(|error| error.to_string()).unwrap_or_default();
    check(&message, message.starts_with("train.freeze_weights: leaves nothing to learn"))
}

fn init_from(device: &Device) -> Outcome {
    let (_folder, dataset) = data(12)?;
    let (recipe, saved) = (recipe(&[])?, tempfile::tempdir()?);
    let mut first = Trainer::new(&recipe, dataset.clone(), device)?;
    steps(&mut first, 9)?;
    let weights = first.weights(Which::Ema)?;
    checkpoint::save(saved.path(), first.config(), &weights)?;

    let mut same = Trainer::new(&recipe, dataset, device)?;
    same.init_from(saved.path(), false)?;
    check("weights differ", same.weights(Which::Raw)? == weights && same.weights(Which::Ema)? == weights)?;
    other_puzzles(device, &recipe, saved.path(), &weights)
}

fn other_puzzles(device: &Device, recipe: &Recipe, saved: &Path, weights: &Weights) -> Outcome {
    let (_folder, other) = data(30)?;
    let mut trainer = Trainer::new(recipe, other, device)?;
    let refused = trainer.init_from(saved, false).err().map(|error| error.to_string()).unwrap_or_default();
    check(
        &refused,
        refused.contains("its puzzle_emb.weights is [12, 24], the run's [30, 24]; give `reset_puzzle_emb`"),
    )?;
    trainer.init_from(saved, true)?;
    let begun = trainer.weights(Which::Raw)?;
    check("weights differ", bits(&begun.trained) == bits(&weights.trained))?;
    for column in 0..24 {
        let mean = (0..12).map(|row| f64::from(weights.puzzle_emb[row * 24 + column])).sum::<f64>() / 12.0;
        let is_mean = |row: usize| begun.puzzle_emb[row * 24 + column] == mean as f32;
        check(&format!("column {column} is no mean"), (0..30).all(is_mean))?;
    }
    Ok(())
}
