//! Several ranks, here threads, against one: the same training, and states that go from one number of ranks to another.

use std::path::Path;
use std::sync::{Arc, Barrier, Mutex};

use libtest_mimic::{Failed, Trial};
use trm::checkpoint::{self, State};
use trm::data::Dataset;
use trm::engine::Device;
use trm::eval::{Evaluator, Pace, Selection};
use trm::model::Metrics;
use trm::model::init::Weights;
use trm::ranks::{Alone, Ranks, any, sum};
use trm::train::{At, Checkpoint, RunOptions, Trainer, Unobserved, run};

use crate::harness::{Needs, on_each};
use crate::train_puzzle_emb::{data, recipe};

/// This file's tests.
pub fn tests() -> Vec<Trial> {
    let same = on_each("ranks::train_as_one_does", Needs::Adapter, train_as_one);
    let sums = Trial::test("ranks::sums_are_the_same_everywhere", sums_are_the_same);
    let shares = on_each("ranks::unequal_shares_are_refused", Needs::Adapter, unequal_shares);
    let runs = on_each("ranks::a_run_writes_what_one_writes", Needs::Adapter, run_as_one);
    same.into_iter().chain(shares).chain(runs).chain([sums]).collect()
}

/// Where threads leave what they say.
struct Room {
    barrier: Barrier,
    said: Mutex<Vec<Vec<u32>>>,
}

/// A rank that is a thread.
struct Threads {
    room: Arc<Room>,
    rank: usize,
    size: usize,
}

impl Threads {
    fn all_of(&self, words: &[u32]) -> Vec<Vec<u32>> {
        self.room.said.lock().unwrap()[self.rank] = words.to_vec();
        self.room.barrier.wait();
        let all = self.room.said.lock().unwrap().clone();
        self.room.barrier.wait();
        all
    }
}

impl Ranks for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn gather(&self, words: &[u32]) -> trm::Result<Vec<u32>> {
        Ok(self.all_of(words).concat())
    }

    fn exchange(&self, words: &[u32]) -> trm::Result<Vec<u32>> {
        let part = words.len() / self.size;
        Ok(self.all_of(words).iter().flat_map(|said| said[self.rank * part..][..part].to_vec()).collect())
    }
}

/// What `work` returns on each of `size` ranks.
pub fn on_ranks<T: Send>(size: usize, work: impl Fn(Arc<dyn Ranks>) -> T + Sync) -> Vec<T> {
    let room = Arc::new(Room { barrier: Barrier::new(size), said: Mutex::new(vec![Vec::new(); size]) });
    std::thread::scope(|scope| {
        let start = |rank| {
            let (room, work) = (room.clone(), &work);
            scope.spawn(move || work(Arc::new(Threads { room, rank, size })))
        };
        let threads: Vec<_> = (0..size).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

const BATCH: &str = "train.global_batch_size=6";

/// A few steps from `state`, or from the beginning.
fn train(mut trainer: Trainer, state: Option<&State>) -> trm::Result<(State, Vec<f64>)> {
    if let Some(state) = state {
        trainer.restore(Path::new("state"), state)?;
    }
    let mut losses = Vec::new();
    // More than an epoch.
    for _ in 0..8 {
        trainer.step()?;
        while let Some(metrics) = trainer.metrics(true)? {
            losses.push(metrics.metrics.loss());
        }
    }
    Ok((trainer.state()?, losses))
}

fn train_on(
    size: usize,
    (device, dataset): (&Device, &Arc<Dataset>),
    state: Option<&State>,
) -> Result<(State, Vec<f64>), Failed> {
    let recipe = recipe(&[BATCH])?;
    let outcomes =
        on_ranks(size, |ranks| train(Trainer::among(ranks, &recipe, dataset.clone(), device)?, state));
    let outcomes = outcomes.into_iter().collect::<trm::Result<Vec<_>>>()?;
    let first = outcomes[0].clone();
    match outcomes.iter().all(|outcome| *outcome == first) {
        true => Ok(first),
        false => Err(format!("{size} ranks end in different states").into()),
    }
}

/// One rank that computes the shares one after the other gets the same bits.
fn train_as_one(device: &Device) -> Result<(), Failed> {
    let (_folder, dataset) = data(41)?;
    let place = (device, &dataset);
    let mut expected: Option<State> = None;
    for size in [2, 3] {
        let (midway, _) = train_on(size, place, None)?;
        let micro_batch = format!("train.micro_batch={}", 6 / size);
        let alone = |state| -> Result<(State, Vec<f64>), Failed> {
            let recipe = recipe(&[BATCH, &micro_batch])?;
            Ok(train(Trainer::new(&recipe, dataset.clone(), device)?, state)?)
        };
        if midway != alone(None)?.0 {
            return Err(format!("{size} ranks train otherwise than one").into());
        }
        // Another number of ranks goes on.
        let (end, losses) = train_on(size, place, Some(&midway))?;
        let (alone, expected_losses) = alone(Some(&midway))?;
        let close = |(one, other): (&f64, &f64)| (one - other).abs() <= 1e-6 * other.abs();
        if end != alone || !losses.iter().zip(&expected_losses).all(close) {
            return Err(format!("{size} ranks go on otherwise than one").into());
        }
        let other = expected.get_or_insert(midway);
        train_on(5 - size, place, Some(other))?;
    }
    Ok(())
}

fn sums_are_the_same() -> Result<(), Failed> {
    for (size, length) in [(1, 3), (2, 5), (3, 1), (3, 0), (4, 64)] {
        let value = |rank: usize, at: usize| 1.0 / (1 + rank * length + at) as f32;
        let found = on_ranks(size, |ranks| {
            let mut values: Vec<f32> = (0..length).map(|at| value(ranks.rank(), at)).collect();
            let outcome = sum(&*ranks, &mut values).and_then(|()| any(&*ranks, ranks.rank() + 1 == size));
            (values, outcome.unwrap(), any(&*ranks, false).unwrap())
        });
        let total = |at: usize| (1..size).fold(value(0, at), |total, rank| total + value(rank, at));
        let expected = ((0..length).map(total).collect::<Vec<f32>>(), true, false);
        if found.iter().any(|found| *found != expected) {
            return Err(format!("{size} ranks, {length} values: {found:?}, expected {expected:?}").into());
        }
    }
    Ok(())
}

fn unequal_shares(device: &Device) -> Result<(), Failed> {
    let (_folder, dataset) = data(12)?;
    let recipe = recipe(&[BATCH])?;
    let refused = on_ranks(4, |ranks| {
        Trainer::among(ranks, &recipe, dataset.clone(), device).err().map(|error| error.to_string())
    });
    let expected =
        "train.global_batch_size: 6 cannot be shared equally by 4 ranks; start a number that divides it";
    match refused.iter().all(|message| message.as_deref() == Some(expected)) {
        true => Ok(()),
        false => Err(format!("{refused:?}").into()),
    }
}

/// A whole run in one folder, resumed by another number of ranks, and an evaluation, against those of one rank.
fn run_as_one(device: &Device) -> Result<(), Failed> {
    let (folder, dataset) = data(41)?;
    let state_of = |size: usize, out: &Path| -> Result<State, Failed> {
        let recipe = recipe(&[BATCH, "train.epochs=4", "train.eval_interval=2", "train.micro_batch=3"])?;
        for (resume, stops) in [(None, true), (Some(At::Latest), false)] {
            let outcomes = on_ranks(size, |ranks| {
                let options = RunOptions {
                    resume,
                    ranks: (size > 1).then_some(&ranks),
                    ..RunOptions::new(&recipe, folder.path(), out, device)
                };
                // One of them is told to stop, at once.
                run(options, &mut Unobserved(|| stops && ranks.rank() + 1 == size))
                    .map(|outcome| outcome.finished)
            });
            if outcomes.into_iter().collect::<trm::Result<Vec<bool>>>()? != vec![!stops; size] {
                return Err(format!("{size} ranks do not end together").into());
            }
        }
        let last = Checkpoint::list(out)?.pop().ok_or("no checkpoint")?;
        Ok(checkpoint::load_state(&last.path)?)
    };
    let out = tempfile::tempdir()?;
    let [alone, together] = [1, 2].map(|size| state_of(size, &out.path().join(size.to_string())));
    let (alone, together) = (alone?, together?);
    if alone != together {
        return Err("two ranks write another checkpoint than one".into());
    }
    evaluate_as_one(device, &dataset)
}

fn evaluate_as_one(device: &Device, dataset: &Arc<Dataset>) -> Result<(), Failed> {
    let recipe = recipe(&[])?;
    let config = recipe.model(dataset)?;
    let weights = Weights::fresh(&config, 1);
    let selection = Selection::of(dataset, 15, 3);
    let evaluate = |ranks: &dyn Ranks| -> trm::Result<Option<Metrics>> {
        let mut evaluator = Evaluator::new(&config, device, 4)?;
        evaluator.load(&weights)?;
        evaluator.evaluate_among(ranks, Pace::default(), dataset, &selection, &mut |_| Ok(()), |_| {})
    };
    let alone = evaluate(&Alone)?.ok_or("stopped")?;
    for found in on_ranks(3, |ranks| evaluate(&*ranks)) {
        let found = found?.ok_or("stopped")?;
        let close = |(one, other): (f64, f64)| (one - other).abs() <= 1e-6 * other.abs().max(1e-9);
        if !found.row().into_iter().zip(alone.row()).all(close) {
            return Err(format!("{found:?}, alone {alone:?}").into());
        }
    }
    Ok(())
}
