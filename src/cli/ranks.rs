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

/// Joins them; None alone. Beside them, which of this machine's it is.
#[cfg(feature = "mpi")]
#[allow(clippy::arc_with_non_send_sync, reason = "MPI is called by the thread that joined it")]
pub fn join() -> Result<(Option<Arc<dyn Ranks>>, usize)> {
    if started() < 2 {
        return Ok((None, 0));
    }
    let ranks = crate::ranks::Mpi::join()?;
    let local = ranks.local_rank();
    Ok((Some(Arc::new(ranks)), local))
}

/// Refuses to be one of several, which would all train the same model for themselves.
#[cfg(not(feature = "mpi"))]
pub fn join() -> Result<(Option<Arc<dyn Ranks>>, usize)> {
    match started() {
        0 | 1 => Ok((None, 0)),
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
