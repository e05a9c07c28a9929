//! What a CPU twin sees of a dispatch: parameters by name, buffers by name.

use std::cell::OnceCell;

use super::Element;
use super::kernel::Interface;

/// One dispatch on the CPU engine. Every buffer is a slice of f32; integer data is cast
/// with [`ints`]. Names are those of the WGSL, checked when the plan was built.
#[derive(Debug)]
pub struct Call<'a> {
    pub(crate) interface: &'a Interface,
    pub(crate) params: &'a [u32],
    pub(crate) constants: &'a [(&'static str, u32)],
    pub(crate) inputs: Vec<Input<'a>>,
    pub(crate) outputs: Vec<(&'a str, &'a mut [f32])>,
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
        let found = self.inputs.iter().find(|input| input.name == name);
        let input = found.expect("a twin reads only bindings that its shader declares");
        match input.element {
            Element::F32 => input.words,
            element => input.widened.get_or_init(|| element.widened(input.words)),
        }
    }

    /// A buffer that the kernel writes; each can be taken once.
    pub fn output(&mut self, name: &str) -> &'a mut [f32] {
        let index = self.outputs.iter().position(|(known, _)| *known == name);
        self.outputs.swap_remove(index.expect("a twin writes only bindings that its shader declares, once")).1
    }
}

/// One buffer that a dispatch reads.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    pub(crate) name: &'a str,
    pub(crate) words: &'a [f32],
    pub(crate) element: Element,
    /// Filled where halves are asked for as f32.
    pub(crate) widened: &'a OnceCell<Vec<f32>>,
}

/// Words of a buffer as integers.
pub fn ints(words: &[f32]) -> &[i32] {
    bytemuck::cast_slice(words)
}

/// Words of a buffer as integers, to be written.
pub fn ints_mut(words: &mut [f32]) -> &mut [i32] {
    bytemuck::cast_slice_mut(words)
}
