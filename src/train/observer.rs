//! Who is told of a training run while it goes on.

use super::trainer::StepMetrics;
use crate::Result;
use crate::data::arc::Score;
use crate::model::Metrics;
use crate::recipe::TrainSettings;

/// Is told what happens, and may stop the run.
pub trait Observer {
    /// Settings with nothing left open, and the bytes of device memory that training takes with them.
    fn laid_out(&mut self, settings: &TrainSettings, bytes: u64);
    /// Before the first step: steps done (0 unless resumed), the last of them whose metrics stand in the log (later ones there
    /// are of what the run did instead, before it went back), steps of the whole run, samples per step.
    fn started(&mut self, done: u64, logged: u64, total: u64, batch: usize) -> Result<()>;
    /// Metrics of a step, at least one step late.
    fn step(&mut self, metrics: &StepMetrics) -> Result<()>;
    /// An evaluation of so many `examples` of the test split, after `step` steps; of an ARC data set, what the votes came
    /// to. After a resume it may be one that was made before. Metrics of examples without labels have a count of 0.
    fn evaluated(
        &mut self,
        step: u64,
        examples: usize,
        metrics: &Metrics,
        votes: Option<&Score>,
    ) -> Result<()>;
    /// An evaluation has come so far.
    fn evaluating(&mut self, _done: f64, _examples: usize) {}
    /// A checkpoint was written.
    fn saved(&mut self, step: u64) -> Result<()>;
    /// Whether to stop: after the current step, when a checkpoint is written, or inside of it where its beginning is saved.
    /// Evaluations end then, too.
    fn stop(&self) -> bool;
    /// Something that people should know.
    fn note(&mut self, _text: &str) {}
    /// Training has diverged and goes on from `step` again, its learning rates halved `halvings` times by now.
    fn went_back(&mut self, _step: u64, _halvings: u32) -> Result<()> {
        Ok(())
    }
}

/// Takes no notice, and stops when told: for ranks beside the first, and for tests.
pub struct Unobserved<F>(pub F);

impl<F: Fn() -> bool> Observer for Unobserved<F> {
    fn laid_out(&mut self, _: &TrainSettings, _: u64) {}

    fn started(&mut self, _: u64, _: u64, _: u64, _: usize) -> Result<()> {
        Ok(())
    }

    fn step(&mut self, _: &StepMetrics) -> Result<()> {
        Ok(())
    }

    fn evaluated(&mut self, _: u64, _: usize, _: &Metrics, _: Option<&Score>) -> Result<()> {
        Ok(())
    }

    fn saved(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn stop(&self) -> bool {
        (self.0)()
    }
}
