//! `trm serve`: puzzles in over HTTP, answers out.
//!
//! ```text
//! POST /solve -> http -> request, questions -> room? -> queue -> worker, the one thread with the device
//!                  ^                                               |  eval::roll_out: a rollout that is done leaves its
//!                  |                                               |  slot of the batch, those that wait enter it at the
//!                  +------ an answer or the device's fault, each --+  next step, one of each puzzle in turn
//! ```
//!
//! `connections` has the clients, however slow, `http` the routes. `request` is the JSON of a body, `questions` that of
//! puzzles and answers. `room` has a place for each rollout that waits, `queue` the puzzles until the `worker` takes them, which
//! computes in batches as wide as the `load` asks for. `figures` counts for `GET /metrics`.

mod connections;
mod figures;
mod http;
mod job;
mod load;
mod questions;
mod queue;
mod request;
mod room;
mod worker;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::checkpoint::Model;
use crate::data::inspect::Kind;
use crate::data::own::Dialogue;
use crate::engine::Device;
use crate::eval::Breadth;
use crate::model::ModelConfig;
use crate::{Error, Result};
use figures::Figures;
use http::Shared;
use room::Room;
use worker::Worker;

/// What a server takes; beyond that it refuses.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Rollouts computed at once; None for as many as suit the device, and fit it.
    pub batch: Option<usize>,
    /// Rollouts that may wait for a slot; of a puzzle one, or as many as are asked for.
    pub queue: usize,
    /// Puzzles of one request; no more than `queue`.
    pub most_puzzles: usize,
    /// Rollouts of each puzzle; no more than `queue`.
    pub most_rollouts: usize,
    /// Bytes of a request's body.
    pub body: usize,
    /// How long a request may take, from its head to its last answer; also the longest that an end takes.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        let time = Duration::from_secs(60);
        Limits { batch: None, queue: 4096, most_puzzles: 1024, most_rollouts: 1, body: 1 << 20, time }
    }
}

/// A model on a device that answers over HTTP.
pub struct Server {
    listener: TcpListener,
    worker: Worker,
    shared: Shared,
}

impl Server {
    /// Loads a model on `device` for requests that come to `listener`. Puzzles are thought about as `usual` says, unless their
    /// request asks for something else, within the limits and for no more than `halt_max_steps` of `config`, which may differ
    /// from training.
    ///
    /// # Errors
    /// [`Error::Usage`] for limits that contradict each other or a breadth that is none of the model's or of its kind of
    /// puzzle, [`Error::Limit`] and [`Error::Memory`] where the device has no room for the model.
    pub fn open(
        model: Model,
        device: Device,
        usual: Breadth,
        limits: Limits,
        listener: TcpListener,
    ) -> Result<Server> {
        if limits.queue == 0 || !(1..=limits.queue).contains(&limits.most_puzzles) {
            let problem =
                format!("{} of one request cannot wait in a queue of {}", limits.most_puzzles, limits.queue);
            return Err(Error::usage(
                "most_puzzles",
                problem,
                "give at least 1, and no more than the queue has room for",
            ));
        }
        if limits.batch == Some(0) {
            return Err(Error::usage("batch", "0", "give at least 1, or leave it out"));
        }
        if !(usual.rollouts..=limits.queue).contains(&limits.most_rollouts) {
            let problem = format!(
                "{} rollouts of a puzzle, which usually has {} and waits in a queue of {}",
                limits.most_rollouts, usual.rollouts, limits.queue
            );
            let fix = "give at least as many as are usual, and no more than the queue has room for";
            return Err(Error::usage("most_rollouts", problem, fix));
        }
        usual.check(&model.config.arch)?;
        fits_kind(&usual, &model.config)?;
        let (room, figures) = (Room::new(limits.queue), Arc::new(Figures::default()));
        let (entrance, queue) = queue::queue(figures.clone());
        let config = model.config.clone();
        let worker = Worker::open(
            model,
            device,
            (limits.most_rollouts > 1, limits.batch),
            (queue, room.clone()),
            figures.clone(),
        )?;
        let (device, widest) = (worker.device_name(), worker.widest());
        let ending = watch::Sender::new(false);
        let shared =
            Shared { device, widest, config, dialogue: None, usual, entrance, room, figures, limits, ending };
        Ok(Server { listener, worker, shared })
    }

    /// Tells `tell`, in a line each time, when a device failed and was opened anew.
    pub fn telling(mut self, tell: impl Fn(&str) + Send + 'static) -> Server {
        self.worker.telling(tell);
        self
    }

    /// Takes questions of an own task in its words, too, and answers them so.
    ///
    /// # Errors
    /// [`Error::Usage`] for words that are not as many as the model's, or where puzzles are usually thought about in a way that
    /// fits no own task.
    pub fn speaking(mut self, dialogue: Dialogue) -> Result<Server> {
        let Shared { config, usual, .. } = &self.shared;
        let (words, known) = (dialogue.words(), (dialogue.seq_len(), dialogue.words().vocab_size()));
        if known != (config.seq_len, config.vocab_size) {
            let problem = format!(
                "has questions of {} words out of {}, the model has {} of {}",
                dialogue.seq_len(),
                words.words().len(),
                config.seq_len,
                config.vocab_size - 1
            );
            return Err(Error::usage("data", problem, "name the data set that the model was trained on"));
        }
        usual.check_kind(Kind::Other)?;
        self.shared.dialogue = Some(Arc::new(dialogue));
        Ok(self)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// [`Error::Io`] where the system does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(Error::io(LISTENER))
    }

    /// Most rollouts that are computed at once.
    pub fn widest(&self) -> usize {
        self.worker.widest()
    }

    /// Answers until `end` is over, then what has come until then, and returns.
    ///
    /// # Errors
    /// [`Error::Io`] where the system refuses to listen, and a device that fails and cannot be opened anew. Otherwise the puzzles
    /// in its batch are tried once more, each by itself; at which it fails again, those are answered with the fault.
    pub fn run(self, end: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let Server { listener, worker, shared } = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(Error::io(LISTENER))?;
        // Dropped by a worker that ends before it is told to.
        let (at_work, failed) = oneshot::channel::<()>();
        let over = worker.over();
        let work = move || {
            let outcome = worker.run();
            drop(at_work);
            outcome
        };
        let work =
            std::thread::Builder::new().name("device".into()).spawn(work).map_err(Error::io("thread"))?;
        let end = async {
            tokio::select! {
                () = end => {}
                _ = failed => {}
            }
        };
        let served = runtime.block_on(http::serve(listener, Arc::new(shared), end));
        // With it go connections that took too long, and all ends of the queue.
        drop(runtime);
        over.store(true, Ordering::Relaxed);
        let worked = work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        worked.and(served.map_err(Error::io(LISTENER)))
    }
}

/// Refuses a breadth for none of the kinds of puzzle that a model's may be of.
fn fits_kind(usual: &Breadth, config: &ModelConfig) -> Result<()> {
    let kinds = Kind::of_sizes(config.seq_len, config.vocab_size);
    let fits: Vec<Result<()>> = kinds.into_iter().map(|kind| usual.check_kind(kind)).collect();
    if fits.iter().any(Result::is_ok) { Ok(()) } else { fits.into_iter().collect() }
}

const LISTENER: &str = "listener";
