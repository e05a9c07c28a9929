//! Output that is whole or absent, and input whose errors carry the path.
//!
//! A file or folder is written under a temporary name beside its destination and renamed into place when it
//! is complete, so that an interrupted or failed command leaves nothing half-written behind.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::{Error, Result};

/// How the names of files begin that are being written.
const PARTIAL: &str = ".partial-";

/// A folder that appears at its destination only when [`OutputFolder::commit`] is called; dropped before
/// that, it is removed with all that was written into it.
#[derive(Debug)]
pub struct OutputFolder {
    temporary: tempfile::TempDir,
    destination: PathBuf,
}

impl OutputFolder {
    /// A new temporary folder beside `out`, whose missing parents are created.
    ///
    /// # Errors
    /// [`Error::Usage`] for `--out` if `out` is a file or a folder with something in it; [`Error::Io`] if the
    /// folder cannot be made.
    pub fn create(out: &Path) -> Result<Self> {
        refuse_existing(out)?;
        let parent = parent(out);
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
        let name = out.file_name().unwrap_or_default().to_string_lossy();
        let temporary = tempfile::Builder::new()
            .prefix(&format!(".{name}.partial-"))
            .tempdir_in(parent)
            .map_err(Error::io(parent))?;
        Ok(OutputFolder { temporary, destination: out.to_path_buf() })
    }

    /// Where to write until [`OutputFolder::commit`].
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Renames the folder to its destination.
    ///
    /// # Errors
    /// As [`OutputFolder::create`], if the destination was filled meanwhile or cannot be written.
    pub fn commit(self) -> Result<()> {
        refuse_existing(&self.destination)?;
        if self.destination.is_dir() {
            fs::remove_dir(&self.destination).map_err(Error::io(&self.destination))?;
        }
        fs::rename(self.temporary.path(), &self.destination).map_err(Error::io(&self.destination))?;
        // The temporary name is gone by now; keeping it only disarms the removal.
        let _ = self.temporary.keep();
        sync_folder(parent(&self.destination))
    }
}

/// What would keep [`write_atomic`] from writing `path`, to be asked before the long work whose result goes there.
pub fn obstacle(path: &Path) -> Option<String> {
    if path.is_dir() {
        return Some("is a folder".into());
    }
    let error = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(parent(path)).err()?;
    Some(match error.kind() {
        ErrorKind::NotFound => "is in a folder that does not exist or takes no files".into(),
        kind => format!("cannot be written: {kind}"),
    })
}

/// Writes `path` by way of a temporary file in the same folder: flushed to the disk, then renamed over
/// whatever was there, with the permissions of any new file.
///
/// # Errors
/// [`Error::Io`] at `path`; the old content, if any, is then untouched.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic_with(path, |file| file.write_all(bytes))
}

/// As [`write_atomic`], for content that `write` makes piece by piece because it is too large to hold twice.
///
/// # Errors
/// [`Error::Io`] at `path`; the old content, if any, is then untouched.
pub fn write_atomic_with(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> Result<()> {
    let mut builder = tempfile::Builder::new();
    // The library's default of 0600 would keep others from reading the result; the umask still applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let temporary = builder.prefix(PARTIAL).tempfile_in(parent(path));
    let temporary = temporary.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::file(path, "its folder does not exist", "make it or name another"),
        _ => Error::io(path)(error),
    })?;
    let mut file = BufWriter::new(temporary.as_file());
    let written = write(&mut file).and_then(|()| file.flush()).and_then(|()| file.get_ref().sync_all());
    drop(file);
    written.map_err(Error::io(path))?;
    temporary.persist(path).map_err(|failed| failed.error).map_err(Error::io(path))?;
    sync_folder(parent(path))
}

/// Has the names in a folder survive a power cut, where a system lets a folder be flushed.
///
/// # Errors
/// [`Error::Io`] at `folder`.
pub fn sync_folder(folder: &Path) -> Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let flushed = File::open(folder).and_then(|folder| folder.sync_all());
    match flushed {
        // Some network file systems flush files only.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        flushed => flushed.map_err(Error::io(folder)),
    }
}

/// Removes what writers that were killed have left in `folder` of [`write_atomic`]; for a folder in which nobody else
/// writes.
///
/// # Errors
/// [`Error::Io`] at the file.
pub fn remove_partial(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        let left = entry.file_name().to_string_lossy().starts_with(PARTIAL) && entry.path().is_file();
        if left {
            fs::remove_file(entry.path()).map_err(Error::io(entry.path()))?;
        }
    }
    Ok(())
}

/// A read-only view of a file that may be larger than memory.
///
/// # Errors
/// [`Error::Io`] at `path`.
#[allow(unsafe_code)]
pub fn map(path: &Path) -> Result<Mmap> {
    let file = File::open(path).map_err(Error::io(path))?;
    // SAFETY: the map is read-only and only ever read as bytes. Files are written under another name and
    // renamed, so trm itself never changes a mapped one; that nobody else truncates it is asked of the user.
    unsafe { Mmap::map(&file) }.map_err(Error::io(path))
}

/// The whole content of a file.
///
/// # Errors
/// [`Error::Io`] at `path`.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::io(path))
}

/// The whole content of a UTF-8 text file.
///
/// # Errors
/// [`Error::Io`] at `path`, also for bytes that are no UTF-8.
pub fn read_to_string(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(Error::io(path))
}

fn refuse_existing(out: &Path) -> Result<()> {
    let problem = match fs::read_dir(out).map(|mut entries| entries.next().is_none()) {
        Ok(true) => return Ok(()),
        Ok(false) => "exists and is not empty",
        Err(_) if out.symlink_metadata().is_err() => return Ok(()),
        Err(_) => "exists and is not a readable folder",
    };
    let fix = "name a new folder or remove this one first";
    Err(Error::usage("--out", format!("{} {problem}", out.display()), fix))
}

/// The folder `path` lies in; a bare name lies in the current one.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
