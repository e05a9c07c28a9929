//! An ARC evaluation as one HTML file: every task's test inputs, targets and first candidates, drawn as SVG.

use std::io::{self, Write};
use std::path::Path;

use super::html::escaped;
use crate::data::arc::{Candidate, Grid, InputScore, PALETTE, Score, TaskScore};
use crate::{Result, files};

/// Candidates drawn for each test input, of those that the score keeps.
const SHOWN: usize = 5;
/// Pixels of the longer side of a drawing.
const SIDE: usize = 150;

const STYLE: &str = "body{font:14px sans-serif;margin:2em;color:#222}\
section{border-top:1px solid #ccc;padding:.5em 0}div{display:flex;flex-wrap:wrap;gap:1em;align-items:flex-end}\
figure{margin:.5em 0}figcaption{color:#555;font-size:12px}svg{background:#000;display:block}\
.right svg{outline:4px solid #2ecc40}.none{width:100px;height:100px;border:1px dashed #999}";

/// Writes the report; a file that is there is replaced.
///
/// # Errors
/// [`crate::Error::Io`] if it cannot be written.
pub fn write_arc_html(path: &Path, title: &str, score: &Score) -> Result<()> {
    files::write_atomic_with(path, |file| page(file, title, score))
}

fn page(out: &mut impl Write, title: &str, score: &Score) -> io::Result<()> {
    let title = escaped(title);
    write!(
        out,
        "<!DOCTYPE html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content='width=device-width,initial-scale=1'><title>{title}</title><style>{STYLE}</style>"
    )?;
    write!(out, "<h1>{title}</h1><p>{} tasks", score.tasks.len())?;
    for (k, share) in &score.pass_at {
        write!(out, ", pass@{k} {:.2} %", 100.0 * share)?;
    }
    writeln!(out, ". A green frame marks a right answer.</p>")?;
    score.tasks.iter().try_for_each(|task| section(out, task))?;
    writeln!(out, "</html>")
}

fn section(out: &mut impl Write, task: &TaskScore) -> io::Result<()> {
    writeln!(out, "<section><h2>{}</h2>", escaped(&task.id))?;
    task.inputs.iter().try_for_each(|input| row(out, input))?;
    writeln!(out, "</section>")
}

fn row(out: &mut impl Write, input: &InputScore) -> io::Result<()> {
    write!(out, "<div>")?;
    figure(out, &input.input, "input", false)?;
    if let Some(solution) = &input.solution {
        figure(out, solution, "target", false)?;
    }
    for (place, candidate) in input.candidates.iter().take(SHOWN).enumerate() {
        let right = input.solution.as_ref() == Some(&candidate.grid);
        figure(out, &candidate.grid, &caption(place, candidate), right)?;
    }
    let rank = match (&input.solution, input.rank) {
        (None, _) => "target unknown".to_owned(),
        (_, Some(rank)) => format!("target at place {rank}"),
        (_, None) => "target not predicted".to_owned(),
    };
    writeln!(out, "<p>{} votes for {} grids<br>{rank}</p></div>", input.votes, input.distinct)
}

/// The first two candidates are the attempts of a submission.
fn caption(place: usize, candidate: &Candidate) -> String {
    let name = if place < 2 { "attempt" } else { "candidate" };
    format!("{name} {}: {} votes, halting {:.2}", place + 1, candidate.votes, candidate.mean_halting)
}

fn figure(out: &mut impl Write, grid: &Grid, caption: &str, right: bool) -> io::Result<()> {
    write!(out, "<figure{}>", if right { " class=right" } else { "" })?;
    drawing(out, grid)?;
    write!(out, "<figcaption>{caption}</figcaption></figure>")
}

/// One path for each colour but black, which is the background; a run of equal cells in a row is one rectangle.
fn drawing(out: &mut impl Write, grid: &Grid) -> io::Result<()> {
    let (rows, cols) = (grid.rows(), grid.cols());
    if grid.is_empty() {
        return write!(out, "<p class=none>no cells</p>");
    }
    let scale = (SIDE / rows.max(cols)).clamp(4, 24);
    let (width, height) = (scale * cols, scale * rows);
    write!(
        out,
        "<svg width={width} height={height} viewBox='0 0 {cols} {rows}' shape-rendering=crispEdges>"
    )?;
    for (colour, [red, green, blue]) in PALETTE.iter().enumerate().skip(1) {
        let path: String =
            grid.cells().chunks(cols).enumerate().map(|(row, cells)| runs(row, cells, colour)).collect();
        if !path.is_empty() {
            write!(out, "<path fill='#{red:02x}{green:02x}{blue:02x}' d='{path}'/>")?;
        }
    }
    write!(out, "</svg>")
}

/// The runs of `colour` in a row of cells.
fn runs(row: usize, cells: &[u8], colour: usize) -> String {
    let (mut path, mut col) = (String::new(), 0);
    for run in cells.chunk_by(|a, b| a == b) {
        if run.first().is_some_and(|&cell| usize::from(cell) == colour) {
            path += &format!("M{col} {row}h{0}v1h-{0}z", run.len());
        }
        col += run.len();
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_runs_of_a_colour_as_rectangles() {
        assert_eq!(runs(2, &[1, 1, 0, 1], 1), "M0 2h2v1h-2zM3 2h1v1h-1z");
        assert_eq!(runs(0, &[0, 2], 1), "");
    }
}
