//! The table of defaults: which tiles an adapter takes that was never tuned, and why.
//!
//! The first row that matches counts. A row names larger tiles only where there is evidence for them; `trm tune`
//! measures what no table can know.

use crate::engine::DeviceInfo;
use crate::plan::{MANY, Tile, Tiles};

/// AMD's PCI number.
pub const AMD: u32 = 0x1002;

/// NVIDIA's PCI number.
const NVIDIA: u32 = 0x10de;

/// Workgroups below which sums are divided: two for each multiprocessor of the largest GPUs, of which one H200 with 132
/// ran products of 16 and 32 workgroups at 2 and 5 % of its roofline.
pub const BUSY: usize = 256;

/// What suits some adapters.
#[derive(Debug)]
pub struct Row {
    /// PCI number of the vendor; None for any.
    vendor: Option<u32>,
    /// The kind of adapter, as in [`DeviceInfo::kind`]; None for any.
    kind: Option<&'static str>,
    /// What they take.
    pub tiles: Tiles,
    /// The reason, or the source.
    pub why: &'static str,
}

impl Row {
    fn suits(&self, vendor: u32, kind: &str) -> bool {
        self.vendor.is_none_or(|own| own == vendor) && self.kind.is_none_or(|own| own == kind)
    }
}

/// The defaults, the most special first.
const TABLE: &[Row] = &[
    Row {
        vendor: Some(AMD),
        kind: None,
        tiles: Tiles::all(Tile::LARGE, MANY),
        why: "RADV (Mesa 22.3) for navi21 and gfx1100: 0.52 of the cycles of 64x64 for each multiply-add, 97 % \
              multiply-adds in the hot loop, nothing spills",
    },
    Row {
        vendor: Some(NVIDIA),
        kind: None,
        tiles: Tiles::all(Tile::SMALL, MANY),
        why: "an H200 ran 64x64 in f32 at 42 to 47 % of its multiply-add peak whatever the shape, no larger tile was \
              measured; on matrix units, 64x64 of C to a subgroup beat 64x32 and 32x64 by a fifth in whole products",
    },
    Row {
        vendor: None,
        kind: None,
        // For the larger tiles that `trm tune` may find.
        tiles: Tiles::all(Tile::SMALL, MANY),
        why: "64x64 fits every adapter; larger tiles only where there is evidence for them",
    },
];

/// The defaults of an adapter.
pub fn defaults(info: &DeviceInfo) -> &'static Row {
    of(info.vendor, &info.kind)
}

/// The defaults of a vendor's adapters of one kind.
pub fn of(vendor: u32, kind: &str) -> &'static Row {
    let found = TABLE.iter().find(|row| row.suits(vendor, kind));
    found.unwrap_or(&TABLE[TABLE.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_row_suits_all() {
        for (vendor, kind) in [(0x10de, "discrete"), (0x8086, "integrated"), (0x10005, "software")] {
            assert_eq!(of(vendor, kind).tiles, Tiles::all(Tile::SMALL, MANY));
        }
    }

    #[test]
    fn amd_has_a_row_of_its_own() {
        assert_eq!(of(AMD, "discrete").tiles.tiled.forward, Tile::LARGE);
    }
}
