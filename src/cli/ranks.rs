//! The other processes of a job that mpirun has started.

use std::sync::Arc;

use crate::Result;
use crate::ranks::Ranks;

/// Names of the variables by which launchers tell how many processes they have started.
const SIZES: [&str; 4] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS"];

/// How many processes a launcher says that it has started.
fn started() -> usize {
    let size = |name: &&str| std::env::var(name).ok()?.parse().ok();
    SIZES.iter().find_map(size).unwrap_or(1)
}

/// Where a process stands among those of its job that share this machine.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    /// Which one it is, from 0 on.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
}

impl Local {
    /// A process that shares it with no other of its job.
    pub const ALONE: Local = Local { rank: 0, size: 1 };
}

/// Refuses to be one of several that would all do the same and write the same files.
pub fn only_one(command: &str) -> Result<()> {
    match started() {
        0 | 1 => Ok(()),
        size => {
            let problem = format!("{size} processes were started, and each would do all of trm {command}");
            Err(crate::Error::usage(
                "mpirun",
                problem,
                "start one; training shares its evaluations among ranks",
            ))
        }
    }
}

/// Joins them; None alone.
#[cfg(feature = "mpi")]
pub fn join() -> Result<(Option<Arc<dyn Ranks>>, Local)> {
    if started() < 2 {
        return Ok((None, Local::ALONE));
    }
    let ranks = crate::ranks::Mpi::join()?;
    let (rank, size) = ranks.on_this_machine()?;
    Ok((Some(Arc::new(ranks)), Local { rank, size }))
}

/// Refuses to be one of several, which would all train the same model for themselves.
#[cfg(not(feature = "mpi"))]
pub fn join() -> Result<(Option<Arc<dyn Ranks>>, Local)> {
    match started() {
        0 | 1 => Ok((None, Local::ALONE)),
        size => {
            let problem = format!("{size} processes were started, and this trm was built without MPI");
            Err(crate::Error::usage("mpirun", problem, "build it with --features mpi"))
        }
    }
}

/// Ends what [`join`] began.
pub fn leave() {
    #[cfg(feature = "mpi")]
    crate::ranks::Mpi::leave();
}

/// Ends the others too, where this process has joined them and fails: they would wait for it for ever.
pub fn abort(#[cfg_attr(not(feature = "mpi"), allow(unused_variables))] exit_code: u8) {
    #[cfg(feature = "mpi")]
    crate::ranks::Mpi::abort(exit_code);
}
