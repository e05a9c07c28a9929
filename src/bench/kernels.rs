//! The time of every distinct dispatch of a plan.
//!
//! Two dispatches are the same when they run one kernel with one set of constants, parameters and sizes. Each is
//! repeated in one pass of one submission until that takes some milliseconds, and the time is the pass's, by the
//! device's timestamps where there are any: neither the submission nor the wait is part of it. Between two repetitions
//! stands the barrier that stands between dependent dispatches of a step.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Measurement, Mode, Origin, Roofline, Subject, best};
use crate::engine::{Device, Run};
use crate::plan::{Dispatch, Plan};
use crate::{Error, Result};

/// The distinct dispatches of a step, on a device.
pub struct Kernels {
    run: Run,
    origin: Origin,
    prefix: String,
    shapes: Vec<Shape>,
}

impl Kernels {
    /// Those whose names contain `only`. The step has run once.
    ///
    /// # Errors
    /// As [`Subject::load`]; when no name contains `only`, before the device does anything.
    pub fn load(device: &Device, subject: &Subject, mode: Mode, only: &str) -> Result<Kernels> {
        let mut shapes = distinct(&subject.plan(mode, device.target())?);
        shapes.retain(|shape| shape.name.contains(only));
        if shapes.is_empty() {
            let problem = format!("no dispatch of the step has \"{only}\" in its name");
            return Err(Error::usage("only", problem, "run without it to see the names"));
        }
        let run = subject.load(mode, device)?;
        Ok(Kernels { run, origin: Origin::of(device), prefix: subject.key("kernels", mode), shapes })
    }

    /// Measures each, the longest total first; the shares are of `roofline`.
    ///
    /// # Errors
    /// Device failures.
    pub fn measure(&mut self, roofline: Roofline, repetitions: usize) -> Result<Vec<Measurement>> {
        let indices: Vec<usize> = self.shapes.iter().map(|shape| shape.index).collect();
        let times = best::dispatches(&mut self.run, &indices, repetitions)?;
        let one = |(shape, time): (&Shape, Duration)| {
            let dispatch = &self.run.plan.dispatches[shape.index];
            Measurement {
                count: shape.count,
                roofline_share: Some(roofline.seconds(dispatch) / time.as_secs_f64().max(1e-12)),
                ..Measurement::new(
                    &self.origin,
                    format!("{}/{}", self.prefix, shape.name),
                    time,
                    dispatch.cost,
                )
            }
        };
        let mut measured: Vec<Measurement> = self.shapes.iter().zip(times).map(one).collect();
        measured.sort_by(|a, b| (b.seconds * b.count as f64).total_cmp(&(a.seconds * a.count as f64)));
        Ok(measured)
    }
}

/// A distinct dispatch.
struct Shape {
    /// The first of its kind in the plan.
    index: usize,
    /// How many there are.
    count: u64,
    name: String,
}

fn distinct(plan: &Plan) -> Vec<Shape> {
    let mut shapes: Vec<Shape> = Vec::new();
    let mut known = BTreeMap::new();
    let mut names = BTreeMap::<String, usize>::new();
    for (index, dispatch) in plan.dispatches.iter().enumerate() {
        let sizes: Vec<usize> = dispatch.slices.iter().map(|slice| slice.words).collect();
        let identity =
            (dispatch.name(), dispatch.constants.clone(), dispatch.params.clone(), dispatch.grid, sizes);
        if let Some(&shape) = known.get(&identity) {
            let shape: &mut Shape = &mut shapes[shape];
            shape.count += 1;
            continue;
        }
        known.insert(identity, shapes.len());
        let name = name(dispatch);
        let same = names.entry(name.clone()).or_default();
        *same += 1;
        // Shapes that differ in strides only are told apart by their order in the plan.
        let name = if *same > 1 { format!("{name} #{same}") } else { name };
        shapes.push(Shape { index, count: 1, name });
    }
    shapes
}

/// `kernel.entry` and its sizes: the integer parameters that are not strides.
fn name(dispatch: &Dispatch) -> String {
    let sizes = dispatch.interface.params.iter().filter(|param| !param.float && !param.name.contains('_'));
    let sizes = sizes.map(|param| format!(" {}={}", param.name, dispatch.params[param.word]));
    let batch = if dispatch.grid[2] > 1 { format!(" z={}", dispatch.grid[2]) } else { String::new() };
    dispatch.name() + &sizes.collect::<String>() + &batch
}
