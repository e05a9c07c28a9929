//! Ranks that MPI has started: `mpirun -n 4 trm train ...`.

use std::sync::{Mutex, OnceLock};
use std::thread::{self, ThreadId};

use ::mpi::environment::Universe;
use ::mpi::topology::SimpleCommunicator;
use ::mpi::traits::{Communicator, CommunicatorCollectives};

use super::Ranks;
use crate::{Error, Result};

/// MPI, set up once in a process and until its end.
static UNIVERSE: OnceLock<Mutex<Option<Universe>>> = OnceLock::new();

/// The processes of this job. MPI is called by the thread that joined them alone.
pub struct Mpi {
    thread: ThreadId,
    rank: usize,
    size: usize,
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
        let (rank, size) = (world.rank() as usize, world.size() as usize);
        Ok(Mpi { thread: thread::current().id(), rank, size })
    }

    /// Ends MPI, after which no rank can be reached.
    pub fn leave() {
        if let Some(Ok(mut universe)) = UNIVERSE.get().map(Mutex::lock) {
            *universe = None;
        }
    }

    /// Ends all ranks, if this process has joined them.
    pub fn abort(exit_code: u8) {
        let Some(Ok(universe)) = UNIVERSE.get().map(Mutex::lock) else { return };
        if let Some(universe) = universe.as_ref() {
            universe.world().abort(exit_code.into());
        }
    }

    /// Which of the ranks that share this machine this is, and how many they are: by it each takes another device.
    ///
    /// # Errors
    /// [`Error::Usage`] for another thread, or after [`Mpi::leave`], like all that asks the others.
    pub fn on_this_machine(&self) -> Result<(usize, usize)> {
        let world = self.world()?;
        let local = world.split_shared(world.rank());
        Ok((local.rank() as usize, local.size() as usize))
    }

    fn world(&self) -> Result<SimpleCommunicator> {
        let refused = |problem: &str| {
            Error::usage("mpirun", problem, "reach other ranks from the thread that joined them")
        };
        if thread::current().id() != self.thread {
            return Err(refused("another thread than the one that joined asks the others"));
        }
        let universe = UNIVERSE.get().and_then(|universe| universe.lock().ok());
        let world = universe.and_then(|universe| universe.as_ref().map(Universe::world));
        world.ok_or_else(|| refused("the ranks have parted"))
    }
}

impl Ranks for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn gather(&self, words: &[u32]) -> Result<Vec<u32>> {
        let mut all = vec![0; words.len() * self.size()];
        self.world()?.all_gather_into(words, &mut all[..]);
        Ok(all)
    }

    fn exchange(&self, words: &[u32]) -> Result<Vec<u32>> {
        let mut all = vec![0; words.len()];
        self.world()?.all_to_all_into(words, &mut all[..]);
        Ok(all)
    }
}
