//! What people see: tables of plans, progress, grids.

mod plan_summary;
mod table;

pub use plan_summary::PlanSummary;
pub use table::Table;
