//! The one error type of the crate.
//!
//! Every message reads `place: what is wrong; what to do`, so that a user sees first which file,
//! key or limit is at fault. The binary maps what was given and cannot be used ([`Error::Usage`], [`Error::Recipe`],
//! [`Error::Missing`], [`Error::File`]) to exit code 2, and work that failed to 1.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::text::{BinaryBytes, printable};

/// What can go wrong, by who can mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file or folder.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file was read but breaks its format or contradicts another file.
    File {
        /// The file or folder.
        path: PathBuf,
        /// Where inside it and what was found against what was expected.
        problem: String,
        /// What the user can do.
        fix: String,
    },
    /// A file or folder that was sound failed the work: it was cut short or taken away meanwhile, takes nothing more, or
    /// another process has it.
    Failed {
        /// The file or folder.
        path: PathBuf,
        /// What happened.
        problem: String,
        /// What the user can do.
        fix: String,
    },
    /// There is nothing at a path that was named.
    Missing {
        /// The file or folder.
        path: PathBuf,
        /// What the user can do.
        fix: String,
    },
    /// A key of a recipe is unknown, missing, of the wrong type or out of range.
    Recipe {
        /// The dotted key, `arch.num_heads`.
        key: String,
        /// Found against expected.
        problem: String,
        /// What the user can do.
        fix: String,
    },
    /// A command's arguments do not fit together, or an argument's value is not usable.
    Usage {
        /// The argument as it is typed, `--out`.
        argument: String,
        /// Found against expected.
        problem: String,
        /// What the user can do.
        fix: String,
    },
    /// No such device, or it cannot do what is asked.
    Device {
        /// The adapter's name, or what was asked for.
        device: String,
        /// What happened.
        problem: String,
        /// What the user can do.
        fix: String,
    },
    /// A device failed while it worked: it was lost, its driver does not answer or refuses.
    Lost {
        /// The adapter's name.
        device: String,
        /// What happened.
        problem: String,
    },
    /// A plan needs more than the device can give.
    Limit {
        /// The buffer, binding or grid at fault.
        what: String,
        /// How much is needed.
        needed: u64,
        /// How much is allowed.
        limit: u64,
        /// Of what: `bytes`, `loop iterations`.
        unit: &'static str,
        /// What the user can do.
        fix: String,
    },
    /// A device has no memory left for a plan.
    Memory {
        /// The adapter's name.
        device: String,
        /// What the plan takes; 0 where memory ran out later.
        needed: u64,
    },
    /// A kernel, its Rust declaration and the plan contradict each other: a defect of trm itself.
    Kernel {
        /// `shader.entry_point`.
        kernel: String,
        /// Found against expected.
        problem: String,
    },
    /// A computation left the range where its results mean something.
    Numeric {
        /// The quantity, `loss at step 312`.
        what: String,
        /// What was found.
        problem: String,
        /// What the user can do.
        fix: String,
    },
}

fn for_bytes(needed: u64) -> String {
    if needed > 0 { format!(" for {} ({needed} bytes)", BinaryBytes(needed)) } else { String::new() }
}

/// One line that steers no terminal, whatever is in the files and names that it speaks of.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = match self {
            Error::Io { path, source } => format!("{}: {source}", path.display()),
            Error::File { path, problem, fix } | Error::Failed { path, problem, fix } => {
                format!("{}: {problem}; {fix}", path.display())
            }
            Error::Missing { path, fix } => format!("{}: no such file or folder; {fix}", path.display()),
            Error::Recipe { key, problem, fix } => format!("{key}: {problem}; {fix}"),
            Error::Usage { argument, problem, fix } => format!("{argument}: {problem}; {fix}"),
            Error::Device { device, problem, fix } => format!("device {device}: {problem}; {fix}"),
            Error::Limit { what, needed, limit, unit, fix } => {
                let amount = |count: u64| match *unit {
                    "bytes" if count >= 1 << 20 => format!("{} ({count} bytes)", BinaryBytes(count)),
                    unit => format!("{count} {unit}"),
                };
                format!("{what}: needs {}, the limit is {}; {fix}", amount(*needed), amount(*limit))
            }
            Error::Lost { device, problem } => {
                format!("device {device}: {problem}; check its driver, or use `device` cpu")
            }
            Error::Memory { device, needed } => {
                let needed = for_bytes(*needed);
                format!("device {device}: has no memory left{needed}; use a smaller batch or another device")
            }
            Error::Kernel { kernel, problem } => format!("kernel {kernel}: {problem}"),
            Error::Numeric { what, problem, fix } => format!("{what}: {problem}; {fix}"),
        };
        f.write_str(&printable(&message.lines().map(str::trim).collect::<Vec<_>>().join(" ")))
    }
}

/// Results of fallible functions in this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::Io`] at `path`, an [`Error::File`] for a folder where a file is wanted; made for `map_err`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| match source.kind() {
            ErrorKind::IsADirectory => Error::file(path, "is a folder, expected a file", "name a file"),
            _ => Error::Io { path, source },
        }
    }

    /// An [`Error::Io`] for a file or folder that is not there as an [`Error::Missing`]; any other as it is.
    pub fn or_missing(self, fix: &str) -> Error {
        let nothing = [ErrorKind::NotFound, ErrorKind::NotADirectory];
        match self {
            Error::Io { path, source } if nothing.contains(&source.kind()) => Error::missing(path, fix),
            other => other,
        }
    }

    /// An [`Error::File`] at `path`.
    pub fn file(path: impl AsRef<Path>, problem: impl Into<String>, fix: impl Into<String>) -> Error {
        Error::File { path: path.as_ref().to_path_buf(), problem: problem.into(), fix: fix.into() }
    }

    /// An [`Error::Failed`] at `path`.
    pub fn failed(path: impl AsRef<Path>, problem: impl Into<String>, fix: impl Into<String>) -> Error {
        Error::Failed { path: path.as_ref().to_path_buf(), problem: problem.into(), fix: fix.into() }
    }

    /// An [`Error::Missing`] at `path`.
    pub fn missing(path: impl AsRef<Path>, fix: impl Into<String>) -> Error {
        Error::Missing { path: path.as_ref().to_path_buf(), fix: fix.into() }
    }

    /// An [`Error::Recipe`] at `key`.
    pub fn recipe(key: impl Into<String>, problem: impl Into<String>, fix: impl Into<String>) -> Error {
        Error::Recipe { key: key.into(), problem: problem.into(), fix: fix.into() }
    }

    /// An [`Error::Usage`] at `argument`.
    pub fn usage(argument: impl Into<String>, problem: impl Into<String>, fix: impl Into<String>) -> Error {
        Error::Usage { argument: argument.into(), problem: problem.into(), fix: fix.into() }
    }

    /// An [`Error::Device`] of `device`.
    pub fn device(device: impl Into<String>, problem: impl Into<String>, fix: impl Into<String>) -> Error {
        Error::Device { device: device.into(), problem: problem.into(), fix: fix.into() }
    }

    /// An [`Error::Kernel`] of `kernel`.
    pub fn kernel(kernel: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Kernel { kernel: kernel.into(), problem: problem.into() }
    }

    /// Says in which file an impossible key stands.
    pub(crate) fn in_file(self, path: &Path) -> Error {
        match self {
            Error::Recipe { key, problem, fix } => Error::file(path, format!("{key} {problem}"), fix),
            other => other,
        }
    }

    /// Whether a device failed, which another try on a new one may survive.
    pub fn is_device_fault(&self) -> bool {
        matches!(self, Error::Lost { .. } | Error::Memory { .. })
    }

    /// The exit code of the binary: 2 for what the user typed or named, 1 for work that failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage { .. } | Error::Recipe { .. } | Error::Missing { .. } | Error::File { .. } => 2,
            _ => 1,
        }
    }
}
