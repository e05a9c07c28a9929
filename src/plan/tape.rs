//! The tape: where ops lay down their dispatches, once, over tensors that have no place yet.
//!
//! While [`Tape::recording`] is on, an op also leaves a [`Reverse`] rule. [`Tape::reverse`] then walks the
//! rules backwards; they lay down the dispatches of the reverse pass on the same tape. Gradients of a tensor are
//! kept as a list of contributions, so that the gradient of a residual is an alias and costs nothing. A shared weight
//! has one contribution, to which each of its uses adds.

use std::collections::BTreeMap;
use std::ops::Range;

use super::dispatch::{DispatchBuilder, Pending};
use super::kernel::Kernel;
use super::{Buffer, Element, Pass, Plan, Role, Target, align, place};
use crate::{Error, Result};

/// A virtual tensor of 32-bit words; its shape is known to the op that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tensor(pub(super) usize);

/// Where a tensor lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// In a buffer that the plan chooses from lifetimes.
    Planned,
    /// At a word offset of a buffer that lives as long as the run.
    Buffer { buffer: usize, offset: usize },
}

#[derive(Debug)]
pub(super) struct Info {
    pub(super) elements: usize,
    pub(super) element: Element,
    pub(super) role: Role,
    pub(super) home: Home,
    needs_grad: bool,
}

/// The reverse rule of one op that was laid down.
pub trait Reverse {
    /// Lays down the dispatches that turn the gradient of the op's outputs into contributions to its inputs.
    fn reverse(&self, tape: &mut Tape) -> Result<()>;
}

/// See the module's documentation.
#[derive(Default)]
pub struct Tape {
    pub(super) buffers: Vec<Buffer>,
    pub(super) infos: Vec<Info>,
    pub(super) pending: Vec<Pending>,
    pub(super) names: Vec<(String, Tensor)>,
    pub(super) split: BTreeMap<String, Range<usize>>,
    rules: Vec<(String, Box<dyn Reverse>)>,
    contributions: BTreeMap<Tensor, Vec<Tensor>>,
    scope: String,
    recording: bool,
    reversing: bool,
    target: Target,
    pub(super) micro_batches: usize,
    pub(super) body: Range<usize>,
    pub(super) pause: Option<usize>,
}

impl Tape {
    /// An empty tape that does not record, for the kernel variants of `target`.
    pub fn new(target: Target) -> Tape {
        Tape { target, micro_batches: 1, ..Tape::default() }
    }

    /// The same for a step of so many micro-batches: what [`Tape::begin_body`] and [`Tape::end_body`] enclose runs once
    /// for each, over its own part of what [`Tape::parted_buffer`] makes.
    pub fn in_micro_batches(self, micro_batches: usize) -> Tape {
        Tape { micro_batches, ..self }
    }

    /// Micro-batches of a step.
    pub fn micro_batches(&self) -> usize {
        self.micro_batches
    }

    /// The dispatches that follow run once for each micro-batch.
    pub fn begin_body(&mut self) {
        self.body = self.pending.len()..self.pending.len();
    }

    /// The step pauses here for the host.
    pub fn pause(&mut self) {
        self.pause = Some(self.pending.len());
    }

    /// The dispatches that follow run once a step, after all micro-batches.
    pub fn end_body(&mut self) {
        self.body.end = self.pending.len();
    }

    /// From now on, lays down for the kernel variants of another target.
    pub fn set_target(&mut self, target: Target) {
        self.target = target;
    }

    /// The kernel variants to lay down.
    pub fn target(&self) -> Target {
        self.target
    }

    fn add(&mut self, elements: usize, element: Element, role: Role, home: Home) -> Tensor {
        self.infos.push(Info { elements, element, role, home, needs_grad: false });
        Tensor(self.infos.len() - 1)
    }

    /// A buffer that lives as long as the run and that the host can name.
    pub fn buffer(&mut self, name: &str, role: Role, words: usize) -> Tensor {
        self.buffer_of(name, role, words, Element::F32)
    }

    /// [`Tape::buffer`] of other elements than f32.
    pub fn buffer_of(&mut self, name: &str, role: Role, elements: usize, element: Element) -> Tensor {
        let words = element.words(elements);
        let home = self.add_buffer(name, role, words, None);
        self.add(elements, element, role, home)
    }

    fn add_buffer(&mut self, name: &str, role: Role, words: usize, part_words: Option<usize>) -> Home {
        self.buffers.push(Buffer { name: name.to_owned(), role, words, shared: false, part_words });
        Home::Buffer { buffer: self.buffers.len() - 1, offset: 0 }
    }

    /// [`Tape::buffer`] with a part of `words` words for each micro-batch, which the host sees as one, without the gaps
    /// that align parts. The tensor is the part of the micro-batch at hand, and after the body the first.
    pub fn parted_buffer(&mut self, name: &str, role: Role, words: usize) -> Tensor {
        if self.micro_batches == 1 {
            return self.buffer(name, role, words);
        }
        let home = self.add_buffer(name, role, self.micro_batches * align(words), Some(words));
        self.add(words, Element::F32, role, home)
    }

    /// All parts of a buffer that [`Tape::parted_buffer`] made, with their gaps, for dispatches after the body.
    pub fn all_parts(&mut self, part: Tensor) -> Tensor {
        let Info { home, role, element, .. } = self.infos[part.0];
        match home {
            Home::Buffer { buffer, offset: 0 } if self.buffers[buffer].part_words.is_some() => {
                self.add(self.buffers[buffer].words, element, role, home)
            }
            _ => part,
        }
    }

    /// Buffers of `sizes` words that the host sees as one called `name`; a single one has that name itself.
    pub fn split_buffer(&mut self, name: &str, role: Role, sizes: &[usize]) -> Vec<Tensor> {
        if let [words] = *sizes {
            return vec![self.buffer(name, role, words)];
        }
        let first = self.buffers.len();
        let parts = sizes.iter().enumerate();
        let tensors =
            parts.map(|(part, &words)| self.buffer(&format!("{name}.{part}"), role, words)).collect();
        self.split.insert(name.to_owned(), first..self.buffers.len());
        tensors
    }

    /// The part of a named buffer from word `offset`, a multiple of [`super::ALIGN_WORDS`]; with offset 0 and all
    /// words, a second identity of the same place.
    pub fn part(&mut self, whole: Tensor, offset: usize, words: usize) -> Result<Tensor> {
        let Home::Buffer { buffer, offset: start } = self.infos[whole.0].home else {
            return Err(Error::kernel("tape", "a part was asked of a tensor that is no buffer"));
        };
        let whole_is = &self.infos[whole.0];
        if offset != align(offset) || offset + words > whole_is.elements || whole_is.element != Element::F32 {
            return Err(Error::kernel("tape", format!("part {offset}+{words} does not fit its buffer")));
        }
        Ok(self.add(
            words,
            Element::F32,
            self.infos[whole.0].role,
            Home::Buffer { buffer, offset: start + offset },
        ))
    }

    /// A tensor of f32 whose place the plan chooses.
    pub fn tensor(&mut self, role: Role, elements: usize) -> Tensor {
        self.tensor_of(role, elements, Element::F32)
    }

    /// A tensor whose place the plan chooses.
    pub fn tensor_of(&mut self, role: Role, elements: usize, element: Element) -> Tensor {
        self.add(elements, element, role, Home::Planned)
    }

    /// An activation, stored in the target's precision.
    pub fn activation(&mut self, elements: usize) -> Tensor {
        self.tensor_of(Role::Activation, elements, self.target.precision)
    }

    /// The gradient of an activation, stored as the target stores those.
    pub fn gradient(&mut self, elements: usize) -> Tensor {
        self.tensor_of(Role::Gradient, elements, self.target.gradient())
    }

    /// Elements in a tensor.
    pub fn elements(&self, tensor: Tensor) -> usize {
        self.infos[tensor.0].elements
    }

    /// What its elements are.
    pub fn element(&self, tensor: Tensor) -> Element {
        self.infos[tensor.0].element
    }

    pub(super) fn words(&self, tensor: Tensor) -> usize {
        let info = &self.infos[tensor.0];
        info.element.words(info.elements)
    }

    /// Has what a planned tensor holds written to `place`, a part of a named buffer, instead of a place of its own.
    pub fn settle(&mut self, tensor: Tensor, place: Tensor) -> Result<()> {
        let (from, to) = (&self.infos[tensor.0], &self.infos[place.0]);
        let alike = (from.elements, from.element) == (to.elements, to.element);
        match (from.home, to.home) {
            (Home::Planned, home @ Home::Buffer { .. }) if alike => self.infos[tensor.0].home = home,
            _ => return Err(Error::kernel("tape", "a tensor is settled where it does not fit")),
        }
        Ok(())
    }

    /// Keeps a tensor to the end of the step and lets the host look at it under `name`.
    pub fn name(&mut self, name: impl Into<String>, tensor: Tensor) {
        self.names.push((name.into(), tensor));
    }

    /// Labels the dispatches that follow.
    pub fn scope(&mut self, scope: impl Into<String>) {
        self.scope = scope.into();
    }

    /// The label of the dispatches that follow.
    pub fn current_scope(&self) -> &str {
        &self.scope
    }

    /// Starts a dispatch.
    pub fn call(&mut self, kernel: &'static Kernel, entry: &'static str) -> DispatchBuilder<'_> {
        DispatchBuilder::new(self, kernel, entry)
    }

    /// Dispatches laid down so far.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether nothing was laid down.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Turns the recording of reverse rules on or off: gradients flow only through what is recorded.
    pub fn record(&mut self, on: bool) {
        self.recording = on;
    }

    /// Whether ops leave reverse rules now.
    pub fn recording(&self) -> bool {
        self.recording
    }

    /// What the dispatches that are laid down now belong to.
    pub(super) fn pass(&self) -> Pass {
        match (self.recording, self.reversing) {
            (true, _) => Pass::Recorded,
            (false, true) => Pass::Reverse,
            (false, false) => Pass::Plain,
        }
    }

    /// Marks a tensor as one whose gradient is wanted.
    pub fn require_grad(&mut self, tensor: Tensor) {
        self.infos[tensor.0].needs_grad = true;
    }

    /// Whether the gradient of this tensor is wanted.
    pub fn needs_grad(&self, tensor: Tensor) -> bool {
        self.infos[tensor.0].needs_grad
    }

    /// Leaves the reverse rule of an op that wrote `output`, if gradients are being recorded.
    pub fn rule(&mut self, output: Tensor, rule: impl Reverse + 'static) {
        if self.recording {
            self.require_grad(output);
            self.rules.push((self.scope.clone(), Box::new(rule)));
        }
    }

    /// Adds `gradient` to what is known of the gradient of `tensor`.
    pub fn contribute(&mut self, tensor: Tensor, gradient: Tensor) {
        if self.needs_grad(tensor) {
            self.contributions.entry(tensor).or_default().push(gradient);
        }
    }

    /// Takes one contribution to the gradient of `tensor` out, for an op that adds it to its own on the way.
    pub fn take_contribution(&mut self, tensor: Tensor) -> Option<Tensor> {
        self.contributions.get_mut(&tensor)?.pop()
    }

    /// Takes all contributions to the gradient of `tensor`, to be summed.
    pub fn take_contributions(&mut self, tensor: Tensor) -> Vec<Tensor> {
        self.contributions.remove(&tensor).unwrap_or_default()
    }

    /// Lays down the reverse pass of everything recorded; each dispatch is labelled like the op that it reverses.
    pub fn reverse(&mut self) -> Result<()> {
        self.recording = false;
        self.reversing = true;
        for (scope, rule) in std::mem::take(&mut self.rules).into_iter().rev() {
            self.scope = scope;
            rule.reverse(self)?;
        }
        self.reversing = false;
        Ok(())
    }

    /// Gives every tensor a place and yields the plan.
    pub fn finish(self) -> Result<Plan> {
        place::place(self)
    }
}
