//! The names of identifiers and, for ARC, the tasks that are tested on.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::layout::{SetFiles, SplitFiles};
use super::{Findings, Kind, Rule};
use crate::data::Split;
use crate::data::arc::{Augmentation, Grid, TEST_PUZZLES_FILE, Task, read_tasks};
use crate::data::dataset::IDENTIFIERS_FILE;
use crate::files;

/// Reads `identifiers.json`; no names if that is not possible.
pub(super) fn read(dir: &Path, kind: Kind, splits: &[SplitFiles], findings: &mut Findings) -> Vec<String> {
    let path = dir.join(IDENTIFIERS_FILE);
    match files::read_json::<Vec<String>>(&path, "") {
        Ok(names) => {
            if let Some(problem) = names_fault(&names, kind, splits) {
                findings.add(Rule::Names, &path, problem, 1);
            }
            names
        }
        Err(error) => {
            findings.add_error(Rule::Names, error);
            vec![]
        }
    }
}

fn names_fault(names: &[String], kind: Kind, splits: &[SplitFiles]) -> Option<String> {
    let expected = splits.iter().map(|split| split.metadata.num_puzzle_identifiers);
    if let Some(expected) = expected.into_iter().find(|&expected| expected != names.len()) {
        return Some(format!("{} names, dataset.json says {expected}", names.len()));
    }
    if names.first().is_some_and(|name| name != "<blank>") {
        return Some(format!("element 0 is \"{}\", expected \"<blank>\"", names[0]));
    }
    let mut seen = HashSet::new();
    if let Some(index) = names.iter().position(|name| !seen.insert(name)) {
        return Some(format!("element {index}, \"{}\", comes twice", names[index]));
    }
    let unread = |name: &&String| kind == Kind::Arc && Augmentation::parse(name).is_none();
    let unread = names.iter().find(unread)?;
    Some(format!("\"{unread}\", expected task|||t<0 to 7>|||<ten colour digits>"))
}

/// Looks up every test input in `test_puzzles.json`, and its identifier in the train split.
pub(super) fn check_test_puzzles(
    dir: &Path,
    splits: &[SplitFiles],
    names: &[String],
    findings: &mut Findings,
) {
    let path = dir.join(TEST_PUZZLES_FILE);
    let tasks = match read_tasks(&path) {
        Ok(tasks) => tasks,
        Err(error) => return findings.add_error(Rule::TestPuzzles, error),
    };
    let tasks: HashMap<&str, &Task> = tasks.iter().map(|task| (task.id.as_str(), task)).collect();
    let sets = |split| splits.iter().filter(move |files| files.split == split).flat_map(|files| &files.sets);
    let trained: HashSet<i32> = sets(Split::Train).flat_map(|set| set.identifiers.iter().copied()).collect();
    for set in sets(Split::Test) {
        let fault = |&(example, identifier): &(usize, i32)| {
            test_fault(set, example, identifier, names, &tasks, &trained).map(|fault| (example, fault))
        };
        let mut faults = set.with_identifiers().filter_map(|pair| fault(&pair));
        if let Some((example, fault)) = faults.next() {
            let problem = format!("test example {example}: {fault}");
            findings.add(Rule::TestPuzzles, &path, problem, 1 + faults.count());
        }
    }
}

fn test_fault(
    set: &SetFiles,
    example: usize,
    identifier: i32,
    names: &[String],
    tasks: &HashMap<&str, &Task>,
    trained: &HashSet<i32>,
) -> Option<String> {
    let name = usize::try_from(identifier).ok().and_then(|index| names.get(index));
    let Some((id, augmentation)) = name.and_then(|name| Augmentation::parse(name)) else {
        return Some(format!("identifier {identifier} names no puzzle"));
    };
    let Some(task) = tasks.get(id) else { return Some(format!("no task {id}")) };
    let mut tokens = vec![0; set.inputs.columns()];
    if let Err(error) = set.inputs.read_row(example, &mut tokens) {
        return Some(error.to_string());
    }
    let input = augmentation.undo(&Grid::crop(&tokens));
    if task.test.iter().all(|pair| pair.input != input) {
        Some(format!("task {id} has no such test input"))
    } else if !trained.contains(&identifier) {
        Some(format!("identifier {identifier} occurs in no training puzzle"))
    } else {
        None
    }
}
