//! How a command is ended before its time: by a signal or by its own limit of time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::report::say;
use crate::{Error, Result, files};

/// Exit code after the time that a command was given is over, as that of timeout(1).
const TIME_OVER: u8 = 124;

/// Signals that follow the first one so closely are the same.
const SAME_WISH: Duration = Duration::from_millis(500);

/// The wish to end.
#[derive(Clone)]
pub struct Stop {
    wanted: Arc<AtomicBool>,
    exit_code: Arc<AtomicU8>,
    end: Option<Instant>,
}

impl Stop {
    /// From now on SIGINT, SIGTERM, SIGUSR1 and SIGHUP, or what other systems have in their place, are wishes, upon which people
    /// are told what is done. Another signal later ends the program at once, as it would without this.
    pub fn on_signals(ending: &'static str) -> Result<Stop> {
        Stop::telling(ending, || {})
    }

    /// The same; the first of them is also told to `wake`, for who waits for something else meanwhile.
    pub fn telling(ending: &'static str, wake: impl FnOnce() + Send + 'static) -> Result<Stop> {
        let stop = Stop { wanted: Arc::default(), exit_code: Arc::new(AtomicU8::new(TIME_OVER)), end: None };
        let seen = stop.clone();
        let (mut first, mut wake): (Option<Instant>, _) = (None, Some(wake));
        on_each_signal(move |number| {
            let exit_code = number.saturating_add(128);
            if !seen.wanted.swap(true, Ordering::Relaxed) {
                seen.exit_code.store(exit_code, Ordering::Relaxed);
                say(format!("\ninterrupted: {ending}; once more to quit at once"));
                wake.take().into_iter().for_each(|wake| wake());
            }
            // Some supervisors signal the process and then its group: that is one wish, not two.
            if first.get_or_insert_with(Instant::now).elapsed() > SAME_WISH {
                std::process::exit(exit_code.into());
            }
        })
        .map_err(Error::io("signal handler"))?;
        Ok(stop)
    }

    /// Becomes true with the first signal.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.wanted.clone()
    }

    /// The end of the time from now on is such a wish, too.
    pub fn after(self, limit: Option<Duration>) -> Stop {
        Stop { end: limit.and_then(|limit| Instant::now().checked_add(limit)), ..self }
    }

    /// Whether to end.
    pub fn wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) || self.end.is_some_and(|end| end <= Instant::now())
    }

    /// What the program exits with then: 128 and the signal's number, as shells report it, or 124.
    pub fn exit_code(&self) -> u8 {
        self.exit_code.load(Ordering::Relaxed)
    }
}

/// Has signals remove what is not complete before they end the program.
pub fn clean_up_on_signals() -> Result<()> {
    on_each_signal(|number| {
        files::remove_unfinished();
        say("\ninterrupted: nothing was written");
        std::process::exit(number.saturating_add(128).into());
    })
    .map_err(Error::io("signal handler"))
}

/// Calls `handler` with the number of each signal that asks the program to end.
#[cfg(unix)]
fn on_each_signal(mut handler: impl FnMut(u8) + Send + 'static) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    // SIGUSR1 is what schedulers are often told to warn with.
    let mut wishes = vec![SIGINT, SIGTERM, SIGUSR1];
    if !hangup_is_ignored() {
        wishes.push(SIGHUP);
    }
    let mut signals = signal_hook::iterator::Signals::new(wishes)?;
    let forward = move || signals.forever().for_each(|signal| handler(u8::try_from(signal).unwrap_or(0)));
    std::thread::Builder::new().name("signals".into()).spawn(forward).map(drop)
}

/// Whether the program was started with nohup(1) or the like, to outlive its terminal.
#[cfg(unix)]
#[allow(unsafe_code)]
fn hangup_is_ignored() -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action the call only writes the one in force to the place given, which is of its type; it
    // is read only where the call says that it did.
    unsafe {
        libc::sigaction(libc::SIGHUP, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Ctrl-C, Ctrl-Break, and the closing of the window or the session; their kind is not told.
#[cfg(not(unix))]
fn on_each_signal(mut handler: impl FnMut(u8) + Send + 'static) -> std::io::Result<()> {
    const SIGINT: u8 = 2;
    ctrlc::set_handler(move || handler(SIGINT)).map_err(std::io::Error::other)
}
