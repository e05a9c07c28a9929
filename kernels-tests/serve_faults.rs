//! `trm serve`: devices that fail, clients who leave, and an end that leaves no question open.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

use libtest_mimic::Trial;
use serde_json::json;
use trm::engine::Device;
use trm::engine::faults::{Fault, Faults, Stage};
use trm::serve::Limits;

use crate::cli::{Outcome, Test, Workshop, check, command, ran};
use crate::cli_solve::fresh;
use crate::serve::{compare, solutions};
use crate::server::{Running, ask, model, puzzles, receive, send, solve, thinker};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let trials: [Test; 5] = [
        ("a device that fails costs no answer", failing_device),
        ("a puzzle at which the device fails twice is told so", failing_puzzle),
        ("whom nobody waits for leaves the batch", given_up),
        ("an end leaves no question open", drained),
        ("a signal ends it", signalled),
    ];
    let unix = |test: &Test| cfg!(unix) || test.0 != "a signal ends it";
    trials.into_iter().filter(unix).map(|(name, test)| Trial::test(format!("serve: {name}"), test)).collect()
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
