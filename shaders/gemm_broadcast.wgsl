// C[b] = sum over r of A[b, r] B[b, r]  (+ addend[b]): gemm.wgsl by broadcasts, see lib/broadcast.wgsl.
// Shapes and strides as in gemm.wgsl. A workgroup owns ROWS rows of C[b] and 8 LANES columns.
// C is stored eight at a time by product and product_add, which need rows of multiples of eight, word by word by the
// others, which bind any addend but add one only where they say so.
// f32 throughout; the sum over k runs in one fixed order.

#import strides
#import words
#import broadcast
@group(0) @binding(3) var<storage, read> addend: array<vec4<u64>>;
@group(0) @binding(4) var<storage, read_write> c: array<vec4<u64>>;
@group(0) @binding(4) var<storage, read_write> c_words: array<f32>;

// Past the end the last line repeats.
fn a_line(row: u32) -> u32 {
    return min(row, params.m - 1u);
}

fn b_line(column: u32) -> u32 {
    return min(column, params.n - 1u);
}

fn add_addend(group: vec3<u32>, column: u32) {
    for (var i = 0u; i < 8u; i++) {
        for (var j = 0u; j < 8u; j++) {
            let row = group.y * ROWS + 8u * i + j;
            if is_of_c(group, 8u * i + j, column) {
                let start = group.z * params.addend_batch + row * params.addend_row + column;
                let added = as_eight(addend[start / 8u]);
                left[i][j] += added.low;
                right[i][j] += added.high;
            }
        }
    }
}

fn store(group: vec3<u32>, column: u32) {
    for (var i = 0u; i < 8u; i++) {
        for (var j = 0u; j < 8u; j++) {
            let row = group.y * ROWS + 8u * i + j;
            if is_of_c(group, 8u * i + j, column) {
                let start = group.z * params.c_batch + row * params.c_row + column;
                c[start / 8u] = vec4<u64>(as_words(left[i][j]), as_words(right[i][j]));
            }
        }
    }
}

fn word_of_addend(at: u32) -> f32 {
    let pair = addend[at / 8u][at / 2u % 4u];
    return bitcast<f32>(u32(pair >> (at % 2u * 32u)));
}

// The columns that there are of a row, one after the other.
fn store_row_words(group: vec3<u32>, column: u32, i: u32, added: bool) {
    let row = group.y * ROWS + i;
    if is_of_c(group, i, column) {
        let start = group.z * params.c_batch + row * params.c_row;
        let start_of_addend = group.z * params.addend_batch + row * params.addend_row + column;
        for (var j = 0u; j < min(8u, params.n - column); j++) {
            var word = select(left[i / 8u][i % 8u][j % 4u], right[i / 8u][i % 8u][j % 4u], j >= 4u);
            if added {
                word += word_of_addend(start_of_addend + j);
            }
            c_words[start + (column + j) * params.c_col] = word;
        }
    }
}

fn store_eight_words(group: vec3<u32>, column: u32, first: u32, added: bool) {
    store_row_words(group, column, first, added);
    store_row_words(group, column, first + 1u, added);
    store_row_words(group, column, first + 2u, added);
    store_row_words(group, column, first + 3u, added);
    store_row_words(group, column, first + 4u, added);
    store_row_words(group, column, first + 5u, added);
    store_row_words(group, column, first + 6u, added);
    store_row_words(group, column, first + 7u, added);
}

// Written out, because loops around loops are not unrolled.
fn store_words(group: vec3<u32>, column: u32, added: bool) {
    store_eight_words(group, column, 0u, added);
    store_eight_words(group, column, 8u, added);
    store_eight_words(group, column, 16u, added);
    store_eight_words(group, column, 24u, added);
    store_eight_words(group, column, 32u, added);
    store_eight_words(group, column, 40u, added);
    store_eight_words(group, column, 48u, added);
    store_eight_words(group, column, 56u, added);
}

@compute @workgroup_size(LANES)
fn product(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let column = (group.x * LANES + local) * 8u;
    accumulate(group, column, lane % 8u);
    store(group, column);
}

@compute @workgroup_size(LANES)
fn product_add(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let column = (group.x * LANES + local) * 8u;
    accumulate(group, column, lane % 8u);
    add_addend(group, column);
    store(group, column);
}

@compute @workgroup_size(LANES)
fn product_words(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let column = (group.x * LANES + local) * 8u;
    accumulate(group, column, lane % 8u);
    store_words(group, column, false);
}

@compute @workgroup_size(LANES)
fn product_add_words(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let column = (group.x * LANES + local) * 8u;
    accumulate(group, column, lane % 8u);
    store_words(group, column, true);
}
