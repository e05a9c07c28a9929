//! Examples that come more than once, in a split or in both.

use std::hash::{DefaultHasher, Hash, Hasher};

use rayon::prelude::*;

use super::layout::{SetFiles, SplitFiles};
use crate::data::Split;

/// Hashes of the training split's examples, in order.
#[derive(Default)]
pub(super) struct Repeats {
    train: Vec<u64>,
}

impl Repeats {
    /// Examples of a split that repeat another of it, and test examples that training has; training comes first.
    pub fn count(&mut self, files: &SplitFiles) -> (usize, usize) {
        let mut hashes: Vec<u64> = files.sets.iter().flat_map(hashes).collect();
        hashes.par_sort_unstable();
        let repeated = hashes.windows(2).filter(|pair| pair[0] == pair[1]).count();
        let trained = |hash: &&u64| self.train.binary_search(hash).is_ok();
        let also_in_train = hashes.iter().filter(trained).count();
        if files.split == Split::Train {
            self.train = hashes;
        }
        (repeated, also_in_train)
    }
}

/// Of (identifier, input) of every example that can be read.
fn hashes(set: &SetFiles) -> Vec<u64> {
    let examples: Vec<(usize, i32)> = set.with_identifiers().collect();
    let hash = |tokens: &mut Vec<i32>, &(example, identifier): &(usize, i32)| {
        set.inputs.read_row(example, tokens).ok()?;
        let mut hasher = DefaultHasher::new();
        (identifier, tokens).hash(&mut hasher);
        Some(hasher.finish())
    };
    let hashes = examples.par_iter().map_init(|| vec![0; set.inputs.columns()], hash);
    hashes.flatten().collect()
}
