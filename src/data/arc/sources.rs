//! Where ARC tasks lie.
//!
//! A subset is the competition's `<prefix>_<subset>_{challenges,solutions}.json`, a folder `<prefix>/<subset>` with a file
//! per task, or folders of such files, as in the ARC-AGI and ConceptARC repositories, or one file, `<prefix>/<subset>.json`.
//! Hyphens and underscores in names are alike.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::grid::Grid;
use super::task::{Entries, MEND, Rows, Task, read_file};
use crate::{Error, Result, files};

/// Folders in folders; links may lead in circles.
const DEEPEST: usize = 8;

/// Hears of a task that cannot be used; an error ends the reading.
pub(super) type OnRefused<'a> = &'a mut dyn FnMut(Error) -> Result<()>;

/// Reads the tasks of `subset` in the order of their file, those of a folder by name.
///
/// # Errors
/// [`Error::File`] naming file, task and place for JSON that is malformed, a grid that is ragged, too large or
/// of a colour above 9, an empty list of pairs, a demonstration without output, a name twice, or solutions that
/// do not fit their task; [`Error::Usage`] if there is no such subset.
pub fn read_subset(prefix: &str, subset: &str) -> Result<Vec<Task>> {
    read_sound(prefix, subset, &mut Err)
}

/// The same of the tasks that can be used.
pub(super) fn read_sound(prefix: &str, subset: &str, refused: OnRefused<'_>) -> Result<Vec<Task>> {
    let challenges = PathBuf::from(format!("{prefix}_{subset}_challenges.json"));
    let folder = Path::new(prefix).join(subset);
    if let Some(challenges) =
        find(&challenges).or_else(|| inside(prefix, subset)).filter(|path| path.is_file())
    {
        return read_challenges(&challenges, refused);
    }
    let file = find(&Path::new(prefix).join(format!("{subset}.json")));
    match find(&folder).or(file).or_else(|| find(Path::new(&format!("{prefix}_{subset}.json")))) {
        Some(place) => read_place(&place, refused),
        None => {
            let problem =
                format!("neither the file {} nor the folder {}", challenges.display(), folder.display());
            Err(Error::usage("input_file_prefix", problem, "check the prefix and the name of the subset"))
        }
    }
}

/// Reads a prefix that has none of the `subsets` but is itself a file, or a folder of files: all of that is one subset.
pub(super) fn read_whole(
    prefix: &str,
    subsets: &[String],
    refused: OnRefused<'_>,
) -> Result<Option<Vec<Task>>> {
    let path = Path::new(prefix);
    let has = |subset: &String| {
        find(&path.join(subset)).is_some()
            || find(&path.join(format!("{subset}.json"))).is_some()
            || inside(prefix, subset).is_some()
    };
    let whole = path.is_file() || (path.is_dir() && !subsets.iter().any(has) && has_tasks(path)?);
    whole.then(|| read_place(path, refused)).transpose()
}

fn has_tasks(folder: &Path) -> Result<bool> {
    Ok(entries(folder)?.iter().any(|path| is_json(path)))
}

/// A file, or a folder of files and folders.
fn read_place(place: &Path, refused: OnRefused<'_>) -> Result<Vec<Task>> {
    if place.is_file() {
        return read_file(place, refused);
    }
    let (mut paths, mut tasks) = (Vec::new(), Vec::new());
    walk(place, DEEPEST, &mut paths)?;
    if paths.is_empty() {
        return Err(Error::file(place, "no .json file in it", "name a folder with one file per task"));
    }
    for path in paths {
        match read_file(&path, refused) {
            Ok(more) => tasks.extend(more),
            Err(error) => refused(error)?,
        }
    }
    Ok(tasks)
}

fn walk(folder: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<()> {
    for path in entries(folder)? {
        if is_json(&path) {
            paths.push(path);
        } else if depth > 1 && path.is_dir() {
            walk(&path, depth - 1, paths)?;
        }
    }
    Ok(())
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json") && path.is_file()
}

/// What is in a folder, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).and_then(|entries| {
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        paths.collect::<std::io::Result<Vec<PathBuf>>>()
    });
    let mut paths = entries.map_err(Error::io(folder))?;
    paths.sort_unstable();
    Ok(paths)
}

/// What is there under this name, or under one that differs in hyphens and underscores only.
fn find(path: &Path) -> Option<PathBuf> {
    if path.exists() {
        return Some(path.to_path_buf());
    }
    let wanted = plain(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The folder may have such a name itself.
    let folder = if folder.exists() { folder.to_path_buf() } else { find(folder)? };
    entries(&folder).ok()?.into_iter().find(|path| plain(path).as_ref() == Some(&wanted))
}

/// The challenges of a subset in the folder `prefix`, whatever their names begin with.
fn inside(prefix: &str, subset: &str) -> Option<PathBuf> {
    let wanted = plain(Path::new(&format!("_{subset}_challenges.json")))?;
    let ends = |path: &PathBuf| plain(path).is_some_and(|name| name.ends_with(&wanted));
    entries(Path::new(prefix)).ok()?.into_iter().find(ends)
}

fn plain(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().replace('-', "_"))
}

fn read_challenges(path: &Path, refused: OnRefused<'_>) -> Result<Vec<Task>> {
    let mut tasks = read_file(path, refused)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match find(&path.with_file_name(name.replace("challenges", "solutions"))) {
        Some(solutions) if solutions.is_file() => add_solutions(&mut tasks, &solutions, refused)?,
        _ => {}
    }
    Ok(tasks)
}

/// Puts the solutions into the test pairs; a task without an entry keeps what it has.
fn add_solutions(tasks: &mut Vec<Task>, path: &Path, refused: OnRefused<'_>) -> Result<()> {
    let Entries(entries) =
        files::read_json::<Entries<Vec<Option<Rows>>>>(path, "give a file in ARC's layout")?;
    let mut solutions: HashMap<String, Vec<Option<Rows>>> = entries.into_iter().collect();
    let mut sound = Vec::with_capacity(tasks.len());
    for mut task in tasks.drain(..) {
        let added = solutions.remove(&task.id).map_or(Ok(()), |outputs| add_outputs(&mut task, outputs));
        match added {
            Ok(()) => sound.push(task),
            Err(problem) => refused(Error::file(path, format!("task {}, {problem}", task.id), MEND))?,
        }
    }
    *tasks = sound;
    Ok(())
}

fn add_outputs(task: &mut Task, outputs: Vec<Option<Rows>>) -> std::result::Result<(), String> {
    if outputs.len() != task.test.len() {
        let (found, inputs) = (outputs.len(), task.test.len());
        return Err(format!("{found} solutions, the challenges have {inputs} test inputs"));
    }
    for (index, (pair, rows)) in task.test.iter_mut().zip(outputs).enumerate() {
        if let Some(rows) = rows {
            let grid = Grid::from_rows(&rows).map_err(|problem| format!("solution {index}: {problem}"))?;
            pair.output = Some(grid);
        }
    }
    Ok(())
}
