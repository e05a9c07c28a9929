// The second half of a sublayer in one dispatch, without gradients: out = W x + h and the sums of its squares, from
// which whoever reads it works out the norm that is still pending.
// h is a sum of terms (B, L, D), see lib/terms.wgsl. Over D (OVER_L = 0): x (B L, K), W (D, K); over L: x (B, K, D),
// W (L, K). out (B, L, D), and behind it, from word squares_at on, (groups, out_parts): a group is a position for the
// norm over D, a feature for the one over L; a part is what one workgroup has of it.
// A workgroup owns a tile of out. f32; all sums run in one fixed order. Barriers in uniform control flow.

struct Params {
    positions: u32, length: u32, width: u32, groups: u32, parts: u32, squares_at: u32, pending: u32, eps: f32,
    k: u32, out_parts: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<u32>;
@group(0) @binding(3) var<storage, read> term_0: array<u32>;
@group(0) @binding(4) var<storage, read> term_1: array<u32>;
@group(0) @binding(5) var<storage, read> term_2: array<u32>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>;

const OVER_L: u32 = 0u;
const A_ALONG_K: u32 = 1u;
const B_ALONG_K: u32 = 1u - OVER_L;
const WEIGHT_ELEMENT: u32 = 0u;
const X_ELEMENT: u32 = 0u;
#import element
#import terms
#import tile

// The tile's first row and column of out: positions (of the sample, over L) and features.
var<private> first_row: u32;
var<private> first_column: u32;
var<private> sample: u32;

fn rows() -> u32 {
    return select(params.positions, params.length, OVER_L == 1u);
}

fn a_start(line: u32) -> u32 {
    return min(first_row + line, rows() - 1u) * params.k;
}

fn b_start(line: u32) -> u32 {
    let column = min(first_column + line, params.width - 1u);
    return select(column * params.k, sample * params.k * params.width + column, OVER_L == 1u);
}

fn weight_at(at: u32) -> f32 {
    return widened(weight[word_of_element(at, WEIGHT_ELEMENT)], at, WEIGHT_ELEMENT);
}

fn x_at(at: u32) -> f32 {
    return widened(x[word_of_element(at, X_ELEMENT)], at, X_ELEMENT);
}

fn a_at(start: u32, line: u32, k: u32) -> f32 {
    let at = start + min(k, params.k - 1u);
    if OVER_L == 1u {
        return select(0.0, weight_at(at), k < params.k);
    }
    return select(0.0, x_at(at), k < params.k);
}

fn b_at(start: u32, line: u32, k: u32) -> f32 {
    let kept = min(k, params.k - 1u);
    if OVER_L == 1u {
        return select(0.0, x_at(start + kept * params.width), k < params.k);
    }
    return select(0.0, weight_at(start + kept), k < params.k);
}

// Which of the scales kept belongs to an element of out.
fn kept_at(row: u32, column: u32) -> u32 {
    if OVER_L == 1u {
        return select(row, column, NORM_OVER_L == 1u);
    }
    return kept_in_row(row - first_row, column);
}

// Adds h, stores, and leaves in acc what was stored, 0 outside.
fn finish(local: u32) {
    for (var i = 0u; i < ROWS; i++) {
        let row = first_row + tile_row(local) + i;
        for (var j = 0u; j < 4u * FOURS; j++) {
            let column = first_column + tile_column(local, j / 4u) + j % 4u;
            var value = 0.0;
            if row < rows() && column < params.width {
                let position = sample * params.length + row;
                value = element(i, j) + sum_at(position, column, kept_at(row, column));
                out[position * params.width + column] = value;
            }
            acc[j / 4u * ROWS + i][j % 4u] = value;
        }
    }
}

// The norm is over D: a row's squares, first those of a thread, then of the 16 threads that share the row.
fn store_squares_of_rows(group: vec3<u32>, local: u32) {
    for (var i = 0u; i < ROWS; i++) {
        var squares = 0.0;
        for (var four = 0u; four < FOURS; four++) {
            squares += dot(acc[four * ROWS + i], acc[four * ROWS + i]);
        }
        sh_a[local % 16u * TILE_M + tile_row(local) + i] = squares;
    }
    workgroupBarrier();
    if local < TILE_M && first_row + local < rows() {
        var squares = 0.0;
        for (var i = 0u; i < 16u; i++) {
            squares += sh_a[i * TILE_M + local];
        }
        let position = sample * params.length + first_row + local;
        out[params.squares_at + position * params.out_parts + group.x] = squares;
    }
}

// The norm is over L: a column's squares.
fn store_squares_of_columns(group: vec3<u32>, local: u32) {
    for (var four = 0u; four < FOURS; four++) {
        var squares = vec4<f32>(0.0);
        for (var i = 0u; i < ROWS; i++) {
            squares += acc[four * ROWS + i] * acc[four * ROWS + i];
        }
        for (var j = 0u; j < 4u; j++) {
            sh_b[local / 16u * TILE_N + tile_column(local, four) + j] = squares[j];
        }
    }
    workgroupBarrier();
    if local < TILE_N && first_column + local < params.width {
        var squares = 0.0;
        for (var i = 0u; i < 16u; i++) {
            squares += sh_b[i * TILE_N + local];
        }
        let feature = sample * params.width + first_column + local;
        out[params.squares_at + feature * params.out_parts + group.y] = squares;
    }
}

@compute @workgroup_size(256)
fn residual(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    sample = group.z;
    first_row = group.y * TILE_M;
    first_column = group.x * TILE_N;
    keep_scales(local, select(first_row, sample * params.length, OVER_L == 1u));
    add_product(local, params.k);
    finish(local);
    if OVER_L == 1u {
        store_squares_of_columns(group, local);
    } else {
        store_squares_of_rows(group, local);
    }
}
