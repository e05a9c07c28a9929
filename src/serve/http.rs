//! The routes.

use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::data::inspect::Kind;
use crate::data::own::Dialogue;
use crate::eval::{Breadth, Wishes};
use crate::model::ModelConfig;

use super::Limits;
use super::connections::Clients;
use super::figures::Figures;
use super::job::Job;
use super::questions::{Answered, Question, kinds};
use super::queue::{Entrance, Ticket};
use super::request::Body;
use super::room::Room;

/// Seconds after which those that were sent away may try again.
const RETRY_AFTER_S: &str = "1";

/// What all requests need.
pub struct Shared {
    pub device: String,
    pub widest: usize,
    pub config: ModelConfig,
    /// Of an own task, where they are known.
    pub dialogue: Option<Arc<Dialogue>>,
    /// How puzzles are thought about where nothing else is asked for.
    pub usual: Breadth,
    pub entrance: Entrance,
    pub room: Room,
    pub figures: Arc<Figures>,
    pub limits: Limits,
    /// Turns true at the end.
    pub ending: watch::Sender<bool>,
}

/// Answers until `end` is over, and after that what is under way, for no longer than a request may take.
pub async fn serve(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    end: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let (longest, mut ended) = (shared.limits.time, shared.ending.subscribe());
    let (figures, ending) = (shared.figures.clone(), shared.ending.clone());
    let clients = Clients { routes: routes(shared), time: longest, figures, ending };
    let too_long = async {
        // The other end of it is there until all is over.
        let _ = ended.wait_for(|ended| *ended).await;
        sleep(longest).await;
    };
    tokio::select! {
        () = clients.serve(listener, end) => {}
        () = too_long => {}
    }
    Ok(())
}

fn routes(shared: Arc<Shared>) -> Router {
    let body = DefaultBodyLimit::max(shared.limits.body);
    let watched = from_fn_with_state(shared.clone(), watch);
    Router::new()
        .route("/solve", post(solve).layer(body).layer(watched))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .fallback(async || refusal(StatusCode::NOT_FOUND, NO_PATH.to_owned()))
        .method_not_allowed_fallback(async || refusal(StatusCode::METHOD_NOT_ALLOWED, NO_PATH.to_owned()))
        .with_state(shared)
}

const NO_PATH: &str = "there are POST /solve, GET /health and GET /metrics";

/// Counts a request.
async fn watch(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let response = next.run(request).await;
    shared.figures.request(response.status().as_u16(), begun.elapsed());
    response
}

/// Gives a request its time.
async fn solve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let longest = shared.limits.time;
    let until = Instant::now() + longest;
    let outcome = async {
        let late = |_| (StatusCode::REQUEST_TIMEOUT, format!("its body has not come within {longest:?}"));
        let body = timeout_at(until, body(&shared, request)).await.map_err(late)??;
        let late = |_| {
            let fix = "send fewer puzzles, or ask for fewer rollouts or steps";
            (StatusCode::GATEWAY_TIMEOUT, format!("not answered within {longest:?}; {fix}"))
        };
        timeout_at(until, answers(&shared, &body)).await.map_err(late)?
    };
    match outcome.await {
        Ok((code, answers)) => json(code, &Answers { answers }),
        Err((code, problem)) => refusal(code, problem),
    }
}

/// The body of a request, where it comes before the end.
async fn body(shared: &Shared, request: Request) -> Result<Bytes, Refusal> {
    let most = shared.limits.body;
    let too_large = || {
        let problem = format!("a body of more than {most} bytes; send fewer puzzles at once");
        (StatusCode::PAYLOAD_TOO_LARGE, problem)
    };
    // Who says beforehand how much is to come need not send it.
    let said = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if said.is_some_and(|bytes: u64| bytes > most as u64) {
        return Err(too_large());
    }
    let mut ended = shared.ending.subscribe();
    let body = tokio::select! {
        biased;
        body = Bytes::from_request(request, &()) => body,
        _ = ended.wait_for(|ended| *ended) => return Err(ending()),
    };
    body.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        other => (other, error.body_text()),
    })
}

#[derive(Serialize)]
struct Answers {
    answers: Vec<Answered>,
}

type Refusal = (StatusCode, String);

async fn answers(shared: &Shared, body: &[u8]) -> Result<(StatusCode, Vec<Answered>), Refusal> {
    let Shared { config, dialogue, limits, figures, .. } = shared;
    let refused = |problem| (StatusCode::BAD_REQUEST, problem);
    let Body { puzzles, wishes } = Body::read(body).map_err(refused)?;
    if puzzles.len() > limits.most_puzzles {
        let problem = format!("{} puzzles; send no more than {} at once", puzzles.len(), limits.most_puzzles);
        return Err((StatusCode::PAYLOAD_TOO_LARGE, problem));
    }
    let breadth = shared.breadth(&wishes).map_err(refused)?;
    let (all, size) = (puzzles.len().saturating_mul(breadth.rollouts), shared.room.size());
    if all > size {
        let problem = format!(
            "{all} rollouts, more than can wait here, {size}; send fewer puzzles, or ask for fewer rollouts"
        );
        return Err((StatusCode::PAYLOAD_TOO_LARGE, problem));
    }
    let questions: Vec<_> =
        puzzles.into_iter().map(|given| Question::read(given, config, dialogue.as_ref(), &breadth)).collect();
    let usable = questions.iter().flatten().count();
    figures.count(|counts| counts.refused += (questions.len() - usable) as u64);
    let mut answers = Vec::with_capacity(questions.len());
    for (index, asked) in ask(shared, breadth, questions, usable)?.into_iter().enumerate() {
        answers.push(match asked {
            Ok((question, ticket)) => match ticket.answer().await.ok_or_else(ending)? {
                Ok(answer) => Answered::answer(index, &question, answer),
                Err(fault) => Answered::error(index, fault),
            },
            Err(problem) => Answered::error(index, problem),
        });
    }
    let code = match usable {
        _ if answers.iter().any(Answered::is_answer) => StatusCode::OK,
        0 => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Ok((code, answers))
}

impl Shared {
    /// How widely puzzles are thought about for someone who asks for that; else what speaks against it.
    fn breadth(&self, wishes: &Wishes) -> Result<Breadth, String> {
        let most = self.limits.most_rollouts;
        // Without rollouts, augmentations and the puzzle as given are as many.
        let alone = wishes.augment.filter(|_| wishes.rollouts.is_none());
        for (name, asked, range, limit) in [
            ("rollouts", wishes.rollouts, 1..=most, "max_rollouts"),
            ("augment", alone, 0..=most - 1, "max_rollouts"),
            ("steps", wishes.steps, 1..=self.config.arch.halt_max_steps, "max_steps"),
        ] {
            if let Some(asked) = asked.filter(|asked| !range.contains(asked)) {
                let (least, most) = (range.start(), range.end());
                return Err(format!(
                    "{name}: {asked}; this server was started to take {least} to {most} ({limit} of /health)"
                ));
            }
        }
        wishes.over(self.usual, &self.config.arch).map_err(|error| error.to_string())
    }
}

type Asked = Result<(Question, Ticket), String>;

/// Puts the usable ones of all questions into the queue, or none of them where it has no room for so many.
fn ask(
    shared: &Shared,
    breadth: Breadth,
    questions: Vec<Result<Question, String>>,
    usable: usize,
) -> Result<Vec<Asked>, Refusal> {
    let Some(places) = shared.room.take(usable, breadth.rollouts) else {
        shared.figures.count(|counts| counts.turned_away += usable as u64);
        let problem = format!("{} rollouts of puzzles wait already; try again later", shared.room.taken());
        return Err((StatusCode::SERVICE_UNAVAILABLE, problem));
    };
    let mut places = places.into_iter();
    let mut ask = |question: Question| {
        let places = places.next().ok_or("there is no place for it")?;
        let (reply, answer) = oneshot::channel();
        let job = Job::new(question.asked.clone(), breadth, reply, places);
        Ok((question, shared.entrance.enter(job, answer)))
    };
    Ok(questions.into_iter().map(|question| question.and_then(&mut ask)).collect())
}

fn ending() -> Refusal {
    (StatusCode::SERVICE_UNAVAILABLE, "the server is ending".to_owned())
}

/// What `GET /health` says.
#[derive(Serialize)]
struct Health<'a> {
    status: &'a str,
    version: &'a str,
    device: &'a str,
    batch: usize,
    /// Which puzzles these are, by their sizes.
    kind: String,
    /// Those of an own task, in the order of their tokens, from 1 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<&'a [String]>,
    seq_len: usize,
    vocab_size: usize,
    num_puzzle_identifiers: usize,
    /// What a request may ask for, and what is usual.
    max_steps: usize,
    max_rollouts: usize,
    rollouts: usize,
    max_puzzles: usize,
    queue: Queue,
}

/// Rollouts that may wait for a slot, and that do.
#[derive(Serialize)]
struct Queue {
    capacity: usize,
    waiting: usize,
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let Shared { config, dialogue, .. } = &*shared;
    let health = Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        device: &shared.device,
        batch: shared.widest,
        kind: kinds(config, dialogue.is_some()).iter().map(Kind::to_string).collect::<Vec<_>>().join(" or "),
        words: dialogue.as_ref().map(|dialogue| dialogue.words().words()),
        seq_len: config.seq_len,
        vocab_size: config.vocab_size,
        num_puzzle_identifiers: config.num_puzzle_identifiers,
        max_steps: config.arch.halt_max_steps,
        max_rollouts: shared.limits.most_rollouts,
        rollouts: shared.usual.rollouts,
        max_puzzles: shared.limits.most_puzzles,
        queue: Queue { capacity: shared.room.size(), waiting: shared.room.taken() },
    };
    json(StatusCode::OK, &health)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let text = shared.figures.text(shared.room.taken(), shared.room.size());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

fn json(code: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => (code, [(CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Says what is wrong, and when to come back where that helps.
fn refusal(code: StatusCode, error: String) -> Response {
    #[derive(Serialize)]
    struct Refused {
        error: String,
    }
    let response = json(code, &Refused { error });
    match code {
        StatusCode::SERVICE_UNAVAILABLE => ([(RETRY_AFTER, RETRY_AFTER_S)], response).into_response(),
        _ => response,
    }
}
