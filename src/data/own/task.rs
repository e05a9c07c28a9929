//! Tasks that make their own samples, without a file of rows.

use std::collections::HashSet;
use std::path::Path;

use super::build::{Example, Rows, Summary, write};
use super::vocabulary::Words;
use crate::files::OutputFolder;
use crate::rng::Rng;
use crate::{Error, Result};

/// A task: what its words are, and how a sample of it is made.
///
/// ```
/// use trm::data::own::{Task, Words, build_task};
/// use trm::rng::Rng;
///
/// /// Three digits, to be turned around.
/// struct Reverse;
///
/// impl Task for Reverse {
///     fn words(&self) -> trm::Result<Words> {
///         Words::parse("0..9")
///     }
///
///     fn seq_len(&self) -> usize {
///         3
///     }
///
///     fn sample(&self, rng: &mut Rng, inputs: &mut [u8], labels: &mut [u8]) {
///         // Token 1 is the first word, 0 is padding.
///         inputs.fill_with(|| 1 + rng.below(10) as u8);
///         labels.copy_from_slice(inputs);
///         labels.reverse();
///     }
/// }
///
/// # fn main() -> trm::Result<()> {
/// # let dir = std::env::temp_dir().join(format!("trm-doc-{}", std::process::id()));
/// # let out = dir.as_path();
/// let summary = build_task(&Reverse, (100, 10), 0, out)?;
/// assert_eq!((summary.seq_len, summary.vocab_size), (3, 11));
/// # std::fs::remove_dir_all(out).map_err(trm::Error::io(out))
/// # }
/// ```
pub trait Task {
    /// The words of tokens 1, 2, ... in their order; token 0 is padding, and no label.
    ///
    /// # Errors
    /// Those of [`Words::parse`].
    fn words(&self) -> Result<Words>;

    /// S, tokens of a sample.
    fn seq_len(&self) -> usize;

    /// Writes a sample: (S) tokens given and (S) tokens wanted, both of which are 0 before. What stays 0 among the labels
    /// is neither learnt nor measured. The same draws of `rng` have to make the same sample.
    fn sample(&self, rng: &mut Rng, inputs: &mut [u8], labels: &mut [u8]);
}

/// Writes a data set of so many samples to train and to test with, drawn by `seed`, whole or not at all. Test samples
/// differ from each other and from all that is trained on.
///
/// # Errors
/// [`Error::Usage`] for tokens without a word, for a task that has not so many different samples, and for an output folder
/// in use; [`Error::Io`] if the system refuses.
pub fn build_task(task: &dyn Task, (train, test): (usize, usize), seed: u64, out: &Path) -> Result<Summary> {
    let (out, words) = (OutputFolder::create(out)?, task.words()?);
    let mut tested = HashSet::new();
    let mut draw = Draw { task, rng: Rng::new(seed, 0), seq_len: task.seq_len(), words: &words };
    let mut test_rows = Vec::with_capacity(test);
    while test_rows.len() < test {
        let row = draw.row(test_rows.len(), |inputs| !tested.contains(inputs))?;
        tested.insert(row.inputs.clone());
        test_rows.push(row);
    }
    let train_rows = (0..train).map(|line| draw.row(line, |inputs| !tested.contains(inputs)));
    let train_rows = train_rows.collect::<Result<Vec<_>>>()?;
    let seq_len = task.seq_len();
    let (train, test) = ((Path::new("train"), train_rows), (Path::new("test"), test_rows));
    write(out, Rows { words, seq_len, names: Vec::new(), train, test }, Vec::new())
}

/// Draws in a row that bring nothing that may be taken.
const MOST_IN_VAIN: usize = 10_000;

struct Draw<'a> {
    task: &'a dyn Task,
    rng: Rng,
    seq_len: usize,
    words: &'a Words,
}

impl Draw<'_> {
    /// The next sample whose inputs are `wanted`.
    fn row(&mut self, line: usize, wanted: impl Fn(&[u8]) -> bool) -> Result<Example> {
        for _ in 0..MOST_IN_VAIN {
            let (mut inputs, mut labels) = (vec![0; self.seq_len], vec![0; self.seq_len]);
            self.task.sample(&mut self.rng, &mut inputs, &mut labels);
            let known = self.words.vocab_size();
            if let Some(token) = inputs.iter().chain(&labels).find(|token| usize::from(**token) >= known) {
                let problem = format!("a sample has token {token}, and there are {} words", known - 1);
                return Err(Error::usage(
                    "task",
                    problem,
                    "give tokens 1, 2, ... for its words, 0 for padding",
                ));
            }
            if wanted(&inputs) {
                return Ok(Example { line: 1 + line as u64, inputs, labels, identifier: 0 });
            }
        }
        let problem = format!("{MOST_IN_VAIN} samples in a row are ones of the test split");
        Err(Error::usage("task", problem, "ask for fewer test samples"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Batch, Dataset, Split, TestBatches};

    /// Pairs of letters, turned around; or tokens that are no letters.
    struct Pairs(usize);

    impl Task for Pairs {
        fn words(&self) -> Result<Words> {
            Words::parse("abc")
        }

        fn seq_len(&self) -> usize {
            2
        }

        fn sample(&self, rng: &mut Rng, inputs: &mut [u8], labels: &mut [u8]) {
            inputs.fill_with(|| 1 + rng.below(self.0) as u8);
            labels.copy_from_slice(inputs);
            labels.reverse();
        }
    }

    #[test]
    fn test_samples_are_new() {
        let folder = tempfile::tempdir().unwrap();
        let out = |name: &str| folder.path().join(name);
        let summary = build_task(&Pairs(3), (50, 8), 1, &out("pairs")).unwrap();
        assert_eq!((summary.train.examples, summary.test.examples, summary.vocab_size), (50, 8, 4));
        assert_eq!((summary.test.repeated, summary.test.also_in_train), (0, 0));
        let test = Dataset::open(&out("pairs"), Split::Test).unwrap();
        let mut one = Batch::new(1, 2);
        TestBatches::new(test.into(), 1).next_batch(&mut one).unwrap();
        assert!(one.inputs.iter().eq(one.labels.iter().rev()), "{one:?}");
        // There are nine, one of which has to be left for training.
        let error = build_task(&Pairs(3), (1, 9), 1, &out("all")).unwrap_err().to_string();
        assert!(error.contains("samples in a row are ones of the test split"), "{error}");
        let error = build_task(&Pairs(9), (1, 1), 1, &out("more")).unwrap_err().to_string();
        assert!(error.contains("and there are 3 words"), "{error}");
        assert!(!out("more").exists() && !out("all").exists());
    }
}
