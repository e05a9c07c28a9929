//! A scene as pixels, and those as PNG and GIF.

use std::collections::HashMap;
use std::io::{self, Write};

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::Rgb;
use super::board::WHITE;
use super::scene::{Frame, Item, Scene, Size};

/// Shades between ink and paper: few enough for all colours of a puzzle to fit a GIF.
const SHADES: u32 = 6;
/// Colours of a GIF.
const COLOURS: usize = 256;

/// Pixels, row by row.
struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Rgb>,
}

impl Canvas {
    fn of(scene: &Scene) -> Canvas {
        let Scene { width, height, .. } = *scene;
        let mut canvas = Canvas { width, height, pixels: vec![WHITE; width * height] };
        for item in &scene.items {
            match item {
                Item::Rect { x, y, width, height, fill } => canvas.rect(*x, *y, *width, *height, *fill),
                Item::Text { x, y, text, ink, size, bold, centred } => {
                    canvas.text((*x, *y), text, *ink, (*size, *bold), *centred)
                }
            }
        }
        canvas
    }

    fn rect(&mut self, x: usize, y: usize, width: usize, height: usize, fill: Rgb) {
        let right = (x + width).min(self.width);
        for row in y..(y + height).min(self.height) {
            self.pixels[row * self.width + x.min(right)..row * self.width + right].fill(fill);
        }
    }

    /// Text beside `place` or around it; letters without a picture are question marks.
    fn text(
        &mut self,
        place: (usize, usize),
        text: &str,
        ink: Rgb,
        (size, bold): (Size, bool),
        centred: bool,
    ) {
        let weight = if bold { FontWeight::Bold } else { FontWeight::Regular };
        let height = if size == Size::Large { RasterHeight::Size24 } else { RasterHeight::Size16 };
        let advance = get_raster_width(weight, height);
        let before = if centred { advance * text.chars().count() / 2 } else { 0 };
        let mut left = place.0.saturating_sub(before);
        let top = place.1.saturating_sub(height.val() / 2);
        for character in text.chars() {
            let letter = get_raster(character, weight, height).or_else(|| get_raster('?', weight, height));
            for (row, line) in letter.iter().flat_map(|letter| letter.rows()).enumerate() {
                for (col, &intensity) in line.iter().enumerate() {
                    self.blend(left + col, top + row, ink, intensity);
                }
            }
            left += advance;
        }
    }

    fn blend(&mut self, x: usize, y: usize, ink: Rgb, intensity: u8) {
        let shade = (u32::from(intensity) * SHADES + 127) / 255;
        if shade == 0 || x >= self.width || y >= self.height {
            return;
        }
        let pixel = &mut self.pixels[y * self.width + x];
        for (paper, ink) in pixel.iter_mut().zip(ink) {
            *paper = ((u32::from(*paper) * (SHADES - shade) + u32::from(ink) * shade) / SHADES) as u8;
        }
    }
}

/// Writes a scene as PNG.
pub(super) fn png(out: &mut impl Write, scene: &Scene) -> io::Result<()> {
    let canvas = Canvas::of(scene);
    let mut encoder = png::Encoder::new(out, canvas.width as u32, canvas.height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(canvas.pixels.as_flattened())?;
    Ok(writer.finish()?)
}

/// Writes frames as a GIF that begins anew after its end.
pub(super) fn gif(out: &mut impl Write, frames: &[Frame]) -> io::Result<()> {
    let side = |length: usize| {
        u16::try_from(length)
            .map_err(|_| io::Error::other(format!("a GIF of {length} pixels; 65535 are the most")))
    };
    let (width, height) = frames.first().map_or((1, 1), |(scene, _)| (scene.width, scene.height));
    let (width, height) = (side(width)?, side(height)?);
    let mut palette = Palette::default();
    let drawn: Vec<(Vec<u8>, u16)> =
        frames.iter().map(|(scene, stays)| (palette.indices(&Canvas::of(scene)), *stays)).collect();
    let mut encoder =
        gif::Encoder::new(out, width, height, palette.colours.as_flattened()).map_err(io::Error::other)?;
    encoder.set_repeat(gif::Repeat::Infinite).map_err(io::Error::other)?;
    for (buffer, delay) in drawn {
        let frame = gif::Frame { width, height, delay, buffer: buffer.into(), ..gif::Frame::default() };
        encoder.write_frame(&frame).map_err(io::Error::other)?;
    }
    Ok(())
}

/// The colours of all frames.
#[derive(Default)]
struct Palette {
    colours: Vec<Rgb>,
    places: HashMap<Rgb, u8>,
}

impl Palette {
    fn indices(&mut self, canvas: &Canvas) -> Vec<u8> {
        canvas.pixels.iter().map(|pixel| self.index(*pixel)).collect()
    }

    fn index(&mut self, colour: Rgb) -> u8 {
        if let Some(&place) = self.places.get(&colour) {
            return place;
        }
        let place = if self.colours.len() < COLOURS {
            self.colours.push(colour);
            self.colours.len() - 1
        } else {
            let distance = |other: &Rgb| -> i32 {
                other.iter().zip(colour).map(|(one, two)| (i32::from(*one) - i32::from(two)).pow(2)).sum()
            };
            (0..COLOURS).min_by_key(|&place| distance(&self.colours[place])).unwrap_or_default()
        };
        // Places are below 256.
        self.places.insert(colour, place as u8);
        place as u8
    }
}
