//! `trm serve`: clients who are slow, idle, gone or never read; none keeps a place, a connection or the end for long.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::json;
use trm::engine::Device;
use trm::serve::Limits;

use crate::cli::{Outcome, Test, check};
use crate::server::{Running, ask, model, puzzles, receive, send, thinker};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let trials: [Test; 4] = [
        ("slow and idle clients are not waited for", slow),
        ("answers that nobody reads are not kept", unread),
        ("slow clients do not keep the end waiting", parting),
        ("who leaves the queue makes room at once", leaving),
    ];
    trials.into_iter().map(|(name, test)| Trial::test(format!("serve: {name}"), test)).collect()
}

const CONNECTIONS: &str = "trm_connections";

/// Requests and the beginnings of some, each on a connection that is kept open.
fn begun(running: &Running, texts: &[&str]) -> Outcome<Vec<TcpStream>> {
    let open = |text: &&str| {
        let mut stream = TcpStream::connect(running.address)?;
        stream.write_all(text.as_bytes())?;
        Outcome::Ok(stream)
    };
    texts.iter().map(open).collect()
}

/// All that comes until the server closes.
fn rest(mut stream: TcpStream) -> Outcome<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

const NOTHING: &str = "";
const HALF_A_HEAD: &str = "POST /solve HTTP/1.1\r\nHost: te";
const HALF_A_BODY: &str = "POST /solve HTTP/1.1\r\nHost: test\r\nContent-Length: 90\r\n\r\n{\"puzzles\": [";
const TOO_LONG: &str = "POST /solve HTTP/1.1\r\nHost: test\r\nContent-Length: 99999999999\r\n\r\n[";
const WHOLE: &str = "GET /health HTTP/1.1\r\nHost: test\r\n\r\n";

fn slow() -> Outcome {
    let limits = Limits { batch: Some(1), time: Duration::from_millis(300), ..Limits::default() };
    let running = Running::start(model()?, Device::cpu(), limits)?;
    let clients = begun(&running, &[NOTHING, HALF_A_HEAD, HALF_A_BODY, WHOLE, TOO_LONG])?;
    let texts = clients.into_iter().map(rest).collect::<Outcome<Vec<_>>>()?;
    let told = texts[4].starts_with("HTTP/1.1 413") && texts[4].contains("a body of more than");
    check(told, || texts[4].clone())?;
    let late = "its body has not come within 300ms";
    let told = texts[2].starts_with("HTTP/1.1 408") && texts[2].contains(late);
    check(texts[0].is_empty() && texts[1].is_empty() && told, || format!("{texts:?}"))?;
    check(texts[3].starts_with("HTTP/1.1 200") && texts[3].contains("\"status\":\"ok\""), || {
        texts[3].clone()
    })?;
    running.end()
}

/// Asks for more than any buffer on the way takes, and reads nothing of it.
fn unread_of(running: &Running) -> Outcome<TcpStream> {
    let asked = "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n".repeat(20_000);
    let mut stream = TcpStream::connect(running.address)?;
    stream.set_nonblocking(true)?;
    // What does not fit is not needed.
    let _ = stream.write(asked.as_bytes());
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn unread() -> Outcome {
    let limits = Limits { batch: Some(1), time: Duration::from_millis(300), ..Limits::default() };
    let running = Running::start(model()?, Device::cpu(), limits)?;
    let stream = unread_of(&running)?;
    // Alone with who asks for it.
    running.wait_for(|running| Ok(running.metric(CONNECTIONS)? == 1))?;
    drop(stream);
    running.end()
}

fn parting() -> Outcome {
    let limits = Limits { batch: Some(1), time: Duration::from_secs(24 * 3600), ..Limits::default() };
    let running = Running::start(model()?, Device::cpu(), limits)?;
    let mut clients = begun(&running, &[NOTHING, HALF_A_HEAD, HALF_A_BODY, WHOLE])?;
    let unread = unread_of(&running)?;
    running.wait_for(|running| Ok(running.metric(CONNECTIONS)? == 6))?;
    running.end()?;
    drop(unread);
    let refused = rest(clients.remove(2))?;
    check(refused.starts_with("HTTP/1.1 503") && refused.contains("the server is ending"), || refused)
}

fn leaving() -> Outcome {
    let limits = Limits { batch: Some(1), queue: 1, most_puzzles: 1, ..Limits::default() };
    let running = Running::start(thinker()?, Device::cpu(), limits)?;
    let body = json!({ "puzzles": puzzles(1) }).to_string();
    let count =
        |name: &'static str, wanted: u64| running.wait_for(|running| Ok(running.metric(name)? == wanted));
    let at_work = send(running.address, "POST", "/solve", &body)?;
    count("trm_puzzles_running", 1)?;
    let waiting = send(running.address, "POST", "/solve", &body)?;
    count("trm_puzzles_waiting", 1)?;
    let (code, _, text) = ask(running.address, "POST", "/solve", &body)?;
    check(code == 503, || text)?;
    // The one at work thinks for ever, so nobody's turn comes.
    drop(waiting);
    count("trm_puzzles_waiting", 0)?;
    let gone = running.metric("trm_puzzles_total{outcome=\"abandoned\"}")?;
    check(gone == 1, || format!("{gone} abandoned"))?;
    let next =
        send(running.address, "POST", "/solve", &json!({"puzzles": puzzles(1), "steps": 2}).to_string())?;
    count("trm_puzzles_waiting", 1)?;
    drop(at_work);
    let (code, _, text) = receive(next)?;
    check(code == 200, || text)?;
    count("trm_puzzles_total{outcome=\"abandoned\"}", 2)?;
    running.end()
}
