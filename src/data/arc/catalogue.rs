//! The tasks of all subsets under different names, and what becomes of those that cannot be used.

use std::collections::HashMap;
use std::str::FromStr;

use super::build::Options;
use super::sources;
use super::task::Task;
use crate::data::OnInvalid;
use crate::{Error, Result};

/// Tasks that are named one by one.
const NAMED: usize = 5;

/// What becomes of a task whose name another one has, in the same subset or another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDuplicate {
    /// Nothing is built.
    #[default]
    Error,
    /// The first stays; one that is tested on stays before any other, so that its solutions are not learnt from.
    Skip,
    /// The later one gets the name of its subset behind its own. Where they are the same puzzle, one may be learnt from
    /// that the other tests.
    Rename,
}

impl FromStr for OnDuplicate {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<OnDuplicate, String> {
        match text {
            "error" => Ok(OnDuplicate::Error),
            "skip" => Ok(OnDuplicate::Skip),
            "rename" => Ok(OnDuplicate::Rename),
            _ => Err("expected error, skip or rename".to_owned()),
        }
    }
}

/// A task of the test set or another.
pub(super) struct Entry {
    pub task: Task,
    /// Whether it is of the test set.
    pub tested: bool,
    /// Which of the subsets it is of.
    pub subset: usize,
}

/// All tasks, in the order of their subsets.
pub(super) struct Catalogue {
    pub tasks: Vec<Entry>,
    /// What to tell of the files: what was taken for what, which tasks were left out or renamed.
    pub notes: Vec<String>,
}

impl Catalogue {
    /// Reads all subsets.
    ///
    /// # Errors
    /// Those of [`super::read_subset`]; [`Error::Usage`] for a test set that is none of the subsets; [`Error::File`] for a
    /// name that comes twice.
    pub fn read(options: &Options) -> Result<Catalogue> {
        let Options { input_file_prefix: prefix, subsets, test_set_names, on_invalid, .. } = options;
        let unknown = test_set_names.iter().find(|name| !subsets.contains(name));
        let (mut notes, mut whole) = (Vec::new(), None);
        let mut refused = |error: Error| match on_invalid {
            OnInvalid::Error => Err(error),
            OnInvalid::Skip => {
                notes.push(match error {
                    Error::File { path, problem, .. } => format!("left out: {}: {problem}", path.display()),
                    other => format!("left out: {other}"),
                });
                Ok(())
            }
        };
        let mut names = Names { on_duplicate: options.on_duplicate, ..Names::default() };
        match sources::read_whole(prefix, subsets, &mut refused)? {
            Some(tasks) => {
                whole = Some(format!("{prefix}: all of it is taken as one subset, which is tested on"));
                names.add_all(prefix, (0, prefix), true, tasks, &mut refused)?;
            }
            None => {
                if let Some(name) = unknown {
                    let problem = format!("{name} is none of the subsets ({})", subsets.join(", "));
                    return Err(Error::usage("test_set_name", problem, "name one of the subsets"));
                }
                for (place, subset) in subsets.iter().enumerate() {
                    let tasks = sources::read_sound(prefix, subset, &mut refused)?;
                    names.add_all(
                        prefix,
                        (place, subset),
                        test_set_names.contains(subset),
                        tasks,
                        &mut refused,
                    )?;
                }
            }
        }
        let Names { tasks, again, .. } = names;
        if tasks.is_empty() {
            return Err(Error::file(prefix, "no task in it can be used", "correct the files or name others"));
        }
        notes.extend(whole);
        let done = if options.on_duplicate == OnDuplicate::Rename { "renamed" } else { "left out" };
        let (named, more) =
            (again[..again.len().min(NAMED)].join("; "), if again.len() > NAMED { "; ..." } else { "" });
        notes.extend((!again.is_empty()).then(|| {
            format!("{} tasks have names that were there already and were {done}: {named}{more}", again.len())
        }));
        Ok(Catalogue { tasks, notes })
    }
}

/// Tasks under different names.
#[derive(Default)]
struct Names {
    on_duplicate: OnDuplicate,
    tasks: Vec<Entry>,
    places: HashMap<String, usize>,
    /// Tasks whose names were there already.
    again: Vec<String>,
}

impl Names {
    fn add_all(
        &mut self,
        prefix: &str,
        subset: (usize, &str),
        tested: bool,
        tasks: Vec<Task>,
        refused: sources::OnRefused<'_>,
    ) -> Result<()> {
        for task in tasks {
            if tested && task.test.is_empty() {
                let problem = format!("task {} is a list of pairs, without test inputs", task.id);
                refused(Error::file(prefix, problem, "test on another subset"))?;
            } else {
                self.add(prefix, subset.1, Entry { task, tested, subset: subset.0 })?;
            }
        }
        Ok(())
    }

    fn add(&mut self, prefix: &str, subset: &str, mut entry: Entry) -> Result<()> {
        let task = &mut entry.task;
        let Some(&place) = self.places.get(&task.id) else {
            self.places.insert(task.id.clone(), self.tasks.len());
            self.tasks.push(entry);
            return Ok(());
        };
        match self.on_duplicate {
            OnDuplicate::Error => {
                let problem = format!("task {} is also in another subset", task.id);
                let fix = "use subsets without common tasks, or have such tasks skipped or renamed";
                Err(Error::file(format!("{prefix}, subset {subset}"), problem, fix))
            }
            OnDuplicate::Skip => {
                self.again.push(format!("{} of {subset}", task.id));
                if entry.tested && !self.tasks[place].tested {
                    self.tasks[place] = entry;
                }
                Ok(())
            }
            OnDuplicate::Rename => {
                let own = task.id.clone();
                let names = (1..).map(|count| match count {
                    1 => format!("{own}-{subset}"),
                    count => format!("{own}-{subset}-{count}"),
                });
                task.id = { names }.find(|name| !self.places.contains_key(name)).unwrap_or_default();
                self.again.push(format!("{own} of {subset}, now {}", task.id));
                self.places.insert(task.id.clone(), self.tasks.len());
                self.tasks.push(entry);
                Ok(())
            }
        }
    }
}
