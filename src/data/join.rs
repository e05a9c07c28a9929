//! Several data sets as one: their sets side by side, their puzzle identifiers one after the other.
//!
//! Training goes through the sets in turns, as the release does with several `data_paths`. Tokens are not written again:
//! files are linked where the disk allows it, and only the arrays of identifiers are new. Or all that is trained on becomes
//! one set, and a batch has examples of all.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::arc::{TEST_PUZZLES_FILE, read_tasks, write_tasks};
use super::dataset::{IDENTIFIERS_FILE, METADATA_FILE, array_path};
use super::npy::{Array, REBUILD, Stream, concatenate};
use super::origins::{Origin, read_origins, write_origins};
use super::own::VOCABULARY_FILE;
use super::{Dataset, Metadata, Set, Split, write_identifiers};
use crate::files::{self, OutputFolder};
use crate::{Error, Result};

/// Arrays that are the same in the whole as in the part.
const SHARED: [&str; 4] = ["inputs", "labels", "puzzle_indices", "group_indices"];

/// How training meets the examples of the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Training {
    /// The sets of the parts stay apart: an iteration goes through one of them, the next one through the next.
    InTurns,
    /// They become one set: each epoch goes through the groups of all, in random order.
    Mixed,
}

/// The one set of what is mixed.
const MIXED: &str = "all";

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// `dataset.json` of the train split.
    pub train: Metadata,
    /// `dataset.json` of the test split, where a part has one.
    pub test: Option<Metadata>,
}

/// One data set and where its identifiers come to lie.
struct Part<'a> {
    dir: &'a Path,
    train: Dataset,
    test: Option<Dataset>,
    /// Names of its identifiers but the blank one.
    names: Vec<String>,
    /// What its identifiers but the blank one are raised by.
    raised: i32,
}

/// Writes `out`, whole or not at all, of the data sets in `dirs`. Where one says which lists its examples come from, the
/// whole does: those of a data set that does not say come from one of its folder's name.
///
/// # Errors
/// [`Error::Io`] and [`Error::File`] of a data set that cannot be read, or whose tokens, words or kind of test are not those of
/// the first, or that has a puzzle of another one; [`Error::Usage`] for an output folder in use.
pub fn join(dirs: &[PathBuf], training: Training, out: &Path) -> Result<Summary> {
    let mut parts = Vec::new();
    let mut names = vec!["<blank>".to_owned()];
    for dir in dirs {
        let part = Part::open(dir, names.len() - 1)?;
        names.extend_from_slice(&part.names);
        parts.push(part);
    }
    refuse_unlike(&parts)?;
    let folder = OutputFolder::create(out)?;
    let write = |split, mixed| write_split(folder.path(), &parts, split, mixed, names.len());
    let summary = Summary {
        train: write(Split::Train, training == Training::Mixed)?
            .ok_or_else(|| Error::usage("DIR", "no data sets", "name some"))?,
        test: write(Split::Test, false)?,
    };
    write_identifiers(folder.path(), &names)?;
    write_test_puzzles(folder.path(), &parts)?;
    for part in parts.iter().take(1).filter(|part| part.dir.join(VOCABULARY_FILE).is_file()) {
        share(&part.dir.join(VOCABULARY_FILE), &folder.path().join(VOCABULARY_FILE))?;
    }
    folder.commit()?;
    Ok(summary)
}

impl Part<'_> {
    fn open(dir: &Path, before: usize) -> Result<Part<'_>> {
        let train = Dataset::open(dir, Split::Train)?;
        let tested = dir.join(Split::Test.name()).join(METADATA_FILE).is_file();
        let test = tested.then(|| Dataset::open(dir, Split::Test)).transpose()?;
        let path = dir.join(IDENTIFIERS_FILE);
        let mut names: Vec<String> = files::read_json(&path, REBUILD)?;
        let (count, blank) = (train.metadata().num_puzzle_identifiers, train.metadata().blank_identifier_id);
        if names.len() != count || blank != 0 {
            let problem = format!("{} names, {count} identifiers of which {blank} is blank", names.len());
            return Err(Error::file(path, problem, REBUILD));
        }
        names.remove(0);
        let limit = |_| Error::file(dir, "more than 2^31 - 1 identifiers in all", "join fewer");
        Ok(Part { dir, train, test, names, raised: i32::try_from(before).map_err(limit)? })
    }

    fn split(&self, split: Split) -> Option<&Dataset> {
        match split {
            Split::Train => Some(&self.train),
            Split::Test => self.test.as_ref(),
        }
    }

    fn has_test_puzzles(&self) -> bool {
        self.dir.join(TEST_PUZZLES_FILE).is_file()
    }
}

/// Refuses parts whose tokens mean something else than those of the first, and puzzles that come twice.
fn refuse_unlike(parts: &[Part<'_>]) -> Result<()> {
    let Some(first) = parts.first() else { return Ok(()) };
    let words = |part: &Part<'_>| fs::read(part.dir.join(VOCABULARY_FILE)).ok();
    let mut seen = HashSet::new();
    for part in parts {
        let sizes = |metadata: &Metadata| {
            [
                ("seq_len", metadata.seq_len as i64),
                ("vocab_size", metadata.vocab_size as i64),
                ("pad_id", metadata.pad_id.into()),
                ("ignore_label_id", metadata.ignore_label_id.map_or(-1, Into::into)),
            ]
        };
        let expected = sizes(first.train.metadata());
        let differs = |metadata: &Metadata| {
            sizes(metadata).into_iter().zip(expected).find(|(found, expected)| found != expected)
        };
        let fault = match [Some(&part.train), part.test.as_ref()]
            .into_iter()
            .flatten()
            .find_map(|data| differs(data.metadata()))
        {
            Some(((name, found), (_, expected))) => Some(format!("its {name} is {found}, not {expected}")),
            None if words(part) != words(first) => Some("its words are others".to_owned()),
            None => part
                .names
                .iter()
                .find(|name| !seen.insert(*name))
                .map(|name| format!("puzzle {name} is in another one, too")),
        };
        if let Some(fault) = fault {
            let fix = "join data sets of the same kind and of different puzzles";
            return Err(Error::file(
                part.dir,
                format!("does not go with {}: {fault}", first.dir.display()),
                fix,
            ));
        }
    }
    let tested: Vec<&Part<'_>> = parts.iter().filter(|part| part.test.is_some()).collect();
    match tested.iter().find(|part| part.has_test_puzzles() != tested[0].has_test_puzzles()) {
        Some(part) => {
            let problem = format!("of this and {} only one is tested as ARC is", tested[0].dir.display());
            Err(Error::file(part.dir, problem, "join data sets of the same kind"))
        }
        None => Ok(()),
    }
}

/// Nothing where no part has this split.
fn write_split(
    out: &Path,
    parts: &[Part<'_>],
    split: Split,
    mixed: bool,
    identifiers: usize,
) -> Result<Option<Metadata>> {
    let folder = out.join(split.name());
    let datas: Vec<(&Part<'_>, &Dataset)> =
        parts.iter().filter_map(|part| Some((part, part.split(split)?))).collect();
    let Some((_, first)) = datas.first() else { return Ok(None) };
    fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    let sum = |count: fn(&Dataset) -> usize| datas.iter().map(|(_, data)| count(data)).sum::<usize>();
    let total_puzzles = sum(Dataset::puzzles);
    let whole = Metadata {
        num_puzzle_identifiers: identifiers,
        total_groups: sum(Dataset::groups),
        total_puzzles,
        mean_puzzle_examples: sum(Dataset::examples) as f64 / total_puzzles.max(1) as f64,
        sets: if mixed { write_mixed(&folder, &datas)? } else { write_apart(&folder, &datas)? },
        ..first.metadata().clone()
    };
    join_origins(out, split, &datas)?;
    let path = folder.join(METADATA_FILE);
    let json = serde_json::to_vec(&whole).map_err(|error| Error::io(&path)(error.into()))?;
    files::write_atomic(&path, &json)?;
    Ok(Some(whole))
}

/// Each set as one of its own; returns their names.
fn write_apart(folder: &Path, datas: &[(&Part<'_>, &Dataset)]) -> Result<Vec<String>> {
    let mut sets: Vec<String> = Vec::new();
    for (part, data) in datas {
        for (set, name) in data.sets().iter().zip(&data.metadata().sets) {
            let mut names =
                (0..).map(|count| if count == 0 { name.clone() } else { format!("{name}{count}") });
            let own = names.find(|name| !sets.contains(name)).unwrap_or_default();
            for field in SHARED {
                share(&array_path(data.folder(), name, field), &array_path(folder, &own, field))?;
            }
            let mut identifiers = Stream::vector(array_path(folder, &own, "puzzle_identifiers"))?;
            write_raised(&mut identifiers, set, part.raised)?;
            identifiers.finish()?;
            sets.push(own);
        }
    }
    Ok(sets)
}

/// All sets as one; returns its name.
fn write_mixed(folder: &Path, datas: &[(&Part<'_>, &Dataset)]) -> Result<Vec<String>> {
    let path = |field: &str| array_path(folder, MIXED, field);
    for field in ["inputs", "labels"] {
        let open = |(_, data): &(&Part<'_>, &Dataset)| {
            let own = data.metadata().sets.clone();
            let folder = data.folder().to_owned();
            own.into_iter().map(move |set| Array::open(&array_path(&folder, &set, field), 2))
        };
        concatenate(&datas.iter().flat_map(open).collect::<Result<Vec<_>>>()?, path(field))?;
    }
    let mut identifiers = Stream::vector(path("puzzle_identifiers"))?;
    let (mut puzzles, mut groups) =
        (Stream::vector(path("puzzle_indices"))?, Stream::vector(path("group_indices"))?);
    puzzles.count(0)?;
    groups.count(0)?;
    let mut examples = 0;
    for (part, data) in datas {
        for set in data.sets() {
            let before = identifiers.rows();
            write_raised(&mut identifiers, set, part.raised)?;
            (0..set.puzzles())
                .try_for_each(|puzzle| puzzles.count(examples + set.examples_of(puzzle).end))?;
            (0..set.groups()).try_for_each(|group| groups.count(before + set.puzzles_of(group).end))?;
            examples += set.examples();
        }
    }
    [identifiers, puzzles, groups].into_iter().try_for_each(Stream::finish)?;
    Ok(vec![MIXED.to_owned()])
}

/// The blank identifier stays what it is.
fn write_raised(identifiers: &mut Stream, set: &Set, raised: i32) -> Result<()> {
    (0..set.puzzles())
        .map(|puzzle| set.identifier_of(puzzle))
        .try_for_each(|identifier| identifiers.value(if identifier == 0 { 0 } else { identifier + raised }))
}

/// Which lists the examples come from, where a part says so.
fn join_origins(out: &Path, split: Split, datas: &[(&Part<'_>, &Dataset)]) -> Result<()> {
    let read = |(part, data): &(&Part<'_>, &Dataset)| read_origins(part.dir, split, data.examples());
    let known = datas.iter().map(read).collect::<Result<Vec<_>>>()?;
    if known.iter().all(Vec::is_empty) {
        return Ok(());
    }
    let named = |(lists, (part, data)): (Vec<Origin>, &(&Part<'_>, &Dataset))| {
        let folder = part.dir.file_name().unwrap_or(part.dir.as_os_str());
        let unsaid =
            || vec![Origin { name: folder.to_string_lossy().into_owned(), examples: data.examples() }];
        if lists.is_empty() { unsaid() } else { lists }
    };
    write_origins(out, split, known.into_iter().zip(datas).flat_map(named).collect())
}

fn write_test_puzzles(out: &Path, parts: &[Part<'_>]) -> Result<()> {
    let mut tasks = Vec::new();
    for part in parts.iter().filter(|part| part.has_test_puzzles()) {
        tasks.extend(read_tasks(&part.dir.join(TEST_PUZZLES_FILE))?);
    }
    if tasks.is_empty() {
        Ok(())
    } else {
        write_tasks(&out.join(TEST_PUZZLES_FILE), &tasks.iter().collect::<Vec<_>>())
    }
}

/// One file under two names, or a copy of it. A link to a link would lead elsewhere.
fn share(from: &Path, to: &Path) -> Result<()> {
    let from = from.canonicalize().map_err(Error::io(from))?;
    match fs::hard_link(&from, to) {
        Ok(()) => Ok(()),
        Err(_) => fs::copy(&from, to).map(drop).map_err(Error::io(to)),
    }
}
