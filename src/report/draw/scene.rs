//! Where everything of a picture lies.

use super::board::{BLACK, Board, WHITE};
use super::{Panel, Rgb, Strip};

/// Pixels around everything and between panels.
const GAP: usize = 16;
/// Pixels of a line of text.
const LINE: usize = 24;
/// Pixels of a letter of captions.
const LETTER: usize = 8;
/// Pixels of a letter of bold titles where the font is a viewer's own.
const TITLE_LETTER: usize = 9;
/// Letters up to which a title is not broken into lines, whatever it stands above.
const TITLE: usize = 24;
/// Pixels of a line of a title.
const TITLE_LINE: usize = 20;
/// Panels stand beside each other up to this width.
const WIDEST: usize = 1600;
/// Hundredths of a second that a panel stays, and one that shows what became of the puzzle.
const STAYS: [u16; 2] = [60, 300];

const GRID: Rgb = [190, 190, 190];
const GREY: Rgb = [70, 70, 70];

/// How large text is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Size {
    Small,
    Large,
}

/// Something to be drawn over what comes before.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// Filled.
    Rect { x: usize, y: usize, width: usize, height: usize, fill: Rgb },
    /// Beside (x, y) or, centred, around it.
    Text { x: usize, y: usize, text: String, ink: Rgb, size: Size, bold: bool, centred: bool },
}

/// A picture of (width, height) pixels on white.
#[derive(Clone, Debug, Default)]
pub(super) struct Scene {
    pub width: usize,
    pub height: usize,
    pub items: Vec<Item>,
}

/// A scene and how long it stays, in hundredths of a second.
pub(super) type Frame = (Scene, u16);

impl Scene {
    /// All panels, each puzzle in lines of its own below its title.
    pub fn sheet(strips: &[Strip]) -> Scene {
        let rows: Vec<Vec<&[Panel]>> = strips.iter().map(|strip| rows(&strip.panels)).collect();
        let widest = rows.iter().flatten().map(|row| row_width(row)).max().unwrap_or(0);
        let width = widest.max(TITLE_LETTER * longest_title(strips).min(TITLE));
        let mut scene = Scene { width: width + 2 * GAP, height: GAP, items: Vec::new() };
        for (strip, rows) in strips.iter().zip(rows) {
            scene.title(&broken(&strip.title, width / TITLE_LETTER));
            for row in rows {
                let mut x = GAP;
                for panel in row {
                    scene.panel(panel, x, scene.height);
                    x += size(panel).0 + GAP;
                }
                scene.height += row.iter().map(|panel| size(panel).1).max().unwrap_or(0) + GAP;
            }
        }
        scene
    }

    /// One panel a frame, all of a size.
    pub fn frames(strips: &[Strip]) -> Vec<Frame> {
        let sizes = || strips.iter().flat_map(|strip| &strip.panels).map(size);
        let widest = sizes().map(|(width, _)| width).max().unwrap_or(0);
        let widest = widest.max(LETTER * longest_title(strips).min(TITLE));
        let highest = sizes().map(|(_, height)| height).max().unwrap_or(0);
        let titles: Vec<Vec<String>> =
            strips.iter().map(|strip| broken(&strip.title, widest / LETTER)).collect();
        let lines = titles.iter().map(Vec::len).max().unwrap_or(0);
        let (width, height) = (widest + 2 * GAP, GAP + TITLE_LINE * lines + highest + GAP);
        let frame = |strip: &Strip, title: &[String], index: usize| {
            let mut scene = Scene { width, height: GAP, items: Vec::new() };
            // What became of it is not told before.
            if index >= strip.outcome {
                scene.title(title);
            }
            let panel = &strip.panels[index];
            scene.panel(panel, (width - size(panel).0) / 2, GAP + TITLE_LINE * lines);
            scene.height = height;
            (scene, STAYS[usize::from(index >= strip.outcome)])
        };
        strips
            .iter()
            .zip(&titles)
            .flat_map(|(strip, title)| (0..strip.panels.len()).map(move |index| frame(strip, title, index)))
            .collect()
    }

    /// A panel without a title.
    pub fn alone(panel: &Panel) -> Scene {
        let (width, height) = size(panel);
        let mut scene = Scene { width: width + GAP, height: height + GAP, items: Vec::new() };
        scene.panel(panel, GAP / 2, GAP / 2);
        scene
    }

    fn title(&mut self, lines: &[String]) {
        for line in lines {
            let (x, y, text) = (GAP, self.height + TITLE_LINE / 2, line.clone());
            let (ink, size) = (BLACK, Size::Small);
            self.items.push(Item::Text { x, y, text, ink, size, bold: true, centred: false });
            self.height += TITLE_LINE;
        }
    }

    fn panel(&mut self, panel: &Panel, x: usize, y: usize) {
        let Panel { caption, board } = panel;
        let middle = x + size(panel).0 / 2;
        let (ink, size) = (GREY, Size::Small);
        let text = caption.clone();
        self.items.push(Item::Text {
            x: middle,
            y: y + LINE / 2,
            text,
            ink,
            size,
            bold: false,
            centred: true,
        });
        self.board(board, middle - board.cols * board.cell.0 / 2, y + LINE);
    }

    fn board(&mut self, board: &Board, left: usize, top: usize) {
        let (width, height) = board.cell;
        let (rows, cols) = (board.rows(), board.cols);
        for (row, cells) in board.cells.chunks(cols).enumerate() {
            let (y, mut col) = (top + row * height, 0);
            for run in cells.chunk_by(|one, two| one.fill == two.fill) {
                let x = left + col * width;
                self.rect(x, y, run.len() * width, height, run.first().map_or(WHITE, |cell| cell.fill));
                col += run.len();
            }
            for (col, cell) in cells.iter().enumerate().filter(|(_, cell)| !cell.text.is_empty()) {
                let size = if width >= 32 && cell.text.len() == 1 { Size::Large } else { Size::Small };
                let (x, y) = (left + col * width + width / 2, y + height / 2);
                let (text, ink, bold) = (cell.text.clone(), cell.ink, cell.bold);
                self.items.push(Item::Text { x, y, text, ink, size, bold, centred: true });
            }
        }
        let heavy = |at: usize, every: Option<usize>, last: usize| {
            at == 0 || at == last || every.is_some_and(|every| at.is_multiple_of(every))
        };
        let (every_row, every_col) =
            (board.blocks.map(|blocks| blocks.0), board.blocks.map(|blocks| blocks.1));
        // Heavy lines lie over light ones.
        for wanted in [false, true] {
            let (thick, fill) = if wanted { (2, BLACK) } else { (1, GRID) };
            for row in (0..=rows).filter(|row| heavy(*row, every_row, rows) == wanted) {
                self.rect(left, top + row * height, cols * width + thick, thick, fill);
            }
            for col in (0..=cols).filter(|col| heavy(*col, every_col, cols) == wanted) {
                self.rect(left + col * width, top, thick, rows * height + thick, fill);
            }
        }
    }

    fn rect(&mut self, x: usize, y: usize, width: usize, height: usize, fill: Rgb) {
        self.items.push(Item::Rect { x, y, width, height, fill });
    }
}

/// Width and height of a panel.
pub(super) fn size(panel: &Panel) -> (usize, usize) {
    let (width, height) = panel.board.cell;
    let caption = LETTER * panel.caption.chars().count();
    ((panel.board.cols * width + 2).max(caption), LINE + panel.board.rows() * height + 2)
}

/// The panels that stand beside each other.
fn rows(panels: &[Panel]) -> Vec<&[Panel]> {
    let (mut rows, mut from) = (Vec::new(), 0);
    for to in 1..=panels.len() {
        if to - from > 1 && row_width(&panels[from..to]) + 2 * GAP > WIDEST {
            rows.push(&panels[from..to - 1]);
            from = to - 1;
        }
    }
    rows.push(&panels[from..]);
    rows
}

fn row_width(row: &[Panel]) -> usize {
    row.iter().map(|panel| size(panel).0 + GAP).sum::<usize>().saturating_sub(GAP)
}

fn longest_title(strips: &[Strip]) -> usize {
    strips.iter().map(|strip| strip.title.chars().count()).max().unwrap_or(0)
}

/// A title in lines of up to `most` letters.
fn broken(title: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in title.split(' ') {
        // A word that is too long is broken, too.
        let letters: Vec<char> = word.chars().collect();
        for part in letters.chunks(most.max(1)).map(|part| part.iter().collect::<String>()) {
            let room = |line: &&mut String| line.chars().count() + 1 + part.chars().count() <= most;
            match lines.last_mut().filter(room) {
                Some(line) => *line += &format!(" {part}"),
                None => lines.push(part),
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::inspect::Kind;

    fn strip(title: &str) -> Strip {
        let board = || Board::of(Kind::Sudoku { size: 4 }, None, &[1; 16], &[1; 16], &[2; 16]);
        let panels =
            ["given", "step 1", "label"].map(|caption| Panel { caption: caption.into(), board: board() });
        Strip { title: title.into(), panels: panels.into(), outcome: 1 }
    }

    fn says(scene: &Scene, wanted: &str) -> bool {
        scene.items.iter().any(|item| matches!(item, Item::Text { text, .. } if text == wanted))
    }

    #[test]
    fn a_long_title_makes_no_picture_wide() {
        let short = strip("not solved");
        let long = strip("not solved: the answer has two 3 in row 1 and two 4 in column 2");
        let width = |strip: &Strip| Scene::sheet(std::slice::from_ref(strip)).width;
        assert_eq!(width(&short), width(&long));
        let frames = Scene::frames(&[long]);
        let board = 4 * 32;
        assert!(
            frames.iter().all(|(scene, _)| scene.width < 2 * board && scene.width >= board),
            "{frames:?}"
        );
        assert!(says(&frames[2].0, "not solved: the answer"));
    }

    #[test]
    fn the_outcome_is_said_from_where_it_shows() {
        let frames = Scene::frames(&[strip("not solved")]);
        let told: Vec<bool> = frames.iter().map(|(scene, _)| says(scene, "not solved")).collect();
        assert_eq!(told, [false, true, true]);
    }

    #[test]
    fn titles_are_broken_between_words() {
        assert_eq!(broken("ab cd efghij k", 5), ["ab cd", "efghi", "j k"]);
        assert_eq!(broken("short", 5), ["short"]);
    }
}
