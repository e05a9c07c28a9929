//! A scene as SVG.

use std::fmt::Write;

use super::Rgb;
use super::scene::{Item, Scene, Size};
use crate::report::html::escaped;

/// The whole file.
pub(super) fn text(scene: &Scene) -> String {
    let Scene { width, height, items } = scene;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} \
         {height}\" font-family=\"monospace\" text-anchor=\"middle\" dominant-baseline=\"central\" \
         shape-rendering=\"crispEdges\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for item in items {
        // Text takes all that is written.
        let _ = match item {
            Item::Rect { x, y, width, height, fill } => writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{}\"/>",
                hex(fill)
            ),
            Item::Text { x, y, text, ink, size, bold, centred } => writeln!(
                svg,
                "<text x=\"{x}\" y=\"{y}\"{} font-size=\"{}\"{} fill=\"{}\">{}</text>",
                if *centred { "" } else { " text-anchor=\"start\"" },
                if *size == Size::Large { 22 } else { 14 },
                if *bold { " font-weight=\"bold\"" } else { "" },
                hex(ink),
                escaped(&crate::text::printable(text))
            ),
        };
    }
    svg + "</svg>\n"
}

fn hex([red, green, blue]: &Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}
