//! Pieces of HTML pages that read well on a wide screen, a phone, paper, a light screen and a dark one.

/// The style of a page with tables: its colours are variables, which differ on dark screens. A table that is cut has a shadow
/// where it goes on, and the rows of [`records`] become blocks on a narrow screen.
pub(super) const STYLE: &str = include_str!("html.css");

/// The page of this title, style besides [`STYLE`], and body.
pub(super) fn page(title: &str, style: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!DOCTYPE html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content='width=device-width,initial-scale=1'><title>{title}</title>\
         <style>{STYLE}{style}</style><h1>{title}</h1>\n{body}</html>\n"
    )
}

/// Text that stands in XML or HTML, between tags or in quotes.
pub(super) fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}

/// A share of 0 to 1 as a bar.
pub(super) fn bar(share: f64) -> String {
    let width = 100.0 * if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    format!(
        "<svg class=bar viewBox='0 0 100 10' preserveAspectRatio=none aria-hidden=true>\
         <rect fill=currentColor width={width:.1} height=10 /></svg>"
    )
}

/// A table that scrolls sideways where the screen is narrow; titles and cells are HTML.
pub(super) fn table<T: AsRef<str>>(titles: &[T], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let row = |cells: Vec<String>| -> String { cells.iter().map(|cell| format!("<td>{cell}")).collect() };
    format!("<div class=wide><table>{}</table></div>\n", lines(titles, rows.into_iter().map(row)))
}

/// A table of many columns whose rows are shown below each other where the screen is narrow; titles are escaped text.
pub(super) fn records<T: AsRef<str>>(titles: &[T], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let row = |cells: Vec<String>| -> String {
        let cells = cells.iter().zip(titles);
        cells.map(|(cell, title)| format!("<td data-of='{}'>{cell}", title.as_ref())).collect()
    };
    format!(
        "<div class=wide><table class=records>{}</table></div>\n",
        lines(titles, rows.into_iter().map(row))
    )
}

fn lines<T: AsRef<str>>(titles: &[T], rows: impl Iterator<Item = String>) -> String {
    let titles: String = titles.iter().map(|title| format!("<th>{}", title.as_ref())).collect();
    let rows: String = rows.map(|cells| format!("<tr>{cells}\n")).collect();
    format!("<tr>{titles}\n{rows}")
}
