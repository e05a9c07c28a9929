//! A plan: one whole supervision step as plain data.
//!
//! Ops are laid down on a [`Tape`]; [`Tape::finish`] turns its virtual tensors into places in buffers
//! (`place.rs`) and yields a [`Plan`]: a list of [`Dispatch`]es over [`Buffer`]s. A plan holds no GPU object, so
//! it can be printed, costed and tested without a device, and run by any engine.

mod call;
mod dispatch;
mod element;
mod interface;
mod kernel;
mod lifetime;
mod place;
mod precision;
mod shape;
mod stored;
mod tape;
mod target;

pub use call::{Call, ints, ints_mut};
pub(crate) use call::{Input, Kept, Output, Pool};
pub use dispatch::DispatchBuilder;
pub use element::Element;
pub use interface::Interface;
pub use kernel::{Entry, Kernel, Specialisation};
pub use precision::Precision;
pub use shape::{Axis, LinearForm, Shape};
pub(crate) use stored::bf16_bits;
pub use stored::{Stored, StoredMut};
pub use tape::{Reverse, Tape, Tensor};
pub use target::{
    AttentionVariant, MANY, Matrices, MatrixTile, PerPurpose, Purpose, SHARED_BYTES, Target, Tile, Tiles,
};

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use crate::{Error, Result};

/// Offsets into buffers are multiples of this many words (256 bytes), which every adapter accepts.
pub const ALIGN_WORDS: usize = 64;

/// Rounds `words` up to the next legal offset.
pub fn align(words: usize) -> usize {
    words.next_multiple_of(ALIGN_WORDS)
}

/// What a buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Trained and fixed weights, embeddings.
    Weights,
    /// Optimiser moments and the moving average.
    Optimiser,
    /// What one supervision step hands to the next: states, data, step counters.
    Carry,
    /// What the host writes before every step: batch and clock.
    Batch,
    /// Results of forward ops.
    Activation,
    /// Gradients of activations and weights.
    Gradient,
    /// What the host reads back.
    Metric,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Weights => "weights",
            Role::Optimiser => "optimiser",
            Role::Carry => "carry",
            Role::Batch => "batch",
            Role::Activation => "activation",
            Role::Gradient => "gradient",
            Role::Metric => "metric",
        })
    }
}

/// One device buffer of 32-bit words, zero when the engine is made.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Buffer {
    /// Unique for buffers that the host names; planned ones are called `activation.3`.
    pub name: String,
    /// What it is for; of a shared one, its largest tensor.
    pub role: Role,
    /// Length in words.
    pub words: usize,
    /// Whether tensors take turns in it; then nothing in it outlives a step.
    pub shared: bool,
    /// Of one with a part for each micro-batch, the words of a part; parts start on aligned words.
    pub part_words: Option<usize>,
}

/// A run of words inside a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Index into [`Plan::buffers`].
    pub buffer: usize,
    /// First word; a multiple of [`ALIGN_WORDS`].
    pub offset: usize,
    /// Length in words.
    pub words: usize,
    /// What its elements are.
    pub element: Element,
}

/// Work and traffic of a dispatch, counted from shapes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cost {
    /// Floating-point operations, a multiply-add as two.
    pub flops: u64,
    /// Bytes read and written once each.
    pub bytes: u64,
}

impl std::ops::Add for Cost {
    type Output = Cost;

    fn add(self, other: Cost) -> Cost {
        Cost { flops: self.flops + other.flops, bytes: self.bytes + other.bytes }
    }
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Cost>>(costs: I) -> Cost {
        costs.fold(Cost::default(), |total, cost| total + cost)
    }
}

/// What pass over the model a dispatch belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// Nothing flows back through it: passes before the gradients start, and what surrounds the model.
    #[default]
    Plain,
    /// Forward, with a reverse rule.
    Recorded,
    /// The reverse rules.
    Reverse,
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Pass::Plain => "no gradient",
            Pass::Recorded => "recorded",
            Pass::Reverse => "reverse",
        })
    }
}

/// One kernel launch with everything resolved.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// Its entry point.
    pub entry: &'static Entry,
    /// Values for the shader's constants.
    pub constants: Specialisation,
    /// What naga read out of the entry point.
    pub interface: std::sync::Arc<Interface>,
    /// One slice per binding of the interface, in its order.
    pub slices: Vec<Slice>,
    /// The parameter struct's words.
    pub params: Vec<u32>,
    /// Workgroups along x, y, z.
    pub grid: [u32; 3],
    /// Work and traffic.
    pub cost: Cost,
    /// Which part of the model this is: `L_level.layers.0.mlp.gate_up_proj`.
    pub label: String,
    /// What pass it belongs to.
    pub pass: Pass,
}

impl Dispatch {
    /// `kernel.entry`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.kernel.name, self.entry.name)
    }

    /// Products that one element of a matrix product sums; 0 of other kernels.
    pub fn sum_length(&self) -> u64 {
        let param = |name: &str| {
            let info = self.interface.params.iter().find(|info| info.name == name);
            info.map(|info| u64::from(self.params[info.word]))
        };
        param("k").map_or(0, |k| k * param("reductions").unwrap_or(1))
    }
}

/// A part of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// All of it.
    Whole,
    /// Up to where it pauses for the host.
    First,
    /// From there on.
    Second,
}

/// One whole supervision step: what an engine runs.
#[derive(Debug)]
pub struct Plan {
    /// Buffers; a dispatch's slices index into them.
    pub buffers: Vec<Buffer>,
    /// Launches in order.
    pub dispatches: Vec<Dispatch>,
    /// Tensors that the host may look at by name (`logits`, `grads.lm_head.weight`).
    pub views: Vec<(String, Slice)>,
    /// What the host names as one but lies in several buffers, one after the other.
    pub split: BTreeMap<String, Range<usize>>,
    /// Micro-batches that a step consists of.
    pub micro_batches: usize,
    /// The dispatches that run once for each micro-batch; those before and after run once a step.
    pub body: Range<usize>,
    /// The dispatch before which the step pauses for the host: the end, unless ranks exchange gradients.
    pub pause: usize,
    /// The least bytes that any placement of these dispatches' tensors can take: the buffers that live as long as the
    /// run, and the most that is alive at once of all others, each from its first to its last dispatch.
    pub least_bytes: u64,
}

impl Plan {
    /// The buffer or view called `name`; of a buffer with a part for each micro-batch, the first part.
    pub fn view(&self, name: &str) -> Result<Slice> {
        if let Some((_, slice)) = self.views.iter().find(|(known, _)| known == name) {
            return Ok(*slice);
        }
        match self.buffers.iter().position(|buffer| buffer.name == name) {
            Some(buffer) => {
                let Buffer { words, part_words, .. } = self.buffers[buffer];
                Ok(Slice { buffer, offset: 0, words: part_words.unwrap_or(words), element: Element::F32 })
            }
            None => Err(Error::kernel("plan", format!("has no buffer or view called {name}"))),
        }
    }

    /// The places of everything called `name`, in order: of one buffer or view, of its parts for the micro-batches, or
    /// of all buffers of a split one.
    pub fn parts(&self, name: &str) -> Result<Vec<Slice>> {
        let whole = |buffer: usize| Slice {
            buffer,
            offset: 0,
            words: self.buffers[buffer].words,
            element: Element::F32,
        };
        match self.split.get(name) {
            Some(buffers) => Ok(buffers.clone().map(whole).collect()),
            None => {
                let view = self.view(name)?;
                let parted = self.buffers[view.buffer].part_words.is_some();
                let count = if parted { self.micro_batches } else { 1 };
                Ok((0..count).map(|micro_batch| self.part(view, micro_batch)).collect())
            }
        }
    }

    /// Words of everything called `name`.
    pub fn words(&self, name: &str) -> Result<usize> {
        Ok(self.parts(name)?.iter().map(|slice| slice.words).sum())
    }

    /// What `slice` is in a micro-batch.
    fn part(&self, slice: Slice, micro_batch: usize) -> Slice {
        let stride = self.buffers[slice.buffer].part_words.map_or(0, align);
        Slice { offset: slice.offset + micro_batch * stride, ..slice }
    }

    /// What a dispatch binds in a micro-batch.
    pub fn slices(&self, dispatch: usize, micro_batch: usize) -> impl Iterator<Item = Slice> + '_ {
        let micro_batch = if self.body.contains(&dispatch) { micro_batch } else { 0 };
        self.dispatches[dispatch].slices.iter().map(move |&slice| self.part(slice, micro_batch))
    }

    /// The dispatches of a step in order, each with its micro-batch.
    pub fn sequence(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let once = |range: Range<usize>| range.map(|dispatch| (dispatch, 0));
        let turn = |micro_batch| self.body.clone().map(move |dispatch| (dispatch, micro_batch));
        let turns = (0..self.micro_batches).flat_map(turn);
        once(0..self.body.start).chain(turns).chain(once(self.body.end..self.dispatches.len()))
    }

    /// [`Plan::sequence`] up to where the step pauses, or from there on.
    pub fn half(&self, half: Half) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.sequence().filter(move |(dispatch, _)| match half {
            Half::Whole => true,
            Half::First => *dispatch < self.pause,
            Half::Second => *dispatch >= self.pause,
        })
    }

    /// How often a dispatch runs in a step.
    pub fn times(&self, dispatch: usize) -> usize {
        if self.body.contains(&dispatch) { self.micro_batches } else { 1 }
    }

    /// What the host calls a buffer: by its own name, or by that of the split one that it is a part of.
    pub fn host_name(&self, buffer: usize) -> &str {
        let split = self.split.iter().find(|(_, buffers)| buffers.contains(&buffer));
        split.map_or(&self.buffers[buffer].name, |(name, _)| name)
    }

    /// Bytes of all buffers: the device memory that a run takes, less what the driver adds.
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().map(|buffer| buffer.words as u64 * 4).sum()
    }

    /// Bytes of the largest range that one dispatch binds, with the name of its buffer.
    pub fn largest_binding(&self) -> (u64, &str) {
        let slices = self.dispatches.iter().flat_map(|dispatch| &dispatch.slices);
        match slices.max_by_key(|slice| slice.words) {
            Some(slice) => (slice.words as u64 * 4, &self.buffers[slice.buffer].name),
            None => (0, ""),
        }
    }

    /// Total work and traffic of one step.
    pub fn cost(&self) -> Cost {
        self.sequence().map(|(dispatch, _)| self.dispatches[dispatch].cost).sum()
    }
}
