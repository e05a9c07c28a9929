//! The matrix product: every product of the model, forward, reverse and weight gradient, is one [`Product`], laid down
//! by the core that suits it and ended by an [`Epilogue`].

use super::gemm::{Gemm, Operand};
use super::multiply;
use crate::plan::{
    Axis, Dispatch, DispatchBuilder, Element, Entry, Kernel, Matrices, MatrixTile, Tape, Target, Tensor, Tile,
};
use crate::{Error, Result};

/// `shaders/product.wgsl`: multiply-adds in f32, any operands.
pub static KERNEL: Kernel =
    Kernel { name: "product", source: include_str!("../../shaders/product.wgsl"), entries: ENTRIES };

/// `shaders/product_matrix.wgsl`: matrix units, operands in f16, sums in f32.
pub static MATRIX_KERNEL: Kernel = Kernel {
    name: "product_matrix",
    source: include_str!("../../shaders/product_matrix.wgsl"),
    entries: ENTRIES,
};

const ENTRIES: &[Entry] = &[
    Entry { name: "store", twin: multiply::store },
    Entry { name: "add", twin: multiply::add },
    Entry { name: "gate", twin: multiply::gate },
    Entry { name: "gate_kept", twin: multiply::gate_kept },
    Entry { name: "ungate", twin: multiply::ungate },
    Entry { name: "turn", twin: multiply::turn },
];

/// What a product ends in. C is what the product itself comes to; shapes are those of a product over D, and in brackets
/// of one over L, of each sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// C.
    Store,
    /// C and a tensor of its shape.
    Add(Tensor),
    /// C and a vector of n, added to every row.
    Bias(Tensor),
    /// silu(g) * u (rows, I) [(I, D)] of C = (g, u) (rows, 2 I) [(2 I, D)].
    Gate {
        /// Where g and u go, as C lies, if anybody wants them.
        kept: Option<Tensor>,
    },
    /// The gradients of g and u (rows, 2 I) [(2 I, D)], C being that of silu(g) * u (rows, I) [(I, D)].
    Ungate {
        /// g and u.
        gate_up: Tensor,
    },
    /// C = (q, k, v) (rows, 3, heads, d), q and k turned by the angles of their positions. Over D only.
    Turn {
        /// cos and sin (L, d/2, 2).
        table: Tensor,
        /// L: a row's position is its remainder.
        length: usize,
        /// Half of d.
        half: usize,
    },
}

impl Epilogue {
    fn entry(self) -> &'static str {
        match self {
            Epilogue::Store => "store",
            Epilogue::Add(_) | Epilogue::Bias(_) => "add",
            Epilogue::Gate { kept: None } => "gate",
            Epilogue::Gate { .. } => "gate_kept",
            Epilogue::Ungate { .. } => "ungate",
            Epilogue::Turn { .. } => "turn",
        }
    }

    /// Whether lines of W belong together in pairs.
    fn pairs(self) -> bool {
        matches!(self, Epilogue::Gate { .. } | Epilogue::Turn { .. })
    }

    /// Elements of its result.
    fn elements(self, gemm: &Gemm) -> usize {
        let c = gemm.batch * gemm.m * gemm.n;
        match self {
            Epilogue::Gate { .. } => c / 2,
            Epilogue::Ungate { .. } => 2 * c,
            _ => c,
        }
    }
}

/// What multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// Multiply-adds in f32, a tile of C to a workgroup.
    Tile(Tile),
    /// Matrix units.
    Matrix(MatrixCore),
}

/// How matrix units share a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixCore {
    /// Those of the adapter.
    pub units: Matrices,
    /// What a workgroup owns.
    pub tile: MatrixTile,
    /// Steps of k that are staged at once.
    pub depth: usize,
}

impl MatrixCore {
    /// Bytes of shared memory of a workgroup: two staged operands, and the strips by which C leaves.
    fn shared_bytes(self, gemm: &Gemm) -> u32 {
        let (size, extent) = (self.units.size as usize, self.tile.extent(self.units.size));
        let staged = |along_k: bool| match along_k {
            true => extent * (self.depth / 8 + 1),
            false => self.depth * (extent / 8 + 1),
        };
        let strips = 4 * size * (size / 2 + 1);
        (16 * (staged(gemm.a.col == 1) + staged(gemm.b.row == 1) + strips)) as u32
    }

    /// What `target` takes for a product: the larger tile where it keeps a GPU busy, and twice the depth where both
    /// operands lie along k, if there is shared memory for that.
    fn of(gemm: &Gemm, units: Matrices, target: &Target) -> Option<MatrixCore> {
        let wanted = target.tiles.matrices;
        let many = |tile| {
            let core = Core::Matrix(MatrixCore { units, tile, depth: 32 });
            core.groups(gemm).iter().product::<usize>() >= wanted.small_below
        };
        let own = wanted.of(gemm.purpose);
        let tile = if many(own) { own } else { MatrixTile::Small };
        let depths = if gemm.a.col == 1 && gemm.b.row == 1 { &[64, 32][..] } else { &[32] };
        let cores = depths.iter().map(|&depth| MatrixCore { units, tile, depth });
        cores.into_iter().find(|core| core.shared_bytes(gemm) <= target.shared_bytes)
    }
}

/// Whether matrix units can read a product's operands by whole vectors, and are worth it.
fn fits_matrices(gemm: &Gemm, elements: [Element; 2]) -> bool {
    let vectors = |strides: &[usize]| strides.iter().all(|stride| stride.is_multiple_of(8));
    let operand = |line: usize, depth: usize, Operand { batch, step, .. }: Operand| match (line, depth) {
        (line, 1) => vectors(&[line, batch, step]),
        (1, depth) => vectors(&[depth, batch, step]),
        _ => false,
    };
    let fitting = operand(gemm.a.row, gemm.a.col, gemm.a) && operand(gemm.b.col, gemm.b.row, gemm.b);
    elements == [Element::F16; 2] && fitting && gemm.m.min(gemm.n) >= 16
}

impl Core {
    /// What people call the core of a dispatch, if that is a product: `tiled 64x64`, `units 4x4`.
    pub fn name_of(dispatch: &Dispatch) -> Option<String> {
        let down =
            dispatch.constants.iter().find(|(name, _)| *name == "DOWN").map(|(_, down)| *down as usize);
        let units = MatrixTile::ALL.into_iter().find(|tile| Some(tile.matrices()) == down);
        match (dispatch.kernel.name, units) {
            (_, Some(tile)) => Some(format!("units {}", tile.name())),
            ("product", None) => Some(format!("tiled {}", Tile::of(&dispatch.constants))),
            _ => None,
        }
    }

    /// Rows and columns of C that a workgroup owns.
    fn extent(self) -> [usize; 2] {
        match self {
            Core::Tile(tile) => [tile.height(), tile.width()],
            Core::Matrix(core) => [core.tile.extent(core.units.size); 2],
        }
    }

    /// Workgroups of a product. Pairs come in fours of lines, of which the last may be a half.
    fn groups(self, gemm: &Gemm) -> [usize; 3] {
        let [height, width] = self.extent();
        let fours = |count: usize| count.next_multiple_of(4);
        [fours(gemm.n).div_ceil(width), fours(gemm.m).div_ceil(height), gemm.batch]
    }

    fn call<'t>(self, tape: &'t mut Tape, entry: &'static str) -> DispatchBuilder<'t> {
        match self {
            Core::Tile(Tile::SMALL) => tape.call(&KERNEL, entry),
            Core::Tile(tile) => {
                tape.call(&KERNEL, entry).constant("ROWS", tile.rows()).constant("FOURS", tile.fours())
            }
            Core::Matrix(MatrixCore { units, tile, depth }) => tape
                .call(&MATRIX_KERNEL, entry)
                .units(units)
                .constant("DOWN", tile.matrices())
                .constant("ACROSS", tile.matrices())
                .constant("DEPTH", depth),
        }
    }
}

/// A product with its epilogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Shape and strides of C, A and B.
    pub gemm: Gemm,
    /// The axis that the layer works on: over D its weight is B, over L it is A.
    pub over: Axis,
    /// What becomes of C.
    pub epilogue: Epilogue,
}

impl Product {
    /// The core that multiplies operands of these elements on `target`.
    pub fn core(gemm: &Gemm, elements: [Element; 2], target: &Target) -> Core {
        let units = target.matrices.filter(|_| fits_matrices(gemm, elements));
        if let Some(core) = units.and_then(|units| MatrixCore::of(gemm, units, target)) {
            return Core::Matrix(core);
        }
        let wanted = Core::Tile(target.tiles.tiled.of(gemm.purpose));
        let many = wanted.groups(gemm).iter().product::<usize>() >= target.tiles.tiled.small_below;
        if many { wanted } else { Core::Tile(Tile::SMALL) }
    }

    /// Equal parts that the sum of a single C is divided into so that `target` is busy: few workgroups with long sums
    /// would leave most of a GPU idle.
    pub fn parts(gemm: &Gemm, elements: [Element; 2], target: &Target) -> usize {
        let groups = Product::core(gemm, elements, target).groups(gemm).iter().product::<usize>();
        gemm.parts(target.split_below / groups.max(1))
    }

    /// Lays the product down.
    ///
    /// # Errors
    /// [`Error::Kernel`] for operands or results that do not fit it.
    pub fn push(&self, tape: &mut Tape, a: Tensor, b: Tensor, c: Tensor) -> Result<()> {
        let Product { gemm, over, epilogue } = *self;
        if tape.elements(c) < epilogue.elements(&gemm) {
            return Err(Error::kernel("product", format!("{self:?} does not fit its result")));
        }
        let core = Product::core(&gemm, [tape.element(a), tape.element(b)], &tape.target());
        let over_l = over == Axis::Length;
        let call = core
            .call(tape, epilogue.entry())
            .constant("A_ALONG_K", usize::from(gemm.a.col == 1))
            .constant("B_ALONG_K", usize::from(gemm.b.row == 1))
            .constant("OVER_L", usize::from(over_l))
            .constant("PAIRED", usize::from(epilogue.pairs()));
        let call = with_operands(call, &gemm).bind("a", a).bind("b", b).bind("c", c);
        let lines = if over_l { gemm.m } else { gemm.n };
        // A pair's lines lie half of all apart, or half a head.
        let (mut half, mut rotated, mut period) = (lines / 2, 0, 1);
        let (mut c_row, mut c_batch) = (gemm.n, gemm.m * gemm.n);
        let (mut addend_row, mut addend_batch) = (0, 0);
        let call = match epilogue {
            Epilogue::Store => call,
            Epilogue::Add(addend) => {
                (addend_row, addend_batch) = (c_row, c_batch);
                call.bind("addend", addend)
            }
            Epilogue::Bias(addend) => call.bind("addend", addend),
            Epilogue::Gate { kept } => {
                (c_row, c_batch) = if over_l { (c_row, c_batch / 2) } else { (c_row / 2, c_batch / 2) };
                kept.into_iter().fold(call, |call, kept| call.bind("kept", kept))
            }
            Epilogue::Ungate { gate_up } => {
                (c_row, c_batch) = if over_l { (c_row, 2 * c_batch) } else { (2 * c_row, 2 * c_batch) };
                call.bind("gate_up", gate_up)
            }
            Epilogue::Turn { table, length, half: half_head } => {
                (half, rotated, period) = (half_head, gemm.n / 3, length);
                call.bind("table", table)
            }
        };
        call.count("c_row", c_row)
            .count("c_batch", c_batch)
            .count("addend_row", addend_row)
            .count("addend_batch", addend_batch)
            .count("pairs", lines / 2)
            .count("half", half)
            .count("rotated", rotated)
            .count("length", period)
            .groups(core.groups(&gemm))
            .flops(gemm.flops())
            .push()
    }
}

/// Sizes, and the strides of A and B.
fn with_operands<'t>(call: DispatchBuilder<'t>, gemm: &Gemm) -> DispatchBuilder<'t> {
    let call = call.count("m", gemm.m).count("n", gemm.n).count("k", gemm.k);
    let Operand { row, col, batch, step } = gemm.a;
    let call = call.count("a_row", row).count("a_col", col).count("a_batch", batch).count("a_step", step);
    let Operand { row, col, batch, step } = gemm.b;
    let call = call.count("b_row", row).count("b_col", col).count("b_batch", batch).count("b_step", step);
    call.count("reductions", gemm.reductions)
}
