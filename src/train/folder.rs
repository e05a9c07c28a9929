//! A run folder in use: whose it is, and what is written into it when.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoints::{At, CHECKPOINTS, Checkpoint, Found, superseded};
use super::notes::Note;
use super::samples::{SAMPLES_FILE, Samples};
use super::sessions;
use crate::checkpoint::{self, STATE_FILE, State};
use crate::data::arc::{SUBMISSION_FILE, Score};
use crate::ranks::{self, Ranks};
use crate::recipe::Recipe;
use crate::{Error, Result, files};

/// The log's name in a run folder.
pub const METRICS_FILE: &str = "metrics.jsonl";

/// The recipe's name in a run folder.
pub const RECIPE_FILE: &str = "recipe.toml";

/// Locked by the process that trains; the system unlocks it when that process is gone, however it ended.
const LOCK_FILE: &str = "lock";

/// A run folder that this process alone writes to, or, of several ranks, the first one.
pub(super) struct RunFolder {
    path: PathBuf,
    ranks: Arc<dyn Ranks>,
    /// The others have none.
    _lock: Option<File>,
}

impl RunFolder {
    /// Makes the folder, with the recipe and a first checkpoint, so that a run can be resumed from its first moment.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is something in `path`, [`Error::Failed`] where it cannot be written.
    pub fn create(path: &Path, recipe: &Recipe, first: &State, ranks: Arc<dyn Ranks>) -> Result<RunFolder> {
        if ranks.is_first() {
            RunFolder::write_new(path, recipe, first).map_err(|error| match error {
                // The file has a name of its own until the folder is complete.
                Error::Io { source, .. } => {
                    let fix = "free room there, or name a folder elsewhere";
                    Error::failed(path, format!("cannot be written: {source}"), fix)
                }
                other => other,
            })?;
        }
        RunFolder::open(path, ranks)
    }

    fn write_new(path: &Path, recipe: &Recipe, first: &State) -> Result<()> {
        let folder = files::OutputFolder::create(path)?;
        files::write_atomic(&folder.path().join(RECIPE_FILE), recipe.to_toml()?.as_bytes())?;
        let checkpoints = folder.path().join(CHECKPOINTS);
        std::fs::create_dir(&checkpoints).map_err(Error::io(&checkpoints))?;
        checkpoint::save_state(&Checkpoint::path_of(folder.path(), first.step), first)?;
        folder.commit()
    }

    /// Takes the folder of a run for this process, removes what writers that were killed have left in it, and puts the
    /// checkpoint of an older version among the others.
    ///
    /// # Errors
    /// [`Error::Failed`] that names who has it, [`Error::Missing`] for what is no run folder; [`Error::Io`].
    pub fn open(path: &Path, ranks: Arc<dyn Ranks>) -> Result<RunFolder> {
        let lock = if ranks.is_first() { Some(RunFolder::take(path)?) } else { None };
        let folder = RunFolder { path: path.to_path_buf(), ranks, _lock: lock };
        folder.wait_for_all()?;
        Ok(folder)
    }

    /// Until all ranks have come to the same point, so that they see what the first has written.
    fn wait_for_all(&self) -> Result<()> {
        ranks::any(&*self.ranks, false).map(|_| ())
    }

    fn take(path: &Path) -> Result<File> {
        if !path.join(RECIPE_FILE).is_file() {
            let fix = "name the folder of a run that was started with \"trm train\"";
            return Err(Error::missing(path.join(RECIPE_FILE), fix));
        }
        let lock_path = path.join(LOCK_FILE);
        let options = File::options().create(true).truncate(false).write(true).clone();
        let lock = options.open(&lock_path).map_err(Error::io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let owner = sessions::owner(path).unwrap_or_else(|| "another process".into());
                let fix = "wait for it or stop it, or train into another folder";
                return Err(Error::failed(path, format!("is in use by {owner}"), fix));
            }
            // A file system without locks: better no lock than no training.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(Error::io(&lock_path)(error)),
        }
        sessions::opened(path)?;
        let checkpoints = path.join(CHECKPOINTS);
        std::fs::create_dir_all(&checkpoints).map_err(Error::io(&checkpoints))?;
        files::remove_partial(path)?;
        files::remove_partial(&checkpoints)?;
        let older = path.join(STATE_FILE);
        if let Ok(step) = checkpoint::state_step(&older) {
            std::fs::rename(&older, Checkpoint::path_of(path, step)).map_err(Error::io(&older))?;
        }
        Ok(lock)
    }

    /// The checkpoint asked for with its state, whose learning rates are halved as they are to be from there on.
    ///
    /// # Errors
    /// [`Error::File`] where there is none, or that of this step is damaged.
    pub fn load(&self, at: At) -> Result<Found<State>> {
        self.wait_for_all()?;
        // The first one chooses: on a network's file system another may not see yet what there is.
        let first = self.ranks.is_first().then(|| self.find(at, at));
        let step = first.as_ref().and_then(|found| Some(found.as_ref().ok()?.checkpoint.step));
        let chosen = self.chosen_by_first(step)?;
        let found = match (first, chosen) {
            (Some(found), _) => found,
            (None, Some(step)) => self.find(at, At::Step(step)),
            (None, None) => {
                Err(Error::failed(&self.path, "the first rank takes no checkpoint of it", "see what it says"))
            }
        };
        self.wait_for_all()?;
        found
    }

    /// What the first rank says, on all of them.
    fn chosen_by_first(&self, step: Option<u64>) -> Result<Option<u64>> {
        let said = step.unwrap_or(u64::MAX);
        let all = self.ranks.gather(&[said as u32, (said >> 32) as u32])?;
        let first = u64::from(all[0]) | u64::from(all[1]) << 32;
        Ok(Some(first).filter(|&step| step != u64::MAX))
    }

    /// The checkpoint `which`, where `at` was asked for.
    fn find(&self, at: At, which: At) -> Result<Found<State>> {
        let read = |one: &Checkpoint| checkpoint::load_state(&one.path);
        let mut found = Checkpoint::choose(&self.path, &Checkpoint::list(&self.path)?, which, read)?;
        let (note, saved) = (&found.checkpoint.note, found.content.lr_halvings);
        // Who goes back of their own accord goes back to the learning rate of that time.
        let since = note.lr_halvings.filter(|_| at == At::Latest);
        found.content.lr_halvings = since.unwrap_or(note.own_halvings(saved));
        Ok(found)
    }

    /// Writes damaged notes anew, with what else is known; a line for each.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn mend_notes(&self) -> Result<Vec<String>> {
        let mut told = Vec::new();
        for Checkpoint { path, note, note_fault, .. } in Checkpoint::list(&self.path)? {
            if let Some(fault) = note_fault {
                self.note(&path, &note)?;
                told.push(fault);
            }
        }
        Ok(told)
    }

    /// Has the run go on with `recipe` from now on; what that changes, key by key.
    ///
    /// # Errors
    /// [`Error::Io`]; those of [`Recipe::load`].
    pub fn keep_recipe(&self, recipe: &Recipe) -> Result<Vec<String>> {
        if !self.ranks.is_first() {
            return Ok(Vec::new());
        }
        let path = self.path.join(RECIPE_FILE);
        let changes = Recipe::load(&path.to_string_lossy(), &[])?.changes(recipe)?;
        if !changes.is_empty() {
            files::write_atomic(&path, recipe.to_toml()?.as_bytes())?;
        }
        Ok(changes)
    }

    /// Writes down what a competition wants to know.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn keep_submission(&self, score: &Score) -> Result<()> {
        score.write_submission(&self.path.join(SUBMISSION_FILE))
    }

    /// Keeps samples of an evaluation in place of those of the one before.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn keep_samples(&self, samples: &Samples) -> Result<()> {
        if !self.ranks.is_first() {
            return Ok(());
        }
        let path = self.path.join(SAMPLES_FILE);
        let json = serde_json::to_vec(samples).map_err(|error| Error::io(&path)(error.into()))?;
        files::write_atomic(&path, &json)
    }

    /// Writes a checkpoint, and its weights for use beside the recipe.
    ///
    /// # Errors
    /// [`Error::Failed`] where the folder is gone; [`Error::Io`] where it cannot be written, which leaves all that was
    /// there as it was.
    pub fn save(&self, state: &State) -> Result<()> {
        if !self.ranks.is_first() {
            return Ok(());
        }
        still_there(&self.path)?;
        let path = Checkpoint::path_of(&self.path, state.step);
        // What is known of an older one of this step is not known of this one.
        Checkpoint::drop_note(&path)?;
        checkpoint::save_state(&path, state)?;
        self.publish(&path, state)
    }

    /// Makes the weights of the checkpoint `path` those for use.
    ///
    /// # Errors
    /// [`Error::File`] for a state without weights, [`Error::Io`].
    pub fn publish(&self, path: &Path, state: &State) -> Result<()> {
        if !self.ranks.is_first() {
            return Ok(());
        }
        // Weights make their folder where it is missing.
        still_there(&self.path)?;
        checkpoint::save(&self.path, &state.config, &state.weights(path)?)
    }

    /// Writes down what was found out about the checkpoint of `step`, beside what is known of it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn annotate(&self, step: u64, change: impl FnOnce(Note) -> Note) -> Result<()> {
        let path = Checkpoint::path_of(&self.path, step);
        self.note(&path, &change(Note::read(&self.path, &path, step).0))
    }

    fn note(&self, checkpoint: &Path, note: &Note) -> Result<()> {
        if self.ranks.is_first() { note.keep(checkpoint) } else { Ok(()) }
    }

    /// Has the run go on from the checkpoint `chosen`; of somebody's own accord (`by_choice`) as it was saved, and nobody
    /// from those that came after it. The last step whose metrics are those of its past: where it was left behind before,
    /// later ones are of what came instead.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn go_on_from(&self, chosen: &Checkpoint, by_choice: bool) -> Result<u64> {
        let logged = chosen.note.left_at.unwrap_or(chosen.step);
        for one in Checkpoint::list(&self.path)? {
            let is_chosen = one.step == chosen.step;
            if !is_chosen && one.step <= logged {
                continue;
            }
            let mut note = Note { left_at: None, ..one.note.clone() };
            if is_chosen && by_choice {
                (note.lr_halvings, note.diverged) = (None, None);
            } else if !is_chosen {
                let left = format!("left behind: the run went on from step {}", chosen.step);
                note.diverged = note.diverged.or(by_choice.then_some(left));
                note.left_at = Some(one.note.left_at.map_or(logged, |before| before.min(logged)));
            }
            if note != one.note {
                self.note(&one.path, &note)?;
            }
        }
        Ok(logged)
    }

    /// Forgets how often the learning rates were halved, as one was given since.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn forget_halvings(&self) -> Result<()> {
        Checkpoint::list(&self.path)?
            .into_iter()
            .try_for_each(|one| self.note(&one.path, &Note { lr_halvings: None, lr_given: true, ..one.note }))
    }

    /// Whether there is a checkpoint from before `step`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn has_older(&self, step: u64) -> Result<bool> {
        Ok(Checkpoint::list(&self.path)?.iter().any(|one| one.step < step))
    }

    /// Writes down that training diverged from the checkpoint of `step`, unless there is no other to go back to.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn give_up(&self, step: u64, lost: &str) -> Result<()> {
        let good = |checkpoint: &Checkpoint| checkpoint.is_good() && checkpoint.step < step;
        if !Checkpoint::list(&self.path)?.iter().any(good) {
            return Ok(());
        }
        let diverged = Some(format!("training diverged from it: {lost}"));
        self.annotate(step, |note| Note { diverged, ..note })
    }

    /// Removes the checkpoints that are not among the last `keep` up to `newest`, nor the best.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn prune(&self, newest: u64, keep: usize) -> Result<()> {
        if !self.ranks.is_first() {
            return Ok(());
        }
        let all = Checkpoint::list(&self.path)?;
        superseded(&all, newest, keep).into_iter().try_for_each(Checkpoint::remove)
    }
}

/// Refuses a run folder that somebody has moved or removed under the training.
pub(super) fn still_there(run: &Path) -> Result<()> {
    if run.join(RECIPE_FILE).is_file() {
        return Ok(());
    }
    let problem = "is no run folder any more: somebody has moved or removed it under the training";
    Err(Error::failed(run, problem, "put it back and resume, or begin anew"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranks::Alone;

    #[test]
    fn what_was_left_behind_knows_how_far_the_log_is_its_own() {
        let run = tempfile::tempdir().unwrap();
        let write = |name: &str| std::fs::write(run.path().join(name), "").unwrap();
        write(RECIPE_FILE);
        let folder = RunFolder::open(run.path(), Arc::new(Alone)).unwrap();
        let saved = |step: u64| write(&format!("{CHECKPOINTS}/step-{step:09}.safetensors"));
        let go_on_from = |step: u64| {
            let all = Checkpoint::list(run.path()).unwrap();
            folder.go_on_from(all.iter().find(|one| one.step == step).unwrap(), true).unwrap()
        };
        let good = || -> Vec<u64> {
            let all = Checkpoint::list(run.path()).unwrap();
            all.iter().filter(|one| one.is_good()).map(|one| one.step).collect()
        };
        [20, 40, 60, 80].into_iter().for_each(saved);
        assert_eq!((go_on_from(40), good()), (40, vec![20, 40]));
        // The run has made other steps after 40 by now: those of 60 and 80 are gone.
        saved(50);
        assert_eq!((go_on_from(80), good()), (40, vec![20, 40, 80]));
        // ... and 80 is where the run stands now, as if it had never been left.
        assert_eq!((go_on_from(20), good()), (20, vec![20]));
        saved(30);
        assert_eq!([go_on_from(60), go_on_from(30), go_on_from(20)], [20; 3]);
    }
}
