//! Ranks that MPI has started: `mpirun -n 4 trm train ...`.

use std::sync::{Mutex, OnceLock};

use ::mpi::environment::Universe;
use ::mpi::topology::SimpleCommunicator;
use ::mpi::traits::{Communicator, CommunicatorCollectives};

use super::Ranks;
use crate::{Error, Result};

/// MPI, set up once in a process and until its end.
static UNIVERSE: OnceLock<Mutex<Option<Universe>>> = OnceLock::new();

/// The processes of this job.
pub struct Mpi {
    world: SimpleCommunicator,
}

impl Mpi {
    /// Joins them.
    ///
    /// # Errors
    /// [`Error::Usage`] where MPI cannot be set up.
    pub fn join() -> Result<Mpi> {
        let refused =
            || Error::usage("mpirun", "MPI cannot be set up", "start trm with mpirun, once in a process");
        let universe = UNIVERSE.get_or_init(|| Mutex::new(::mpi::initialize()));
        let universe = universe.lock().map_err(|_| refused())?;
        let world = universe.as_ref().ok_or_else(refused)?.world();
        Ok(Mpi { world })
    }

    /// Ends MPI, after which no rank can be reached.
    pub fn leave() {
        if let Some(Ok(mut universe)) = UNIVERSE.get().map(Mutex::lock) {
            *universe = None;
        }
    }

    /// Which of the ranks of this machine this is: by it each takes another device.
    pub fn local_rank(&self) -> usize {
        let names = ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID", "PMI_LOCAL_RANK"];
        let found = names.iter().find_map(|name| std::env::var(name).ok()?.parse().ok());
        found.unwrap_or_else(|| self.rank())
    }
}

impl Ranks for Mpi {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn gather(&self, words: &[u32]) -> Result<Vec<u32>> {
        let mut all = vec![0; words.len() * self.size()];
        self.world.all_gather_into(words, &mut all[..]);
        Ok(all)
    }

    fn exchange(&self, words: &[u32]) -> Result<Vec<u32>> {
        let mut all = vec![0; words.len()];
        self.world.all_to_all_into(words, &mut all[..]);
        Ok(all)
    }
}
