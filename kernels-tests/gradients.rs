//! Reverse rules in mid-graph: the gradient against differences of the engine's own forward pass.
//!
//! Each op stands between linear layers under an upstream gradient that is not 1. For random directions d of each
//! leaf, <gradient, d> must be the derivative of sum(upstream * y) along d: a five-point difference with steps of
//! 1/64 and 1/32 of the leaf's size, its sums in f64.

use libtest_mimic::{Failed, Trial};
use trm::Result;
use trm::engine::{Device, Run};
use trm::ops::linear::{bias_gradient, weight_gradient};
use trm::ops::sum::gradient;
use trm::plan::{Role, Tape, Tensor};
use trm::rng::Rng;

use crate::check;
use crate::harness::{Needs, on_each};

/// NMSE of directional derivatives, 1e-4 relative: the rounding of y and of the moved leaf, 1e-7 or so of a value,
/// enters 64 times enlarged; truncation is about as much in the most curved graph, three norms over few values.
pub const BOUND: f64 = 1e-8;

/// First step of a difference, of a leaf's size.
const STEP: f64 = 1.0 / 64.0;

/// Directions that are tried for each leaf.
const DIRECTIONS: usize = 5;

/// One test per graph, by name, and device.
pub fn tests_of(graphs: &'static [(&str, Build)]) -> Vec<Trial> {
    let both = |&(name, build): &(&str, Build)| {
        on_each(&format!("gradients::{name}"), Needs::Adapter, move |device| {
            Graph::lay(device, build)?.check()
        })
    };
    graphs.iter().flat_map(both).collect()
}

/// Lays a graph down and returns y.
pub type Build = fn(&mut Graph) -> Result<Tensor>;

/// How the gradient of a leaf comes about.
enum Source {
    /// From the tape, like that of any tensor.
    Flowing,
    /// One product over all uses of a weight.
    Weight,
    /// Column sums of all that reached a bias.
    Bias,
    /// An op writes it here.
    Written(Tensor),
    /// As [`Source::Written`], one row per slot, to be added to these rows of the leaf.
    Rows(Tensor, Vec<i32>),
}

struct Leaf {
    name: String,
    tensor: Tensor,
    values: Vec<f32>,
    source: Source,
}

/// A graph under construction.
pub struct Graph {
    /// Where ops lay themselves down; it records.
    pub tape: Tape,
    rng: Rng,
    leaves: Vec<Leaf>,
    data: Vec<(String, Vec<u32>)>,
}

impl Graph {
    fn leaf(&mut self, name: &str, words: usize, size: f64, source: Source) -> Tensor {
        let values = normal(&mut self.rng, words, size);
        let tensor = self.tape.buffer(name, Role::Weights, words);
        self.tape.require_grad(tensor);
        self.leaves.push(Leaf { name: name.to_owned(), tensor, values, source });
        tensor
    }

    /// An activation whose gradient is wanted.
    pub fn input(&mut self, name: &str, words: usize) -> Tensor {
        self.leaf(name, words, 1.0, Source::Flowing)
    }

    /// A weight (n_out, n_in) that keeps the size of what it multiplies.
    pub fn weight(&mut self, name: &str, (n_out, n_in): (usize, usize)) -> Tensor {
        self.leaf(name, n_out * n_in, (n_in as f64).powf(-0.5), Source::Weight)
    }

    /// A bias.
    pub fn bias(&mut self, name: &str, words: usize) -> Tensor {
        self.leaf(name, words, 1.0, Source::Bias)
    }

    /// A table whose gradient an op writes to the returned second tensor.
    pub fn table(&mut self, name: &str, words: usize) -> (Tensor, Tensor) {
        let out = self.tape.buffer(&format!("gradient of {name}"), Role::Gradient, words);
        (self.leaf(name, words, 1.0, Source::Written(out)), out)
    }

    /// A table of rows of which each slot uses one; the op writes one gradient per slot to the second tensor.
    pub fn rows(&mut self, name: &str, words: usize, width: usize, slots: &[i32]) -> (Tensor, Tensor) {
        let out = self.tape.buffer(&format!("gradient of {name}"), Role::Gradient, slots.len() * width);
        (self.leaf(name, words, 1.0, Source::Rows(out, slots.to_vec())), out)
    }

    /// Data without gradient.
    pub fn data(&mut self, name: &str, words: Vec<u32>) -> Tensor {
        let tensor = self.tape.buffer(name, Role::Batch, words.len());
        self.data.push((name.to_owned(), words));
        tensor
    }

    /// Lays the graph, its reverse pass and the gradients of all leaves down on a device.
    fn lay(device: &Device, build: Build) -> Result<Differences> {
        let mut graph = Graph {
            tape: Tape::new(device.target()),
            rng: Rng::new(3, 0),
            leaves: Vec::new(),
            data: Vec::new(),
        };
        graph.tape.record(true);
        let y = build(&mut graph)?;
        let upstream = normal(&mut graph.rng, graph.tape.elements(y), 1.0);
        let dy = graph.data("upstream", upstream.iter().map(|value| value.to_bits()).collect());
        graph.tape.contribute(y, dy);
        graph.tape.reverse()?;
        graph.tape.name("y", y);
        for leaf in &graph.leaves {
            let gradient = gradient_of(&mut graph.tape, leaf)?;
            graph.tape.name(format!("found {}", leaf.name), gradient);
        }
        let run = Run::new(device, graph.tape.finish()?)?;
        Ok(Differences { run, rng: graph.rng, leaves: graph.leaves, data: graph.data, upstream })
    }
}

fn normal(rng: &mut Rng, count: usize, size: f64) -> Vec<f32> {
    (0..count).map(|_| (size * rng.normal()) as f32).collect()
}

fn gradient_of(tape: &mut Tape, leaf: &Leaf) -> Result<Tensor> {
    let words = tape.elements(leaf.tensor);
    let out = |tape: &mut Tape| tape.buffer(&format!("gradient of {}", leaf.name), Role::Gradient, words);
    match leaf.source {
        Source::Flowing => {
            let missing = || trm::Error::kernel("test", format!("no gradient reached {}", leaf.name));
            gradient(tape, leaf.tensor)?.ok_or_else(missing)
        }
        Source::Weight => {
            let out = out(tape);
            weight_gradient(tape, leaf.tensor, 1.0, out).map(|()| out)
        }
        Source::Bias => {
            let out = out(tape);
            bias_gradient(tape, leaf.tensor, words, 1.0, out).map(|()| out)
        }
        Source::Written(out) | Source::Rows(out, _) => Ok(out),
    }
}

/// A graph on a device.
struct Differences {
    run: Run,
    rng: Rng,
    leaves: Vec<Leaf>,
    data: Vec<(String, Vec<u32>)>,
    upstream: Vec<f32>,
}

impl Differences {
    fn check(mut self) -> std::result::Result<(), Failed> {
        self.forward(None)?;
        let gradients: Vec<Vec<f64>> =
            (0..self.leaves.len()).map(|leaf| self.gradient(leaf)).collect::<Result<_>>()?;
        for (leaf, gradient) in gradients.iter().enumerate() {
            let words = gradient.len();
            let size = self.leaves[leaf].values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
            let size = (size / words as f64).sqrt();
            let (mut found, mut expected) = (Vec::new(), Vec::new());
            for _ in 0..DIRECTIONS {
                let direction: Vec<f64> = (0..words).map(|_| size * self.rng.normal()).collect();
                found.push(gradient.iter().zip(&direction).map(|(g, d)| g * d).sum::<f64>() as f32);
                expected.push(five_point(STEP, |step| self.forward(Some((leaf, &direction, step))))?);
            }
            let name = &self.leaves[leaf].name;
            check::close(&found, &expected, BOUND).map_err(|failure| format!("along {name}: {failure}"))?;
        }
        Ok(())
    }

    /// sum(upstream * y) with one leaf moved by `step` along a direction.
    fn forward(&mut self, moved: Option<(usize, &[f64], f64)>) -> Result<f64> {
        for (name, words) in &self.data {
            self.run.write(name, words)?;
        }
        for (index, leaf) in self.leaves.iter().enumerate() {
            let values = match moved {
                Some((which, direction, step)) if which == index => along(&leaf.values, direction, step),
                _ => leaf.values.clone(),
            };
            self.run.write_floats(&leaf.name, &values)?;
        }
        self.run.submit()?;
        let y = self.run.read_floats("y")?;
        Ok(y.iter().zip(&self.upstream).map(|(&y, &above)| f64::from(y) * f64::from(above)).sum())
    }

    fn gradient(&mut self, leaf: usize) -> Result<Vec<f64>> {
        let leaf = &self.leaves[leaf];
        let found = self.run.read_floats(&format!("found {}", leaf.name))?;
        let Source::Rows(_, slots) = &leaf.source else {
            return Ok(found.iter().map(|&value| f64::from(value)).collect());
        };
        let mut gradient = vec![0.0; leaf.values.len()];
        let width = found.len() / slots.len();
        for (row, &slot) in found.chunks(width).zip(slots) {
            let sums = gradient[slot as usize * width..].iter_mut();
            sums.zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        Ok(gradient)
    }
}

/// Values moved by `step` along a direction, rounded once.
pub fn along(values: &[f32], direction: &[f64], step: f64) -> Vec<f32> {
    values.iter().zip(direction).map(|(&value, d)| (f64::from(value) + step * d) as f32).collect()
}

/// The derivative of `at` at 0 from its values at +-`step` and twice that.
pub fn five_point(step: f64, mut at: impl FnMut(f64) -> Result<f64>) -> Result<f64> {
    let (near, far) = (at(step)? - at(-step)?, at(2.0 * step)? - at(-2.0 * step)?);
    Ok((8.0 * near - far) / (12.0 * step))
}
