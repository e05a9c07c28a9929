//! Elements as they lie in a buffer of the CPU engine, read and written as f32.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::Element;
use crate::vectors::vectorised;

/// Elements that are read.
#[derive(Clone, Copy, Debug)]
pub enum Stored<'a> {
    /// Of 32 bits.
    F32(&'a [f32]),
    /// The upper halves of f32.
    Bf16(&'a [bf16]),
    /// IEEE halves.
    F16(&'a [f16]),
}

/// Elements that are written.
#[derive(Debug)]
pub enum StoredMut<'a> {
    /// Of 32 bits.
    F32(&'a mut [f32]),
    /// The upper halves of f32.
    Bf16(&'a mut [bf16]),
    /// IEEE halves.
    F16(&'a mut [f16]),
}

impl Element {
    /// The elements of `words`.
    pub fn widened(self, words: &[f32]) -> Vec<f32> {
        let stored = Stored::of(words, self);
        let mut elements = vec![0.0; stored.len()];
        stored.read(0, &mut elements);
        elements
    }

    /// Writes elements into words, each rounded to the nearest.
    pub fn narrow(self, elements: &[f32], words: &mut [f32]) {
        StoredMut::of(words, self).write(0, elements);
    }
}

impl<'a> Stored<'a> {
    /// The elements that `words` hold.
    pub fn of(words: &'a [f32], element: Element) -> Stored<'a> {
        match element {
            Element::F32 => Stored::F32(words),
            Element::Bf16 => Stored::Bf16(bytemuck::cast_slice(words)),
            Element::F16 => Stored::F16(bytemuck::cast_slice(words)),
        }
    }

    /// What they are.
    pub fn element(self) -> Element {
        match self {
            Stored::F32(_) => Element::F32,
            Stored::Bf16(_) => Element::Bf16,
            Stored::F16(_) => Element::F16,
        }
    }

    /// How many there are; halves of an odd count have one more.
    pub fn len(self) -> usize {
        match self {
            Stored::F32(words) => words.len(),
            Stored::Bf16(halves) => halves.len(),
            Stored::F16(halves) => halves.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Copies the elements from `at` on.
    pub fn read(self, at: usize, out: &mut [f32]) {
        match self {
            Stored::F32(words) => out.copy_from_slice(&words[at..at + out.len()]),
            Stored::Bf16(halves) => widen(&halves[at..at + out.len()], out),
            Stored::F16(halves) => halves[at..at + out.len()].convert_to_f32_slice(out),
        }
    }

    /// `count` elements from `at` on: where they lie, or in `buffer`.
    pub fn view<'b>(self, at: usize, count: usize, buffer: &'b mut [f32]) -> &'b [f32]
    where
        'a: 'b,
    {
        if let Stored::F32(words) = self {
            return &words[at..at + count];
        }
        self.read(at, &mut buffer[..count]);
        &buffer[..count]
    }

    /// Adds the elements from `at` on to `sums`.
    pub fn add_to(self, at: usize, sums: &mut [f32]) {
        const RUN: usize = 64;
        let mut buffer = [0.0; RUN];
        for (index, sums) in sums.chunks_mut(RUN).enumerate() {
            let terms = self.view(at + index * RUN, sums.len(), &mut buffer);
            sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        }
    }
}

impl<'a> StoredMut<'a> {
    /// The elements that `words` hold.
    pub fn of(words: &'a mut [f32], element: Element) -> StoredMut<'a> {
        match element {
            Element::F32 => StoredMut::F32(words),
            Element::Bf16 => StoredMut::Bf16(bytemuck::cast_slice_mut(words)),
            Element::F16 => StoredMut::F16(bytemuck::cast_slice_mut(words)),
        }
    }

    /// How many there are; halves of an odd count have one more.
    pub fn len(&self) -> usize {
        self.stored().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same, to be read.
    pub fn stored(&self) -> Stored<'_> {
        match self {
            StoredMut::F32(words) => Stored::F32(words),
            StoredMut::Bf16(halves) => Stored::Bf16(halves),
            StoredMut::F16(halves) => Stored::F16(halves),
        }
    }

    /// Pieces of `size` elements, of which the last may be shorter.
    pub fn chunks(self, size: usize) -> Vec<StoredMut<'a>> {
        match self {
            StoredMut::F32(words) => words.chunks_mut(size).map(StoredMut::F32).collect(),
            StoredMut::Bf16(halves) => halves.chunks_mut(size).map(StoredMut::Bf16).collect(),
            StoredMut::F16(halves) => halves.chunks_mut(size).map(StoredMut::F16).collect(),
        }
    }

    /// The first `count` elements: without the half that fills the last word of an odd count.
    pub fn first(self, count: usize) -> StoredMut<'a> {
        match self {
            StoredMut::F32(words) => StoredMut::F32(&mut words[..count]),
            StoredMut::Bf16(halves) => StoredMut::Bf16(&mut halves[..count]),
            StoredMut::F16(halves) => StoredMut::F16(&mut halves[..count]),
        }
    }

    /// Writes elements from `at` on, each rounded to the nearest.
    pub fn write(&mut self, at: usize, elements: &[f32]) {
        let to = at..at + elements.len();
        match self {
            StoredMut::F32(words) => words[to].copy_from_slice(elements),
            StoredMut::Bf16(halves) => narrow(elements, &mut halves[to]),
            StoredMut::F16(halves) => halves[to].convert_from_f32_slice(elements),
        }
    }
}

/// The bits of the nearest bfloat16, without a branch.
#[inline(always)]
pub(crate) fn bf16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
    // The nearest of a NaN is a NaN, whatever its lower bits would carry into.
    if value.is_nan() { (bits >> 16) as u16 | 0x40 } else { rounded }
}

fn widen(halves: &[bf16], out: &mut [f32]) {
    let widened = |half: &bf16| f32::from_bits(u32::from(half.to_bits()) << 16);
    vectorised(|| out.iter_mut().zip(halves).for_each(|(out, half)| *out = widened(half)));
}

fn narrow(elements: &[f32], halves: &mut [bf16]) {
    let nearest = |element: &f32| bf16::from_bits(bf16_bits(*element));
    vectorised(|| halves.iter_mut().zip(elements).for_each(|(half, element)| *half = nearest(element)));
}
