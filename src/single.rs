//! One kernel by itself: run on numbers of one's own, and timed. What a step runs among others shows here what it computes
//! and takes alone; on [`Device::cpu`] its native twin does the same.

use crate::engine::{Device, Run, best};
use crate::ops::rms_norm::RmsNorm;
use crate::plan::{Axis, Cost, Element, Role, Shape, Tape};
use crate::{Error, Result};

/// Elements that a [`Single`] has room for.
const MOST_ELEMENTS: usize = 1 << 28;

/// A kernel on a device, from x to y.
pub struct Single {
    run: Run,
    elements: usize,
    stored: Element,
}

/// What a kernel takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// Seconds of one run on the device, without submission and wait where it has timestamps: the best of all repetitions.
    pub seconds: f64,
    /// Floating-point operations of one run, a multiply-add as two.
    pub flops: u64,
    /// Bytes that one run reads and writes, each once.
    pub bytes: u64,
}

impl Single {
    /// RMS norm over D without a learned scale, y = x / sqrt(mean(x^2) + eps): x in f32 and y as the device stores
    /// activations, (`rows`, `width`) each, a row after the other.
    ///
    /// # Errors
    /// [`Error::Usage`] for no elements, more than 2^28 or, in halves, an odd `width`; [`Error::Limit`] and
    /// [`Error::Memory`] where the device has no room; [`Error::Device`] where its driver refuses.
    pub fn rms_norm(device: &Device, rows: usize, width: usize, eps: f32) -> Result<Single> {
        let stored = device.target().precision;
        let elements = rows.checked_mul(width).filter(|count| (1..=MOST_ELEMENTS).contains(count));
        let elements = elements.ok_or_else(|| {
            let problem = format!("{rows} rows of {width}");
            Error::usage("rows, width", problem, "give at least 1 of each and 2^28 elements at the most")
        })?;
        if stored != Element::F32 && !width.is_multiple_of(2) {
            return Err(Error::usage(
                "width",
                format!("{width} in {stored}"),
                "give an even one, or take f32",
            ));
        }
        let mut tape = Tape::new(device.target());
        let x = tape.buffer_of("x", Role::Activation, elements, Element::F32);
        let y = tape.buffer_of("y", Role::Activation, elements, stored);
        let shape = Shape { batch: rows, length: 1, width };
        RmsNorm { shape, axis: Axis::Width, eps }.push(&mut tape, x, Some(y))?;
        Ok(Single { run: Run::new(device, tape.finish()?)?, elements, stored })
    }

    /// y of x, in f32; as many elements each as the kernel was made for.
    ///
    /// # Errors
    /// [`Error::Usage`] for another number of them, device failures.
    pub fn run(&mut self, x: &[f32]) -> Result<Vec<f32>> {
        if x.len() != self.elements {
            let problem = format!("{} elements, the kernel is made for {}", x.len(), self.elements);
            return Err(Error::usage("x", problem, "give rows * width of them"));
        }
        self.run.write_floats("x", x)?;
        self.run.submit()?;
        let mut y = self.stored.widened(&self.run.read_floats("y")?);
        y.truncate(self.elements);
        Ok(y)
    }

    /// How long a run takes of what x is now: the best of `repetitions`, at least 1, each of as many runs as fill some
    /// milliseconds, after the device was kept busy for 0.3 s. A device at rest has a slow clock.
    ///
    /// # Errors
    /// Device failures.
    pub fn time(&mut self, repetitions: usize) -> Result<Timing> {
        let times = best::dispatches(&mut self.run, &[0], repetitions)?;
        let Cost { flops, bytes } = self.run.plan.cost();
        Ok(Timing { seconds: times.iter().sum::<std::time::Duration>().as_secs_f64(), flops, bytes })
    }
}
