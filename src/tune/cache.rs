//! The choices that `trm tune` made on this machine: a readable file per adapter, driver and precision in the
//! platform's cache folder.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};

use crate::engine::DeviceInfo;
use crate::ops::KERNELS;
use crate::plan::{Element, Tiles};
use crate::{Error, Result, files};

const HEADER: &str =
    "# What \"trm tune\" chose for this adapter. Delete the file to go back to the table of defaults.\n";

/// What helps where a file cannot be used.
const AGAIN: &str = "run \"trm tune\" again, which replaces it, or go without (`no_tune_cache`)";

/// What a choice holds for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The adapter's name.
    pub adapter: String,
    /// `vulkan`, `metal`, `dx12`.
    pub backend: String,
    /// Driver name and version.
    pub driver: String,
    /// Storage of activations.
    pub precision: Element,
    /// Checksum of the text of all kernels: others would have to be measured again.
    pub kernels: String,
}

impl Key {
    /// Of plans in `precision` for this device by this program.
    pub fn of(info: &DeviceInfo, precision: Element) -> Key {
        Key {
            adapter: info.name.clone(),
            backend: info.backend.clone(),
            driver: info.driver.clone(),
            precision,
            kernels: kernels(),
        }
    }

    /// A name that people recognise and that no other adapter or driver has.
    fn file_name(&self) -> String {
        let letters = self
            .adapter
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
        let words: String = letters.collect();
        let words: Vec<&str> = words.split('-').filter(|word| !word.is_empty()).take(6).collect();
        let place = [&self.adapter, &self.backend, &self.driver].map(String::as_str).join("\n");
        format!("{}-{:08x}-{}.toml", words.join("-"), crc32fast::hash(place.as_bytes()), self.precision)
    }

    /// What differs between the key of a file and this one.
    fn mismatch(&self, file: &Key) -> Option<String> {
        let [of_file, own] = [file, self].map(|key| key.precision.name().to_owned());
        let fields = [
            ("adapter", &file.adapter, &self.adapter),
            ("backend", &file.backend, &self.backend),
            ("driver", &file.driver, &self.driver),
            ("precision", &of_file, &own),
            ("kernels with checksum", &file.kernels, &self.kernels),
        ];
        let differs = fields.into_iter().find(|(_, file, own)| file != own);
        differs.map(|(name, file, own)| format!("was tuned for the {name} \"{file}\", not for \"{own}\""))
    }
}

fn kernels() -> String {
    let mut checksum = crc32fast::Hasher::new();
    for kernel in KERNELS {
        // A kernel without a text fails wherever it is used; here it only has none to add.
        checksum.update(kernel.text(&[]).unwrap_or_default().as_bytes());
    }
    format!("{:08x}", checksum.finalize())
}

/// A choice, and how it came about. It is taken for all that its key holds for, whatever is computed: the shapes that
/// were measured say how much that is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// What it holds for.
    #[serde(flatten)]
    pub key: Key,
    /// The recipe whose shapes were measured.
    pub recipe: String,
    /// B.
    pub batch: usize,
    /// S.
    pub seq_len: usize,
    /// V.
    pub vocab_size: usize,
    /// What is taken.
    pub tiles: Tiles,
}

impl Choice {
    /// What was measured, in a line: `sudoku-mlp, B 8, S 81, V 11`.
    pub fn measured(&self) -> String {
        let Choice { recipe, batch, seq_len, vocab_size, .. } = self;
        format!("{recipe}, B {batch}, S {seq_len}, V {vocab_size}")
    }
}

/// What a cache has for a device.
#[derive(Clone, Debug, PartialEq)]
pub enum Cached {
    /// It was never tuned.
    Nothing,
    /// It was tuned.
    Tuned(Box<Choice>),
    /// A file is there and cannot be used: which, why, and what to do, in a line.
    Unusable(String),
}

/// A folder of choices.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The platform's: `~/.cache/trm/tune` (or below `XDG_CACHE_HOME`), `~/Library/Caches/trm/tune`,
    /// `%LOCALAPPDATA%\trm\tune`. None for a user without a home.
    pub fn of_user() -> Option<Cache> {
        let folders = etcetera::base_strategy::choose_native_strategy().ok()?;
        Some(Cache::at(&folders.cache_dir().join("trm").join("tune")))
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// In this folder, which need not exist.
    pub fn at(folder: &Path) -> Cache {
        Cache { folder: folder.to_path_buf() }
    }

    /// Where the choice for `key` is, or would be.
    pub fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(key.file_name())
    }

    /// What was chosen for `key`. Whatever is wrong with a file, the table of defaults is at hand: no error.
    pub fn load(&self, key: &Key) -> Cached {
        let path = self.path(key);
        if !path.exists() {
            return Cached::Nothing;
        }
        // Reading a pipe or a device might never end.
        if !path.is_file() {
            return Cached::Unusable(format!("{}: is no regular file; {AGAIN}", path.display()));
        }
        let text = match files::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => return Cached::Unusable(format!("{error}; {AGAIN}")),
        };
        let problem = match toml::from_str::<Choice>(&text) {
            Ok(choice) => match key.mismatch(&choice.key) {
                None => return Cached::Tuned(Box::new(choice)),
                Some(mismatch) => mismatch,
            },
            Err(error) => format!("is no tune file: {}", error.message()),
        };
        Cached::Unusable(format!("{}: {problem}; {AGAIN}", path.display()))
    }

    /// Makes the folder, before the long work whose result is to be kept there.
    ///
    /// # Errors
    /// [`Error::Failed`] where no choice for `key` could be written.
    pub fn prepare(&self, key: &Key) -> Result<()> {
        const FIX: &str = "name another cache folder, or `no_tune_cache`, which keeps nothing";
        let refused = |error: std::io::Error| {
            Error::failed(&self.folder, format!("cannot be made: {}", error.kind()), FIX)
        };
        std::fs::create_dir_all(&self.folder).map_err(refused)?;
        let path = self.path(key);
        files::obstacle(&path).map_or(Ok(()), |problem| Err(Error::failed(path, problem, FIX)))
    }

    /// Keeps a choice; returns where.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be written.
    pub fn store(&self, choice: &Choice) -> Result<PathBuf> {
        let path = self.path(&choice.key);
        std::fs::create_dir_all(&self.folder).map_err(Error::io(&self.folder))?;
        let broken = |error: toml::ser::Error| Error::io(&path)(std::io::Error::other(error));
        let text = toml::to_string(choice).map_err(broken)?;
        files::write_atomic(&path, (HEADER.to_owned() + &text).as_bytes())?;
        Ok(path)
    }
}
