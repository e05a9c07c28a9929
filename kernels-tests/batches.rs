//! The array of a training's batches: what a trainer has on its device is what stands there.

use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;

use libtest_mimic::Trial;
use npyz::NpyFile;
use trm::data::sudoku::{GenerateOptions, build_generated};
use trm::data::{Dataset, Split};
use trm::engine::Device;
use trm::recipe::Recipe;
use trm::train::{Trainer, write_batches};

use crate::data::{folder, trials};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    trials("batches", &[("are_those_of_the_trainer", are_those_of_the_trainer)])
}

const BATCH: usize = 8;
/// Of 40: a fifth of them, each a supervision step deeper, then all 8.
const STEPS: usize = 40;

fn are_those_of_the_trainer() {
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
    let words: Vec<i32> = array.into_vec().unwrap();
    let rows = |step: usize| words[step * BATCH * 35..][..BATCH * 35].chunks_exact(35);

    let mut trainer = Trainer::new(&recipe, dataset, &Device::cpu()).unwrap();
    // With one supervision step each, all samples are new in the next step, too.
    for step in 0..2 {
        trainer.step().unwrap();
        let state = trainer.state().unwrap();
        for (name, columns) in [("puzzle_identifiers", 2..3), ("inputs", 3..19), ("labels", 19..35)] {
            let held: Vec<i32> =
                state.buffers[&format!("carry.data.{name}")].iter().map(|&word| word as i32).collect();
            let written: Vec<i32> = rows(step).flat_map(|row| row[columns.clone()].to_vec()).collect();
            assert_eq!(held[..written.len()], written, "{name} after step {}", step + 1);
        }
    }
    let most: Vec<i32> = (0..STEPS).map(|step| rows(step).next().unwrap()[1]).collect();
    assert_eq!(most[..9], [1, 2, 3, 4, 5, 6, 7, 8, 8]);
    assert_eq!(most[STEPS - 1], 8);
    let drawn: Vec<[i32; 2]> = (0..STEPS).flat_map(rows).map(|row| [row[0], row[1]]).collect();
    assert!(drawn.iter().all(|[fewest, most]| *fewest == 0 || (2..=*most).contains(fewest)), "{drawn:?}");
    let explore = drawn[9 * BATCH..].iter().filter(|[fewest, _]| *fewest > 0).count();
    assert!((100..150).contains(&explore), "{explore} of 248 samples explore");
}
