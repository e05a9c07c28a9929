//! What a CPU twin sees of a dispatch: parameters by name, buffers by name.

use std::any::{Any, TypeId};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::interface::Interface;
use super::{Element, Stored, StoredMut};

/// Memory for widened halves, kept from one dispatch to the next.
pub(crate) type Pool = RefCell<Vec<Vec<f32>>>;

/// What twins made of buffers that change once a step at the most, kept until they do: by buffer, by first word, by its
/// type, and by what it is.
pub(crate) type Kept = RefCell<BTreeMap<(usize, usize, TypeId, Vec<usize>), Arc<dyn Any + Send + Sync>>>;

/// One dispatch on the CPU engine. Every buffer is a slice of f32, or of halves for a twin that asks for them as they
/// are stored; integer data is cast with [`ints`]. Names are those of the WGSL, checked when the plan was built.
#[derive(Debug)]
pub struct Call<'a> {
    pub(crate) interface: &'a Interface,
    pub(crate) params: &'a [u32],
    pub(crate) constants: &'a [(&'static str, u32)],
    pub(crate) inputs: Vec<Input<'a>>,
    pub(crate) outputs: Vec<Output<'a>>,
    pub(crate) pool: &'a Pool,
    pub(crate) kept: &'a Kept,
}

impl<'a> Call<'a> {
    fn word(&self, name: &str) -> u32 {
        let param = self.interface.params.iter().find(|param| param.name == name);
        self.params[param.expect("a twin reads only params that its shader declares").word]
    }

    /// An integer parameter.
    pub fn count(&self, name: &str) -> usize {
        self.word(name) as usize
    }

    /// A float parameter.
    pub fn float(&self, name: &str) -> f32 {
        f32::from_bits(self.word(name))
    }

    /// A specialised constant of the shader.
    pub fn constant(&self, name: &str) -> usize {
        let found = self.constants.iter().find(|(known, _)| *known == name);
        found.expect("a twin reads only constants that its dispatch specialises").1 as usize
    }

    /// A buffer that the kernel reads; halves are widened first.
    pub fn input(&self, name: &str) -> &'a [f32] {
        let input = self.found(name);
        match input.element {
            Element::F32 => input.words,
            element => input.widened.get_or_init(|| widened(self.pool, Stored::of(input.words, element))),
        }
    }

    /// A buffer that the kernel reads, as it is stored.
    pub fn stored(&self, name: &str) -> Stored<'a> {
        let input = self.found(name);
        Stored::of(input.words, input.element)
    }

    /// What `make` makes of a buffer that the kernel reads: where that holds weights, once until they change. `what`
    /// tells things of one type apart that are made of one buffer.
    pub fn kept<T: Any + Send + Sync>(&self, name: &str, what: &[usize], make: impl FnOnce() -> T) -> Arc<T> {
        let Some((buffer, word)) = self.found(name).lasting else { return Arc::new(make()) };
        let key = (buffer, word, TypeId::of::<T>(), what.to_vec());
        if let Some(known) = self.kept.borrow().get(&key).and_then(|kept| kept.clone().downcast().ok()) {
            return known;
        }
        let made = Arc::new(make());
        self.kept.borrow_mut().insert(key, made.clone());
        made
    }

    fn found(&self, name: &str) -> &Input<'a> {
        let found = self.inputs.iter().find(|input| input.name == name);
        found.expect("a twin reads only bindings that its shader declares")
    }

    /// A buffer that the kernel writes; each can be taken once. Halves are widened first and narrowed after the call.
    pub fn output(&mut self, name: &str) -> &'a mut [f32] {
        let output = self.taken(name);
        if output.element == Element::F32 {
            return output.words;
        }
        *output.widened = widened(self.pool, Stored::of(output.words, output.element));
        output.widened
    }

    /// A buffer that the kernel writes, as it is stored; each can be taken once.
    pub fn output_stored(&mut self, name: &str) -> StoredMut<'a> {
        let output = self.taken(name);
        StoredMut::of(output.words, output.element)
    }

    fn taken(&mut self, name: &str) -> Output<'a> {
        let index = self.outputs.iter().position(|output| output.name == name);
        self.outputs.swap_remove(index.expect("a twin writes only bindings that its shader declares, once"))
    }
}

/// Halves as f32, in memory of the pool.
fn widened(pool: &Pool, halves: Stored<'_>) -> Vec<f32> {
    const BLOCK: usize = 1 << 14;
    let mut elements = pool.borrow_mut().pop().unwrap_or_default();
    elements.resize(halves.len(), 0.0);
    let blocks = elements.par_chunks_mut(BLOCK).enumerate();
    blocks.for_each(|(block, elements)| halves.read(block * BLOCK, elements));
    elements
}

/// One buffer that a dispatch reads.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    pub(crate) name: &'a str,
    pub(crate) words: &'a [f32],
    pub(crate) element: Element,
    /// Buffer and first word, of weights: they stay for many dispatches.
    pub(crate) lasting: Option<(usize, usize)>,
    /// Filled where halves are asked for as f32.
    pub(crate) widened: &'a OnceCell<Vec<f32>>,
}

/// One buffer that a dispatch writes.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    pub(crate) name: &'a str,
    pub(crate) words: &'a mut [f32],
    pub(crate) element: Element,
    /// Filled where halves are asked for as f32, to be narrowed after the call.
    pub(crate) widened: &'a mut Vec<f32>,
}

/// Words of a buffer as integers.
pub fn ints(words: &[f32]) -> &[i32] {
    bytemuck::cast_slice(words)
}

/// Words of a buffer as integers, to be written.
pub fn ints_mut(words: &mut [f32]) -> &mut [i32] {
    bytemuck::cast_slice_mut(words)
}
