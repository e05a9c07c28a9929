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

// Rows of a thread's columns: rows 4 i to 4 i + 3 come from the i-th thread of eight.
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
    return joined(a[start / 4u], a[min((start + 3u) / 4u, arrayLength(&a) - 1u)], start);
}

fn load_b(start: u32) -> vec4<f32> {
    if B_ALIGNED != 0u {
        return b[start / 4u];
    }
    return joined(b[start / 4u], b[min((start + 3u) / 4u, arrayLength(&b) - 1u)], start);
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

// Four steps of k for eight rows, every fourth from `first`; `values` are those of this thread's row.
fn add_rows(first: u32, values: vec4<f32>, columns: mat4x4<f32>) {
    acc[first] += step(columns, subgroupBroadcast(values, 0u));
    acc[first + 4u] += step(columns, subgroupBroadcast(values, 1u));
    acc[first + 8u] += step(columns, subgroupBroadcast(values, 2u));
    acc[first + 12u] += step(columns, subgroupBroadcast(values, 3u));
    acc[first + 16u] += step(columns, subgroupBroadcast(values, 4u));
    acc[first + 20u] += step(columns, subgroupBroadcast(values, 5u));
    acc[first + 24u] += step(columns, subgroupBroadcast(values, 6u));
    acc[first + 28u] += step(columns, subgroupBroadcast(values, 7u));
}

// Four steps of k of this thread's four rows of A, one row per column of the matrix.
fn load_rows(base: u32, row: u32, k: u32) -> mat4x4<f32> {
    if A_ALONG_K != 0u {
        let last = params.m - 1u;
        return mat4x4<f32>(
            load_a(base + min(row, last) * params.a_row + k),
            load_a(base + min(row + 1u, last) * params.a_row + k),
            load_a(base + min(row + 2u, last) * params.a_row + k),
            load_a(base + min(row + 3u, last) * params.a_row + k),
        );
    }
    let last = params.k - 1u;
    let near = min(row, (params.m - 1u) / 4u * 4u);
    return transpose(mat4x4<f32>(
        load_a(base + k * params.a_col + near),
        load_a(base + min(k + 1u, last) * params.a_col + near),
        load_a(base + min(k + 2u, last) * params.a_col + near),
        load_a(base + min(k + 3u, last) * params.a_col + near),
    ));
}

fn add_block(rows: mat4x4<f32>, columns: mat4x4<f32>) {
    add_rows(0u, rows[0], columns);
    add_rows(1u, rows[1], columns);
    add_rows(2u, rows[2], columns);
    add_rows(3u, rows[3], columns);
}

fn accumulate(group: vec3<u32>, column: u32, eighth: u32) {
    let row = group.y * 32u + 4u * eighth;
    let whole = params.k / 4u * 4u;
    for (var r = 0u; r < params.reductions; r++) {
        let outer = r / params.inner;
        let within = r % params.inner;
        let a_base = group.z * params.a_batch + outer * params.a_outer + within * params.a_inner;
        let b_base = group.z * params.b_batch + outer * params.b_outer + within * params.b_inner;
        for (var k = 0u; k < whole; k += 4u) {
            add_block(load_rows(a_base, row, k), load_columns(b_base, column, k));
        }
        if whole < params.k {
            let left = vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.k - whole);
            let rows = load_rows(a_base, row, whole);
            let kept = mat4x4<f32>(
                select(vec4<f32>(0.0), rows[0], left), select(vec4<f32>(0.0), rows[1], left),
                select(vec4<f32>(0.0), rows[2], left), select(vec4<f32>(0.0), rows[3], left),
            );
            add_block(kept, load_columns(b_base, column, whole));
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
