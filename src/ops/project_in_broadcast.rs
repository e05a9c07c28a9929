//! The first half of a sublayer in one dispatch, for passes without gradients on devices that take broadcasts: the
//! product and SwiGLU, or the rotation of q and k. Sums of inputs and norms stay passes of their own, which cost less
//! than products would pay to make them while they read (assets/rejected.md).

use super::gemm::{Gemm, with_result};
use super::linear::Weight;
use super::multiply::Matrix;
use super::project_in::{Turns, qkv_over_d, swiglu_over_d, swiglu_over_l};
use crate::Result;
use crate::plan::{Axis, Call, DispatchBuilder, Entry, Kernel, LinearForm, Shape, Tape, Tensor};

/// `shaders/project_in_broadcast.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "project_in_broadcast",
    source: include_str!("../../shaders/project_in_broadcast.wgsl"),
    entries: &[
        Entry { name: "swiglu_of_columns", twin: swiglu_of_columns_twin },
        Entry { name: "swiglu_of_rows", twin: swiglu_of_rows_twin },
        Entry { name: "rope", twin: rope_twin },
    ],
};

/// Rows of a workgroup over L, of which sixteen hold eight pairs; every recipe has many times as many. With 48 the
/// products of `sudoku-mlp` take as long on llvmpipe.
const ROWS_OF_PAIRS: usize = 64;

/// Loop iterations in which a thread stores up to 64 rows: eight of eight at the most, in a loop of eight.
const STORE_TRIPS: usize = 1 + 8 * (1 + 8 + 1);

/// Whether a sublayer that is laid down now takes the kernel: where nothing is recorded, on a device that broadcasts,
/// for lines of out that threads store by vectors, and partners `half` rows of W apart.
fn suits(tape: &Tape, form: LinearForm, weight: Weight, half: usize) -> bool {
    let product = form.forward(weight.padding);
    // Over D the partners are columns of B, told apart where B runs along k: rows of one element look like the others.
    let along_k = form.axis == Axis::Length || product.b.col != 1;
    let by_vectors = product.n.is_multiple_of(8) && half.is_multiple_of(4);
    !tape.recording() && tape.target().pairs_by_broadcasts() && by_vectors && along_k
}

/// Lays down a = silu(g) * u, (g, u) = W h, W (2 `inner`, K): a (B, L, inner) over D, (B, inner, D) over L. None where
/// the kernel does not suit.
pub fn swiglu(tape: &mut Tape, form: LinearForm, h: Tensor, weight: Weight) -> Result<Option<Tensor>> {
    let (product, inner) = (form.forward(weight.padding), form.out / 2);
    if !suits(tape, form, weight, inner) {
        return Ok(None);
    }
    let out = tape.activation(LinearForm { out: inner, ..form }.output().words());
    match form.axis {
        Axis::Width => {
            let call = tape.call(&KERNEL, "swiglu_of_columns");
            let call = product.by_broadcasts(call, product.broadcast_rows(), STORE_TRIPS);
            push(call.bind("a", h).bind("b", weight.stored).bind("out", out), product, inner, (inner, 0))?;
        }
        Axis::Length => {
            let call = tape.call(&KERNEL, "swiglu_of_rows");
            let call =
                product.by_broadcasts(call, ROWS_OF_PAIRS, STORE_TRIPS).bind("a", weight.stored).bind("b", h);
            push(call.bind("out_eights", out), product, inner, (product.n, inner * product.n))?;
        }
    }
    Ok(Some(out))
}

/// Lays down qkv = W h (B, L, 3, heads, d), q and k rotated by `table`. None where the kernel does not suit.
pub fn qkv(
    tape: &mut Tape,
    form: LinearForm,
    heads: usize,
    table: Tensor,
    h: Tensor,
    weight: Weight,
) -> Result<Option<Tensor>> {
    let Shape { length, width, .. } = form.input;
    let (product, half) = (form.forward(weight.padding), width / heads / 2);
    if width != 2 * heads * half || !suits(tape, form, weight, half) {
        return Ok(None);
    }
    let out = tape.activation(form.output().words());
    let call = tape.call(&KERNEL, "rope").constant("LENGTH", length).constant("ROTATED", width);
    let call = product.by_broadcasts(call, product.broadcast_rows(), STORE_TRIPS);
    let call = call.bind("a", h).bind("b", weight.stored).bind("table", table).bind("out", out);
    push(call, product, half, (form.out, 0))?;
    Ok(Some(out))
}

fn push(call: DispatchBuilder<'_>, product: Gemm, half: usize, out: (usize, usize)) -> Result<()> {
    let call = with_result(product.with_operands(call), (out.0, 1, out.1), (0, 0));
    call.constant("HALF", half).flops(product.flops()).push()
}

fn swiglu_of_columns_twin(call: &mut Call<'_>) {
    let (inner, k, out) = (call.constant("HALF"), call.count("k"), call.output_stored("out"));
    let h = Matrix::lines_of(call.stored("a"), k);
    swiglu_over_d(call, ("b", call.count("b_col")), (inner, k), &h, out);
}

fn swiglu_of_rows_twin(call: &mut Call<'_>) {
    let (inner, length, width) = (call.constant("HALF"), call.count("k"), call.count("n"));
    let (out, h) = (call.output_stored("out_eights"), Matrix::across(call.stored("b"), width));
    swiglu_over_l(
        call,
        ("a", call.count("a_row")),
        (inner, length, width),
        |sample| h.from(sample * length * width),
        out,
    );
}

fn rope_twin(call: &mut Call<'_>) {
    let (half, length, rotated) = (call.constant("HALF"), call.constant("LENGTH"), call.constant("ROTATED"));
    let turns = Turns { table: call.input("table"), length, half, rotated };
    let (lines, k, out) = (call.count("n"), call.count("k"), call.output_stored("out"));
    let h = Matrix::lines_of(call.stored("a"), k);
    qkv_over_d(call, ("b", call.count("b_col")), (lines, k), &h, &turns, out);
}
