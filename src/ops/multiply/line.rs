//! What panels are made of: their sizes, their lines, and asking for memory ahead of its turn.

/// Words of a vector, and lines of a panel of one vector.
pub(in crate::ops) const LANES: usize = 16;
/// Rows of A in a panel: as many as leave registers for two vectors of B.
pub(super) const ROWS: usize = 14;
/// Rows of the other panels: 64 features fill five of them but for a row.
pub(super) const ROWS_LESS: usize = 13;

/// One vector of a panel: f32, or pairs of bfloat16 that are neighbours in depth.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u32; LANES]);

/// Vectors of B in a panel.
pub(super) const VECTORS: usize = 2;

/// Steps across which memory is asked for ahead of its turn: strides are too long for a processor to foresee.
pub(super) const AHEAD: usize = 24;

/// Asks for the cache line of an element that will be read soon.
#[inline(always)]
#[cfg_attr(target_arch = "x86_64", allow(unsafe_code))]
pub(super) fn prefetch<T>(elements: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which reads nothing and never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(elements.as_ptr().wrapping_add(at).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (elements, at);
}
