//! ARC tasks as JSON: an object of tasks by name, one task, or, as in re-arc, a list of pairs, all of which are
//! demonstrations.
//!
//! A solution may be missing (a competition's hidden set), every other gap is an error. `test_puzzles.json` of a data
//! set is an object by name with the solutions inside.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::grid::Grid;
use crate::{Error, Result, files};

/// What separates the parts of an identifier; no task's own name contains it.
pub const SEPARATOR: &str = "|||";

/// What to do about a broken task file.
pub(super) const MEND: &str = "correct the file, or leave the task out, as `on_invalid` skip does";

/// One input with its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// What is shown.
    pub input: Grid,
    /// What is wanted; only a test pair may have none.
    pub output: Option<Grid>,
}

/// A few pairs to learn a rule from and test inputs to apply it to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The task's name in its files, `007bbfb7`.
    pub id: String,
    /// The demonstrations, at least one, all with outputs.
    pub train: Vec<Pair>,
    /// The test pairs; none where the file is a list of pairs.
    pub test: Vec<Pair>,
}

/// Reads one object of tasks by name: `test_puzzles.json` of a data set.
///
/// # Errors
/// As [`super::read_subset`].
pub fn read_tasks(path: &Path) -> Result<Vec<Task>> {
    read_file(path, &mut Err)
}

/// Reads the tasks of a file, whichever way it holds them: an object by name, a single task or a list of pairs, which
/// are called as the file. `refused` hears of tasks that cannot be used, and may pass over them.
pub(super) fn read_file(path: &Path, refused: &mut dyn FnMut(Error) -> Result<()>) -> Result<Vec<Task>> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let (entries, named) = match files::read_json::<TaskFile>(path, "give a file in ARC's layout")? {
        TaskFile::Named(Entries(entries)) => (entries, true),
        TaskFile::Single(task) => (vec![(name.into_owned(), task)], false),
    };
    if entries.is_empty() {
        return Err(Error::file(path, "no tasks", "name another subset"));
    }
    let mut tasks = Vec::with_capacity(entries.len());
    for (id, raw) in entries {
        match raw.check(&id) {
            Ok(task) => tasks.push(task),
            Err(problem) if named => refused(Error::file(path, format!("task {id}, {problem}"), MEND))?,
            Err(problem) => refused(Error::file(path, problem, MEND))?,
        }
    }
    Ok(tasks)
}

/// Writes `test_puzzles.json`. A missing output is written as one cell of colour 0, as the release fills it in
/// and needs it, and marked with `"solution_missing": true`.
///
/// # Errors
/// [`Error::Io`] if it cannot be written.
pub fn write_tasks(path: &Path, tasks: &[&Task]) -> Result<()> {
    let mut json = Vec::new();
    let entries = tasks.iter().map(|task| (&task.id, task));
    serde_json::Serializer::new(&mut json)
        .collect_map(entries)
        .map_err(|error| Error::io(path)(error.into()))?;
    files::write_atomic(path, &json)
}

pub(super) type Rows = Vec<Vec<i64>>;

/// What a file holds.
enum TaskFile {
    Named(Entries<RawTask>),
    Single(RawTask),
}

impl<'de> Deserialize<'de> for TaskFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(TaskFileVisitor)
    }
}

struct TaskFileVisitor;

impl<'de> Visitor<'de> for TaskFileVisitor {
    type Value = TaskFile;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object with one entry per task, a task or a list of pairs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> std::result::Result<TaskFile, A::Error> {
        RawTaskVisitor.visit_seq(list).map(TaskFile::Single)
    }

    /// No task is called train or test: these are a task's own lists.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<TaskFile, A::Error> {
        let (mut entries, mut names, mut task) = (Vec::new(), HashSet::new(), OpenTask::default());
        while let Some(name) = map.next_key::<String>()? {
            if entries.is_empty() && (task.begun() || OpenTask::KEYS.contains(&name.as_str())) {
                task.entry(&name, &mut map)?;
                continue;
            }
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("task {name} comes twice")));
            }
            entries.push((name, map.next_value()?));
        }
        match task.begun() {
            true => task.close().map(TaskFile::Single),
            false => Ok(TaskFile::Named(Entries(entries))),
        }
    }
}

/// A task being read, entry by entry.
#[derive(Default)]
struct OpenTask {
    lists: [Option<Vec<RawPair>>; 2],
}

impl OpenTask {
    const KEYS: [&str; 2] = ["train", "test"];

    fn begun(&self) -> bool {
        self.lists.iter().any(Option::is_some)
    }

    fn entry<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
    ) -> std::result::Result<(), A::Error> {
        match Self::KEYS.iter().position(|key| *key == name) {
            Some(list) if self.lists[list].is_some() => {
                Err(A::Error::custom(format!("duplicate field `{name}`")))
            }
            Some(list) => {
                self.lists[list] = Some(map.next_value()?);
                Ok(())
            }
            None => map.next_value::<IgnoredAny>().map(drop),
        }
    }

    fn close<E: serde::de::Error>(self) -> std::result::Result<RawTask, E> {
        let [train, test] = self.lists;
        let train = train.ok_or_else(|| E::missing_field(Self::KEYS[0]))?;
        Ok(RawTask { train, test: Some(test.ok_or_else(|| E::missing_field(Self::KEYS[1]))?) })
    }
}

struct RawTask {
    train: Vec<RawPair>,
    /// None of a list of pairs.
    test: Option<Vec<RawPair>>,
}

impl<'de> Deserialize<'de> for RawTask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(RawTaskVisitor)
    }
}

struct RawTaskVisitor;

impl<'de> Visitor<'de> for RawTaskVisitor {
    type Value = RawTask;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a task with train and test pairs, or a list of pairs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<RawTask, A::Error> {
        let mut train = Vec::new();
        while let Some(pair) = list.next_element()? {
            train.push(pair);
        }
        Ok(RawTask { train, test: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<RawTask, A::Error> {
        let mut task = OpenTask::default();
        while let Some(name) = map.next_key::<String>()? {
            task.entry(&name, &mut map)?;
        }
        task.close()
    }
}

#[derive(Deserialize)]
struct RawPair {
    input: Rows,
    output: Option<Rows>,
    #[serde(default)]
    solution_missing: bool,
}

impl RawTask {
    /// The task, or what is wrong with it and where.
    fn check(self, id: &str) -> std::result::Result<Task, String> {
        if id.is_empty() || id.contains(SEPARATOR) {
            return Err(format!(
                "its name is empty or contains {SEPARATOR}, which separates the parts of an identifier"
            ));
        }
        let pairs = |list: &str, raw: Vec<RawPair>| match raw.is_empty() {
            true => Err(format!("no {list} pairs, expected at least one")),
            false => {
                let pair = |(index, raw): (usize, RawPair)| raw.check(&format!("{list}[{index}]"));
                raw.into_iter().enumerate().map(pair).collect::<std::result::Result<Vec<Pair>, String>>()
            }
        };
        let train = pairs("train", self.train)?;
        let test = self.test.map_or(Ok(Vec::new()), |test| pairs("test", test))?;
        if let Some(index) = train.iter().position(|pair| pair.output.is_none()) {
            return Err(format!("train[{index}] has no output"));
        }
        Ok(Task { id: id.to_owned(), train, test })
    }
}

impl RawPair {
    fn check(self, place: &str) -> std::result::Result<Pair, String> {
        let grid = |name: &str, rows: &Rows| {
            Grid::from_rows(rows).map_err(|problem| format!("{place}.{name}: {problem}"))
        };
        let output = self.output.filter(|_| !self.solution_missing);
        let output = output.map(|rows| grid("output", &rows)).transpose()?;
        Ok(Pair { input: grid("input", &self.input)?, output })
    }
}

impl Serialize for Task {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if self.test.is_empty() {
            return self.train.serialize(serializer);
        }
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("train", &self.train)?;
        map.serialize_entry("test", &self.test)?;
        map.end()
    }
}

impl Serialize for Pair {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("input", &self.input)?;
        match &self.output {
            Some(output) => map.serialize_entry("output", output)?,
            None => {
                map.serialize_entry("output", &[[0]])?;
                map.serialize_entry("solution_missing", &true)?;
            }
        }
        map.end()
    }
}

/// A JSON object as a list in its own order; a name that comes twice is an error.
pub(super) struct Entries<T>(pub Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
    type Value = Entries<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object with one entry per task")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        let (mut entries, mut names) = (Vec::new(), HashSet::new());
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("task {name} comes twice")));
            }
            entries.push((name, map.next_value()?));
        }
        Ok(Entries(entries))
    }
}
