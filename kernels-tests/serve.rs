//! `trm serve`: everyone's own answers, however many ask at once.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::spawn;

use libtest_mimic::Trial;
use serde_json::{Value, json};
use trm::checkpoint::Model;
use trm::data::inspect::Kind;
use trm::data::own::{Dialogue, Words};
use trm::data::pasted::{Puzzle, Reader};
use trm::data::{Dataset, Split};
use trm::engine::Device;
use trm::eval::{Breadth, Question, Select, Solution, Solver};
use trm::serve::{Limits, Server};

use crate::cli::{Outcome, Test, Workshop, check, succeed};
use crate::cli_solve::fresh;
use crate::server::{Running, ask, model, puzzles, send, solve, thinker};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let trials: [Test; 4] = [
        ("many at once get the answers of one at a time", many_at_once),
        ("a wide puzzle does not keep the next one waiting", in_turns),
        ("rollouts are asked for and answered as if alone", rollouts),
        ("an own task is asked and answered in its words", words),
    ];
    trials.into_iter().map(|(name, test)| Trial::test(format!("serve: {name}"), test)).collect()
}

pub fn solutions(Model { config, weights }: &Model, puzzles: &[Vec<i32>]) -> Outcome<Vec<Solution>> {
    let question = |inputs: &Vec<i32>| Question { kind: Kind::Other, inputs: inputs.clone(), identifier: 0 };
    let breadth = Breadth { halt: true, ..Breadth::default() };
    let mut solver = Solver::with(config, weights, &Device::cpu(), 1, breadth)?;
    Ok(solver.solve_all(&puzzles.iter().map(question).collect::<Vec<_>>())?)
}

/// Asks from several threads, and compares each answer with what [`Solver`] makes of the same puzzle.
pub fn compare(running: &Running, puzzles: &[Vec<i32>], expected: &[Solution]) -> Outcome {
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

fn words() -> Outcome {
    let (workshop, rows) =
        (Workshop::new()?, "inputs,labels\nred green blue,blue green red\none two red,two red one\n");
    let (own, rows_file) = (workshop.path("own"), workshop.path("rows.csv"));
    std::fs::write(&rows_file, rows)?;
    succeed(&[
        "data",
        "table",
        "--train",
        &rows_file,
        "--test",
        &rows_file,
        "--seq-len",
        "4",
        "--out",
        &own,
    ])?;
    let model = Model::load(fresh(&workshop, "tiny-sudoku4", "own", "run")?)?;
    let words = Words::load(own.as_ref())?.ok_or("no words")?;
    let dialogue = Dialogue::of(words.clone(), &Arc::new(Dataset::open(own.as_ref(), Split::Test)?))?;
    let (usual, limits) = (Breadth::default(), Limits { batch: Some(1), ..Limits::default() });
    let open = |model| -> Outcome<Server> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        Ok(Server::open(model, Device::cpu(), usual, limits.clone(), listener)?)
    };
    let token =
        |word: &str| words.words().iter().position(|known| known == word).map_or(0, |at| at as i32 + 1);
    let tokens = json!([token("red"), token("two"), token("one"), 0]);
    let running = Running::of(open(model.clone())?.speaking(dialogue)?)?;
    let holes = json!([token("red"), 0, token("one"), 0]);
    let nothing = json!([0, 0, 0, 0]);
    let asked = [
        json!("red two one"),
        tokens.clone(),
        json!("red purple"),
        json!("red two"),
        holes,
        nothing,
        json!(""),
    ];
    let (code, answers) = solve(running.address, &asked)?;
    let answers = &answers["answers"];
    let as_tokens: Vec<i32> = serde_json::from_value(answers[1]["answer"].clone())?;
    // Samples with three words have three labels.
    let same = answers[0]["answer"] == json!(words.text(&as_tokens[..3])) && as_tokens.len() == 4;
    let told = answers[2]["error"] == "\"purple\" is none of the 5 words";
    check(code == 200 && same && told, || answers.to_string())?;
    let notes = answers[0]["note"].is_null() && answers[3]["note"] == "no test sample has 2 words";
    let refused = answers[4]["error"] == "token 2 is 0, which is padding, and words follow"
        && answers[5]["error"] == "holds no word"
        && answers[6]["error"] == "holds no word";
    check(notes && refused, || answers.to_string())?;
    let (_, _, health) = ask(running.address, "GET", "/health", "")?;
    let health: Value = serde_json::from_str(&health)?;
    check(health["words"] == json!(words.words()) && health["kind"] == "own task", || health.to_string())?;
    running.end()?;
    // Without them it has the sizes of a maze, in which nothing is padded.
    let running = Running::of(open(model)?)?;
    let (code, answers) = solve(running.address, &[tokens])?;
    let told = answers["answers"][0]["error"].as_str().is_some_and(|error| error.starts_with("token 4 is 0"));
    check(code == 400 && told, || answers.to_string())?;
    running.end()
}
