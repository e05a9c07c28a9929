//! The checkpoints of a run folder, and which of them stay.
//!
//! `checkpoints/step-000000123.safetensors` is a run between two steps, written as a whole and checksummed;
//! a note beside it holds what was found out later. Older versions had one, `state.safetensors`, in the run folder itself.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use super::notes::Note;
use crate::checkpoint::{self, STATE_FILE};
use crate::{Error, Result};

/// Their folder in a run folder.
pub(super) const CHECKPOINTS: &str = "checkpoints";

/// Time that saving may take at most of training, where the time says when to save: one part of so many.
pub(super) const SHARE_OF_TIME: u32 = 100;

/// A run between two steps, in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Steps done.
    pub step: u64,
    /// Its file.
    pub path: PathBuf,
    /// What was found out about it.
    pub note: Note,
    /// What is wrong with the file of the note.
    pub note_fault: Option<String>,
}

/// Which checkpoint of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The newest that is whole and that training has not diverged from.
    Latest,
    /// Of those, the one with the highest exact accuracy on the test split, the newest of equal ones.
    Best,
    /// That after so many steps.
    Step(u64),
}

impl FromStr for At {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<At, Self::Err> {
        match text {
            "best" => Ok(At::Best),
            "latest" => Ok(At::Latest),
            step => step.parse().map(At::Step).map_err(|_| "expected best, latest or a number of steps"),
        }
    }
}

/// A checkpoint that was chosen, with what was read of it.
#[derive(Debug)]
pub struct Found<T> {
    /// The one that was chosen.
    pub checkpoint: Checkpoint,
    /// What was read.
    pub content: T,
    /// A line for each that would have come first, but for its damage or because training diverged from it.
    pub passed_over: Vec<String>,
}

impl Checkpoint {
    /// That of `step` in a run folder.
    pub(super) fn path_of(run: &Path, step: u64) -> PathBuf {
        run.join(CHECKPOINTS).join(format!("step-{step:09}.safetensors"))
    }

    /// All in a run folder, the oldest first.
    ///
    /// # Errors
    /// [`Error::Io`] for a folder that cannot be read.
    pub fn list(run: &Path) -> Result<Vec<Checkpoint>> {
        let (mut found, folder) = (Vec::new(), run.join(CHECKPOINTS));
        if folder.is_dir() {
            for entry in std::fs::read_dir(&folder).map_err(Error::io(&folder))? {
                let path = entry.map_err(Error::io(&folder))?.path();
                let step = step_of(&path).filter(|_| path.is_file());
                found.extend(step.map(|step| {
                    let (note, note_fault) = Note::read(run, &path, step);
                    Checkpoint { step, path, note, note_fault }
                }));
            }
        }
        let path = run.join(STATE_FILE);
        if path.is_file() {
            // Of a damaged one the step is unknown; it is named when it is read.
            let step = checkpoint::state_step(&path).unwrap_or(0);
            found.push(Checkpoint { step, path, note: Note::default(), note_fault: None });
        }
        found.sort_by_key(|checkpoint| checkpoint.step);
        Ok(found)
    }

    /// The best one of [`Checkpoint::list`] as the notes say, whole or not.
    fn best(checkpoints: &[Checkpoint]) -> Option<&Checkpoint> {
        Checkpoint::evaluated(checkpoints).next()
    }

    /// Those that were evaluated and not diverged from, the best first, the newer of equal ones.
    fn evaluated(checkpoints: &[Checkpoint]) -> impl Iterator<Item = &Checkpoint> {
        let known = checkpoints.iter().rev().filter(|checkpoint| checkpoint.is_good());
        let known = known.filter_map(|checkpoint| Some((checkpoint.note.exact_accuracy?, checkpoint)));
        let mut known: Vec<_> = known.filter(|(accuracy, _)| accuracy.is_finite()).collect();
        known.sort_by(|a, b| b.0.total_cmp(&a.0));
        known.into_iter().map(|(_, checkpoint)| checkpoint)
    }

    /// The one of `all`, those of the folder `run`, that is asked for, with what `read` makes of it: for all who choose one,
    /// the first that is whole.
    ///
    /// # Errors
    /// [`Error::File`] where there is none, or that of the step asked for is damaged.
    pub fn choose<T>(
        run: &Path,
        all: &[Checkpoint],
        at: At,
        read: impl Fn(&Checkpoint) -> Result<T>,
    ) -> Result<Found<T>> {
        let candidates: Vec<&Checkpoint> = match at {
            At::Step(step) => {
                let checkpoint = Checkpoint::at(run, all, step)?;
                let content = read(checkpoint)?;
                return Ok(Found { checkpoint: checkpoint.clone(), content, passed_over: Vec::new() });
            }
            At::Latest => all.iter().rev().collect(),
            At::Best => Checkpoint::evaluated(all).collect(),
        };
        if candidates.is_empty() && !all.is_empty() {
            let problem = "has no checkpoint that was evaluated";
            return Err(Error::file(run, problem, "see \"trm runs\" for what there is"));
        }
        let mut passed_over = Vec::new();
        for checkpoint in candidates {
            if let Some(lost) = &checkpoint.note.diverged {
                passed_over.push(format!("{}: {lost}; passed over", checkpoint.path.display()));
                continue;
            }
            match read(checkpoint) {
                Ok(content) => return Ok(Found { checkpoint: checkpoint.clone(), content, passed_over }),
                Err(error) => passed_over.push(format!("{error}; passed over")),
            }
        }
        if at == At::Best && all.len() > passed_over.len() {
            let problem =
                format!("none of its {} checkpoints that were evaluated is whole", passed_over.len());
            return Err(Error::file(
                run,
                problem,
                "take `at` latest, or another that \"trm runs\" shows as whole",
            ));
        }
        Err(none_whole(run, passed_over.len()))
    }

    /// The one of `checkpoints`, those of the folder `run`, after `step` steps.
    fn at<'a>(run: &Path, checkpoints: &'a [Checkpoint], step: u64) -> Result<&'a Checkpoint> {
        checkpoints.iter().find(|checkpoint| checkpoint.step == step).ok_or_else(|| {
            let steps: Vec<String> =
                checkpoints.iter().map(|checkpoint| checkpoint.step.to_string()).collect();
            let problem = format!("has no checkpoint of step {step}, but of {}", steps.join(", "));
            Error::file(run, problem, "see \"trm runs\" for what there is")
        })
    }

    /// Training has not diverged from it, as far as is known.
    pub fn is_good(&self) -> bool {
        self.note.diverged.is_none()
    }

    /// Bytes of its file.
    ///
    /// # Errors
    /// [`Error::Io`] at the file.
    pub fn bytes(&self) -> Result<u64> {
        Ok(std::fs::metadata(&self.path).map_err(Error::io(&self.path))?.len())
    }

    /// When it was written.
    ///
    /// # Errors
    /// [`Error::Io`] at the file.
    pub fn written(&self) -> Result<SystemTime> {
        std::fs::metadata(&self.path).and_then(|file| file.modified()).map_err(Error::io(&self.path))
    }

    /// Removes its note, where it has one.
    pub(super) fn drop_note(path: &Path) -> Result<()> {
        remove(&path.with_extension("json"))
    }

    /// Removes its files.
    pub(super) fn remove(&self) -> Result<()> {
        remove(&self.path)?;
        Checkpoint::drop_note(&self.path)
    }
}

/// Which of `checkpoints`, the oldest first, can go once a finite loss has followed that of step `newest`: all but the
/// last `keep` and the best. Later ones, damaged or diverged, are not of this run any more.
pub(super) fn superseded(checkpoints: &[Checkpoint], newest: u64, keep: usize) -> Vec<&Checkpoint> {
    let until = checkpoints.partition_point(|checkpoint| checkpoint.step <= newest);
    let usable = &checkpoints[..until];
    let last = usable.iter().rev().filter(|checkpoint| checkpoint.is_good()).take(keep);
    let kept: Vec<u64> = last.chain(Checkpoint::best(usable)).map(|checkpoint| checkpoint.step).collect();
    checkpoints.iter().filter(|checkpoint| !kept.contains(&checkpoint.step)).collect()
}

/// How long after a save, which took `cost`, the time alone asks for the next; never where `minutes` is 0.
pub(super) fn wait(minutes: f64, cost: Duration) -> Option<Duration> {
    let asked = Duration::try_from_secs_f64(60.0 * minutes).unwrap_or(Duration::MAX);
    (minutes > 0.0).then(|| asked.max(cost.saturating_mul(SHARE_OF_TIME)))
}

fn step_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok()
}

/// Of the folder `run`, none of whose `count` checkpoints is whole and good; its weights for use may be.
fn none_whole(run: &Path, count: usize) -> Error {
    if count == 0 {
        let fix = "name the folder of a run that was started with \"trm train\"";
        return Error::file(run, "holds no checkpoint", fix);
    }
    let shown = run.display();
    let problem =
        format!("none of its {count} checkpoints to choose from is whole, as \"trm runs {shown}\" shows");
    let fix = match checkpoint::load(run) {
        Ok(_) => format!("begin a new run from its weights, which are, with `init_from` {shown}"),
        Err(_) => "begin the run anew in another folder".to_owned(),
    };
    Error::file(run, problem, fix)
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checkpoints of (step, exact accuracy); a negative accuracy is one that training diverged from.
    fn checkpoints(of: &[(u64, Option<f64>)]) -> Vec<Checkpoint> {
        let note = |accuracy: Option<f64>| match accuracy {
            Some(accuracy) if accuracy < 0.0 => Note { diverged: Some("NaN".into()), ..Note::default() },
            exact_accuracy => Note { exact_accuracy, ..Note::default() },
        };
        let one = |&(step, accuracy)| Checkpoint {
            step,
            path: PathBuf::new(),
            note: note(accuracy),
            note_fault: None,
        };
        of.iter().map(one).collect()
    }

    fn gone(of: &[(u64, Option<f64>)], newest: u64, keep: usize) -> Vec<u64> {
        superseded(&checkpoints(of), newest, keep).iter().map(|checkpoint| checkpoint.step).collect()
    }

    #[test]
    fn the_last_and_the_best_stay() {
        let all = [(0, None), (10, Some(0.9)), (20, Some(0.5)), (30, None), (40, Some(0.7))];
        assert_eq!(gone(&all, 40, 3), [0]);
        assert_eq!(gone(&all, 40, 1), [0, 20, 30]);
        assert_eq!(gone(&all[..3], 20, 3), [0; 0]);
        // The newer of equal ones is the best, and what is not a number never is.
        assert_eq!(gone(&[(1, Some(0.5)), (2, Some(0.5)), (3, Some(f64::NAN))], 3, 1), [1]);
    }

    #[test]
    fn what_training_diverged_from_goes_and_takes_no_place() {
        assert_eq!(gone(&[(10, None), (20, Some(-1.0)), (30, None)], 30, 2), [20]);
        // After going back to 10 and on to 15, the later ones belong to what was given up.
        assert_eq!(gone(&[(10, None), (15, None), (20, Some(-1.0)), (30, Some(0.9))], 15, 2), [20, 30]);
    }

    #[test]
    fn time_asks_for_a_save_at_most_one_part_in_a_hundred() {
        assert_eq!(wait(0.0, Duration::ZERO), None);
        assert_eq!(wait(10.0, Duration::from_secs(1)), Some(Duration::from_secs(600)));
        assert_eq!(wait(10.0, Duration::from_secs(30)), Some(Duration::from_secs(3000)));
        assert_eq!(wait(1e300, Duration::ZERO), Some(Duration::MAX));
    }

    #[test]
    fn a_folder_lists_new_and_old_checkpoints() {
        let run = tempfile::tempdir().unwrap();
        assert_eq!(Checkpoint::list(run.path()).unwrap(), []);
        std::fs::create_dir(run.path().join(CHECKPOINTS)).unwrap();
        for name in ["checkpoints/step-000000012.safetensors", "checkpoints/other", "state.safetensors"] {
            std::fs::write(run.path().join(name), "").unwrap();
        }
        let path = Checkpoint::path_of(run.path(), 12);
        let note = Note { exact_accuracy: Some(0.25), ..Note::default() };
        note.keep(&path).unwrap();
        let found = Checkpoint::list(run.path()).unwrap();
        let steps: Vec<u64> = found.iter().map(|checkpoint| checkpoint.step).collect();
        assert_eq!((steps, &found[1].path, &found[1].note), (vec![0, 12], &path, &note));
        found.iter().for_each(|checkpoint| checkpoint.remove().unwrap());
        assert_eq!(std::fs::read_dir(run.path().join(CHECKPOINTS)).unwrap().count(), 1);
    }
}
