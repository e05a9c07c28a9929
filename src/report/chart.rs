//! Charts as SVG files: bars and lines, without a library, as there are only these two.

use std::fmt;

use super::html::escaped;

/// Width of a chart in pixels.
const WIDTH: f64 = 900.0;

/// Height of a bar with the gap below it.
const ROW: f64 = 22.0;

const COLOURS: [&str; 6] = ["#3366aa", "#aa5533", "#338855", "#885599", "#777722", "#226677"];

fn open(f: &mut fmt::Formatter<'_>, height: f64, title: &str) -> fmt::Result {
    writeln!(
        f,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">"#
    )?;
    writeln!(f, r##"<rect width="100%" height="100%" fill="#ffffff"/>"##)?;
    writeln!(f, r#"<text x="10" y="20" font-size="15">{}</text>"#, escaped(title))
}

/// Named amounts of one unit, one bar each.
#[derive(Clone, Debug)]
pub struct Bars {
    title: String,
    unit: String,
    bars: Vec<(String, f64, String)>,
}

impl Bars {
    /// Without bars yet.
    pub fn new(title: &str, unit: &str) -> Bars {
        Bars { title: title.into(), unit: unit.into(), bars: Vec::new() }
    }

    /// Adds a bar; `note` stands behind its amount.
    pub fn bar(&mut self, name: &str, amount: f64, note: String) {
        self.bars.push((name.into(), amount, note));
    }
}

impl fmt::Display for Bars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.bars.iter().map(|bar| bar.1).fold(f64::MIN_POSITIVE, f64::max);
        open(f, 40.0 + ROW * self.bars.len() as f64, &self.title)?;
        for (row, (name, amount, note)) in self.bars.iter().enumerate() {
            let y = 34.0 + ROW * row as f64;
            let width = 300.0 * amount / most;
            writeln!(f, r#"<text x="330" y="{:.0}" text-anchor="end">{}</text>"#, y + 13.0, escaped(name))?;
            let colour = COLOURS[0];
            writeln!(f, r#"<rect x="340" y="{y:.0}" width="{width:.1}" height="16" fill="{colour}"/>"#)?;
            let (x, text) = (346.0 + width, escaped(note));
            writeln!(f, r#"<text x="{x:.0}" y="{:.0}">{amount:.3} {} {text}</text>"#, y + 13.0, self.unit)?;
        }
        writeln!(f, "</svg>")
    }
}

/// Named lines over one pair of axes, both from zero.
#[derive(Clone, Debug)]
pub struct Lines {
    title: String,
    x: String,
    y: String,
    lines: Vec<(String, Vec<(f64, f64)>)>,
}

impl Lines {
    /// Without lines yet; `x` and `y` name the axes.
    pub fn new(title: &str, x: &str, y: &str) -> Lines {
        Lines { title: title.into(), x: x.into(), y: y.into(), lines: Vec::new() }
    }

    /// Adds a line through these points.
    pub fn line(&mut self, name: &str, points: Vec<(f64, f64)>) {
        self.lines.push((name.into(), points));
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points = || self.lines.iter().flat_map(|line| &line.1);
        let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::MIN_POSITIVE, f64::max);
        let (right, top) = (most(|point| point.0), most(|point| point.1));
        let place = |(x, y): (f64, f64)| (70.0 + 740.0 * x / right, 400.0 - 350.0 * y / top);
        open(f, 450.0, &self.title)?;
        writeln!(f, r##"<path d="M70 50V400H810" fill="none" stroke="#444444"/>"##)?;
        writeln!(f, r#"<text x="64" y="54" text-anchor="end">{top:.3}</text>"#)?;
        writeln!(f, r#"<text x="64" y="40" text-anchor="end">{}</text>"#, escaped(&self.y))?;
        writeln!(f, r#"<text x="810" y="418" text-anchor="end">{right:.3}</text>"#)?;
        writeln!(f, r#"<text x="440" y="436" text-anchor="middle">{}</text>"#, escaped(&self.x))?;
        for ((name, points), colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let path: Vec<String> =
                points.iter().map(|&point| place(point)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let path = path.join(" ");
            writeln!(f, r#"<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>"#)?;
            let (x, y) = place(*points.last().unwrap_or(&(0.0, 0.0)));
            writeln!(f, r#"<text x="{:.1}" y="{y:.1}" fill="{colour}">{}</text>"#, x + 6.0, escaped(name))?;
        }
        writeln!(f, "</svg>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_hold_what_was_added() {
        let mut bars = Bars::new("a < b", "ms");
        bars.bar("gemm", 2.0, "fast".into());
        bars.bar("sum", 1.0, String::new());
        let svg = bars.to_string();
        assert!(
            svg.contains("a &lt; b") && svg.contains(r#"width="300.0""#) && svg.contains(r#"width="150.0""#)
        );
        let mut lines = Lines::new("t", "B", "ms");
        lines.line("mixer", vec![(1.0, 1.0), (2.0, 2.0)]);
        assert!(lines.to_string().contains(r#"points="440.0,225.0 810.0,50.0""#));
    }
}
