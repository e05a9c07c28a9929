//! Puzzles as pictures, step by step: one SVG or PNG with all steps side by side, or a GIF that shows them in turn.
//!
//! A [`Board`] says what is in its cells, a `Scene` where everything lies, in pixels; SVG and pixels are two ways to
//! write down a scene.

mod board;
mod image;
mod scene;
mod svg;

use std::path::Path;

pub use board::Board;
use scene::Scene;

use crate::{Result, files};

/// Red, green and blue.
type Rgb = [u8; 3];

/// A board with what it is.
#[derive(Clone, Debug)]
pub struct Panel {
    /// One short line.
    pub caption: String,
    /// The cells.
    pub board: Board,
}

impl Panel {
    /// Pixels from its left to its right.
    pub(super) fn width(&self) -> usize {
        scene::size(self).0
    }
}

/// A puzzle, its steps and what became of it.
#[derive(Clone, Debug)]
pub struct Strip {
    /// What became of it.
    pub title: String,
    /// In the order of time.
    pub panels: Vec<Panel>,
    /// The first panel that shows what became of it: a GIF says the title from there on.
    pub outcome: usize,
}

/// Writes one SVG that needs no other file, with all panels.
///
/// # Errors
/// [`crate::Error::Io`] if it cannot be written.
pub fn write_svg(path: &Path, strips: &[Strip]) -> Result<()> {
    files::write_atomic(path, svg::text(&Scene::sheet(strips)).as_bytes())
}

/// The same as PNG.
///
/// # Errors
/// [`crate::Error::Io`] if it cannot be written.
pub fn write_png(path: &Path, strips: &[Strip]) -> Result<()> {
    files::write_atomic_with(path, |file| image::png(file, &Scene::sheet(strips)))
}

/// Writes a GIF that shows one panel after the other, for ever.
///
/// # Errors
/// [`crate::Error::Io`] if it cannot be written.
pub fn write_gif(path: &Path, strips: &[Strip]) -> Result<()> {
    files::write_atomic_with(path, |file| image::gif(file, &Scene::frames(strips)))
}

/// One panel as the text of an SVG, for a page.
pub(super) fn panel_svg(panel: &Panel) -> String {
    svg::text(&Scene::alone(panel))
}
