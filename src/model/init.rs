//! Initial weights, and the flat form in which weights travel between host and device.

use super::config::ModelConfig;
use super::params::{Home, Param, Params, Start};
use crate::rng::Rng;

/// Standard deviation of a standard normal cut at +-2: what a truncated draw is divided by (JAX's correction).
const TRUNCATED_STD: f64 = 0.879_625_661_034_239_8;

/// The values of all tensors, laid out as [`Params`] says.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Trained tensors.
    pub trained: Vec<f32>,
    /// Initial states.
    pub initial_states: Vec<f32>,
    /// Puzzle embeddings.
    pub puzzle_emb: Vec<f32>,
}

impl Weights {
    /// All zero, of the sizes of `params`.
    pub fn zeros(params: &Params) -> Weights {
        let zeros = |home| vec![0.0; params.buffer_elements(home)];
        Weights {
            trained: zeros(Home::Trained),
            initial_states: zeros(Home::InitialStates),
            puzzle_emb: zeros(Home::PuzzleEmb),
        }
    }

    /// Fresh weights for training (spec: "Network"). Every tensor has its own random stream, so that a change in
    /// one leaves the others as they were. Initial states are values of bfloat16, as those of the release, which keeps
    /// their type for all that it computes from them.
    pub fn fresh(config: &ModelConfig, seed: u64) -> Weights {
        let params = Params::of(config);
        let mut weights = Weights::zeros(&params);
        for (stream, param) in params.table.iter().enumerate() {
            let values = weights.get_mut(param);
            match param.start {
                Start::Constant(value) => values.fill(value),
                Start::TruncatedNormal(std) => {
                    let mut rng = Rng::new(seed, 1 + stream as u64);
                    values.iter_mut().for_each(|value| *value = truncated_normal(&mut rng, std));
                    if param.home == Home::InitialStates {
                        values.iter_mut().for_each(|value| *value = half::bf16::from_f32(*value).to_f32());
                    }
                }
            }
        }
        weights
    }

    /// The values of one tensor.
    pub fn get(&self, param: &Param) -> &[f32] {
        &self.buffer(param.home)[param.offset..param.offset + param.elements()]
    }

    /// The values of one tensor, to be written.
    pub fn get_mut(&mut self, param: &Param) -> &mut [f32] {
        let buffer = match param.home {
            Home::Trained => &mut self.trained,
            Home::InitialStates => &mut self.initial_states,
            Home::PuzzleEmb => &mut self.puzzle_emb,
        };
        &mut buffer[param.offset..param.offset + param.elements()]
    }

    /// A whole buffer.
    pub fn buffer(&self, home: Home) -> &[f32] {
        match home {
            Home::Trained => &self.trained,
            Home::InitialStates => &self.initial_states,
            Home::PuzzleEmb => &self.puzzle_emb,
        }
    }
}

fn truncated_normal(rng: &mut Rng, std: f64) -> f32 {
    loop {
        let draw = rng.normal();
        if draw.abs() <= 2.0 {
            return (draw * std / TRUNCATED_STD) as f32;
        }
    }
}
