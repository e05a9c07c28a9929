//! The one error type of the crate.
//!
//! Every message reads `place: what is wrong; what to do`, so that a user sees first which file,
//! key or limit is at fault. The binary maps [`Error::Usage`] and [`Error::Recipe`] to exit code 2 and the rest to 1.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What can go wrong, by who can mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file or folder.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file was read but breaks its format or contradicts another file.
    #[error("{}: {problem}; {fix}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Where inside it and what was found against what was expected.
        problem: String,
        /// What the user can do.
        fix: String,
    },
    /// A key of a recipe is unknown, missing, of the wrong type or out of range.
    #[error("{key}: {problem}; {fix}")]
    Recipe {
        /// The dotted key, `arch.num_heads`.
        key: String,
        /// Found against expected.
        problem: String,
        /// What the user can do.
        fix: String,
    },
    /// A command's arguments do not fit together, or an argument's value is not usable.
    #[error("{argument}: {problem}; {fix}")]
    Usage {
        /// The argument as it is typed, `--out`.
        argument: String,
        /// Found against expected.
        problem: String,
        /// What the user can do.
        fix: String,
    },
    /// No such device, or it cannot do what is asked.
    #[error("device {device}: {problem}; {fix}")]
    Device {
        /// The adapter's name, or what was asked for.
        device: String,
        /// What happened.
        problem: String,
        /// What the user can do.
        fix: String,
    },
    /// A device failed while it worked: it was lost, its driver does not answer or refuses.
    #[error("device {device}: {problem}; check its driver, or use --device cpu")]
    Lost {
        /// The adapter's name.
        device: String,
        /// What happened.
        problem: String,
    },
    /// A plan needs more than the device can give.
    #[error("{what}: needs {needed} {unit}, the limit is {limit}; {fix}")]
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
    #[error("device {device}: has no memory left{}; use a smaller batch or another device", for_bytes(*needed))]
    Memory {
        /// The adapter's name.
        device: String,
        /// What the plan takes; 0 where memory ran out later.
        needed: u64,
    },
    /// A kernel, its Rust declaration and the plan contradict each other: a defect of trm itself.
    #[error("kernel {kernel}: {problem}")]
    Kernel {
        /// `shader.entry_point`.
        kernel: String,
        /// Found against expected.
        problem: String,
    },
    /// A computation left the range where its results mean something.
    #[error("{what}: {problem}; {fix}")]
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
    if needed > 0 { format!(" for {needed} bytes") } else { String::new() }
}

/// Results of fallible functions in this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::Io`] at `path`; made for `map_err`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { path, source }
    }

    /// An [`Error::Io`] for a file or folder that is not there as one that says what to do; any other as it is.
    pub fn or_missing(self, fix: &str) -> Error {
        match self {
            Error::Io { path, source } if source.kind() == ErrorKind::NotFound => {
                Error::file(path, "no such file or folder", fix)
            }
            other => other,
        }
    }

    /// An [`Error::File`] at `path`.
    pub fn file(path: impl AsRef<Path>, problem: impl Into<String>, fix: impl Into<String>) -> Error {
        Error::File { path: path.as_ref().to_path_buf(), problem: problem.into(), fix: fix.into() }
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

    /// Whether a device failed, which another try on a new one may survive.
    pub fn is_device_fault(&self) -> bool {
        matches!(self, Error::Lost { .. } | Error::Memory { .. })
    }

    /// The exit code of the binary: 2 for what the user typed, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage { .. } | Error::Recipe { .. } => 2,
            _ => 1,
        }
    }
}
