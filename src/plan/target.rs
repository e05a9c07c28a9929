//! What a plan is laid out for: which variants of its kernels the device runs best, and what it can bind.

use super::Element;

/// Variants of the matrix product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GemmVariant {
    /// Tiles in shared memory: runs everywhere.
    #[default]
    Tiled,
    /// Rows handed round by subgroup broadcasts: for software adapters.
    Broadcast,
    /// Cooperative matrices with f16 operands and f32 sums: only where less precision was asked for.
    Cooperative(Cooperative),
}

/// The cooperative matrices of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cooperative {
    /// Their rows and columns: 8 or 16.
    pub size: u32,
    /// Threads of the subgroups that hold them. Where the driver takes others, products are right but slower.
    pub subgroup: u32,
}

impl Default for Cooperative {
    /// What most GPUs have.
    fn default() -> Cooperative {
        Cooperative { size: 16, subgroup: 32 }
    }
}

/// Variants of attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AttentionVariant {
    /// Tiles of queries and keys in shared memory: runs everywhere.
    #[default]
    Tiled,
    /// A query or key for each thread, no barriers: for software adapters.
    Rows,
}

/// What a plan is laid out for. The default's kernels run everywhere; the CPU engine's twins are the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The matrix product.
    pub gemm: GemmVariant,
    /// Attention.
    pub attention: AttentionVariant,
    /// Fuse passes without gradients where the kernels allow it; the CPU engine is faster one op at a time.
    pub fused: bool,
    /// Storage of activations and of the copies of weights that products read.
    pub precision: Element,
    /// Drop the inner activations of recorded MLPs after use, compute them again in the reverse pass, and take weight
    /// gradients pass by pass: less memory, more time.
    pub recompute: bool,
    /// Bytes of the largest buffer and binding: a larger table of puzzle embeddings is split.
    pub binding_bytes: u64,
}

impl Target {
    /// Whether passes without gradients take the fused kernels, which are tiled.
    pub fn fuses(&self) -> bool {
        self.fused && (self.gemm == GemmVariant::Tiled || self.precision != Element::F32)
    }
}

impl Default for Target {
    fn default() -> Target {
        Target {
            gemm: GemmVariant::default(),
            attention: AttentionVariant::default(),
            fused: true,
            precision: Element::F32,
            recompute: false,
            binding_bytes: u64::MAX,
        }
    }
}
