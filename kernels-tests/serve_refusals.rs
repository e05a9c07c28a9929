//! `trm serve`: what is refused, by which words, and what is counted of it.

use std::net::TcpListener;
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::{Value, json};
use trm::checkpoint::Model;
use trm::engine::Device;
use trm::eval::Breadth;
use trm::serve::{Limits, Server};

use crate::cli::{Outcome, Test, check};
use crate::server::{Running, ask, model, puzzles, send, solve, thinker};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let trials: [Test; 3] = [
        ("options for no puzzle of the weights are refused at start", unfit),
        ("what cannot be used is refused with the reason", refusals),
        ("a full queue sends away", full_queue),
    ];
    trials.into_iter().map(|(name, test)| Trial::test(format!("serve: {name}"), test)).collect()
}

fn unfit() -> Outcome {
    let Model { mut config, weights } = model()?;
    config.vocab_size += 1;
    let usual = Breadth { rollouts: 4, augment: 3, ..Breadth::default() };
    let limits = Limits { most_rollouts: 4, ..Limits::default() };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    match Server::open(Model { config, weights }, Device::cpu(), usual, limits, listener) {
        Err(error) if error.exit_code() == 2 => {
            check(error.to_string().contains("neither Sudokus nor mazes"), || error.to_string())
        }
        Err(error) => Err(error.into()),
        Ok(_) => Err("it serves".into()),
    }
}

fn refusals() -> Outcome {
    let limits =
        Limits { batch: Some(2), most_puzzles: 8, most_rollouts: 3, body: 2000, ..Limits::default() };
    let running = Running::start(model()?, Device::cpu(), limits)?;
    let cases = [
        ("POST", "/solve", "{\"puzzles\": [".to_owned(), 400, "EOF while parsing"),
        ("POST", "/solve", "[1]".to_owned(), 400, "the body is a list; expected {\\\"puzzles\\\": [...]}"),
        ("POST", "/solve", "{\"puzzles\": 5}".to_owned(), 400, "puzzles: 5; expected"),
        ("POST", "/solve", format!("{}{}", "[".repeat(900), "]".repeat(900)), 400, "nested too deeply"),
        (
            "POST",
            "/solve",
            "{\"puzzles\": [1], \"rollouts\": 4, \"noise\": 1}".to_owned(),
            400,
            "rollouts: 4; this server was started to take 1 to 3 (max_rollouts of /health)",
        ),
        (
            "POST",
            "/solve",
            "{\"puzzles\": [1], \"steps\": 9}".to_owned(),
            400,
            "steps: 9; this server was started to take 1 to 8 (max_steps of /health)",
        ),
        (
            "POST",
            "/solve",
            "{\"puzzles\": [1], \"augment\": 100}".to_owned(),
            400,
            "augment: 100; this server was started to take 0 to 2 (max_rollouts of /health)",
        ),
        ("POST", "/solve", "{\"puzzles\": []}".to_owned(), 400, "no puzzles in the list"),
        ("POST", "/solve", "{\"puzzles\": [1], \"more\": 1}".to_owned(), 400, "beside puzzles there may be"),
        (
            "POST",
            "/solve",
            "{\"puzzles\": [1,1,1,1,1,1,1,1,1]}".to_owned(),
            413,
            "9 puzzles; send no more than 8",
        ),
        ("POST", "/solve", " ".repeat(2000), 400, "no JSON that can be read"),
        ("POST", "/solve", " ".repeat(2001), 413, "a body of more than 2000 bytes"),
        ("GET", "/solve", String::new(), 405, "there are POST /solve"),
        ("GET", "/", String::new(), 404, "there are POST /solve"),
    ];
    for (method, path, body, expected, part) in cases {
        let (code, _, text) = ask(running.address, method, path, &body)?;
        check(code == expected && text.contains(part), || format!("{body}: {code} {text}"))?;
    }
    // Each by itself, in its place.
    let good = "1 . | . .\n. . | . .\n----+----\n. . | . .\n. . | . 4";
    let mixed = [
        json!(good),
        json!("1111............"),
        json!([1, 2, 3]),
        json!({"tokens": [[9, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]], "identifier": 0}),
        json!({"tokens": [1], "rollouts": 4, "identifier": 0}),
        json!([[1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1], [1, 1, 1, 1]]),
        json!([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        json!([[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 4]]),
    ];
    let (_, hopeless) = solve(running.address, &[json!("..3.4......2.1.4")])?;
    let fault = &hopeless["answers"][0]["fault"];
    check(*fault == "the puzzle has no solution: its clues contradict each other", || fault.to_string())?;
    let (code, answers) = solve(running.address, &mixed)?;
    let parts = [
        "",
        "line 1: contradicts itself",
        "3 tokens, the model solves puzzles of 16",
        "a token is 9, the model knows 0 to 5",
        "unknown: \"rollouts\"; a puzzle has tokens and identifier",
        "row 2 has 5 tokens, the rows before it 4",
        "",
        "token 2 is 0, which is padding and stands for no cell: in Sudokus 1 is a blank and d + 1 the digit d, in mazes",
    ];
    for (index, part) in parts.into_iter().enumerate() {
        let answer = &answers["answers"][index];
        let told = answer["error"].as_str().unwrap_or_default();
        check(answer["index"] == index && told.starts_with(part), || answers.to_string())?;
        check(part.is_empty() != answer["answer"].is_null(), || answers.to_string())?;
    }
    let (text, tokens) = (&answers["answers"][0], &answers["answers"][6]);
    check(text["answer"].as_str().is_some_and(|answer| answer.len() == 16), || text.to_string())?;
    check(text["solved"].is_boolean() && tokens.get("solved").is_none(), || answers.to_string())?;
    check(code == 200, || code.to_string())?;
    let (code, answers) = solve(running.address, &mixed[1..3])?;
    check(code == 400 && answers["answers"].as_array().is_some_and(|all| all.len() == 2), || {
        answers.to_string()
    })?;
    let refused = running.metric("trm_puzzles_total{outcome=\"refused\"}")?;
    check(refused == 8, || format!("{refused} refused"))?;
    let (code, _, health) = ask(running.address, "GET", "/health", "")?;
    let health: Value = serde_json::from_str(&health)?;
    let expected = json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "device": Device::cpu().info().name,
        "batch": 2,
        "kind": "Sudoku 4x4 or mazes of 4x4",
        "seq_len": 16,
        "vocab_size": 6,
        "num_puzzle_identifiers": 1,
        "max_steps": 8,
        "max_rollouts": 3,
        "rollouts": 1,
        "max_puzzles": 8,
        "queue": {"capacity": 4096, "waiting": 0},
    });
    check(code == 200 && health == expected, || health.to_string())?;
    running.end()
}

fn full_queue() -> Outcome {
    let limits = Limits { batch: Some(1), queue: 2, most_puzzles: 2, ..Limits::default() };
    let running = Running::start(thinker()?, Device::cpu(), limits)?;
    let body = |count: usize| json!({ "puzzles": puzzles(count) }).to_string();
    let at_work = send(running.address, "POST", "/solve", &body(1))?;
    running.wait_for(|running| Ok(running.metric("trm_puzzles_running")? == 1))?;
    let waiting = send(running.address, "POST", "/solve", &body(1))?;
    running.wait_for(|running| Ok(running.metric("trm_puzzles_waiting")? == 1))?;
    // There is room for one of the two.
    let (code, head, text) = ask(running.address, "POST", "/solve", &body(2))?;
    check(code == 503 && head.contains("retry-after: 1"), || format!("{code} {head}"))?;
    check(text.contains("1 rollouts of puzzles wait already; try again later"), || text.clone())?;
    let away = running.metric("trm_puzzles_total{outcome=\"turned_away\"}")?;
    check(away == 2 && running.metric("trm_puzzles_waiting")? == 1, || format!("{away} turned away"))?;
    // Nobody waits for these any more, so nothing keeps the server.
    drop((at_work, waiting));
    running.end()?;
    // Who waits too long is told so, and keeps it no longer either.
    let limits = Limits { batch: Some(1), time: Duration::from_millis(50), ..Limits::default() };
    let running = Running::start(thinker()?, Device::cpu(), limits)?;
    let (code, _, text) = ask(running.address, "POST", "/solve", &body(1))?;
    check(code == 504 && text.contains("not answered within 50ms"), || format!("{code} {text}"))?;
    running.end()
}
