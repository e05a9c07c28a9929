//! Answers a batch of Sudokus from memory, with weights from a folder.
//!
//!     cargo run --release --example solve_batch -- runs/first

use trm::data::pasted::{Puzzle, Reader};
use trm::eval::{Breadth, Question, Solution};
use trm::{Device, Model, Result, Solver};

/// Solves two puzzles.
pub fn main() -> Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "runs/first".to_owned());
    let model = Model::load(folder)?;
    let (device, why) = trm::engine::select("auto")?;
    println!("{}: {why}", device.info().name);
    for (puzzle, solution) in solve(&model, &device, &texts(model.config.seq_len))? {
        println!("{puzzle}\n{solution}");
    }
    Ok(())
}

/// Two puzzles with a single clue each.
fn texts(cells: usize) -> Vec<String> {
    [0, 1].map(|place| (0..cells).map(|cell| if cell == place { '1' } else { '.' }).collect()).to_vec()
}

/// Puzzles as they were read, and their answers, as text.
fn solve(model: &Model, device: &Device, texts: &[String]) -> Result<Vec<(String, String)>> {
    let mut puzzles: Vec<Puzzle> = Vec::new();
    for text in texts {
        let reader = Reader::of_sizes(model.config.seq_len, model.config.vocab_size);
        let found = reader.map_or_else(Vec::new, |reader| reader.all(text));
        // What cannot be read says in which line and why.
        puzzles.extend(found.into_iter().filter_map(|found| found.puzzle.ok()));
    }
    let questions: Vec<Question> = puzzles.iter().map(Question::from).collect();
    // Slots of the batch: a puzzle whose halt head says so leaves its own to the next.
    let breadth = Breadth { halt: true, ..Breadth::default() };
    let mut solver = Solver::with(&model.config, &model.weights, device, 16, breadth)?;
    let solutions = solver.solve_all(&questions)?;
    let text = |(puzzle, solution): (&Puzzle, &Solution)| {
        (puzzle.text(&puzzle.tokens()), puzzle.text(solution.answer()))
    };
    Ok(puzzles.iter().zip(&solutions).map(text).collect())
}
