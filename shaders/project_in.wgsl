// The first half of a sublayer in one dispatch, without gradients: sum of the inputs, pending norms, product, and what
// follows it: a = silu(g) * u with (g, u) = W h (`swiglu`), or qkv = W h with q and k rotated (`rope`) or not
// (`plain`).
// h is a sum of terms (B, L, D), see lib/terms.wgsl. W (2 pairs, K) holds the rows of a pair `half` rows apart:
// gate and up, or the partners (i, i + d/2) of a head. Over D (OVER_L = 0): out (B L, N); over L: out (B, N, D).
// A workgroup owns a tile of C, whose lines are ordered so that a thread holds both partners: of four lines two firsts,
// then their seconds. table (L, half, 2) holds cos and sin; the first `rotated` pairs turn.
// f32; the sum over k runs in one fixed order, terms are added from left to right. Barriers in uniform control flow.

struct Params {
    positions: u32, length: u32, width: u32, groups: u32, parts: u32, squares_at: u32, pending: u32, eps: f32,
    pairs: u32, half: u32, rotated: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<u32>;
@group(0) @binding(2) var<storage, read> term_0: array<u32>;
@group(0) @binding(3) var<storage, read> term_1: array<u32>;
@group(0) @binding(4) var<storage, read> term_2: array<u32>;
@group(0) @binding(5) var<storage, read> table: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> out: array<u32>;

const OVER_L: u32 = 0u;
const A_ALONG_K: u32 = 1u;
const B_ALONG_K: u32 = 1u - OVER_L;
const WEIGHT_ELEMENT: u32 = 0u;
const OUT_ELEMENT: u32 = 0u;
#import element
#import sigmoid
#import terms
#import tile

// The tile's first position or feature, its first pair, and the first position of its sample (over L).
var<private> first_line: u32;
var<private> first_pair: u32;
var<private> sample: u32;

fn depth() -> u32 {
    return select(params.width, params.length, OVER_L == 1u);
}

// First row of W of the pair that a line of the tile belongs to.
fn first_of(pair: u32) -> u32 {
    return pair / params.half * 2u * params.half + pair % params.half;
}

fn weight_start(line: u32) -> u32 {
    let pair = min(first_pair + line / 4u * 2u + line % 2u, params.pairs - 1u);
    return (first_of(pair) + line / 2u % 2u * params.half) * depth();
}

fn weight_at(start: u32, k: u32) -> f32 {
    let at = start + min(k, depth() - 1u);
    let value = widened(weight[word_of_element(at, WEIGHT_ELEMENT)], at, WEIGHT_ELEMENT);
    return select(0.0, value, k < depth());
}

fn a_start(line: u32) -> u32 {
    if OVER_L == 1u {
        return weight_start(line);
    }
    return min(first_line + line, params.positions - 1u);
}

fn b_start(line: u32) -> u32 {
    if OVER_L == 1u {
        return min(first_line + line, params.width - 1u);
    }
    return weight_start(line);
}

fn a_at(start: u32, line: u32, k: u32) -> f32 {
    if OVER_L == 1u {
        return weight_at(start, k);
    }
    let feature = min(k, params.width - 1u);
    return select(0.0, sum_at(start, feature, kept_in_row(line, feature)), k < params.width);
}

fn b_at(start: u32, line: u32, k: u32) -> f32 {
    if OVER_L == 0u {
        return weight_at(start, k);
    }
    let row = min(k, params.length - 1u);
    let kept = select(row, start, NORM_OVER_L == 1u);
    return select(0.0, sum_at(sample * params.length + row, start, kept), k < params.length);
}

fn multiply(group: vec3<u32>, local: u32) {
    sample = group.z;
    if OVER_L == 1u {
        first_line = group.x * TILE_N;
        first_pair = group.y * TILE_M / 2u;
        keep_scales(local, sample * params.length);
    } else {
        first_line = group.y * TILE_M;
        first_pair = group.x * TILE_N / 2u;
        keep_scales(local, first_line);
    }
    add_product(local, depth());
}

// Stores two neighbours, or the first of them alone; halves come in lines of even length.
fn store(at: u32, values: vec2<f32>, both: bool) {
    if OUT_ELEMENT != F32 {
        out[at / 2u] = narrowed_pair(values, OUT_ELEMENT);
        return;
    }
    out[at] = bitcast<u32>(values.x);
    if both {
        out[at + 1u] = bitcast<u32>(values.y);
    }
}

fn silu_times(gate: f32, up: f32) -> f32 {
    return gate * sigmoid(gate) * up;
}

// Rows of a thread are positions, columns pairs.
fn store_swiglu_over_d(local: u32) {
    for (var i = 0u; i < ROWS; i++) {
        let position = first_line + tile_row(local) + i;
        for (var j = 0u; j < 4u * FOURS; j += 4u) {
            let pair = first_pair + tile_column(local, j / 4u) / 2u;
            if position < params.positions && pair < params.pairs {
                let first = silu_times(element(i, j), element(i, j + 2u));
                let next = silu_times(element(i, j + 1u), element(i, j + 3u));
                store(position * params.pairs + pair, vec2<f32>(first, next), pair + 1u < params.pairs);
            }
        }
    }
}

// Rows of a thread are pairs, columns features.
fn store_swiglu_over_l(local: u32) {
    for (var i = 0u; i < ROWS / 2u; i++) {
        let pair = first_pair + tile_row(local) / 2u + i;
        let gate = i / 2u * 4u + i % 2u;
        for (var j = 0u; j < 4u * FOURS; j += 2u) {
            let feature = first_line + tile_column(local, j / 4u) + j % 4u;
            if pair < params.pairs && feature < params.width {
                let first = silu_times(element(gate, j), element(gate + 2u, j));
                let next = silu_times(element(gate, j + 1u), element(gate + 2u, j + 1u));
                let at = (sample * params.pairs + pair) * params.width + feature;
                store(at, vec2<f32>(first, next), feature + 1u < params.width);
            }
        }
    }
}

@compute @workgroup_size(256)
fn swiglu(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    multiply(group, local);
    if OVER_L == 1u {
        store_swiglu_over_l(local);
    } else {
        store_swiglu_over_d(local);
    }
}

// Stores the firsts of two pairs and their seconds; where `half` is odd the second pair may begin another head.
fn store_pairs(position: u32, pair: u32, firsts: vec2<f32>, seconds: vec2<f32>) {
    if position >= params.positions || pair >= params.pairs {
        return;
    }
    let line = position * 2u * params.pairs;
    let neighbours = first_of(pair) + 1u == first_of(pair + 1u);
    store(line + first_of(pair), firsts, neighbours);
    store(line + first_of(pair) + params.half, seconds, neighbours);
    if !neighbours && pair + 1u < params.pairs {
        store(line + first_of(pair + 1u), firsts.yy, false);
        store(line + first_of(pair + 1u) + params.half, seconds.yy, false);
    }
}

// (cos, sin) of a pair; values stay as they are.
fn turn_of(position: u32, pair: u32) -> vec2<f32> {
    if pair < params.rotated {
        return table[position % params.length * params.half + pair % params.half];
    }
    return vec2<f32>(1.0, 0.0);
}

@compute @workgroup_size(256)
fn rope(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    multiply(group, local);
    for (var i = 0u; i < ROWS; i++) {
        let position = first_line + tile_row(local) + i;
        for (var j = 0u; j < 4u * FOURS; j += 4u) {
            let pair = first_pair + tile_column(local, j / 4u) / 2u;
            let u = vec2<f32>(element(i, j), element(i, j + 1u));
            let v = vec2<f32>(element(i, j + 2u), element(i, j + 3u));
            let turn = turn_of(position, pair);
            let next = turn_of(position, pair + 1u);
            let cosine = vec2<f32>(turn.x, next.x);
            let sine = vec2<f32>(turn.y, next.y);
            store_pairs(position, pair, u * cosine - v * sine, v * cosine + u * sine);
        }
    }
}

@compute @workgroup_size(256)
fn plain(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    multiply(group, local);
    for (var i = 0u; i < ROWS; i++) {
        for (var j = 0u; j < 4u * FOURS; j += 4u) {
            let firsts = vec2<f32>(element(i, j), element(i, j + 1u));
            let seconds = vec2<f32>(element(i, j + 2u), element(i, j + 3u));
            let pair = first_pair + tile_column(local, j / 4u) / 2u;
            store_pairs(first_line + tile_row(local) + i, pair, firsts, seconds);
        }
    }
}
