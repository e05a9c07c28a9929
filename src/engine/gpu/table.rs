//! The table of defaults: which variants an adapter takes that was never tuned, and why.
//!
//! The first row that matches counts. A row names larger tiles only where there is evidence for them; `trm tune`
//! measures what no table can know.

use crate::engine::DeviceInfo;
use crate::plan::{AttentionVariant, GemmVariant, Tile, Tiles, Variants};

/// AMD's PCI number.
pub const AMD: u32 = 0x1002;

/// Workgroups with which any GPU is busy.
const MANY: usize = 128;

/// What suits some adapters.
#[derive(Debug)]
pub struct Row {
    /// PCI number of the vendor; None for any.
    vendor: Option<u32>,
    /// The kind of adapter, as in [`DeviceInfo::kind`]; None for any.
    kind: Option<&'static str>,
    /// Only adapters with subgroups of at least eight threads.
    subgroups: bool,
    /// What they take.
    pub variants: Variants,
    /// The reason, or the source.
    pub why: &'static str,
}

impl Row {
    fn suits(&self, vendor: u32, kind: &str, subgroups: bool) -> bool {
        self.vendor.is_none_or(|own| own == vendor)
            && self.kind.is_none_or(|own| own == kind)
            && (subgroups || !self.subgroups)
    }
}

/// What runs everywhere.
const PLAIN: Variants = Variants {
    gemm: GemmVariant::Tiled,
    attention: AttentionVariant::Tiled,
    fused: true,
    tiles: Tiles::all(Tile::SMALL),
};

/// What suits llvmpipe where it takes tiles, in halves or without subgroups.
const SOFTWARE: Variants = Variants { tiles: Tiles { weight_gradient: Tile::LARGE, ..PLAIN.tiles }, ..PLAIN };

/// The defaults, the most special first.
const TABLE: &[Row] = &[
    Row {
        vendor: None,
        kind: Some("software"),
        subgroups: true,
        variants: Variants { gemm: GemmVariant::Broadcast, attention: AttentionVariant::Rows, ..SOFTWARE },
        why: "llvmpipe: shared memory is no faster than a buffer and barriers suspend every subgroup; 40 to 65 \
              GFLOP/s by broadcasts against 1.5 to 4 by tiles (assets/rejected.md)",
    },
    Row {
        vendor: None,
        kind: Some("software"),
        subgroups: false,
        variants: SOFTWARE,
        why: "no subgroups to broadcast in; 128x128 takes 0.53 to 0.73 of the time \
              of 64x64 for weight gradients (llvmpipe, sudoku-mlp and tiny-sudoku6), and either for other products",
    },
    Row {
        vendor: Some(AMD),
        kind: None,
        subgroups: false,
        variants: Variants {
            tiles: Tiles {
                forward: Tile::LARGE,
                reverse: Tile::LARGE,
                weight_gradient: Tile::LARGE,
                fused: Tile::SMALL,
                small_below: MANY,
            },
            ..PLAIN
        },
        why: "RADV (Mesa 22.3) for navi21 and gfx1100: 0.50 of the cycles of 64x64 for each multiply-add, 96 % \
              multiply-adds in the hot loop, nothing spills; fused kernels gain too little for a quarter of the workgroups",
    },
    Row {
        vendor: None,
        kind: None,
        subgroups: false,
        // For the larger tiles that `trm tune` may find.
        variants: Variants { tiles: Tiles { small_below: MANY, ..PLAIN.tiles }, ..PLAIN },
        why: "64x64 fits every adapter; larger tiles only where there is evidence for them",
    },
];

/// The defaults of an adapter.
pub fn defaults(info: &DeviceInfo) -> &'static Row {
    let subgroups = info.features.iter().any(|feature| feature == "subgroups");
    of(info.vendor, &info.kind, subgroups)
}

/// The defaults of a vendor's adapters of one kind, with or without subgroups.
pub fn of(vendor: u32, kind: &str, subgroups: bool) -> &'static Row {
    let found = TABLE.iter().find(|row| row.suits(vendor, kind, subgroups));
    found.unwrap_or(&TABLE[TABLE.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_row_suits_all() {
        for (vendor, kind) in [(0x10de, "discrete"), (0x8086, "integrated"), (0, "other")] {
            let tiles = Tiles { small_below: 0, ..of(vendor, kind, true).variants.tiles };
            assert_eq!(Variants { tiles, ..of(vendor, kind, true).variants }, PLAIN);
        }
        assert_eq!(PLAIN, Variants::default());
    }

    #[test]
    fn software_adapters_have_rows_of_their_own() {
        assert_eq!(of(0x10005, "software", true).variants.gemm, GemmVariant::Broadcast);
        assert_eq!(of(0x10005, "software", false).variants.gemm, GemmVariant::Tiled);
        assert_eq!(of(AMD, "software", false).variants.attention, AttentionVariant::Tiled);
        assert_eq!(of(AMD, "software", true).variants.attention, AttentionVariant::Rows);
        assert_eq!(of(AMD, "discrete", true).variants.tiles.forward, Tile::LARGE);
    }
}
