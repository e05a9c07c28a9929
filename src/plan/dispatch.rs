//! Building one dispatch: tensors and parameters bound by name, checked against the shader.

use std::sync::Arc;

use super::interface::Interface;
use super::kernel::{Entry, Kernel, Specialisation};
use super::tape::{Tape, Tensor};
use super::{Element, Matrices, Pass};
use crate::{Error, Result};

/// Most workgroups along one dimension of a grid that every adapter accepts.
const MAX_GROUPS: usize = 65_535;

/// A dispatch on the tape, its tensors not yet placed.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) kernel: &'static Kernel,
    pub(super) entry: &'static Entry,
    pub(super) constants: Specialisation,
    pub(super) interface: Arc<Interface>,
    /// One per binding of the interface, in its order.
    pub(super) tensors: Vec<Tensor>,
    pub(super) params: Vec<u32>,
    pub(super) grid: [u32; 3],
    pub(super) flops: u64,
    pub(super) label: String,
    pub(super) pass: Pass,
}

/// Collects what a dispatch needs; [`DispatchBuilder::push`] checks it and puts it on the tape.
#[must_use = "a dispatch is laid down by push()"]
pub struct DispatchBuilder<'t> {
    tape: &'t mut Tape,
    kernel: &'static Kernel,
    entry: &'static str,
    constants: Specialisation,
    bindings: Vec<(&'static str, Tensor)>,
    params: Vec<(&'static str, u32, bool)>,
    extent: Extent,
    flops: u64,
    /// The first number that exceeds a word, and what it is for.
    exceeded: Option<(String, usize)>,
}

enum Extent {
    Threads(usize),
    Groups([usize; 3]),
}

impl<'t> DispatchBuilder<'t> {
    pub(super) fn new(tape: &'t mut Tape, kernel: &'static Kernel, entry: &'static str) -> Self {
        DispatchBuilder {
            tape,
            kernel,
            entry,
            constants: Vec::new(),
            bindings: Vec::new(),
            params: Vec::new(),
            extent: Extent::Threads(1),
            flops: 0,
            exceeded: None,
        }
    }

    /// Binds a tensor to the storage variable `name`.
    pub fn bind(mut self, name: &'static str, tensor: Tensor) -> Self {
        self.bindings.push((name, tensor));
        self
    }

    /// Sets an integer parameter.
    pub fn count(mut self, name: &'static str, value: usize) -> Self {
        let word = self.word("parameter", name, value);
        self.params.push((name, word, false));
        self
    }

    /// Sets a float parameter.
    pub fn float(mut self, name: &'static str, value: f32) -> Self {
        self.params.push((name, value.to_bits(), true));
        self
    }

    /// Gives a constant of the shader its value.
    pub fn constant(mut self, name: &'static str, value: usize) -> Self {
        let word = self.word("constant", name, value);
        self.constants.push((name, word));
        self
    }

    /// Gives the constants of a shader for matrix units the values of these.
    pub fn units(self, units: Matrices) -> Self {
        let call = self.constant("SIZE", units.size as usize).constant("LANES", 4 * units.subgroup as usize);
        if units.scalars { call.constant("SCALARS", 1) } else { call }
    }

    /// The number as a word of the shader; [`DispatchBuilder::push`] refuses the dispatch where there is none.
    fn word(&mut self, kind: &str, name: &str, value: usize) -> u32 {
        u32::try_from(value).unwrap_or_else(|_| {
            self.exceeded.get_or_insert((format!("{kind} {name}"), value));
            u32::MAX
        })
    }

    /// One invocation for each of `threads` work items, in a one-dimensional grid.
    pub fn threads(mut self, threads: usize) -> Self {
        self.extent = Extent::Threads(threads);
        self
    }

    /// Workgroups along x, y, z.
    pub fn groups(mut self, groups: [usize; 3]) -> Self {
        self.extent = Extent::Groups(groups);
        self
    }

    /// `count` workgroups in a one-dimensional grid.
    pub fn groups_1d(mut self, count: usize) -> Self {
        self.extent = Extent::Groups(folded(count));
        self
    }

    /// Floating-point operations of the dispatch.
    pub fn flops(mut self, flops: usize) -> Self {
        self.flops = flops as u64;
        self
    }

    /// Checks names and types against the shader and lays the dispatch down. A dispatch over nothing is dropped.
    ///
    /// # Errors
    /// [`Error::Limit`] where a number exceeds a word or the grid, [`Error::Kernel`] for a defect of an op.
    pub fn push(mut self) -> Result<()> {
        if let Some((what, value)) = &self.exceeded {
            return Err(self.too_large(what, *value, u32::MAX.into(), "elements"));
        }
        let entry = self.kernel.entry(self.entry)?;
        self.specialise_elements()?;
        let interface = self.kernel.known_interface(self.entry, &self.constants)?;
        let tensors = self.ordered_tensors(&interface)?;
        let params = self.encoded_params(&interface)?;
        let groups = match self.extent {
            Extent::Threads(threads) => folded(threads.div_ceil(interface.workgroup[0] as usize)),
            Extent::Groups(groups) => groups,
        };
        if groups.contains(&0) {
            return Ok(());
        }
        if let Some(&most) = groups.iter().find(|&&count| count > MAX_GROUPS) {
            return Err(self.too_large("the grid", most, MAX_GROUPS as u64, "workgroups"));
        }
        let (label, pass) = (self.tape.current_scope().to_owned(), self.tape.pass());
        self.tape.pending.push(Pending {
            kernel: self.kernel,
            entry,
            constants: self.constants,
            interface,
            tensors,
            params,
            grid: groups.map(|count| count as u32),
            flops: self.flops,
            label,
            pass,
        });
        Ok(())
    }

    /// A binding `x` of halves sets the shader's constant `X_ELEMENT`; a shader without has no such variant.
    fn specialise_elements(&mut self) -> Result<()> {
        for &(name, tensor) in &self.bindings {
            let element = self.tape.element(tensor);
            if element == Element::F32 {
                continue;
            }
            let Some(constant) = self.kernel.element_constant(name)? else {
                return Err(Error::kernel(
                    self.full_name(),
                    format!("has no variant for {name} in {element}"),
                ));
            };
            self.constants.push((constant, element.code()));
        }
        Ok(())
    }

    fn too_large(&self, what: &str, needed: usize, limit: u64, unit: &'static str) -> Error {
        let (what, needed) = (format!("{what} of {}", self.full_name()), needed as u64);
        Error::Limit { what, needed, limit, unit, fix: "use a smaller batch or a smaller model".into() }
    }

    fn full_name(&self) -> String {
        format!("{}.{}", self.kernel.name, self.entry)
    }

    fn ordered_tensors(&self, interface: &Interface) -> Result<Vec<Tensor>> {
        let known = |name: &str| interface.bindings.iter().any(|info| info.name == name);
        if let Some((name, _)) = self.bindings.iter().find(|(name, _)| !known(name)) {
            return Err(Error::kernel(self.full_name(), format!("the shader has no binding {name}")));
        }
        let find =
            |name: &str| self.bindings.iter().find(|(bound, _)| *bound == name).map(|(_, tensor)| *tensor);
        let missing = |name: &str| Error::kernel(self.full_name(), format!("binding {name} was not given"));
        interface.bindings.iter().map(|info| find(&info.name).ok_or_else(|| missing(&info.name))).collect()
    }

    fn encoded_params(&self, interface: &Interface) -> Result<Vec<u32>> {
        let mut words = vec![0; interface.params_words];
        for info in &interface.params {
            let Some((_, value, float)) = self.params.iter().find(|(name, ..)| *name == info.name) else {
                return Err(Error::kernel(
                    self.full_name(),
                    format!("parameter {} was not given", info.name),
                ));
            };
            if *float != info.float {
                return Err(Error::kernel(
                    self.full_name(),
                    format!("parameter {} has the wrong type", info.name),
                ));
            }
            words[info.word] = *value;
        }
        if let Some((name, ..)) =
            self.params.iter().find(|(name, ..)| !interface.params.iter().any(|p| p.name == *name))
        {
            return Err(Error::kernel(self.full_name(), format!("the shader has no parameter {name}")));
        }
        Ok(words)
    }
}

/// A one-dimensional grid, folded into y past the limit; `linear_index` in `lib/index.wgsl` unfolds it.
fn folded(groups: usize) -> [usize; 3] {
    [groups.min(MAX_GROUPS), groups.div_ceil(MAX_GROUPS), 1]
}
