//! A model on a device, for any number of puzzles at once.

use crate::engine::Device;
use crate::eval::{Breadth, Question, Solution, Solver, width};
use crate::model::ModelConfig;
use crate::model::init::Weights;
use crate::report::say;
use crate::{Error, Result};

use super::super::stop::Stop;

/// A solver that is as wide as the puzzles that wait, or the device, allow.
pub struct Solvers {
    config: ModelConfig,
    weights: Weights,
    device: Device,
    breadth: Breadth,
    widest: usize,
    stop: Stop,
    /// One for each breadth, between which attempts at hard puzzles go to and fro; with its width.
    open: Vec<(usize, Breadth, Solver)>,
}

impl Solvers {
    pub fn new(
        config: ModelConfig,
        weights: Weights,
        device: Device,
        breadth: Breadth,
        stop: Stop,
    ) -> Solvers {
        let widest = width::suiting(&device);
        Solvers { config, weights, device, breadth, widest, stop, open: Vec::new() }
    }

    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// How widely it thinks.
    pub fn breadth(&self) -> &Breadth {
        &self.breadth
    }

    /// The wish to hand nothing more over.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Puzzles that are best handed over at once.
    pub fn widest(&self) -> usize {
        self.widest
    }

    /// Solves all of them; on a device that fails meanwhile, once more after it was opened anew.
    pub fn solve_all(&mut self, questions: &[Question]) -> Result<Vec<Solution>> {
        self.solve_as(self.breadth, questions)
    }

    /// The same, as widely as `breadth` says.
    pub fn solve_as(&mut self, breadth: Breadth, questions: &[Question]) -> Result<Vec<Solution>> {
        match self.try_all(breadth, questions) {
            Err(fault) if fault.is_device_fault() => {
                say(format!("{fault}; trying once more on the device opened anew"));
                self.device = self.device.reopened()?;
                self.open.clear();
                self.try_all(breadth, questions)
            }
            outcome => outcome,
        }
    }

    fn try_all(&mut self, breadth: Breadth, questions: &[Question]) -> Result<Vec<Solution>> {
        // A batch takes its time, however few there are.
        let width = (questions.len() * breadth.rollouts).next_power_of_two().min(self.widest);
        let known = self.open.iter().position(|(open, of, _)| (*open, *of) == (width, breadth));
        let at = match known {
            Some(at) => at,
            None => {
                let (fitting, solver) = self.solver(width, breadth)?;
                if fitting < width {
                    self.widest = fitting;
                }
                self.open.retain(|(_, of, _)| *of != breadth);
                self.open.push((fitting, breadth, solver));
                self.open.len() - 1
            }
        };
        self.open[at].2.solve_all(questions)
    }

    /// The widest solver that the device holds, up to `widest`, with its width; no other is kept where it is tight.
    fn solver(&mut self, widest: usize, breadth: Breadth) -> Result<(usize, Solver)> {
        let Solvers { config, weights, device, open: others, .. } = self;
        let open = |width| Solver::with(config, weights, device, width, breadth);
        match open(widest) {
            Err(Error::Limit { .. } | Error::Memory { .. }) => {
                others.clear();
                width::fitting(widest, open)
            }
            outcome => outcome.map(|solver| (widest, solver)),
        }
    }
}
