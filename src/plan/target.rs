//! What a plan is laid out for: which variants of its kernels the device runs best, and what it can bind.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Element;

/// Workgroups with which any GPU is busy.
pub const MANY: usize = 128;

/// What a workgroup of `shaders/product.wgsl` owns of a product: `64x128` is 64 rows and 128 columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Tile {
    /// Rows of a thread: 4 or 8.
    rows: usize,
    /// Fours of columns of a thread: 1 or 2.
    fours: usize,
}

impl Tile {
    /// The shader's own: fits every adapter.
    pub const SMALL: Tile = Tile { rows: 4, fours: 1 };

    /// The most multiply-adds for each word that is read; more shared memory than some adapters have.
    pub const LARGE: Tile = Tile { rows: 8, fours: 2 };

    /// Every tile that the shader can be specialised to, the small one first.
    pub const ALL: [Tile; 4] =
        [Tile::SMALL, Tile { rows: 4, fours: 2 }, Tile { rows: 8, fours: 1 }, Tile::LARGE];

    /// The tile that a kernel with these constants is specialised to.
    pub fn of(constants: &[(&'static str, u32)]) -> Tile {
        let given = |name: &str| constants.iter().find(|(known, _)| *known == name);
        let value = |name: &str, own: usize| given(name).map_or(own, |(_, value)| *value as usize);
        Tile { rows: value("ROWS", Tile::SMALL.rows), fours: value("FOURS", Tile::SMALL.fours) }
    }

    /// Rows and columns of a workgroup.
    pub const fn name(self) -> &'static str {
        match (self.rows, self.fours) {
            (4, 1) => "64x64",
            (4, _) => "64x128",
            (_, 1) => "128x64",
            _ => "128x128",
        }
    }

    /// Rows of a thread, the shader's ROWS.
    pub const fn rows(self) -> usize {
        self.rows
    }

    /// Fours of columns of a thread, the shader's FOURS.
    pub const fn fours(self) -> usize {
        self.fours
    }

    /// Rows of a workgroup.
    pub const fn height(self) -> usize {
        16 * self.rows
    }

    /// Columns of a workgroup.
    pub const fn width(self) -> usize {
        64 * self.fours
    }

    /// Bytes of shared memory that the operands of 16 steps of k take.
    pub const fn shared_bytes(self) -> u32 {
        (16 * (self.height() + 4 + self.width() + 4) * 4) as u32
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Tile {
    type Err = String;

    fn from_str(name: &str) -> Result<Tile, String> {
        let known = Tile::ALL.into_iter().find(|tile| tile.name() == name);
        known.ok_or_else(|| format!("{name} is none of the tiles {}", Tile::ALL.map(Tile::name).join(", ")))
    }
}

impl From<Tile> for String {
    fn from(tile: Tile) -> String {
        tile.name().into()
    }
}

impl TryFrom<String> for Tile {
    type Error = String;

    fn try_from(name: String) -> Result<Tile, String> {
        name.parse()
    }
}

/// What a workgroup of `shaders/product_matrix.wgsl` owns of a product: two by two subgroups, each with a square of
/// matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MatrixTile {
    /// 2 x 2 matrices to a subgroup.
    Small,
    /// 4 x 4 of them: the most products for each element that is read.
    Large,
}

impl MatrixTile {
    /// All of them, that for many workgroups first.
    pub const ALL: [MatrixTile; 2] = [MatrixTile::Large, MatrixTile::Small];

    /// What a subgroup owns.
    pub const fn name(self) -> &'static str {
        match self {
            MatrixTile::Small => "2x2",
            MatrixTile::Large => "4x4",
        }
    }

    /// Matrices of a subgroup, down and across.
    pub const fn matrices(self) -> usize {
        match self {
            MatrixTile::Small => 2,
            MatrixTile::Large => 4,
        }
    }

    /// Rows and columns of a workgroup, of matrices of `size` x `size`.
    pub const fn extent(self, size: u32) -> usize {
        2 * self.matrices() * size as usize
    }
}

/// What a product is for; each purpose has its own shapes and strides, and so its own best tile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Activations from activations.
    #[default]
    Forward,
    /// Gradients of activations.
    Reverse,
    /// Gradients of weights: long sums.
    WeightGradient,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Purpose; 3] = [Purpose::Forward, Purpose::Reverse, Purpose::WeightGradient];
}

/// A tile for each purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerPurpose<T> {
    /// Of [`Purpose::Forward`].
    pub forward: T,
    /// Of [`Purpose::Reverse`].
    pub reverse: T,
    /// Of [`Purpose::WeightGradient`].
    pub weight_gradient: T,
    /// Products of fewer workgroups than this take the small tile: fewer large ones would leave a GPU idle.
    pub small_below: usize,
}

impl<T: Copy> PerPurpose<T> {
    /// One tile for everything, but for products of fewer workgroups than `small_below`.
    pub const fn all(tile: T, small_below: usize) -> PerPurpose<T> {
        PerPurpose { forward: tile, reverse: tile, weight_gradient: tile, small_below }
    }

    /// The tile of products for `purpose`.
    pub fn of(&self, purpose: Purpose) -> T {
        match purpose {
            Purpose::Forward => self.forward,
            Purpose::Reverse => self.reverse,
            Purpose::WeightGradient => self.weight_gradient,
        }
    }

    /// The same with another tile for `purpose`.
    pub fn with(mut self, purpose: Purpose, tile: T) -> PerPurpose<T> {
        match purpose {
            Purpose::Forward => self.forward = tile,
            Purpose::Reverse => self.reverse = tile,
            Purpose::WeightGradient => self.weight_gradient = tile,
        }
        self
    }
}

/// The tiles of products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tiles {
    /// Those of products on multiply-adds.
    pub tiled: PerPurpose<Tile>,
    /// Those of products on matrix units.
    pub matrices: PerPurpose<MatrixTile>,
}

impl Tiles {
    /// One tile for everything, but for products of fewer workgroups than `small_below`.
    pub const fn all(tile: Tile, small_below: usize) -> Tiles {
        let matrices = PerPurpose::all(MatrixTile::Large, MANY);
        Tiles { tiled: PerPurpose::all(tile, small_below), matrices }
    }

    /// Shared memory of the largest that multiply-adds take.
    pub fn shared_bytes(&self) -> u32 {
        let bytes = Purpose::ALL.map(|purpose| self.tiled.of(purpose).shared_bytes());
        bytes.into_iter().max().unwrap_or(0)
    }

    /// These, each one that a workgroup has too little shared memory for replaced by the small one.
    pub fn fitting(mut self, shared_bytes: u32) -> Tiles {
        for purpose in Purpose::ALL {
            if self.tiled.of(purpose).shared_bytes() > shared_bytes {
                self.tiled = self.tiled.with(purpose, Tile::SMALL);
            }
        }
        self
    }
}

/// The cooperative matrices of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Matrices {
    /// Their rows and columns: 8 or 16.
    pub size: u32,
    /// Threads of the subgroups that hold them. Where the driver takes others, products are right but slower.
    pub subgroup: u32,
    /// Whether they come from and go to memory by pointers to scalars only, as Metal's do. Elsewhere pointers to vectors
    /// keep what is staged in whole vectors.
    pub scalars: bool,
}

impl Matrices {
    /// Those of Apple's GPUs.
    pub const APPLE: Matrices = Matrices { size: 8, subgroup: 32, scalars: true };
}

impl Default for Matrices {
    /// What most GPUs have.
    fn default() -> Matrices {
        Matrices { size: 16, subgroup: 32, scalars: false }
    }
}

/// Variants of attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AttentionVariant {
    /// Tiles of queries and keys in shared memory: runs everywhere.
    #[default]
    Tiled,
    /// The whole reverse pass in the dispatch `reverse_queries`, as its twin makes it: for the CPU engine only.
    Joined,
}

impl Default for Tiles {
    /// What runs everywhere.
    fn default() -> Tiles {
        Tiles::all(Tile::SMALL, 0)
    }
}

/// What a plan is laid out for. The default's kernels run everywhere; the CPU engine's twins are the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Matrix units for operands in f16, where the adapter's passed their probe.
    pub matrices: Option<Matrices>,
    /// Tiles of tiled products.
    pub tiles: Tiles,
    /// Weight gradients of fewer workgroups than this are divided along their sums; 0 for none.
    pub split_below: usize,
    /// Attention.
    pub attention: AttentionVariant,
    /// Storage of activations and of the copies of weights that products read.
    pub precision: Element,
    /// Keep nothing of what is inside recorded MLPs and compute it again in the reverse pass: less memory, more time.
    pub recompute: bool,
    /// Bytes of the largest buffer and binding: a larger table of puzzle embeddings is split.
    pub binding_bytes: u64,
    /// Bytes of shared memory that a workgroup can have.
    pub shared_bytes: u32,
}

/// Shared memory that every adapter offers to a workgroup.
pub const SHARED_BYTES: u32 = 16_384;

impl Target {
    /// What gradients of activations are: halves where matrix units want them as operands.
    pub fn gradient(&self) -> Element {
        match (self.precision, self.matrices) {
            (Element::F16, Some(_)) => Element::F16,
            _ => Element::F32,
        }
    }
}

impl Default for Target {
    fn default() -> Target {
        Target {
            matrices: None,
            tiles: Tiles::default(),
            attention: AttentionVariant::Tiled,
            split_below: 0,
            precision: Element::F32,
            recompute: false,
            binding_bytes: u64::MAX,
            shared_bytes: SHARED_BYTES,
        }
    }
}
