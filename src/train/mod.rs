//! Training.

pub mod schedule;

pub use schedule::Schedule;
