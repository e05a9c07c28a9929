//! The corpora of `fuzz/` and some mutants of each, read once more: what was found stays mended.

#[path = "../fuzz/mutate.rs"]
mod mutate;
#[path = "../fuzz/targets.rs"]
mod targets;

use libtest_mimic::Trial;

use targets::{TARGETS, Target, corpus};

const MUTANTS: u64 = 200;

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let trial = |target: &'static Target| {
        Trial::test(format!("fuzz: {}", target.name), || {
            let corpus = corpus(target.name);
            assert!(!corpus.is_empty());
            corpus.iter().for_each(|input| (target.read)(input));
            let mutants = (0..MUTANTS).map(|index| mutate::mutant(0, index, &corpus, target.tokens));
            mutants.for_each(|input| (target.read)(&input));
            Ok(())
        })
    };
    TARGETS.iter().map(trial).collect()
}
