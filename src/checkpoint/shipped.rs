//! Weights that come with trm: small models in f16, one folder of `assets/checkpoints` each, which says how it was made.

use std::path::Path;

use super::safetensors_file::SafetensorsFile;
use super::tensors::read_weights;
use crate::data::inspect::Kind;
use crate::data::maze;
use crate::data::sudoku::Shape;
use crate::files::Pieces;
use crate::model::init::Weights;
use crate::model::{ModelConfig, Params};
use crate::{Error, Result};

/// What stands before a name where a path of weights is asked for.
const SCHEME: &str = "shipped:";

/// A model that is built in.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// That of its folder.
    pub name: &'static str,
    /// What it answers.
    pub kind: Kind,
    config: &'static str,
    weights: &'static [u8],
}

/// The model in the folder `$name` of `assets/checkpoints`.
macro_rules! shipped {
    ($name:literal, $kind:expr) => {
        Shipped {
            name: $name,
            kind: $kind,
            config: include_str!(concat!("../../assets/checkpoints/", $name, "/config.json")),
            weights: include_bytes!(concat!("../../assets/checkpoints/", $name, "/model.safetensors")),
        }
    };
}

const ALL: &[Shipped] = &[
    shipped!("sudoku4", Kind::Sudoku { size: 4 }),
    shipped!("sudoku6", Kind::Sudoku { size: 6 }),
    shipped!("sudoku9", Kind::Sudoku { size: 9 }),
    shipped!("maze5", Kind::Maze { rows: 5, cols: 5 }),
];

impl Shipped {
    /// All of them.
    pub fn all() -> &'static [Shipped] {
        ALL
    }

    /// The one that answers puzzles of this kind and size.
    pub fn of(kind: Kind) -> Option<&'static Shipped> {
        ALL.iter().find(|shipped| shipped.kind == kind)
    }

    /// The one that `path` names, as `shipped:sudoku4`; none where it names a file.
    ///
    /// # Errors
    /// [`Error::Usage`] for a name that no shipped model has.
    pub fn at(path: &Path) -> Result<Option<&'static Shipped>> {
        let Some(name) = path.to_str().and_then(|path| path.strip_prefix(SCHEME)) else { return Ok(None) };
        let known = ALL.iter().find(|shipped| shipped.name == name);
        known.map(Some).ok_or_else(|| {
            let names: Vec<&str> = ALL.iter().map(|shipped| shipped.name).collect();
            let problem = format!("no model of the name \"{name}\" comes with trm");
            Error::usage("weights", problem, format!("take one of {}", names.join(", ")))
        })
    }

    /// What [`super::load`] takes for its path.
    pub fn path(&self) -> String {
        format!("{SCHEME}{}", self.name)
    }

    /// (cells, tokens) of its puzzles.
    pub fn sizes(&self) -> (usize, usize) {
        match self.kind {
            Kind::Sudoku { size } => {
                let shape = Shape::of_cells(size * size);
                (size * size, shape.map_or(0, Shape::vocab_size))
            }
            Kind::Maze { rows, cols } => (rows * cols, maze::VOCAB_SIZE),
            Kind::Arc | Kind::Other => (0, 0),
        }
    }

    /// The model.
    ///
    /// # Errors
    /// [`Error::Failed`] where what was built in is damaged.
    pub fn load(&self) -> Result<(ModelConfig, Weights)> {
        let broken = |problem: String| Error::failed(self.path(), problem, "install trm again");
        let config: ModelConfig =
            serde_json::from_str(self.config).map_err(|error| broken(error.to_string()))?;
        config.validate()?;
        let file = SafetensorsFile::of(Pieces::built_in(&self.path(), self.weights))?;
        let weights = read_weights(&file, &Params::of(&config))?;
        Ok((config, weights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_load_and_answer_what_their_line_says() {
        for shipped in ALL {
            let (config, weights) = shipped.load().unwrap();
            assert_eq!((config.seq_len, config.vocab_size), shipped.sizes(), "{}", shipped.name);
            assert!(weights.trained.iter().any(|weight| *weight != 0.0), "{}", shipped.name);
            assert!(shipped.weights.len() < 4 << 20, "{} is large", shipped.name);
            let named = Shipped::at(Path::new(&shipped.path())).unwrap().unwrap();
            assert_eq!((named.name, Shipped::of(shipped.kind).unwrap().name), (shipped.name, shipped.name));
        }
        assert!(Shipped::at(Path::new("runs/sudoku6")).unwrap().is_none());
        let refusal = Shipped::at(Path::new("shipped:sudoku5")).unwrap_err().to_string();
        assert!(refusal.contains("take one of sudoku4"), "{refusal}");
    }
}
