//! `trm serve`: everyone's own answers, refusals, counts, and an end that leaves no question open.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use trm::checkpoint::Model;
use trm::data::inspect::Kind;
use trm::data::pasted::{Puzzle, Reader};
use trm::engine::Device;
use trm::engine::faults::{Fault, Faults, Stage};
use trm::eval::{Breadth, Question, Select, Solution, Solver};
use trm::model::Params;
use trm::rng::Rng;
use trm::serve::{Limits, Server};

use crate::cli::{Outcome, Test, Workshop, check, command, ran};
use crate::cli_solve::fresh;

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let trials: [Test; 11] = [
        ("many at once get the answers of one at a time", many_at_once),
        ("a device that fails costs no answer", failing_device),
        ("a puzzle at which the device fails twice is told so", failing_puzzle),
        ("a wide puzzle does not keep the next one waiting", in_turns),
        ("options for no puzzle of the weights are refused at start", unfit),
        ("what cannot be used is refused with the reason", refusals),
        ("a full queue sends away", full_queue),
        ("whom nobody waits for leaves the batch", given_up),
        ("rollouts are asked for and answered as if alone", rollouts),
        ("an end leaves no question open", drained),
        ("a signal ends it", signalled),
    ];
    let unix = |test: &Test| cfg!(unix) || test.0 != "a signal ends it";
    trials.into_iter().filter(unix).map(|(name, test)| Trial::test(format!("serve: {name}"), test)).collect()
}

/// A small model of 4x4 Sudoku whose puzzles halt at different steps.
fn model() -> Outcome<Model> {
    let workshop = Workshop::new()?;
    let run = fresh(&workshop, "tiny-sudoku4", "data", "run")?;
    let Model { mut config, mut weights } = Model::load(&run)?;
    config.arch.halt_max_steps = 8;
    let params = Params::of(&config);
    let (head, bias) = (params.get("q_head.weight"), params.get("q_head.bias"));
    let mut rng = Rng::new(7, 7);
    weights.get_mut(head.ok_or("no q_head")?).iter_mut().for_each(|value| *value = 0.5 * rng.normal() as f32);
    weights.get_mut(bias.ok_or("no bias")?).fill(-0.7);
    Ok(Model { config, weights })
}

/// Puzzles with few clues, as tokens: 0 is padding, 1 a blank.
fn puzzles(count: usize) -> Vec<Vec<i32>> {
    let clue = |puzzle: usize, cell: usize| cell == puzzle % 16 || cell == (puzzle / 16 + 5) % 16;
    let token = |puzzle: usize, cell: usize| if clue(puzzle, cell) { 2 + (puzzle % 4) as i32 } else { 1 };
    (0..count).map(|puzzle| (0..16).map(|cell| token(puzzle, cell)).collect()).collect()
}

fn solutions(Model { config, weights }: &Model, puzzles: &[Vec<i32>]) -> Outcome<Vec<Solution>> {
    let question = |inputs: &Vec<i32>| Question { kind: Kind::Other, inputs: inputs.clone(), identifier: 0 };
    let breadth = Breadth { halt: true, ..Breadth::default() };
    let mut solver = Solver::with(config, weights, &Device::cpu(), 1, breadth)?;
    Ok(solver.solve_all(&puzzles.iter().map(question).collect::<Vec<_>>())?)
}

/// A server at work.
struct Running {
    address: SocketAddr,
    end: oneshot::Sender<()>,
    served: JoinHandle<trm::Result<()>>,
}

impl Running {
    fn start(model: Model, device: Device, limits: Limits) -> Outcome<Running> {
        let usual = Breadth { halt: true, ..Breadth::default() };
        let server = Server::open(model, device, usual, limits, TcpListener::bind("127.0.0.1:0")?)?;
        let (address, (end, ended)) = (server.address()?, oneshot::channel());
        Ok(Running { address, end, served: spawn(|| server.run(async { drop(ended.await) })) })
    }

    fn end(self) -> Outcome {
        drop(self.end);
        Ok(self.served.join().map_err(|_| "the server panicked")??)
    }

    fn metric(&self, name: &str) -> Outcome<u64> {
        let (code, _, text) = ask(self.address, "GET", "/metrics", "")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.and_then(|value| value.parse().ok());
        value.ok_or_else(|| format!("{name} is not in {code}\n{text}").into())
    }

    fn wait_for(&self, arrived: impl Fn(&Running) -> Outcome<bool>) -> Outcome {
        while !arrived(self)? {
            check(!self.served.is_finished(), || "the server ended".to_owned())?;
            std::thread::yield_now();
        }
        Ok(())
    }
}

fn send(address: SocketAddr, method: &str, path: &str, body: &str) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {length}");
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes())?;
    Ok(stream)
}

/// Status, head and body.
fn receive(mut stream: TcpStream) -> Outcome<(u16, String, String)> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {text}"))?;
    let code = head.get(9..12).and_then(|code| code.parse().ok()).ok_or("no status")?;
    Ok((code, head.to_lowercase(), body.to_owned()))
}

fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> Outcome<(u16, String, String)> {
    receive(send(address, method, path, body)?)
}

fn solve(address: SocketAddr, puzzles: &[Value]) -> Outcome<(u16, Value)> {
    let (code, _, body) = ask(address, "POST", "/solve", &json!({ "puzzles": puzzles }).to_string())?;
    Ok((code, serde_json::from_str(&body)?))
}

/// Asks from several threads, and compares each answer with what [`Solver`] makes of the same puzzle.
fn compare(running: &Running, puzzles: &[Vec<i32>], expected: &[Solution]) -> Outcome {
    const CLIENTS: usize = 12;
    let address = running.address;
    let client = |first: usize| {
        let own: Vec<(usize, Vec<i32>)> =
            puzzles.iter().cloned().enumerate().skip(first).step_by(CLIENTS).collect();
        // By ones, twos and threes.
        let asked = move |chunk: &[(usize, Vec<i32>)]| -> Outcome<Vec<(usize, Value)>> {
            let (code, answers) = solve(address, &chunk.iter().map(|one| json!(one.1)).collect::<Vec<_>>())?;
            check(code == 200, || answers.to_string())?;
            let answers = answers["answers"].as_array().cloned().unwrap_or_default();
            check(answers.len() == chunk.len(), || "answers are missing".to_owned())?;
            Ok(chunk.iter().map(|one| one.0).zip(answers).collect())
        };
        spawn(move || own.chunks(1 + first % 3).map(asked).collect::<Outcome<Vec<_>>>())
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    let mut seen = 0;
    for client in clients {
        for (index, answer) in client.join().map_err(|_| "a client panicked")??.concat() {
            let last = expected[index].thoughts.last().ok_or("no thought")?;
            let steps = expected[index].thoughts.len();
            // JSON writes as few digits as make the same f32.
            let confidence = answer["confidence"].as_f64().map(|confidence| confidence as f32);
            let same = answer["answer"] == json!(last.answer) && answer["steps"] == steps;
            check(same && confidence == Some(last.confidence()), || {
                format!("puzzle {index}: {answer}, expected {last:?} after {steps} steps")
            })?;
            seen += 1;
        }
    }
    check(seen == puzzles.len(), || format!("{seen} of {} answers", puzzles.len()))
}

fn many_at_once() -> Outcome {
    let (model, puzzles) = (model()?, puzzles(120));
    let expected = solutions(&model, &puzzles)?;
    let steps = expected.iter().map(|solution| solution.thoughts.len());
    check(steps.clone().min() < steps.max(), || "all halt at the same step: the test shows nothing".into())?;
    let running = Running::start(model, Device::cpu(), Limits { batch: Some(8), ..Limits::default() })?;
    compare(&running, &puzzles, &expected)?;
    let thoughts = expected.iter().map(|solution| solution.thoughts.len()).sum::<usize>() as u64;
    for (name, count) in [
        ("trm_puzzles_total{outcome=\"answered\"}", 120),
        ("trm_puzzles_total{outcome=\"refused\"}", 0),
        ("trm_puzzle_steps_total", thoughts),
        ("trm_puzzles_waiting", 0),
        ("trm_device_reopened_total", 0),
    ] {
        let found = running.metric(name)?;
        check(found == count, || format!("{name}: {found}, expected {count}"))?;
    }
    let (requests, timed) =
        (running.metric("trm_requests_total{code=\"200\"}")?, running.metric("trm_request_seconds_count")?);
    check(requests == timed && requests > 60, || format!("{requests} requests, {timed} timed"))?;
    check(running.metric("trm_batch_slots_total")? >= thoughts, || "slots".to_owned())?;
    running.end()
}

fn failing_device() -> Outcome {
    let (model, puzzles) = (model()?, puzzles(40));
    let expected = solutions(&model, &puzzles)?;
    let faults = Arc::new(Faults::after(9, Stage::Submit, Fault::Lost));
    let device = Device::cpu().failing(faults);
    let running = Running::start(model, device, Limits { batch: Some(4), ..Limits::default() })?;
    compare(&running, &puzzles, &expected)?;
    let reopened = running.metric("trm_device_reopened_total")?;
    check(reopened == 1, || format!("opened anew {reopened} times"))?;
    running.end()
}

/// The first of two has both of its trials at a device that fails; the other one is answered.
fn failing_puzzle() -> Outcome {
    let (model, puzzles) = (model()?, puzzles(2));
    let expected = solutions(&model, &puzzles)?;
    let faults = Arc::new(Faults::after(0, Stage::Submit, Fault::Lost).on_devices(2));
    let device = Device::cpu().failing(faults);
    let running = Running::start(model, device, Limits { batch: Some(2), ..Limits::default() })?;
    let (code, answers) = solve(running.address, &[json!(puzzles[0]), json!(puzzles[1])])?;
    let (first, second) = (&answers["answers"][0], &answers["answers"][1]);
    let told = first["error"].as_str().is_some_and(|error| error.contains("lost (a test)"));
    check(code == 200 && told && second["answer"] == json!(expected[1].answer()), || answers.to_string())?;
    for (outcome, count) in [("failed", 1), ("answered", 1)] {
        let found = running.metric(&format!("trm_puzzles_total{{outcome=\"{outcome}\"}}"))?;
        check(found == count, || format!("{found} {outcome}"))?;
    }
    running.end()
}

fn in_turns() -> Outcome {
    let most = 1 << 16;
    let limits = Limits { batch: Some(1), queue: most, most_rollouts: most, ..Limits::default() };
    let running = Running::start(thinker()?, Device::cpu(), limits)?;
    let body = json!({ "puzzles": puzzles(1), "rollouts": most, "noise": 0.5, "steps": 50 }).to_string();
    let wide = send(running.address, "POST", "/solve", &body)?;
    running.wait_for(|running| Ok(running.metric("trm_puzzles_running")? == 1))?;
    let body = json!({ "puzzles": puzzles(1), "steps": 2 }).to_string();
    let (code, _, text) = ask(running.address, "POST", "/solve", &body)?;
    check(code == 200, || format!("{code} {text}"))?;
    let answered = running.metric("trm_puzzles_total{outcome=\"answered\"}")?;
    let waiting = running.metric("trm_puzzles_waiting")?;
    check(answered == 1 && waiting > 0 && waiting < most as u64, || {
        format!("{answered} answered, {waiting} waiting")
    })?;
    // More than could ever wait is no matter of time, however many it is.
    let all: Vec<Value> = (0..1024).map(|_| json!(0)).collect();
    let body = json!({ "puzzles": all, "rollouts": most, "noise": 0.5 }).to_string();
    let (code, _, text) = ask(running.address, "POST", "/solve", &body)?;
    check(code == 413 && text.contains("more than can wait here, 65536"), || format!("{code} {text}"))?;
    drop(wide);
    running.end()
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
    let limits = Limits { batch: Some(2), most_puzzles: 7, body: 2000, ..Limits::default() };
    let running = Running::start(model()?, Device::cpu(), limits)?;
    let cases = [
        ("POST", "/solve", "{\"puzzles\": [".to_owned(), 400, "EOF while parsing"),
        ("POST", "/solve", "[1]".to_owned(), 400, "the body is a list; expected {\\\"puzzles\\\": [...]}"),
        ("POST", "/solve", "{\"puzzles\": 5}".to_owned(), 400, "puzzles: 5; expected"),
        ("POST", "/solve", format!("{}{}", "[".repeat(900), "]".repeat(900)), 400, "nested too deeply"),
        (
            "POST",
            "/solve",
            "{\"puzzles\": [1], \"rollouts\": 2, \"noise\": 1}".to_owned(),
            400,
            "server takes 1 to 1",
        ),
        (
            "POST",
            "/solve",
            "{\"puzzles\": [1], \"steps\": 9}".to_owned(),
            400,
            "steps: 9; this server takes 1 to 8",
        ),
        (
            "POST",
            "/solve",
            "{\"puzzles\": [1], \"augment\": 100}".to_owned(),
            400,
            "augment: 100; this server takes 0 to 0",
        ),
        ("POST", "/solve", "{\"puzzles\": []}".to_owned(), 400, "no puzzles in the list"),
        ("POST", "/solve", "{\"puzzles\": [1], \"more\": 1}".to_owned(), 400, "beside puzzles there may be"),
        (
            "POST",
            "/solve",
            "{\"puzzles\": [1,1,1,1,1,1,1,1]}".to_owned(),
            413,
            "8 puzzles; send no more than 7",
        ),
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
    ];
    let (code, answers) = solve(running.address, &mixed)?;
    let parts = [
        "",
        "line 1: contradicts itself",
        "3 tokens, the model solves puzzles of 16",
        "a token is 9, the model knows 0 to 5",
        "unknown: \"rollouts\"; a puzzle has tokens and identifier",
        "row 2 has 5 tokens, the rows before it 4",
        "",
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
    check(refused == 7, || format!("{refused} refused"))?;
    let (code, _, health) = ask(running.address, "GET", "/health", "")?;
    let health: Value = serde_json::from_str(&health)?;
    check(
        code == 200
            && health["status"] == "ok"
            && health["seq_len"] == 16
            && health["max_puzzles"] == 7
            && health["queue"] == json!({"capacity": 4096, "waiting": 0})
            && health["kind"] == "Sudoku 4x4 or mazes of 4x4",
        || health.to_string(),
    )?;
    running.end()
}

/// A model that thinks for ever about a puzzle.
fn thinker() -> Outcome<Model> {
    let Model { mut config, mut weights } = model()?;
    config.arch.halt_max_steps = u32::MAX as usize;
    let bias = Params::of(&config).get("q_head.bias").ok_or("no bias")?.clone();
    weights.get_mut(&bias).fill(-100.0);
    Ok(Model { config, weights })
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

/// A puzzle that would be thought about for ever leaves its slot to one that somebody waits for.
fn given_up() -> Outcome {
    let limits = Limits { batch: Some(1), most_rollouts: 3, ..Limits::default() };
    let running = Running::start(thinker()?, Device::cpu(), limits)?;
    let body = json!({ "puzzles": puzzles(1), "rollouts": 3, "noise": 0.5 }).to_string();
    let endless = send(running.address, "POST", "/solve", &body)?;
    running.wait_for(|running| Ok(running.metric("trm_puzzles_running")? == 1))?;
    drop(endless);
    let body = json!({ "puzzles": puzzles(1), "steps": 2 }).to_string();
    let (code, _, text) = ask(running.address, "POST", "/solve", &body)?;
    check(code == 200 && text.contains("\"steps\":2"), || format!("{code} {text}"))?;
    let gone = running.metric("trm_puzzles_total{outcome=\"abandoned\"}")?;
    check(gone == 1, || format!("{gone} given up"))?;
    running.end()
}

/// What a request asks for, as JSON and as the library has it.
fn wishes() -> [(Value, Breadth); 5] {
    let usual = Breadth { halt: true, ..Breadth::default() };
    let noisy = Breadth { rollouts: 5, noise: 0.7, ..usual };
    [
        (json!({}), usual),
        (json!({"rollouts": 5, "noise": 0.7, "seed": 3}), Breadth { seed: 3, ..noisy }),
        (
            json!({"rollouts": 5, "noise": 0.7, "seed": 4, "select": "residual"}),
            Breadth { seed: 4, select: Select::Residual, ..noisy },
        ),
        (
            json!({"augment": 3, "select": "valid", "steps": 5}),
            Breadth { rollouts: 4, augment: 3, select: Select::Valid, steps: 5, ..usual },
        ),
        (
            json!({"rollouts": 3, "random_states": 1, "select": "halt"}),
            Breadth { rollouts: 3, random_states: 1.0, select: Select::Halt, ..usual },
        ),
    ]
}

/// Puzzles as text with the choices that [`Solver`] makes of them, asked for by several threads at once.
fn rollouts() -> Outcome {
    let model = model()?;
    let texts: Vec<String> = (0..12)
        .map(|puzzle| {
            (0..16)
                .map(|cell| {
                    if cell == puzzle {
                        '1'
                    } else if cell == 15 - puzzle / 4 {
                        '2'
                    } else {
                        '.'
                    }
                })
                .collect()
        })
        .collect();
    let read = |text: &String| -> Outcome<Puzzle> {
        let found = Reader::of_sizes(16, 6).ok_or("no reader")?.all(text).pop().ok_or("no puzzle")?;
        Ok(found.puzzle?)
    };
    let read = texts.iter().map(read).collect::<Outcome<Vec<Puzzle>>>()?;
    let questions: Vec<Question> = read.iter().map(Question::from).collect();
    let limits = Limits { batch: Some(7), most_rollouts: 5, ..Limits::default() };
    let running = Running::start(model.clone(), Device::cpu(), limits)?;
    let address = running.address;
    let client = |wishes: Value| {
        let texts = texts.clone();
        spawn(move || {
            let mut all = Vec::new();
            for two in texts.chunks(2) {
                let mut body = wishes.clone();
                body["puzzles"] = json!(two);
                let (code, _, text) = ask(address, "POST", "/solve", &body.to_string())?;
                check(code == 200, || text.clone())?;
                all.extend(
                    serde_json::from_str::<Value>(&text)?["answers"].as_array().cloned().unwrap_or_default(),
                );
            }
            Outcome::Ok(all)
        })
    };
    let clients: Vec<_> = wishes().map(|(wishes, breadth)| (client(wishes), breadth)).into_iter().collect();
    let mut split = 0;
    for (client, breadth) in clients {
        let answers = client.join().map_err(|_| "a client panicked")??;
        let alone =
            Solver::with(&model.config, &model.weights, &Device::cpu(), 1, breadth)?.solve_all(&questions)?;
        check(answers.len() == alone.len(), || "answers are missing".to_owned())?;
        for ((answer, solution), puzzle) in answers.iter().zip(&alone).zip(&read) {
            let confidence = 1.0 / (1.0 + (-solution.q_halt()).exp());
            let mut same = answer["answer"] == json!(puzzle.text(solution.answer()))
                && answer["confidence"].as_f64().map(|found| found as f32) == Some(confidence);
            match &solution.elected {
                None => same &= answer.get("votes").is_none(),
                Some(elected) => {
                    same &= answer["votes"] == json!([elected.votes, elected.of])
                        && answer["select"] == json!(elected.select)
                        && answer.get("keeps_rules").cloned() == elected.valid.map(|valid| json!(valid));
                    split += usize::from(elected.votes < elected.of);
                }
            }
            check(same, || format!("{breadth:?}: {answer}, expected {solution:?}"))?;
        }
    }
    check(split > 0, || "all rollouts agree: the test shows nothing".to_owned())?;
    running.end()
}

fn drained() -> Outcome {
    let mut model = thinker()?;
    model.config.arch.halt_max_steps = 500;
    let limits = Limits { batch: Some(1), ..Limits::default() };
    let running = Running::start(model, Device::cpu(), limits)?;
    let (address, body) = (running.address, json!({ "puzzles": puzzles(3) }).to_string());
    let asked = (0..3).map(|_| send(address, "POST", "/solve", &body)).collect::<Outcome<Vec<_>>>()?;
    running.wait_for(|running| {
        let names = ["trm_puzzles_total{outcome=\"answered\"}", "trm_puzzles_running", "trm_puzzles_waiting"];
        let counts = names.into_iter().map(|name| running.metric(name)).collect::<Outcome<Vec<_>>>()?;
        Ok(counts.iter().sum::<u64>() >= 9)
    })?;
    running.end()?;
    for stream in asked {
        let (code, _, text) = receive(stream)?;
        check(code == 200 && text.matches("\"steps\":500").count() == 3, || format!("{code} {text}"))?;
    }
    check(TcpStream::connect(address).is_err(), || "it still listens".to_owned())
}

fn signalled() -> Outcome {
    let workshop = Workshop::new()?;
    let run = fresh(&workshop, "tiny-sudoku4", "data", "run")?;
    let serve = ["serve", "--run", &run, "--device", "cpu", "--listen", "127.0.0.1:0", "--batch", "2"];
    let mut child = command(&serve).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let address = line.strip_prefix("listening on http://").and_then(|rest| rest.split(',').next());
    let address: SocketAddr = address.ok_or_else(|| line.clone())?.parse()?;
    let (code, answers) = solve(address, &[json!("1..............4")])?;
    check(code == 200 && answers["answers"][0]["steps"] == 3, || answers.to_string())?;
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
    check(sent.success(), || "no signal can be sent".to_owned())?;
    let ended = ran(child.wait_with_output()?);
    let said = ended.stderr.contains("interrupted: answering what has come until now");
    check(ended.code == 143 && said, || format!("{}: {}", ended.code, ended.stderr))
}
