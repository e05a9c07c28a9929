// C[b] = sum over r of A[b, r] B[b, r]  (+ addend[b]): gemm.wgsl without shared memory or barriers, for adapters
// whose shared memory is no faster than a buffer.
// Shapes and strides as in gemm.wgsl. One operand axis is contiguous: of A, k (A_ALONG_K = 1) or m; of B, n
// (B_ALONG_K = 0) or k. Four neighbours are loaded at once; where their start is no multiple of four (A_ALIGNED,
// B_ALIGNED = 0) from the two vectors that hold them. Reads may pass the end of a row, never of a buffer.
// A workgroup owns 32 rows of C[b] and 4 LANES columns; a thread owns 4 of the columns. Eight neighbouring threads
// hold the 32 rows of A between them and hand each value round by subgroupBroadcast; needs subgroups of 8 or more.
// f32 throughout; the sum over k runs in one fixed order. What lies past k is multiplied by zero.

struct Params {
    m: u32, n: u32, k: u32, reductions: u32, inner: u32,
    a_row: u32, a_col: u32, a_batch: u32, a_outer: u32, a_inner: u32,
    b_row: u32, b_col: u32, b_batch: u32, b_outer: u32, b_inner: u32,
    c_row: u32, c_batch: u32, addend_row: u32, addend_batch: u32,
}

const LANES: u32 = 64u;
const A_ALONG_K: u32 = 1u;
const A_ALIGNED: u32 = 1u;
const B_ALONG_K: u32 = 0u;
const B_ALIGNED: u32 = 1u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> addend: array<f32>;
@group(0) @binding(4) var<storage, read_write> c: array<f32>;

// Rows of a thread's columns. Row 8 g + i for i-th thread of eight where A runs along k, else 4 i + component.
var<private> acc: array<vec4<f32>, 32>;

// Four words from any start: the tail of one vector and the head of the next.
fn joined(first: vec4<f32>, next: vec4<f32>, start: u32) -> vec4<f32> {
    switch start % 4u {
        case 1u: { return vec4<f32>(first.yzw, next.x); }
        case 2u: { return vec4<f32>(first.zw, next.xy); }
        case 3u: { return vec4<f32>(first.w, next.xyz); }
        default: { return first; }
    }
}

fn load_a(start: u32) -> vec4<f32> {
    if A_ALIGNED != 0u {
        return a[start / 4u];
    }
    return joined(a[start / 4u], a[(start + 3u) / 4u], start);
}

fn load_b(start: u32) -> vec4<f32> {
    if B_ALIGNED != 0u {
        return b[start / 4u];
    }
    return joined(b[start / 4u], b[(start + 3u) / 4u], start);
}

// Four steps of k for the four columns: columns of the matrix are steps, or, along k, the thread's columns.
fn load_columns(base: u32, column: u32, k: u32) -> mat4x4<f32> {
    if B_ALONG_K != 0u {
        let last = params.n - 1u;
        return mat4x4<f32>(
            load_b(base + min(column, last) * params.b_col + k),
            load_b(base + min(column + 1u, last) * params.b_col + k),
            load_b(base + min(column + 2u, last) * params.b_col + k),
            load_b(base + min(column + 3u, last) * params.b_col + k),
        );
    }
    let last = params.k - 1u;
    return mat4x4<f32>(
        load_b(base + k * params.b_row + column),
        load_b(base + min(k + 1u, last) * params.b_row + column),
        load_b(base + min(k + 2u, last) * params.b_row + column),
        load_b(base + min(k + 3u, last) * params.b_row + column),
    );
}

fn step(columns: mat4x4<f32>, values: vec4<f32>) -> vec4<f32> {
    if B_ALONG_K != 0u {
        return values * columns;
    }
    return columns * values;
}

// Four steps of k for eight rows, `values` those of this thread's row.
fn add_rows(first: u32, values: vec4<f32>, columns: mat4x4<f32>) {
    acc[first] += step(columns, subgroupBroadcast(values, 0u));
    acc[first + 1u] += step(columns, subgroupBroadcast(values, 1u));
    acc[first + 2u] += step(columns, subgroupBroadcast(values, 2u));
    acc[first + 3u] += step(columns, subgroupBroadcast(values, 3u));
    acc[first + 4u] += step(columns, subgroupBroadcast(values, 4u));
    acc[first + 5u] += step(columns, subgroupBroadcast(values, 5u));
    acc[first + 6u] += step(columns, subgroupBroadcast(values, 6u));
    acc[first + 7u] += step(columns, subgroupBroadcast(values, 7u));
}

// One step of k for four rows.
fn add_quad(first: u32, rows: vec4<f32>, columns: vec4<f32>) {
    acc[first] += rows.x * columns;
    acc[first + 1u] += rows.y * columns;
    acc[first + 2u] += rows.z * columns;
    acc[first + 3u] += rows.w * columns;
}

// One step of k for all rows, `rows` this thread's four of them.
fn add_step(rows: vec4<f32>, columns: vec4<f32>) {
    add_quad(0u, subgroupBroadcast(rows, 0u), columns);
    add_quad(4u, subgroupBroadcast(rows, 1u), columns);
    add_quad(8u, subgroupBroadcast(rows, 2u), columns);
    add_quad(12u, subgroupBroadcast(rows, 3u), columns);
    add_quad(16u, subgroupBroadcast(rows, 4u), columns);
    add_quad(20u, subgroupBroadcast(rows, 5u), columns);
    add_quad(24u, subgroupBroadcast(rows, 6u), columns);
    add_quad(28u, subgroupBroadcast(rows, 7u), columns);
}

// This thread's values of A along k at one row, zero past k.
fn row_values(base: u32, row: u32, k: u32) -> vec4<f32> {
    let values = load_a(base + min(row, params.m - 1u) * params.a_row + k);
    let steps = vec4<u32>(k, k + 1u, k + 2u, k + 3u);
    return select(vec4<f32>(0.0), values, steps < vec4<u32>(params.k));
}

fn accumulate(group: vec3<u32>, column: u32, eighth: u32) {
    let row = group.y * 32u;
    for (var r = 0u; r < params.reductions; r++) {
        let outer = r / params.inner;
        let within = r % params.inner;
        let a_base = group.z * params.a_batch + outer * params.a_outer + within * params.a_inner;
        let b_base = group.z * params.b_batch + outer * params.b_outer + within * params.b_inner;
        if A_ALONG_K != 0u {
            for (var k = 0u; k < params.k; k += 4u) {
                let columns = load_columns(b_base, column, k);
                add_rows(0u, row_values(a_base, row + eighth, k), columns);
                add_rows(8u, row_values(a_base, row + eighth + 8u, k), columns);
                add_rows(16u, row_values(a_base, row + eighth + 16u, k), columns);
                add_rows(24u, row_values(a_base, row + eighth + 24u, k), columns);
            }
        } else {
            let mine = min(row + 4u * eighth, (params.m - 1u) / 4u * 4u);
            for (var k = 0u; k < params.k; k++) {
                add_step(load_a(a_base + k * params.a_col + mine), load_b(b_base + k * params.b_row + column));
            }
        }
    }
}

fn row_of(group: vec3<u32>, i: u32) -> u32 {
    return group.y * 32u + i;
}

@compute @workgroup_size(LANES)
fn product(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let column = (group.x * LANES + local) * 4u;
    accumulate(group, select(0u, column, column < params.n), lane % 8u);
    for (var i = 0u; i < 32u; i++) {
        for (var j = 0u; j < 4u; j++) {
            if row_of(group, i) < params.m && column + j < params.n {
                c[group.z * params.c_batch + row_of(group, i) * params.c_row + column + j] = acc[i][j];
            }
        }
    }
}

@compute @workgroup_size(LANES)
fn product_add(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let column = (group.x * LANES + local) * 4u;
    accumulate(group, select(0u, column, column < params.n), lane % 8u);
    for (var i = 0u; i < 32u; i++) {
        for (var j = 0u; j < 4u; j++) {
            if row_of(group, i) < params.m && column + j < params.n {
                let added = addend[group.z * params.addend_batch + row_of(group, i) * params.addend_row + column + j];
                c[group.z * params.c_batch + row_of(group, i) * params.c_row + column + j] = acc[i][j] + added;
            }
        }
    }
}
