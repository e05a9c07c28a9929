//! Voting over the augmentations of a task, pass@K and the competition's submission.
//!
//! Every prediction is cropped, brought back to the colours and orientation of its task, and counted for that
//! task's test input. Candidates are ranked by votes, then by the mean of sigmoid(q_halt), then by whose first vote
//! stands earlier in the data set. Only the tally of each different grid is kept, and the result does not depend on the
//! order in which the predictions come. Source: the release's ARC evaluator, to which they come in that order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Serialize;

use super::augment::Augmentation;
use super::build::TEST_PUZZLES_FILE;
use super::grid::{Grid, SEQ_LEN};
use super::task::{Task, read_tasks};
use crate::{Error, Result, files};

/// The K of pass@K, as in the release.
const PASS_AT: [usize; 6] = [1, 2, 5, 10, 100, 1000];
/// Candidates kept for reports after the ranking; a submission needs two.
const KEPT: usize = 10;
/// The competition's name for it.
pub const SUBMISSION_FILE: &str = "submission.json";
const IDENTIFIERS_FILE: &str = "identifiers.json";
const REBUILD: &str = "rebuild the data set with \"trm data arc\"";

/// The predictions counted so far.
pub struct Votes {
    identifiers: Vec<String>,
    ballots: HashMap<String, Vec<Ballot>>,
    tasks: Vec<Task>,
}

/// One test input and what was predicted for it.
struct Ballot {
    input: Grid,
    tallies: HashMap<Grid, Tally>,
}

/// The votes for one grid. Halting probabilities are summed in units of 2^-100, because a sum of integers, unlike
/// one of floats, is the same in every order; so small, they tell logits down to -69 apart, and 2^27 of them fit.
#[derive(Clone, Copy)]
struct Tally {
    votes: u64,
    halting: u128,
    /// Place of the first.
    first: usize,
}

impl Votes {
    /// No votes yet, for the test puzzles of the data set in `dir`.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`] if `identifiers.json` or `test_puzzles.json` is missing or broken.
    pub fn open(dir: &Path) -> Result<Votes> {
        let path = dir.join(IDENTIFIERS_FILE);
        let identifiers = files::read_json(&path, REBUILD)?;
        Ok(Votes::new(read_tasks(&dir.join(TEST_PUZZLES_FILE))?, identifiers))
    }

    /// No votes yet, for the test inputs of `tasks`; `identifiers` are the puzzles' names, the blank one first.
    pub fn new(tasks: Vec<Task>, identifiers: Vec<String>) -> Votes {
        let ballots = |task: &Task| {
            let inputs = task.test.iter().map(|pair| pair.input.clone());
            inputs.map(|input| Ballot { input, tallies: HashMap::new() }).collect()
        };
        let ballots = tasks.iter().map(|task| (task.id.clone(), ballots(task))).collect();
        Votes { identifiers, ballots, tasks }
    }

    /// Counts one prediction, that of the example at `place` of the data set: `inputs` and `predictions` are (900)
    /// tokens, `q_halt` the logit of the halting head. Padding, which has identifier 0, is passed over.
    ///
    /// # Errors
    /// [`Error::File`] if the identifier is unknown or its test puzzle has no such input, so the data set's files
    /// do not belong together; [`Error::Numeric`] if `q_halt` is NaN.
    pub fn add(
        &mut self,
        place: usize,
        identifier: i32,
        inputs: &[i32],
        predictions: &[i32],
        q_halt: f32,
    ) -> Result<()> {
        if identifier == 0 {
            return Ok(());
        }
        let (task, augmentation) = puzzle(&self.identifiers, identifier)?;
        for tokens in [inputs, predictions] {
            if tokens.len() != SEQ_LEN {
                let problem = format!("{} tokens, an ARC canvas has {SEQ_LEN}", tokens.len());
                return Err(broken(task, problem));
            }
        }
        let halting = fixed_sigmoid(task, q_halt)?;
        let input = augmentation.undo(&Grid::crop(inputs));
        let ballots = self.ballots.get_mut(task).map(Vec::as_mut_slice).unwrap_or_default();
        let ballot = ballots.iter_mut().find(|ballot| ballot.input == input);
        let ballot = ballot
            .ok_or_else(|| broken(task, format!("no such test input as that of puzzle {identifier}")))?;
        let found = augmentation.undo(&Grid::crop(predictions));
        let tally = ballot.tallies.entry(found).or_insert(Tally { votes: 0, halting: 0, first: place });
        tally.votes += 1;
        tally.halting += halting;
        tally.first = tally.first.min(place);
        Ok(())
    }

    /// Ranks the candidates of every test input.
    pub fn finish(self) -> Score {
        let Votes { tasks, ballots, .. } = self;
        let score = |task: Task| {
            let ballots = ballots.get(&task.id).map(Vec::as_slice).unwrap_or_default();
            let input = |pair: super::task::Pair| {
                // Equal test inputs of a task share the votes for either.
                let tallies =
                    ballots.iter().find(|ballot| ballot.input == pair.input).map(|ballot| &ballot.tallies);
                InputScore::new(pair.input, pair.output, tallies.unwrap_or(&HashMap::new()))
            };
            TaskScore { inputs: task.test.into_iter().map(input).collect(), id: task.id }
        };
        Score::new(tasks.into_iter().map(score).collect())
    }
}

/// The task and the augmentation that an identifier stands for.
fn puzzle(identifiers: &[String], identifier: i32) -> Result<(&str, Augmentation)> {
    let broken = |problem: String| Error::file(IDENTIFIERS_FILE, problem, REBUILD);
    let name = usize::try_from(identifier).ok().and_then(|index| identifiers.get(index));
    let name = name.ok_or_else(|| broken(format!("no puzzle has identifier {identifier}")))?;
    Augmentation::parse(name)
        .ok_or_else(|| broken(format!("{name}, expected task|||t<0 to 7>|||<ten colour digits>")))
}

fn broken(task: &str, problem: String) -> Error {
    Error::file(TEST_PUZZLES_FILE, format!("task {task}, {problem}"), REBUILD)
}

/// sigmoid(q_halt) in units of 2^-100.
fn fixed_sigmoid(task: &str, q_halt: f32) -> Result<u128> {
    if q_halt.is_nan() {
        let fix = "train with a smaller learning rate or load an earlier checkpoint";
        return Err(Error::Numeric {
            what: format!("q_halt of task {task}"),
            problem: "NaN".into(),
            fix: fix.into(),
        });
    }
    Ok((UNITS / (1.0 + (-f64::from(q_halt)).exp())).round() as u128)
}

const UNITS: f64 = (1u128 << 100) as f64;

/// The result of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// For each K the share of test inputs whose solution is among the first K candidates, averaged within each
    /// task, then over tasks. Test inputs without a known solution are left out; without any there is no entry.
    pub pass_at: BTreeMap<usize, f64>,
    /// Test inputs for which nothing was predicted; they count as not solved.
    pub inputs_without_prediction: usize,
    /// The tasks in the order of `test_puzzles.json`.
    pub tasks: Vec<TaskScore>,
}

/// The result for one task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskScore {
    /// The task's name.
    pub id: String,
    /// Its test inputs, in order.
    pub inputs: Vec<InputScore>,
}

/// The result for one test input.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InputScore {
    /// What was shown.
    pub input: Grid,
    /// What was wanted, where it is known.
    pub solution: Option<Grid>,
    /// Place of the solution among the candidates, 1 for the best; none if it was not predicted or is unknown.
    pub rank: Option<usize>,
    /// How many different grids were predicted.
    pub distinct: usize,
    /// How many predictions there were.
    pub votes: u64,
    /// The first ten candidates, best first.
    pub candidates: Vec<Candidate>,
}

/// A predicted grid.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// The grid, in the colours and orientation of the task.
    pub grid: Grid,
    /// How many predictions agree on it.
    pub votes: u64,
    /// Their mean sigmoid(q_halt).
    pub mean_halting: f64,
}

/// What a submission says for one test input.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attempts {
    /// The best candidate.
    pub attempt_1: Grid,
    /// The second best; the best again if there is no other.
    pub attempt_2: Grid,
}

impl Score {
    fn new(tasks: Vec<TaskScore>) -> Score {
        let pass_at = PASS_AT.iter().filter_map(|&k| {
            let shares: Vec<f64> = tasks.iter().filter_map(|task| task.pass_at(k)).collect();
            (!shares.is_empty()).then(|| (k, shares.iter().sum::<f64>() / shares.len() as f64))
        });
        let inputs = tasks.iter().flat_map(|task| &task.inputs);
        let inputs_without_prediction = inputs.filter(|input| input.votes == 0).count();
        Score { pass_at: pass_at.collect(), inputs_without_prediction, tasks }
    }

    /// The same of those tasks alone of which there is any prediction.
    pub fn of_answered(self) -> Score {
        let answered = |task: &TaskScore| task.inputs.iter().any(|input| input.votes > 0);
        Score::new(self.tasks.into_iter().filter(answered).collect())
    }

    /// Two attempts for every test input, by task. Where nothing was predicted, or a grid without cells, which
    /// the competition does not take, the attempt is one cell of colour 0.
    pub fn submission(&self) -> BTreeMap<&str, Vec<Attempts>> {
        let attempts = |task: &'_ TaskScore| task.inputs.iter().map(InputScore::attempts).collect();
        self.tasks.iter().map(|task| (task.id.as_str(), attempts(task))).collect()
    }

    /// Writes [`Score::submission`] as JSON.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub fn write_submission(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_vec(&self.submission()).map_err(|error| Error::io(path)(error.into()))?;
        files::write_atomic(path, &json)
    }
}

impl TaskScore {
    /// The share of test inputs with a known solution that is among the first `k` candidates; `None` without any.
    pub fn pass_at(&self, k: usize) -> Option<f64> {
        let known: Vec<&InputScore> = self.inputs.iter().filter(|input| input.solution.is_some()).collect();
        let right = known.iter().filter(|input| input.rank.is_some_and(|rank| rank <= k)).count();
        (!known.is_empty()).then(|| right as f64 / known.len() as f64)
    }
}

impl InputScore {
    fn new(input: Grid, solution: Option<Grid>, tallies: &HashMap<Grid, Tally>) -> InputScore {
        let mut ranking: Vec<(&Grid, &Tally)> = tallies.iter().collect();
        // With equal votes the mean is in the order of the sum.
        ranking.sort_unstable_by_key(|&(grid, tally)| {
            (Reverse((tally.votes, tally.halting)), tally.first, grid)
        });
        let rank =
            solution.as_ref().and_then(|solution| ranking.iter().position(|(grid, _)| *grid == solution));
        let candidate = |&(grid, tally): &(&Grid, &Tally)| Candidate {
            grid: grid.clone(),
            votes: tally.votes,
            mean_halting: tally.halting as f64 / UNITS / tally.votes as f64,
        };
        InputScore {
            input,
            rank: rank.map(|place| place + 1),
            solution,
            distinct: ranking.len(),
            votes: tallies.values().map(|tally| tally.votes).sum(),
            candidates: ranking.iter().take(KEPT).map(candidate).collect(),
        }
    }

    /// What a submission says for this input; see [`Score::submission`].
    pub fn attempts(&self) -> Attempts {
        let grid = |place: usize| {
            let grid = self.candidates.get(place).map(|candidate| &candidate.grid);
            grid.filter(|grid| !grid.is_empty()).cloned()
        };
        let first = grid(0).unwrap_or_else(|| Grid::new(1, 1, [0]));
        Attempts { attempt_2: grid(1).unwrap_or_else(|| first.clone()), attempt_1: first }
    }
}
