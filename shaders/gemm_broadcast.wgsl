// C[b] = sum over r of A[b, r] B[b, r]  (+ addend[b]): gemm.wgsl without shared memory or barriers, for adapters
// whose shared memory is no faster than a buffer.
// Shapes and strides as in gemm.wgsl. One operand axis is contiguous: of A, k (A_ALONG_K = 1) or m; of B, n
// (B_ALONG_K = 0) or k. Four neighbours are loaded at once; where their start is no multiple of four (A_ALIGNED,
// B_ALIGNED = 0) from the two vectors that hold them. Reads may pass the end of a row, never of a buffer.
// C is stored four at a time where its rows allow it (C_ALIGNED = 1).
// A workgroup owns 32 rows of C[b] and 8 LANES columns; a thread owns 8 of the columns. Eight neighbouring threads
// hold the 32 rows of A between them and hand each value round by subgroupBroadcast; needs subgroups of 8 or more.
// A and B are read as pairs of 64-bit words: such drivers load word by word with a check for each, so that four f32
// in two of them cost less than in four.
// f32 throughout; the sum over k runs in one fixed order. What lies past k is multiplied by zero.

const LANES: u32 = 64u;
const A_ALONG_K: u32 = 1u;
const A_ALIGNED: u32 = 1u;
const B_ALONG_K: u32 = 0u;
const B_ALIGNED: u32 = 1u;
const C_ALIGNED: u32 = 1u;
const A_JOINED: bool = A_ALONG_K != 0u && A_ALIGNED == 0u;

#import strides
@group(0) @binding(1) var<storage, read> a: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read> b: array<vec2<u64>>;
@group(0) @binding(3) var<storage, read> addend: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> c: array<vec4<f32>>;

// Rows of a thread's first and last four columns: rows 4 i to 4 i + 3 come from the i-th thread of eight.
var<private> left: array<vec4<f32>, 32>;
var<private> right: array<vec4<f32>, 32>;

// Four steps of k of a thread's columns, half by half.
struct Columns { left: mat4x4<f32>, right: mat4x4<f32> }

// Four words from any start: the tail of one vector and the head of the next.
fn joined(first: vec4<f32>, next: vec4<f32>, start: u32) -> vec4<f32> {
    switch start % 4u {
        case 1u: { return vec4<f32>(first.yzw, next.x); }
        case 2u: { return vec4<f32>(first.zw, next.xy); }
        case 3u: { return vec4<f32>(first.w, next.xyz); }
        default: { return first; }
    }
}

#import words

fn load_a(start: u32) -> vec4<f32> {
    let first = as_floats(a[start / 4u]);
    if A_ALIGNED != 0u {
        return first;
    }
    return joined(first, as_floats(a[min((start + 3u) / 4u, arrayLength(&a) - 1u)]), start);
}

fn load_b(start: u32) -> vec4<f32> {
    let first = as_floats(b[start / 4u]);
    if B_ALIGNED != 0u {
        return first;
    }
    return joined(first, as_floats(b[min((start + 3u) / 4u, arrayLength(&b) - 1u)]), start);
}

fn four_of_a(origin: u32, lines: vec4<u32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        load_a(origin + lines.x), load_a(origin + lines.y), load_a(origin + lines.z), load_a(origin + lines.w),
    );
}

// The vectors in which four lines of A begin, or those after them.
fn vectors_of_a(origin: u32, lines: vec4<u32>) -> mat4x4<f32> {
    let at = min((vec4<u32>(origin) + lines) / 4u, vec4<u32>(arrayLength(&a) - 1u));
    return mat4x4<f32>(as_floats(a[at.x]), as_floats(a[at.y]), as_floats(a[at.z]), as_floats(a[at.w]));
}

fn joined_lines(first: mat4x4<f32>, next: mat4x4<f32>, starts: vec4<u32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        joined(first[0], next[0], starts.x), joined(first[1], next[1], starts.y),
        joined(first[2], next[2], starts.z), joined(first[3], next[3], starts.w),
    );
}

fn four_of_b(origin: u32, lines: vec4<u32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        load_b(origin + lines.x), load_b(origin + lines.y), load_b(origin + lines.z), load_b(origin + lines.w),
    );
}

// Adds four steps of k to a row: `columns` holds a step per column, or, where B runs along k, a column of B.
fn step(columns: mat4x4<f32>, values: vec4<f32>) -> vec4<f32> {
    if B_ALONG_K != 0u {
        return values * columns;
    }
    return columns * values;
}

fn add_row(row: u32, values: vec4<f32>, columns: Columns) {
    left[row] += step(columns.left, values);
    right[row] += step(columns.right, values);
}

// Four steps of k for eight rows, every fourth from `first`; `values` are those of this thread's row.
fn add_rows(first: u32, values: vec4<f32>, columns: Columns) {
    add_row(first, subgroupBroadcast(values, 0u), columns);
    add_row(first + 4u, subgroupBroadcast(values, 1u), columns);
    add_row(first + 8u, subgroupBroadcast(values, 2u), columns);
    add_row(first + 12u, subgroupBroadcast(values, 3u), columns);
    add_row(first + 16u, subgroupBroadcast(values, 4u), columns);
    add_row(first + 20u, subgroupBroadcast(values, 5u), columns);
    add_row(first + 24u, subgroupBroadcast(values, 6u), columns);
    add_row(first + 28u, subgroupBroadcast(values, 7u), columns);
}

// Four steps of k for all rows; `four` holds this thread's four rows, or, where A runs along m, four steps of them.
fn add_block(four: mat4x4<f32>, columns: Columns, kept: vec4<f32>) {
    var rows = four;
    if A_ALONG_K == 0u {
        rows = transpose(four);
    }
    add_rows(0u, rows[0] * kept, columns);
    add_rows(1u, rows[1] * kept, columns);
    add_rows(2u, rows[2] * kept, columns);
    add_rows(3u, rows[3] * kept, columns);
}

// Word offsets of an operand's four lines: of four rows or columns from `first` where it runs along k (the last
// one repeated past the end), else of four steps of k, of which `steps` exist.
fn lines_along_k(first: u32, count: u32, stride: u32) -> vec4<u32> {
    return min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(count - 1u)) * stride;
}

fn lines_across_k(first: u32, steps: u32, stride: u32) -> vec4<u32> {
    return vec4<u32>(first) + min(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(steps - 1u)) * stride;
}

fn lines_of_a(row: u32, steps: u32) -> vec4<u32> {
    if A_ALONG_K != 0u {
        return lines_along_k(row, params.m, params.a_row);
    }
    return lines_across_k(min(row, (params.m - 1u) / 4u * 4u), steps, params.a_col);
}

fn lines_of_b(column: u32, steps: u32) -> vec4<u32> {
    if B_ALONG_K != 0u {
        return lines_along_k(column, params.n, params.b_col);
    }
    return lines_across_k(column, steps, params.b_row);
}

fn accumulate(group: vec3<u32>, column: u32, eighth: u32) {
    let row = group.y * 32u + 4u * eighth;
    // Past the end, the columns at the end are read again.
    let first = select(0u, column, column < params.n);
    let last = min(first + 4u, (params.n - 1u) / 4u * 4u);
    let blocks = params.k / 4u;
    let rest = params.k % 4u;
    let a_lines = lines_of_a(row, 4u);
    let left_lines = lines_of_b(first, 4u);
    let right_lines = lines_of_b(last, 4u);
    let a_stride = 4u * select(params.a_col, 1u, A_ALONG_K != 0u);
    let b_stride = 4u * select(params.b_row, 1u, B_ALONG_K != 0u);
    for (var r = 0u; r < params.reductions; r++) {
        var at_a = base_of_a(group.z, r);
        var at_b = base_of_b(group.z, r);
        var held: mat4x4<f32>;
        if A_JOINED {
            held = vectors_of_a(at_a, a_lines);
        }
        for (var block = 0u; block < blocks; block++) {
            let columns = Columns(four_of_b(at_b, left_lines), four_of_b(at_b, right_lines));
            if A_JOINED {
                // The next step begins where this one ends: each vector is read once.
                let next = vectors_of_a(at_a + 4u, a_lines);
                add_block(joined_lines(held, next, vec4<u32>(at_a) + a_lines), columns, vec4<f32>(1.0));
                held = next;
            } else {
                add_block(four_of_a(at_a, a_lines), columns, vec4<f32>(1.0));
            }
            at_a += a_stride;
            at_b += b_stride;
        }
        if rest > 0u {
            let kept = select(vec4<f32>(0.0), vec4<f32>(1.0), vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(rest));
            let columns = Columns(
                four_of_b(at_b, lines_of_b(first, rest)), four_of_b(at_b, lines_of_b(last, rest)),
            );
            add_block(four_of_a(at_a, lines_of_a(row, rest)), columns, kept);
        }
    }
}

// What is added to the four elements of C from `column` on; past the end of a row anything.
fn addend_of_four(row: u32, column: u32, batch: u32) -> vec4<f32> {
    let start = batch * params.addend_batch + row * params.addend_row + column;
    if C_ALIGNED != 0u {
        return addend[start / 4u];
    }
    return joined(addend[start / 4u], addend[min((start + 3u) / 4u, arrayLength(&addend) - 1u)], start);
}

// Stores four elements of C from `column` on, as far as the row goes.
fn store_four(row: u32, column: u32, batch: u32, values: vec4<f32>) {
    let start = batch * params.c_batch + row * params.c_row + column;
    if C_ALIGNED != 0u {
        c[start / 4u] = values;
    } else {
        for (var j = 0u; j < 4u; j++) {
            if column + j < params.n {
                c[(start + j) / 4u][(start + j) % 4u] = values[j];
            }
        }
    }
}

@compute @workgroup_size(LANES)
fn product(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let column = (group.x * LANES + local) * 8u;
    accumulate(group, column, lane % 8u);
    for (var i = 0u; i < 32u; i++) {
        let row = group.y * 32u + i;
        if row < params.m && column < params.n {
            store_four(row, column, group.z, left[i]);
        }
        if row < params.m && column + 4u < params.n {
            store_four(row, column + 4u, group.z, right[i]);
        }
    }
}

@compute @workgroup_size(LANES)
fn product_add(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let column = (group.x * LANES + local) * 8u;
    accumulate(group, column, lane % 8u);
    for (var i = 0u; i < 32u; i++) {
        let row = group.y * 32u + i;
        if row < params.m && column < params.n {
            store_four(row, column, group.z, left[i] + addend_of_four(row, column, group.z));
        }
        if row < params.m && column + 4u < params.n {
            store_four(row, column + 4u, group.z, right[i] + addend_of_four(row, column + 4u, group.z));
        }
    }
}
