//! Clients: each has a connection, whose requests are answered one after the other. Nobody is waited for without end: not
//! for a request that comes in pieces or never, and not for an answer to be taken.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};

use super::figures::Figures;

/// How long the end waits for the rest of a request's head, and for answers that are ready to be taken.
const PARTING: Duration = Duration::from_secs(1);
/// After which a system that had no connection to give, as it has no file left, is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// What all connections need.
#[derive(Clone)]
pub struct Clients {
    pub routes: Router,
    /// How long a request's head may take to come, and an answer to be taken.
    pub time: Duration,
    pub figures: Arc<Figures>,
    /// Turns true at the end.
    pub ending: watch::Sender<bool>,
}

impl Clients {
    /// Serves all who come until `end` is over, and after that whose requests have come.
    pub async fn serve(self, listener: TcpListener, end: impl Future<Output = ()>) {
        let (mut end, mut open) = (pin!(end), JoinSet::new());
        loop {
            tokio::select! {
                biased;
                () = &mut end => break,
                Some(_) = open.join_next() => {}
                stream = accepted(&listener) => drop(open.spawn(self.clone().converse(stream))),
            }
        }
        drop(listener);
        self.ending.send_replace(true);
        while open.join_next().await.is_some() {}
    }

    async fn converse(self, stream: TcpStream) {
        let Clients { routes, time, figures, ending } = self;
        let _open = Open::of(figures);
        // An answer that waits for more of it to come would only be late; where the system will not, it is.
        let _ = stream.set_nodelay(true);
        let (answering, mut answered) = watch::channel(false);
        let routes = TowerToHyperService::new(routes);
        let service = service_fn(move |request| {
            let (answer, answering) = (routes.call(request), answering.clone());
            answering.send_replace(true);
            async move {
                let answer = answer.await;
                answering.send_replace(false);
                answer
            }
        });
        let stream = TokioIo::new(Patient { stream, time, blocked: None });
        let mut http = http1::Builder::new();
        let http = http.timer(TokioTimer::new()).header_read_timeout(time);
        let mut connection = pin!(http.serve_connection(stream, service));
        let mut ended = ending.subscribe();
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            _ = ended.wait_for(|ended| *ended) => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            _ = answered.wait_for(|answering| !*answering) => {}
        }
        // Those who are still there then have had their time.
        let _ = timeout(PARTING, connection).await;
    }
}

/// The next connection.
async fn accepted(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_gone(error.kind()) => {}
            Err(_) => sleep(AGAIN).await,
        }
    }
}

/// Whether a client has thought better of it.
fn is_gone(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionAborted | ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset)
}

/// Counts a connection for as long as it is open.
struct Open(Arc<Figures>);

impl Open {
    fn of(figures: Arc<Figures>) -> Open {
        figures.count(|counts| counts.connections += 1);
        Open(figures)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.count(|counts| counts.connections -= 1);
    }
}

/// A stream that fails where what was written is not taken within a time.
struct Patient {
    stream: TcpStream,
    time: Duration,
    /// Runs from the moment that a write had to wait until all is taken.
    blocked: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    /// What became of a write, or that it has waited too long.
    fn bounded<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_pending() {
            let time = self.time;
            let blocked = self.blocked.get_or_insert_with(|| Box::pin(sleep(time)));
            if blocked.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(ErrorKind::TimedOut.into()));
            }
        }
        written
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.bounded(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called when all is written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.blocked = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
