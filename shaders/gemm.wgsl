// C[b] = sum over r of A[b, r] B[b, r]  (+ addend[b]): every matrix product of the model, forward and reverse.
// A (m, k), B (k, n), C (m, n), each with a stride per row, column and batch, and A, B per reduction r, which
// splits in r / inner and r % inner. C's columns are contiguous. An addend row stride of 0 adds a bias.
// One workgroup owns a tile of one C[b], a thread 4 x 4 elements of it or more: see lib/tile.wgsl.
// f32 throughout; the sum over k runs in one fixed order. Shapes need not be multiples of a tile.

#import strides
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(3) var<storage, read> addend: array<u32>;
@group(0) @binding(4) var<storage, read_write> c: array<u32>;

const A_ALONG_K: u32 = 1u;
const B_ALONG_K: u32 = 0u;
const A_ELEMENT: u32 = 0u;
const B_ELEMENT: u32 = 0u;
const ADDEND_ELEMENT: u32 = 0u;
const C_ELEMENT: u32 = 0u;
#import element
#import tile

// The tile's first row and column; where the matrices of this batch entry and reduction start.
var<private> first_row: u32;
var<private> first_column: u32;
var<private> a_base: u32;
var<private> b_base: u32;

// Past the last line it is read again: what comes of it is not stored.
fn a_start(line: u32) -> u32 {
    return a_base + min(first_row + line, params.m - 1u) * params.a_row;
}

fn b_start(line: u32) -> u32 {
    return b_base + min(first_column + line, params.n - 1u) * params.b_col;
}

fn a_at(start: u32, line: u32, k: u32) -> f32 {
    let at = start + min(k, params.k - 1u) * select(params.a_col, 1u, A_ALONG_K == 1u);
    let value = widened(a[word_of_element(at, A_ELEMENT)], at, A_ELEMENT);
    return select(0.0, value, k < params.k);
}

fn b_at(start: u32, line: u32, k: u32) -> f32 {
    let at = start + min(k, params.k - 1u) * select(params.b_row, 1u, B_ALONG_K == 1u);
    let value = widened(b[word_of_element(at, B_ELEMENT)], at, B_ELEMENT);
    return select(0.0, value, k < params.k);
}

fn accumulate(group: vec3<u32>, local: u32) {
    first_row = group.y * TILE_M;
    first_column = group.x * TILE_N;
    for (var r = 0u; r < params.reductions; r++) {
        a_base = base_of_a(group.z, r);
        b_base = base_of_b(group.z, r);
        add_product(local, params.k);
    }
}

// Stores two neighbours of a row, as far as they lie in it; halves come in rows of even length.
fn store(row: u32, column: u32, values: vec2<f32>, group: vec3<u32>) {
    if row >= params.m || column >= params.n {
        return;
    }
    let at = group.z * params.c_batch + row * params.c_row + column;
    if C_ELEMENT != F32 {
        c[at / 2u] = narrowed_pair(values, C_ELEMENT);
        return;
    }
    c[at] = bitcast<u32>(values.x);
    if column + 1u < params.n {
        c[at + 1u] = bitcast<u32>(values.y);
    }
}

@compute @workgroup_size(256)
fn product(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    accumulate(group, local);
    for (var i = 0u; i < ROWS; i++) {
        for (var j = 0u; j < 4u * FOURS; j += 2u) {
            let column = first_column + tile_column(local, j / 4u) + j % 4u;
            store(first_row + tile_row(local) + i, column, vec2<f32>(element(i, j), element(i, j + 1u)), group);
        }
    }
}

fn addend_at(row: u32, column: u32, group: vec3<u32>) -> f32 {
    let line = group.z * params.addend_batch + min(row, params.m - 1u) * params.addend_row;
    let at = line + min(column, params.n - 1u);
    return widened(addend[word_of_element(at, ADDEND_ELEMENT)], at, ADDEND_ELEMENT);
}

@compute @workgroup_size(256)
fn product_add(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    accumulate(group, local);
    for (var i = 0u; i < ROWS; i++) {
        let row = first_row + tile_row(local) + i;
        for (var j = 0u; j < 4u * FOURS; j += 2u) {
            let column = first_column + tile_column(local, j / 4u) + j % 4u;
            let added = vec2<f32>(addend_at(row, column, group), addend_at(row, column + 1u, group));
            store(row, column, vec2<f32>(element(i, j), element(i, j + 1u)) + added, group);
        }
    }
}
