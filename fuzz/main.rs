//! Reads mutants of the corpora for so many seconds each, and keeps those that make a target panic or take long.
//!
//! `cargo run --release --example fuzz -- 600 all` or the names of some targets, with `FUZZ_SEED=1` for other mutants.
//! A mutant that ends the whole process is left in the temporary folder that was named last.

mod mutate;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use targets::{TARGETS, Target, corpus};

/// An input that takes longer is a find.
const SLOW: Duration = Duration::from_secs(2);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().and_then(|text| text.parse().ok());
    let names: Vec<String> = arguments.collect();
    let Some(seconds) = seconds.filter(|_| !names.is_empty()) else {
        let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("give seconds, and all or some of {}", known.join(" "));
        std::process::exit(2);
    };
    let seed = std::env::var("FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    for target in
        TARGETS.iter().filter(|target| names.iter().any(|name| name == target.name || name == "all"))
    {
        fuzz(target, Duration::from_secs(seconds), seed);
    }
}

fn fuzz(target: &Target, time: Duration, seed: u64) {
    let corpus = corpus(target.name);
    let (started, mut count, mut finds, mut slowest) = (Instant::now(), 0, 0, Duration::ZERO);
    while started.elapsed() < time {
        let input = match corpus.get(count as usize) {
            Some(input) => input.clone(),
            None => mutate::mutant(seed, count, &corpus, target.tokens),
        };
        let begun = Instant::now();
        let panicked = catch_unwind(AssertUnwindSafe(|| (target.read)(&input))).is_err();
        let took = begun.elapsed();
        slowest = slowest.max(took);
        if panicked || took > SLOW {
            finds += 1;
            keep(target, count, &input);
        }
        count += 1;
    }
    println!("{}: {count} inputs, {finds} finds, the slowest took {} ms", target.name, slowest.as_millis());
}

fn keep(target: &Target, count: u64, input: &[u8]) {
    let path = std::env::temp_dir().join(format!("find-{}-{count}", target.name));
    match std::fs::write(&path, input) {
        Ok(()) => println!("find: {}", Path::new(&path).display()),
        Err(error) => println!("find that cannot be kept: {error}"),
    }
}
