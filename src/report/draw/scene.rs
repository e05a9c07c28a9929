//! Where everything of a picture lies.

use super::board::{BLACK, Board, WHITE};
use super::{Panel, Rgb, Strip};

/// Pixels around everything and between panels.
const GAP: usize = 16;
/// Pixels of a line of text.
const LINE: usize = 24;
/// Pixels of a letter of captions.
const LETTER: usize = 8;
/// Panels stand beside each other up to this width.
const WIDEST: usize = 1600;
/// Hundredths of a second that a panel stays, and the last one of a puzzle.
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
        let mut scene = Scene { width: 0, height: GAP, items: Vec::new() };
        for strip in strips {
            scene.title(&strip.title);
            let (mut x, mut lowest) = (GAP, scene.height);
            for panel in &strip.panels {
                let (width, height) = size(panel);
                if x > GAP && x + width + GAP > WIDEST {
                    (x, scene.height) = (GAP, lowest + GAP);
                }
                scene.panel(panel, x, scene.height);
                lowest = lowest.max(scene.height + height);
                x += width + GAP;
                scene.width = scene.width.max(x);
            }
            scene.height = lowest + GAP;
        }
        scene
    }

    /// One panel a frame, all of a size.
    pub fn frames(strips: &[Strip]) -> Vec<Frame> {
        let panels = || strips.iter().flat_map(|strip| &strip.panels).map(size);
        let titles = strips.iter().map(|strip| LETTER * strip.title.chars().count()).max();
        let width =
            panels().map(|(width, _)| width).max().into_iter().chain(titles).max().unwrap_or(0) + 2 * GAP;
        let height = panels().map(|(_, height)| height).max().unwrap_or(0) + LINE + 2 * GAP;
        let frame = |strip: &Strip, index: usize| {
            let mut scene = Scene { width, height: GAP, items: Vec::new() };
            let last = index + 1 == strip.panels.len();
            // What became of it is not told before.
            scene.title(if last { &strip.title } else { "" });
            scene.panel(&strip.panels[index], (width - size(&strip.panels[index]).0) / 2, scene.height);
            scene.height = height;
            (scene, STAYS[usize::from(last)])
        };
        strips
            .iter()
            .flat_map(|strip| (0..strip.panels.len()).map(move |index| frame(strip, index)))
            .collect()
    }

    fn title(&mut self, title: &str) {
        let (x, y, text) = (GAP, self.height + LINE / 2, title.to_owned());
        self.items.push(Item::Text { x, y, text, ink: BLACK, size: Size::Small, bold: true, centred: false });
        self.width = self.width.max(LETTER * title.chars().count() + 2 * GAP);
        self.height += LINE;
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
fn size(panel: &Panel) -> (usize, usize) {
    let (width, height) = panel.board.cell;
    let caption = LETTER * panel.caption.chars().count();
    ((panel.board.cols * width + 2).max(caption), LINE + panel.board.rows() * height + 2)
}
