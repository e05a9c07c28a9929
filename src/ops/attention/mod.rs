//! Attention over all positions, not causal: o = softmax(q k^T / sqrt(d)) v, per sample and head.
//!
//! Where q and k came rotated by a table of angles, dq and dk are turned back before they are stored, so that what flows
//! on is the gradient of qkv as it was before.
//!
//! Saved: qkv, o, and the log of each softmax's denominator (lse); the probabilities are recomputed.
//! Reverse: delta = sum(do o); p = exp(s - lse); ds = p (do v^T - delta); dq = ds k / sqrt(d) in one dispatch,
//! dk = ds^T q / sqrt(d) and dv = p^T do in another, so that nothing is added atomically. The CPU engine, where a head
//! is one thread's, makes p and ds once for all three ([`AttentionVariant::Joined`]).

mod twins;

use super::sum::gradient;
use crate::plan::{
    AttentionVariant, DispatchBuilder, Element, Entry, Kernel, Matrices, Reverse, Role, Shape, Tape, Target,
    Tensor,
};
use crate::{Error, Result};

/// `shaders/attention.wgsl`.
pub static KERNEL: Kernel =
    Kernel { name: "attention", source: include_str!("../../../shaders/attention.wgsl"), entries: ENTRIES };

/// `shaders/attention_matrix.wgsl`: matrix units, everything in f16, sums in f32.
pub static MATRIX_KERNEL: Kernel = Kernel {
    name: "attention_matrix",
    source: include_str!("../../../shaders/attention_matrix.wgsl"),
    entries: ENTRIES,
};

const ENTRIES: &[Entry] = &[
    Entry { name: "forward", twin: twins::forward },
    Entry { name: "reverse_queries", twin: twins::reverse },
    Entry { name: "reverse_keys", twin: twins::reversed },
];

/// The largest d: what the kernels' shared memory holds of one position.
const MAX_HEAD_DIM: usize = 2048;

/// Lays down attention over `qkv` (B, L, 3, heads, d) into o (B, L, D), `shape` being o's, and its reverse rule.
/// Kernels read two features at a time: d is even. Where q and k were rotated, `turned` is the table of angles, cos and
/// sin (L, d/2, 2), and the gradient is that of qkv before it was.
pub fn attention(
    tape: &mut Tape,
    shape: Shape,
    heads: usize,
    qkv: Tensor,
    turned: Option<Tensor>,
) -> Result<Tensor> {
    let head_dim = shape.width / heads;
    if head_dim > MAX_HEAD_DIM {
        let problem = format!("{heads} heads of {head_dim} features exceed {MAX_HEAD_DIM} each");
        return Err(Error::recipe("arch.num_heads", problem, "choose more heads"));
    }
    if !head_dim.is_multiple_of(2) {
        let problem = format!("{heads} heads have {head_dim} features each, an odd number");
        return Err(Error::recipe("arch.num_heads", problem, "choose heads of an even size"));
    }
    let o = tape.activation(shape.elements());
    let lse = tape.tensor(Role::Activation, shape.rows() * heads);
    let op = Attention { shape, heads, qkv, turned, o, lse };
    op.push(tape, "forward", 2, &[("qkv", qkv), ("o", o), ("lse", lse)])?;
    tape.rule(o, op);
    Ok(o)
}

struct Attention {
    shape: Shape,
    heads: usize,
    qkv: Tensor,
    turned: Option<Tensor>,
    o: Tensor,
    lse: Tensor,
}

impl Attention {
    /// `products` counts the multiply-adds of one (query, key) pair per feature.
    fn push(
        &self,
        tape: &mut Tape,
        entry: &'static str,
        products: usize,
        tensors: &[(&'static str, Tensor)],
    ) -> Result<()> {
        let Shape { batch, length, width } = self.shape;
        let head_dim = width / self.heads;
        let halves = tensors.iter().filter(|(name, _)| OF_HALVES.contains(name));
        let elements: Vec<Element> = halves.map(|&(_, tensor)| tape.element(tensor)).collect();
        let core = Core::of(head_dim, sides(entry), &elements, &tape.target());
        let groups = [length.div_ceil(core.rows()), self.heads, batch];
        let mut call = core.call(tape, entry).groups(groups);
        for &(name, tensor) in tensors {
            call = call.bind(name, tensor);
        }
        call.constant("HEAD_DIM", head_dim)
            .constant("TURNED", usize::from(self.turned.is_some()))
            .count("length", length)
            .count("heads", self.heads)
            .float("scale", 1.0 / (head_dim as f32).sqrt())
            .flops(2 * products * batch * length * length * width)
            .push()
    }
}

/// Threads of a workgroup.
const THREADS: usize = 128;

/// What computes an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// Multiply-adds in f32. So many threads share four rows: with more features more of them, so that their sums stay
    /// in registers.
    Tiled {
        /// Threads.
        lanes: usize,
    },
    /// Matrix units.
    Matrix(Matrices),
}

impl Core {
    fn tiled(head_dim: usize) -> Core {
        let lanes = match head_dim {
            ..=64 => 8,
            65..=128 => 16,
            _ => 32,
        };
        Core::Tiled { lanes }
    }

    /// What computes an entry for heads of `head_dim` features on `target`, with so many sides of each row at hand,
    /// where the tensors that can be halves are of these elements.
    pub fn of(head_dim: usize, sides: usize, elements: &[Element], target: &Target) -> Core {
        let fits = |units: &Matrices| {
            matches!(head_dim, 32 | 64 | 128)
                && elements.iter().all(|&element| element == Element::F16)
                && shared_bytes(*units, head_dim, sides) <= target.shared_bytes
        };
        target.matrices.filter(fits).map_or(Core::tiled(head_dim), Core::Matrix)
    }

    /// Rows that a workgroup owns.
    fn rows(self) -> usize {
        match self {
            Core::Tiled { lanes } => 4 * THREADS / lanes,
            Core::Matrix(units) => 4 * units.size as usize,
        }
    }

    fn call<'t>(self, tape: &'t mut Tape, entry: &'static str) -> DispatchBuilder<'t> {
        match self {
            Core::Tiled { lanes } => tape.call(&KERNEL, entry).constant("LANES", lanes),
            Core::Matrix(units) => {
                tape.call(&MATRIX_KERNEL, entry).constant("SIDES", sides(entry)).units(units)
            }
        }
    }
}

/// The tensors that matrix units need in f16. The others are f32 always.
const OF_HALVES: &[&str] = &["qkv", "o", "o_saved", "o_grad", "qkv_grad"];

/// Of each row, what an entry multiplies the columns by: q, or q and do, or k and v.
fn sides(entry: &str) -> usize {
    if entry == "forward" { 1 } else { 2 }
}

/// Bytes of shared memory of a workgroup on matrix units, at most: rows and columns, scores and weights of each row and
/// these columns, all with a gap of a vector, and what the threads of a row's softmax keep.
fn shared_bytes(units: Matrices, head_dim: usize, sides: usize) -> u32 {
    let (rows, columns) = (4 * units.size as usize, 2 * units.size as usize);
    let parts = (4 * units.subgroup as usize / rows).clamp(1, columns / 8);
    let staged = (sides * rows + columns) * (head_dim / 8 + 1);
    let scores = rows * (columns / 4 + 1 + columns / 8 + 1);
    (16 * (staged + scores) + 8 * rows * parts) as u32
}

impl Reverse for Attention {
    fn reverse(&self, tape: &mut Tape) -> Result<()> {
        let Some(o_grad) = gradient(tape, self.o)? else { return Ok(()) };
        let (elements, element) = (tape.elements(self.qkv), tape.target().gradient());
        let qkv_grad = tape.tensor_of(Role::Gradient, elements, element);
        let rows = self.shape.rows() * self.heads;
        let delta = tape.tensor(Role::Gradient, rows);
        let (qkv, o, lse) = (self.qkv, self.o, self.lse);
        // Where nothing turned, the binding is filled by what is at hand, and not read.
        let turns = ("turns", self.turned.unwrap_or(lse));
        let common = [("qkv", qkv), ("o_grad", o_grad), ("lse_saved", lse), turns, ("qkv_grad", qkv_grad)];
        let joined = tape.target().attention == AttentionVariant::Joined;
        let with_o = [&common[..], &[("o_saved", o), ("delta", delta)]].concat();
        self.push(tape, "reverse_queries", if joined { 5 } else { 3 }, &with_o)?;
        if !joined {
            self.push(tape, "reverse_keys", 4, &[&common[..], &[("delta_saved", delta)]].concat())?;
        }
        tape.contribute(self.qkv, qkv_grad);
        Ok(())
    }
}
