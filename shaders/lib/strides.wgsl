// Shape and strides of a product C[b] = sum over r of A[b, r] B[b, r] (+ addend[b]), in elements; see gemm.wgsl.
struct Params {
    m: u32, n: u32, k: u32, reductions: u32, inner: u32,
    a_row: u32, a_col: u32, a_batch: u32, a_outer: u32, a_inner: u32,
    b_row: u32, b_col: u32, b_batch: u32, b_outer: u32, b_inner: u32,
    c_row: u32, c_batch: u32, addend_row: u32, addend_batch: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// Where A[batch, r] and B[batch, r] start.
fn base_of_a(batch: u32, r: u32) -> u32 {
    return batch * params.a_batch + r / params.inner * params.a_outer + r % params.inner * params.a_inner;
}

fn base_of_b(batch: u32, r: u32) -> u32 {
    return batch * params.b_batch + r / params.inner * params.b_outer + r % params.inner * params.b_inner;
}
