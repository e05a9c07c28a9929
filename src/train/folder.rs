//! A run folder in use: whose it is, and what is written into it when.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoints::{CHECKPOINTS, Checkpoint, Note, superseded};
use super::run::ResumeFrom;
use super::sessions;
use crate::checkpoint::{self, STATE_FILE, State};
use crate::ranks::{self, Ranks};
use crate::recipe::Recipe;
use crate::{Error, Result, files};

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
    /// [`Error::Usage`] if there is something in `path`, [`Error::Io`].
    pub fn create(path: &Path, recipe: &Recipe, first: &State, ranks: Arc<dyn Ranks>) -> Result<RunFolder> {
        if ranks.is_first() {
            RunFolder::write_new(path, recipe, first)?;
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
    /// [`Error::File`] that names who has it, or for what is no run folder; [`Error::Io`].
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
            return Err(Error::file(path.join(RECIPE_FILE), "no such file", fix));
        }
        let lock_path = path.join(LOCK_FILE);
        let options = File::options().create(true).truncate(false).write(true).clone();
        let lock = options.open(&lock_path).map_err(Error::io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let owner = sessions::owner(path).unwrap_or_else(|| "another process".into());
                let fix = "wait for it or stop it, or train into another folder";
                return Err(Error::file(path, format!("is in use by {owner}"), fix));
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

    /// The checkpoint asked for with its state, and a line for each newer one that was passed over.
    ///
    /// # Errors
    /// [`Error::File`] where there is none, or that of this step is damaged.
    pub fn load(&self, from: ResumeFrom) -> Result<(Checkpoint, State, Vec<String>)> {
        self.wait_for_all()?;
        let found = self.find(from);
        self.wait_for_all()?;
        found
    }

    fn find(&self, from: ResumeFrom) -> Result<(Checkpoint, State, Vec<String>)> {
        let all = Checkpoint::list(&self.path)?;
        if let ResumeFrom::Step(step) = from {
            let checkpoint = Checkpoint::at(&self.path, &all, step)?;
            return Ok((checkpoint.clone(), checkpoint::load_state(&checkpoint.path)?, Vec::new()));
        }
        let mut passed_over = Vec::new();
        for checkpoint in all.into_iter().rev() {
            if let Some(lost) = &checkpoint.note.diverged {
                let file = checkpoint.path.display();
                passed_over.push(format!("{file}: {lost}; passed over"));
                continue;
            }
            match checkpoint::load_state(&checkpoint.path) {
                Ok(state) => return Ok((checkpoint, state, passed_over)),
                Err(error) => passed_over.push(format!("{error}; passed over")),
            }
        }
        let problem = match passed_over.is_empty() {
            true => "holds no checkpoint".to_owned(),
            false => format!("holds no checkpoint to go on from: {}", passed_over.join(", ")),
        };
        Err(Error::file(&self.path, problem, "remove the folder and begin the run anew"))
    }

    /// Writes a checkpoint, and its weights for use beside the recipe.
    ///
    /// # Errors
    /// [`Error::File`] where the folder is gone; [`Error::Io`] where it cannot be written, which leaves all that was
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

    /// Writes a checkpoint over itself.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn rewrite(&self, checkpoint: &Checkpoint, state: &State) -> Result<()> {
        if self.ranks.is_first() { checkpoint::save_state(&checkpoint.path, state) } else { Ok(()) }
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

    /// Writes down what was found out about the checkpoint of `step`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn note(&self, step: u64, note: &Note) -> Result<()> {
        if !self.ranks.is_first() {
            return Ok(());
        }
        Checkpoint::keep_note(&Checkpoint::path_of(&self.path, step), note)
    }

    /// Has nobody go on from checkpoints after that of `step`, from which the run goes on instead.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn leave_behind(&self, step: u64) -> Result<()> {
        for later in Checkpoint::list(&self.path)?.into_iter().filter(|one| one.step > step && one.is_good())
        {
            let diverged = Some(format!("left behind: the run went on from step {step}"));
            self.note(later.step, &Note { diverged, ..later.note })?;
        }
        Ok(())
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
        self.note(step, &Note { diverged, ..Note::default() })
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
    Err(Error::file(run, problem, "put it back and resume, or begin anew"))
}
