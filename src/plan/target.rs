//! What a plan is laid out for: which variants of its kernels the device runs best.

/// Variants of the matrix product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GemmVariant {
    /// Tiles in shared memory: runs everywhere.
    #[default]
    Tiled,
    /// Rows handed round by subgroup broadcasts: for software adapters.
    Broadcast,
}

/// The variants of a plan. The default runs everywhere; the CPU engine's twins are the same for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Target {
    /// The matrix product.
    pub gemm: GemmVariant,
}
