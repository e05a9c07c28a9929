//! A server at work, as the tests of `trm serve` ask it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{JoinHandle, spawn};

use serde_json::{Value, json};
use tokio::sync::oneshot;
use trm::checkpoint::Model;
use trm::engine::Device;
use trm::eval::Breadth;
use trm::model::Params;
use trm::rng::Rng;
use trm::serve::{Limits, Server};

use crate::cli::{Outcome, Workshop, check};
use crate::cli_solve::fresh;

/// A small model of 4x4 Sudoku whose puzzles halt at different steps.
pub fn model() -> Outcome<Model> {
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

/// A model that thinks for ever about a puzzle.
pub fn thinker() -> Outcome<Model> {
    let Model { mut config, mut weights } = model()?;
    config.arch.halt_max_steps = u32::MAX as usize;
    let bias = Params::of(&config).get("q_head.bias").ok_or("no bias")?.clone();
    weights.get_mut(&bias).fill(-100.0);
    Ok(Model { config, weights })
}

/// Puzzles with few clues, as tokens: 0 is padding, 1 a blank.
pub fn puzzles(count: usize) -> Vec<Vec<i32>> {
    let clue = |puzzle: usize, cell: usize| cell == puzzle % 16 || cell == (puzzle / 16 + 5) % 16;
    let token = |puzzle: usize, cell: usize| if clue(puzzle, cell) { 2 + (puzzle % 4) as i32 } else { 1 };
    (0..count).map(|puzzle| (0..16).map(|cell| token(puzzle, cell)).collect()).collect()
}

/// A server at work.
pub struct Running {
    pub address: SocketAddr,
    end: oneshot::Sender<()>,
    served: JoinHandle<trm::Result<()>>,
}

impl Running {
    pub fn start(model: Model, device: Device, limits: Limits) -> Outcome<Running> {
        let usual = Breadth { halt: true, ..Breadth::default() };
        Running::of(Server::open(model, device, usual, limits, TcpListener::bind("127.0.0.1:0")?)?)
    }

    pub fn of(server: Server) -> Outcome<Running> {
        let (address, (end, ended)) = (server.address()?, oneshot::channel());
        Ok(Running { address, end, served: spawn(|| server.run(async { drop(ended.await) })) })
    }

    pub fn end(self) -> Outcome {
        drop(self.end);
        Ok(self.served.join().map_err(|_| "the server panicked")??)
    }

    pub fn metric(&self, name: &str) -> Outcome<u64> {
        let (code, _, text) = ask(self.address, "GET", "/metrics", "")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.and_then(|value| value.parse().ok());
        value.ok_or_else(|| format!("{name} is not in {code}\n{text}").into())
    }

    pub fn wait_for(&self, arrived: impl Fn(&Running) -> Outcome<bool>) -> Outcome {
        while !arrived(self)? {
            check(!self.served.is_finished(), || "the server ended".to_owned())?;
            std::thread::yield_now();
        }
        Ok(())
    }
}

pub fn send(address: SocketAddr, method: &str, path: &str, body: &str) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {length}");
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes())?;
    Ok(stream)
}

/// Status, head and body.
pub fn receive(mut stream: TcpStream) -> Outcome<(u16, String, String)> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {text}"))?;
    let code = head.get(9..12).and_then(|code| code.parse().ok()).ok_or("no status")?;
    Ok((code, head.to_lowercase(), body.to_owned()))
}

pub fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> Outcome<(u16, String, String)> {
    receive(send(address, method, path, body)?)
}

pub fn solve(address: SocketAddr, puzzles: &[Value]) -> Outcome<(u16, Value)> {
    let (code, _, body) = ask(address, "POST", "/solve", &json!({ "puzzles": puzzles }).to_string())?;
    Ok((code, serde_json::from_str(&body)?))
}
