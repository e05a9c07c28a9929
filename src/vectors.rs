//! The switch that compiles a loop for the widest vectors of the processor it runs on.

/// Runs a loop with the vector instructions of this processor (AVX-512, AVX2 or the baseline).
///
/// `work` must be short enough for the compiler to inline it, else it is compiled for the baseline, where
/// [`f32::mul_add`] is a call; what is longer implements [`pulp::NullaryFnOnce`].
#[inline(always)]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
