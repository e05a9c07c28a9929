//! Sudoku of 4x4, 6x6 and 9x9 cells: rules, solver, generator, augmentation and data sets.
//!
//! A data set comes from CSV files ([`build_from_csv`]), from lists that no one has split yet ([`build_from_lists`]) or
//! from the generator ([`build_generated`]). Generated
//! puzzles are easier than those of the Sudoku-Extreme set and must not be called by its name.

mod augment;
mod build;
mod canonical;
mod cells;
mod contradiction;
mod generate;
mod grid;
mod layout;
mod lists;
mod solve;
mod spaced;
mod table;

pub use augment::Augmentation;
pub use build::{
    CsvOptions, GenerateOptions, SplitSummary, Summary, build_from_csv, build_generated, write_generated,
};
pub use canonical::Canonical;
pub use contradiction::contradiction;
pub use generate::{Puzzles, default_clues, fewest_clues, random_puzzle};
pub use grid::{Grid, Puzzle, Shape, is_valid_solution, solution_fault};
pub use layout::Layouts;
pub(super) use layout::lines_of;
pub use lists::{ListOptions, ListSummary, build_from_lists};
pub use solve::{count_solutions, unique_solution};
pub use table::{Row, Table};
