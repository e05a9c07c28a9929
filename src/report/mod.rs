//! What people see: tables of plans, progress and metrics of a run, grids, pictures, charts, ARC's report, the
//! card of a device, the curves of past runs.

mod arc_html;
mod axis;
mod card_html;
mod chart;
mod curves;
pub mod draw;
mod grid;
mod history;
mod html;
mod metrics_log;
mod page;
mod past_sessions;
mod plan_summary;
mod progress;
mod table;
mod window;

pub use arc_html::write_arc_html;
pub use card_html::card_html;
pub use chart::{Bars, Lines};
pub use curves::curves_csv;
pub use grid::draw_answer;
pub use history::History;
pub use page::runs_html;
pub use plan_summary::PlanSummary;
pub use progress::{Progress, describe, describe_passes};
pub use table::Table;

use crate::text::printable;

/// Says a line to people, on standard error, without what would steer their terminal.
pub fn say(line: impl AsRef<str>) {
    let line = format!("{}\n", printable(line.as_ref()));
    // Where standard error is closed, nobody listens.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
}

/// Whether the terminal that may be there understands colours and moves of the cursor.
pub fn plain_terminal() -> bool {
    std::env::var_os("TERM").is_some_and(|kind| kind == "dumb")
}
