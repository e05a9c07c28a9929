//! Output that is whole or absent, and input whose errors carry the path.
//!
//! A file or folder is written under a temporary name beside its destination and renamed into place when it
//! is complete, so that an interrupted or failed command leaves nothing half-written behind.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;

use crate::{Error, Result, magic};

/// How the names of files begin that are being written.
const PARTIAL: &str = ".partial-";
/// The name of the file in an unfinished folder that its writer has locked.
const LOCK: &str = ".lock";

/// Output folders of this process that are not complete.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes all output folders that are not complete, for a program that is about to end. Whoever would complete or drop
/// one now waits for that end.
pub fn remove_unfinished() {
    let folders = unfinished();
    for folder in folders.iter() {
        // A file that is made at this moment keeps its folder from going.
        let _ = (0..8).any(|_| fs::remove_dir_all(folder).is_ok() || !folder.exists());
    }
    std::mem::forget(folders);
}

/// A folder that appears at its destination only when [`OutputFolder::commit`] is called; dropped before
/// that, it is removed with all that was written into it.
#[derive(Debug)]
pub struct OutputFolder {
    temporary: PathBuf,
    /// Held by whoever writes: a folder without such a writer was left behind by a process that was killed.
    lock: Option<File>,
    destination: PathBuf,
}

impl OutputFolder {
    /// A new temporary folder beside `out`, whose missing parents are created. What killed processes left there of
    /// earlier attempts is removed.
    ///
    /// # Errors
    /// [`Error::Usage`] if `out` is a file or a folder with something in it, or cannot be replaced; [`Error::Io`] if
    /// the folder cannot be made.
    pub fn create(out: &Path) -> Result<Self> {
        refuse_existing(out)?;
        // A link is to go on leading to the folder.
        let destination =
            if out.is_symlink() { out.canonicalize().map_err(Error::io(out))? } else { out.into() };
        refuse_irreplaceable(&destination)?;
        let parent = parent(&destination);
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
        let name = destination.file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!(".{name}.partial-");
        remove_leftovers(parent, &prefix);
        let temporary =
            tempfile::Builder::new().prefix(&prefix).tempdir_in(parent).map_err(Error::io(parent))?;
        let temporary = temporary.keep();
        unfinished().push(temporary.clone());
        let mut folder = OutputFolder { temporary, lock: None, destination };
        let path = folder.temporary.join(LOCK);
        let lock = File::create(&path).map_err(Error::io(&path))?;
        // A file system without locks keeps what is left behind, and nothing else.
        let _ = lock.try_lock();
        folder.lock = Some(lock);
        Ok(folder)
    }

    /// Where to write until [`OutputFolder::commit`].
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Renames the folder to its destination.
    ///
    /// # Errors
    /// As [`OutputFolder::create`], if the destination was filled meanwhile or cannot be written.
    pub fn commit(mut self) -> Result<()> {
        refuse_existing(&self.destination)?;
        let _at_once = unfinished();
        if self.destination.is_dir() {
            fs::remove_dir(&self.destination).map_err(Error::io(&self.destination))?;
        }
        let lock = self.temporary.join(LOCK);
        fs::remove_file(&lock).map_err(Error::io(&lock))?;
        self.lock = None;
        fs::rename(&self.temporary, &self.destination).map_err(Error::io(&self.destination))?;
        sync_folder(parent(&self.destination))
    }
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        let mut folders = unfinished();
        folders.retain(|folder| *folder != self.temporary);
        self.lock = None;
        // After a commit there is nothing of this name.
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

/// Removes the unfinished folders in `parent` whose names start with `prefix` and whose writers are gone.
fn remove_leftovers(parent: &Path, prefix: &str) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)) {
        let writerless = File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok());
        if writerless {
            // Where that is not possible, nothing is lost but room.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// What would keep [`write_atomic`] from writing `path`, to be asked before the long work whose result goes there.
pub fn obstacle(path: &Path) -> Option<String> {
    if path.is_dir() {
        return Some("is a folder".into());
    }
    if is_stream(path) {
        return None;
    }
    let error = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(parent(&behind_links(path))).err()?;
    Some(match error.kind() {
        ErrorKind::NotFound => "is in a folder that does not exist or takes no files".into(),
        kind => format!("cannot be written: {kind}"),
    })
}

/// Whether there is something at `path` that is neither file nor folder, as a device or a pipe.
fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// The file that a link names, else `path` itself.
fn behind_links(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Writes `path` by way of a temporary file in the same folder: flushed to the disk, then renamed over
/// the file that was there, or that the link there names, with the permissions of any new file. Devices and pipes are written
/// to as they are.
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
    if is_stream(path) {
        let stream = File::options().write(true).open(path).map_err(Error::io(path))?;
        let mut stream = BufWriter::new(&stream);
        return write(&mut stream).and_then(|()| stream.flush()).map_err(Error::io(path));
    }
    let path = &behind_links(path);
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

/// A file that may be larger than memory, read piece by piece from any number of threads. What is cut short while it
/// is read becomes an error; a mapped file would become a signal.
#[derive(Debug)]
pub struct Pieces {
    path: PathBuf,
    content: Content,
    bytes: u64,
}

#[derive(Debug)]
enum Content {
    File(File),
    BuiltIn(&'static [u8]),
}

impl Pieces {
    /// Opens the regular file `path`.
    ///
    /// # Errors
    /// [`Error::Io`] at `path`, [`Error::File`] for a pipe, device or folder, which has no pieces.
    pub fn open(path: &Path) -> Result<Pieces> {
        // Opening a pipe would wait for its writer.
        if !fs::metadata(path).map_err(Error::io(path))?.is_file() {
            return Err(Error::file(path, "is no regular file", "name a file on a disk"));
        }
        let file = File::open(path).map_err(Error::io(path))?;
        let bytes = file.metadata().map_err(Error::io(path))?.len();
        Ok(Pieces { path: path.to_path_buf(), content: Content::File(file), bytes })
    }

    /// What is built into the program, read like a file; errors call it `name`.
    pub fn built_in(name: &str, content: &'static [u8]) -> Pieces {
        Pieces { path: name.into(), content: Content::BuiltIn(content), bytes: content.len() as u64 }
    }

    /// How long it was when it was opened.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its first bytes, from which [`crate::magic`] tells what it is.
    ///
    /// # Errors
    /// As [`Pieces::read`].
    pub(crate) fn head(&self) -> Result<Vec<u8>> {
        let mut head = vec![0; self.bytes.min(magic::HEAD_BYTES as u64) as usize];
        self.read(0, &mut head)?;
        Ok(head)
    }

    /// Fills `piece` with what is there from `offset` on.
    ///
    /// # Errors
    /// [`Error::Failed`] for a file that ends before, [`Error::Io`] where the system refuses.
    pub fn read(&self, mut offset: u64, mut piece: &mut [u8]) -> Result<()> {
        while !piece.is_empty() {
            match self.content.read_at(piece, offset) {
                Ok(0) => {
                    let problem =
                        format!("ends before byte {offset}, it had {} when it was opened", self.bytes);
                    return Err(Error::failed(
                        &self.path,
                        problem,
                        "restore the file and begin again, or resume",
                    ));
                }
                Ok(count) => (offset, piece) = (offset + count as u64, &mut piece[count..]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(&self.path)(error)),
            }
        }
        Ok(())
    }
}

impl Content {
    /// How many bytes of `piece` were filled; none at the end.
    fn read_at(&self, piece: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Content::File(file) => read_at(file, piece, offset),
            Content::BuiltIn(bytes) => {
                let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
                rest.unwrap_or_default().read(piece)
            }
        }
    }
}

#[cfg(unix)]
fn read_at(file: &File, piece: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, piece, offset)
}

#[cfg(windows)]
fn read_at(file: &File, piece: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, piece, offset)
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
/// [`Error::Io`] at `path`, [`Error::File`] for bytes that are no UTF-8.
pub fn read_to_string(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|error| {
        let (bytes, at) = (error.as_bytes(), error.utf8_error().valid_up_to());
        let problem = match magic::wrapping(&bytes[..bytes.len().min(magic::HEAD_BYTES)]) {
            Some(problem) => problem.to_owned(),
            None => format!("byte {at} is {:#04x}, which is no UTF-8 text", bytes[at]),
        };
        Error::file(path, format!("{problem}, expected text"), "name a text file, or save it anew in UTF-8")
    })
}

/// Bytes that the disk under the nearest existing folder of `path` has left, where the system tells.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let folder = path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    #[cfg(unix)]
    return rustix::fs::statvfs(folder).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    #[cfg(not(unix))]
    return None;
}

/// What a JSON file says; a byte order mark before it says nothing.
///
/// # Errors
/// [`Error::Io`] at `path`; [`Error::File`] with `fix` for what is no JSON, or JSON of something else.
pub fn read_json<T: DeserializeOwned>(path: &Path, fix: &str) -> Result<T> {
    let bytes = read(path)?;
    let json = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    serde_json::from_slice(json).map_err(|error| Error::file(path, error.to_string(), fix))
}

/// Finds out before the work whether a folder that is to be written may be.
///
/// # Errors
/// [`Error::Usage`] if `out` is a file or a folder with something in it.
pub fn refuse_existing(out: &Path) -> Result<()> {
    let problem = match fs::read_dir(out).map(|mut entries| entries.next().is_none()) {
        Ok(true) => return Ok(()),
        Ok(false) => "exists and is not empty",
        Err(_) if out.symlink_metadata().is_err() => return Ok(()),
        Err(_) => "exists and is not a readable folder",
    };
    let fix = "name a new folder or remove this one first";
    Err(Error::usage(out.display().to_string(), problem, fix))
}

/// Finds out before the work whether a folder that is there, and empty, can make room for another.
fn refuse_irreplaceable(out: &Path) -> Result<()> {
    if !out.is_dir() {
        return Ok(());
    }
    fs::remove_dir(out).and_then(|()| fs::create_dir(out)).map_err(|error| {
        let problem = format!("cannot be replaced: {}", error.kind());
        Error::usage(out.display().to_string(), problem, "name a folder in it that is not there yet")
    })
}

/// The folder `path` lies in; a bare name lies in the current one.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
