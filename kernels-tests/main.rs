//! Every test that is no unit test: kernels against f64 references on each device, their mutants, reverse
//! rules, plans, whole steps against golden vectors, and data sets.
//!
//! `cargo test --release --test kernels-tests -- gemm` runs what has `gemm` in its name.

mod adam_atan2;
mod attention;
mod attention_matrix;
mod batches;
mod bench;
mod carry;
mod check;
mod checkpoint;
mod checkpoint_configs;
mod checkpoint_export;
mod checkpoint_foreign;
mod checkpoint_torch;
mod cli;
mod cli_files;
mod cli_report;
mod cli_runs;
mod cli_solve;
mod cli_solve_own;
mod cli_stops;
mod cli_tune;
mod column_sums;
mod damp;
mod data;
mod data_arc;
mod data_arc_votes;
mod data_inspect;
mod data_lists;
mod data_maze;
mod data_sudoku;
mod data_symmetry;
mod determinism;
mod embed;
mod eval_arc;
mod eval_breadth;
mod eval_lists;
mod eval_roll;
mod examples;
mod faults;
mod finite;
mod formats;
mod formats_arc;
mod fuzz;
mod golden;
mod gradient_graphs;
mod gradients;
mod harness;
mod hostile;
mod hostile_data;
mod isa;
mod joined;
mod linear;
mod loss;
mod loss_reference;
mod metrics;
mod micro_batches;
mod models;
mod muon;
mod mutants;
mod own_data;
mod pages;
mod pasted;
mod plan_memory;
mod plans;
mod product;
mod product_matrix;
mod puzzle_table;
mod ranks;
mod recipe_options;
mod recompute;
mod rms_norm;
mod rollout;
mod serve;
mod serve_clients;
mod serve_faults;
mod serve_refusals;
mod server;
mod sign_sgd;
mod step_gradients;
mod store_weight;
mod submissions;
mod sum;
mod symmetry;
mod train_puzzle_emb;
mod tune;

use harness::{KernelTests, lab_trials};
use libtest_mimic::{Arguments, Trial};

/// One line per kernel, as in `trm::ops::KERNELS`.
const KERNELS: &[KernelTests] = &[
    adam_atan2::TESTS,
    attention::TESTS,
    attention_matrix::TESTS,
    carry::TESTS,
    column_sums::TESTS,
    damp::TESTS,
    embed::TESTS,
    finite::TESTS,
    loss::TESTS,
    metrics::TESTS,
    muon::TESTS,
    product::TESTS,
    product_matrix::TESTS,
    puzzle_table::TESTS,
    rms_norm::TESTS,
    rollout::TESTS,
    sign_sgd::TESTS,
    store_weight::TESTS,
    sum::TESTS,
    symmetry::TESTS,
];

/// The tests of every other file.
const ROOMS: &[fn() -> Vec<Trial>] = &[
    attention_matrix::tests,
    batches::tests,
    bench::tests,
    isa::tests,
    check::tests,
    cli::tests,
    cli_files::tests,
    cli_report::tests,
    cli_runs::tests,
    cli_solve::tests,
    cli_solve_own::tests,
    cli_stops::tests,
    cli_tune::tests,
    linear::tests,
    mutants::tests,
    gradient_graphs::tests,
    step_gradients::tests,
    submissions::tests,
    golden::tests,
    hostile::tests,
    hostile_data::tests,
    determinism::tests,
    plans::tests,
    plan_memory::tests,
    ranks::tests,
    recipe_options::tests,
    recompute::tests,
    micro_batches::tests,
    checkpoint::tests,
    checkpoint_configs::tests,
    checkpoint_export::tests,
    checkpoint_foreign::tests,
    checkpoint_torch::tests,
    data::tests,
    data_arc::tests,
    data_arc_votes::tests,
    data_inspect::tests,
    data_lists::tests,
    data_maze::tests,
    data_sudoku::tests,
    data_symmetry::tests,
    formats::tests,
    formats_arc::tests,
    joined::tests,
    own_data::tests,
    pages::tests,
    pasted::tests,
    serve::tests,
    serve_clients::tests,
    serve_faults::tests,
    serve_refusals::tests,
    eval_arc::tests,
    eval_lists::tests,
    eval_breadth::tests,
    eval_roll::tests,
    examples::tests,
    faults::tests,
    finite::tests,
    fuzz::tests,
    train_puzzle_emb::tests,
    tune::tests,
];

fn main() -> trm::Result<()> {
    if let Some(outcome) = examples::asked() {
        return outcome;
    }
    let kernels =
        KERNELS.iter().flat_map(|kernel| lab_trials(kernel.kernel.name, kernel.needs, kernel.tests));
    let trials = kernels.chain(ROOMS.iter().flat_map(|tests| tests())).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
