//! The array of a training's batches: what a trainer has on its device is what stands there.

use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use npyz::NpyFile;
use tempfile::TempDir;
use trm::data::sudoku::{GenerateOptions, build_generated};
use trm::data::{Dataset, Split};
use trm::engine::Device;
use trm::recipe::Recipe;
use trm::train::{Trainer, write_batches};

use crate::data::{folder, trials};
use crate::harness::{Needs, on_each};
use crate::ranks::on_ranks;

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let whole = on_each("batches::are_those_of_the_trainer", Needs::Adapter, |device| alone(device, 0));
    let micro = on_each("batches::are_those_of_micro_batches", Needs::Adapter, |device| alone(device, 2));
    let ranks = on_each("batches::are_those_of_ranks", Needs::Adapter, together);
    let explored = trials("batches", &[("some_samples_explore", some_samples_explore)]);
    whole.into_iter().chain(micro).chain(ranks).chain(explored).collect()
}

const BATCH: usize = 8;
/// Of 40: a fifth of them, each a supervision step deeper, then all 8.
const STEPS: usize = 40;
/// Of which the trainer makes some.
const TRAINED: usize = 12;

/// A recipe with its data set, and what [`write_batches`] says of it.
struct Written {
    _dir: TempDir,
    recipe: Recipe,
    dataset: Arc<Dataset>,
    words: Vec<i32>,
}

impl Written {
    fn new() -> Written {
        let dir = folder();
        let data = dir.path().join("data");
        let options =
            GenerateOptions { train: 40, test: 1, num_aug: 0, ..GenerateOptions::small(data.clone(), 4, 5) };
        build_generated(&options, &mut |_| {}).unwrap();
        let sets = [
            "train.global_batch_size=8",
            "train.epochs=8",
            "train.eval_interval=4",
            "train.seed=4294967298",
            "train.augment=true",
            "train.curriculum=0.2",
            "arch.halt_exploration_prob=0.5",
            "arch.hidden_size=8",
            "arch.puzzle_emb_ndim=8",
        ];
        let recipe = Recipe::load("tiny-sudoku4", &sets.map(str::to_owned)).unwrap();
        let dataset = Arc::new(Dataset::open(&data, Split::Train).unwrap());
        let out = dir.path().join("batches.npy");
        let shape = write_batches(&recipe, dataset.clone(), STEPS as u32, &out).unwrap();
        assert_eq!(shape, [STEPS as u64, BATCH as u64, 3 + 2 * 16]);
        let array = NpyFile::new(BufReader::new(File::open(&out).unwrap())).unwrap();
        assert_eq!(array.shape(), shape);
        let words = array.into_vec().unwrap();
        Written { _dir: dir, recipe, dataset, words }
    }

    fn rows(&self, step: usize) -> impl Iterator<Item = &[i32]> {
        self.words[step * BATCH * 35..][..BATCH * 35].chunks_exact(35)
    }
}

fn alone(device: &Device, micro_batch: usize) -> Result<(), Failed> {
    let mut written = Written::new();
    written.recipe.train.micro_batch = micro_batch;
    takes_what_is_written(&written, Trainer::new(&written.recipe, written.dataset.clone(), device))
}

fn together(device: &Device) -> Result<(), Failed> {
    let written = Written::new();
    let trainer = |ranks| Trainer::among(ranks, &written.recipe, written.dataset.clone(), device);
    on_ranks(2, |ranks| takes_what_is_written(&written, trainer(ranks))).into_iter().collect()
}

/// Slots that have halted take what was written, all others keep what they have.
fn takes_what_is_written(written: &Written, trainer: trm::Result<Trainer>) -> Result<(), Failed> {
    let mut trainer = trainer?;
    let mut held = trainer.state()?.buffers;
    let mut kept = 0;
    for step in 0..TRAINED {
        trainer.step()?;
        let halted = held["carry.halted"].clone();
        let before = std::mem::replace(&mut held, trainer.state()?.buffers);
        for (name, columns) in [("puzzle_identifiers", 2..3), ("inputs", 3..19), ("labels", 19..35)] {
            let (name, width) = (format!("carry.data.{name}"), columns.len());
            for (slot, row) in written.rows(step).enumerate() {
                let of = |words: &[u32]| {
                    words[slot * width..][..width].iter().map(|&word| word as i32).collect::<Vec<i32>>()
                };
                let expected = match halted[slot] {
                    0 => of(&before[&name]),
                    _ => row[columns.clone()].to_vec(),
                };
                kept += usize::from(halted[slot] == 0);
                assert_eq!(of(&held[&name]), expected, "{name} of slot {slot} after step {}", step + 1);
            }
        }
    }
    assert!((BATCH..TRAINED * BATCH).contains(&(kept / 3)), "{kept} slots were not halted");
    Ok(())
}

fn some_samples_explore() {
    let written = Written::new();
    let rows = |step| written.rows(step);
    let most: Vec<i32> = (0..STEPS).map(|step| rows(step).next().unwrap()[1]).collect();
    assert_eq!(most[..9], [1, 2, 3, 4, 5, 6, 7, 8, 8]);
    assert_eq!(most[STEPS - 1], 8);
    let drawn: Vec<[i32; 2]> = (0..STEPS).flat_map(rows).map(|row| [row[0], row[1]]).collect();
    assert!(drawn.iter().all(|[fewest, most]| *fewest == 0 || (2..=*most).contains(fewest)), "{drawn:?}");
    let explore = drawn[9 * BATCH..].iter().filter(|[fewest, _]| *fewest > 0).count();
    assert!((100..150).contains(&explore), "{explore} of 248 samples explore");
}
