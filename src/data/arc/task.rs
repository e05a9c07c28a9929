//! ARC tasks and the files they come in.
//!
//! Two layouts are read: the competition's `<prefix>_<subset>_{challenges,solutions}.json`, one object of all
//! tasks each, and the ARC-AGI repositories' `<prefix>/<subset>/<task>.json`, one file per task with the
//! solutions inside. A solution may be missing (a competition's hidden set), every other gap is an error.
//! `test_puzzles.json` of a data set has the challenges layout with the solutions inside.

use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::grid::Grid;
use crate::{Error, Result, files};

/// What separates the parts of an identifier; no task's own name contains it.
pub const SEPARATOR: &str = "|||";

/// What to do about a broken task file.
const MEND: &str = "correct the file or leave the task out";

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
    /// The test pairs, at least one.
    pub test: Vec<Pair>,
}

/// Reads the tasks of `subset` in the order of their file, those of a folder by name.
///
/// # Errors
/// [`Error::File`] naming file, task and place for JSON that is malformed, a grid that is ragged, too large or
/// of a colour above 9, an empty list of pairs, a demonstration without output, a name twice, or solutions that
/// do not fit their task; [`Error::Usage`] if neither layout is there.
pub fn read_subset(prefix: &str, subset: &str) -> Result<Vec<Task>> {
    let challenges = PathBuf::from(format!("{prefix}_{subset}_challenges.json"));
    let folder = Path::new(prefix).join(subset);
    if challenges.is_file() {
        let mut tasks = read_tasks(&challenges)?;
        let solutions = PathBuf::from(format!("{prefix}_{subset}_solutions.json"));
        if solutions.is_file() {
            add_solutions(&mut tasks, &solutions)?;
        }
        Ok(tasks)
    } else if folder.is_dir() {
        read_folder(&folder)
    } else {
        let problem =
            format!("neither the file {} nor the folder {}", challenges.display(), folder.display());
        Err(Error::usage("--input-file-prefix", problem, "check the prefix and the name of the subset"))
    }
}

/// Reads one object of tasks by name: challenges, or `test_puzzles.json`.
///
/// # Errors
/// As [`read_subset`].
pub fn read_tasks(path: &Path) -> Result<Vec<Task>> {
    let Entries(entries) = read_json::<Entries<RawTask>>(path)?;
    let task = |(id, raw): (String, RawTask)| {
        raw.check(&id).map_err(|problem| Error::file(path, format!("task {id}, {problem}"), MEND))
    };
    let tasks = entries.into_iter().map(task).collect::<Result<Vec<Task>>>()?;
    if tasks.is_empty() {
        return Err(Error::file(path, "no tasks", "name another subset"));
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

fn read_folder(folder: &Path) -> Result<Vec<Task>> {
    let entries = fs::read_dir(folder).and_then(|entries| {
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        paths.collect::<std::io::Result<Vec<PathBuf>>>()
    });
    let mut paths = entries.map_err(Error::io(folder))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort_unstable();
    if paths.is_empty() {
        return Err(Error::file(folder, "no .json file in it", "name a folder with one file per task"));
    }
    let task = |path: &PathBuf| {
        let id = path.file_stem().unwrap_or_default().to_string_lossy();
        read_json::<RawTask>(path)?.check(&id).map_err(|problem| Error::file(path, problem, MEND))
    };
    paths.iter().map(task).collect()
}

/// Puts the solutions into the test pairs; a task without an entry keeps what it has.
fn add_solutions(tasks: &mut [Task], path: &Path) -> Result<()> {
    let Entries(entries) = read_json::<Entries<Vec<Option<Rows>>>>(path)?;
    let mut solutions: HashMap<String, Vec<Option<Rows>>> = entries.into_iter().collect();
    for task in tasks {
        let broken = |problem: String| Error::file(path, format!("task {}, {problem}", task.id), MEND);
        let Some(outputs) = solutions.remove(&task.id) else { continue };
        if outputs.len() != task.test.len() {
            let problem =
                format!("{} solutions, the challenges have {} test inputs", outputs.len(), task.test.len());
            return Err(broken(problem));
        }
        for (index, (pair, rows)) in task.test.iter_mut().zip(outputs).enumerate() {
            if let Some(rows) = rows {
                let grid = Grid::from_rows(&rows)
                    .map_err(|problem| broken(format!("solution {index}: {problem}")))?;
                pair.output = Some(grid);
            }
        }
    }
    Ok(())
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    files::read_json(path, "give a file in ARC's layout")
}

type Rows = Vec<Vec<i64>>;

#[derive(Deserialize)]
struct RawTask {
    train: Vec<RawPair>,
    test: Vec<RawPair>,
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
        let (train, test) = (pairs("train", self.train)?, pairs("test", self.test)?);
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
struct Entries<T>(Vec<(String, T)>);

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
