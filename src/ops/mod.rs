//! One file per op: what it computes, what it saves, each dispatch with its equation, its reverse rule, and the
//! CPU twin of its kernel. Ops know shapes and the tape; they know no engine and no model.

pub mod adam_atan2;
pub mod attention;
pub mod carry;
pub mod column_sums;
pub mod embed;
pub mod finite;
pub mod gemm;
pub mod gemm_coop;
pub mod linear;
pub mod loss;
mod math;
pub mod metrics;
mod multiply;
pub mod narrow;
pub mod pad_rows;
pub mod project_in;
pub mod project_out;
pub mod puzzle_table;
pub mod rms_norm;
pub mod rope;
pub mod sign_sgd;
pub mod sum;
pub mod swiglu;
pub mod terms;

use crate::plan::Kernel;

/// Every kernel there is. A test walks this list and fails where a shader, a twin or a test is missing.
pub const KERNELS: &[&Kernel] = &[
    &adam_atan2::KERNEL,
    &attention::KERNEL,
    &carry::KERNEL,
    &column_sums::KERNEL,
    &embed::KERNEL,
    &finite::KERNEL,
    &gemm::KERNEL,
    &gemm_coop::KERNEL,
    &loss::KERNEL,
    &metrics::KERNEL,
    &narrow::KERNEL,
    &pad_rows::KERNEL,
    &project_in::KERNEL,
    &project_out::KERNEL,
    &puzzle_table::KERNEL,
    &rms_norm::KERNEL,
    &rope::KERNEL,
    &sign_sgd::KERNEL,
    &sum::KERNEL,
    &swiglu::KERNEL,
];
