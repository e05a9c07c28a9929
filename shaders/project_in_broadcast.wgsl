// The first half of a sublayer in one dispatch, without gradients, by broadcasts (lib/broadcast.wgsl): the product W h
// and what follows it, a = silu(g) * u with (g, u) = W h, or qkv = W h with q and k rotated.
// Rows of W that are HALF apart, a multiple of four, are gate and up, or the partners (i, i + d/2) of a head.
// Over D (swiglu_of_columns, rope): A = h (B L, D), B = W; of eight columns of a thread four are firsts, then their
// seconds.
// Over L (swiglu_of_rows): A = W, B = h (B, L, D); of 16 rows of a workgroup eight are firsts, then their seconds.
// table (LENGTH, HALF, 2) holds cos and sin; the first ROTATED pairs turn, a multiple of four.
// A workgroup owns ROWS rows and 8 LANES columns of W h. f32 throughout; the sum over k runs in one fixed order.

const HALF: u32 = 4u;
const LENGTH: u32 = 1u;
const ROTATED: u32 = 4u;

#import strides
#import words
#import broadcast
#import sigmoid
@group(0) @binding(3) var<storage, read> table: array<vec2<u64>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec2<u64>>;
@group(0) @binding(4) var<storage, read_write> out_eights: array<vec4<u64>>;

// The row of W with the first of a pair; past the end the last pair repeats.
fn first_of(pair: u32, pairs: u32) -> u32 {
    let there = min(pair, pairs - 1u);
    return there / HALF * 2u * HALF + there % HALF;
}

fn a_line(row: u32) -> u32 {
    if B_ALONG_K == 0u {
        return first_of(row / 16u * 8u + row % 8u, params.m / 2u) + row / 8u % 2u * HALF;
    }
    return min(row, params.m - 1u);
}

fn b_line(column: u32) -> u32 {
    return first_of(column / 8u * 4u + column % 4u, params.n / 2u) + column / 4u % 2u * HALF;
}

fn gated(gate: vec4<f32>, up: vec4<f32>) -> vec4<f32> {
    return gate * sigmoids(gate) * up;
}

@compute @workgroup_size(LANES)
fn swiglu_of_columns(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let column = (group.x * LANES + local) * 8u;
    accumulate(group, column, lane % 8u);
    for (var i = 0u; i < 8u; i++) {
        for (var j = 0u; j < 8u; j++) {
            let row = group.y * ROWS + 8u * i + j;
            if is_of_c(group, 8u * i + j, column) {
                let at = row * params.c_row + column / 2u;
                out[at / 4u] = as_words(gated(left[i][j], right[i][j]));
            }
        }
    }
}

// The pairs of the 16 rows from the eighth `firsts` on.
fn store_eight_pairs(group: vec3<u32>, column: u32, firsts: u32) {
    let pairs = params.m / 2u;
    for (var j = 0u; j < 8u; j++) {
        let pair = group.y * (ROWS / 2u) + 4u * firsts + j;
        if 8u * firsts < ROWS && pair < pairs && column < params.n {
            let low = gated(left[firsts][j], left[firsts + 1u][j]);
            let high = gated(right[firsts][j], right[firsts + 1u][j]);
            let at = group.z * params.c_batch + pair * params.c_row + column;
            out_eights[at / 8u] = vec4<u64>(as_words(low), as_words(high));
        }
    }
}

@compute @workgroup_size(LANES)
fn swiglu_of_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let column = (group.x * LANES + local) * 8u;
    accumulate(group, column, lane % 8u);
    store_eight_pairs(group, column, 0u);
    store_eight_pairs(group, column, 2u);
    store_eight_pairs(group, column, 4u);
    store_eight_pairs(group, column, 6u);
}

@compute @workgroup_size(LANES)
fn rope(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let column = (group.x * LANES + local) * 8u;
    accumulate(group, column, lane % 8u);
    let pair = column / 2u;
    let start = first_of(pair, params.n / 2u);
    for (var i = 0u; i < 8u; i++) {
        for (var j = 0u; j < 8u; j++) {
            let row = group.y * ROWS + 8u * i + j;
            if is_of_c(group, 8u * i + j, column) {
                var cosine = vec4<f32>(1.0);
                var sine = vec4<f32>(0.0);
                if pair < ROTATED {
                    let turns = (row % LENGTH * HALF + pair % HALF) / 2u;
                    let first = as_floats(table[turns]);
                    let last = as_floats(table[turns + 1u]);
                    cosine = vec4<f32>(first.xz, last.xz);
                    sine = vec4<f32>(first.yw, last.yw);
                }
                let u = left[i][j];
                let v = right[i][j];
                let at = (row * params.c_row + start) / 4u;
                out[at] = as_words(u * cosine - v * sine);
                out[at + HALF / 4u] = as_words(v * cosine + u * sine);
            }
        }
    }
}
