//! One file per op: what it computes, what it saves, each dispatch with its equation, its reverse rule, and the
//! CPU twin of its kernel. Ops know shapes and the tape; they know no engine and no model.

pub mod adam_atan2;
pub mod attention;
pub mod carry;
pub mod column_sums;
pub mod damp;
pub mod embed;
pub mod finite;
pub mod gemm;
pub mod linear;
pub mod loss;
mod math;
pub mod metrics;
pub mod mlp;
mod multiply;
pub mod muon;
pub mod product;
pub mod puzzle_table;
pub mod rms_norm;
pub mod rollout;
pub mod rope;
pub mod sign_sgd;
pub mod store_weight;
pub mod sum;
pub mod symmetry;

use crate::plan::Kernel;

/// Every kernel there is. A test walks this list and fails where a shader, a twin or a test is missing.
pub const KERNELS: &[&Kernel] = &[
    &adam_atan2::KERNEL,
    &attention::KERNEL,
    &attention::MATRIX_KERNEL,
    &carry::KERNEL,
    &column_sums::KERNEL,
    &damp::KERNEL,
    &embed::KERNEL,
    &finite::KERNEL,
    &loss::KERNEL,
    &metrics::KERNEL,
    &muon::KERNEL,
    &product::KERNEL,
    &product::MATRIX_KERNEL,
    &puzzle_table::KERNEL,
    &rms_norm::KERNEL,
    &rollout::KERNEL,
    &sign_sgd::KERNEL,
    &store_weight::KERNEL,
    &sum::KERNEL,
    &symmetry::KERNEL,
];
