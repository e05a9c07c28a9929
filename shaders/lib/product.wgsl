// What both cores of a product share: shape and strides of C[b] = sum over r of A[b, r] B[b, r], in elements, which line
// of A or B a line of the tile is, and the epilogues, in which a product ends.
//   store     C
//   add       C + addend; an addend row stride of 0 adds a bias
//   gate      silu(g) * u, (g, u) = C; gate_kept stores g and u as well
//   ungate    the gradients of g and u, C being that of silu(g) * u
//   turn      C, the first `rotated` of its pairs rotated by the angles of `table` (length, half, 2): cos and sin
// W is B, its lines the columns of C, or, with OVER_L = 1, A, its lines the rows of C. Where PAIRED = 1, lines of W
// belong together in pairs `half` apart: gate and up, or the partners (i, i + d/2) of a head. Of four lines of a tile two
// are firsts, the next two their seconds, so that a thread meets both.
struct Params {
    m: u32, n: u32, k: u32, reductions: u32,
    a_row: u32, a_col: u32, a_batch: u32, a_step: u32,
    b_row: u32, b_col: u32, b_batch: u32, b_step: u32,
    c_row: u32, c_batch: u32, addend_row: u32, addend_batch: u32,
    pairs: u32, half: u32, rotated: u32, length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> addend: array<u32>;
@group(0) @binding(4) var<storage, read> gate_up: array<u32>;
@group(0) @binding(5) var<storage, read> table: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> c: array<u32>;
@group(0) @binding(7) var<storage, read_write> kept: array<u32>;

const OVER_L: u32 = 0u;
const PAIRED: u32 = 0u;
const ADDEND_ELEMENT: u32 = 0u;
const GATE_UP_ELEMENT: u32 = 0u;
const C_ELEMENT: u32 = 0u;
const KEPT_ELEMENT: u32 = 0u;

// Where A[batch, r] and B[batch, r] start.
fn base_of_a(batch: u32, r: u32) -> u32 {
    return batch * params.a_batch + r * params.a_step;
}

fn base_of_b(batch: u32, r: u32) -> u32 {
    return batch * params.b_batch + r * params.b_step;
}

// First line of W of a pair.
fn first_of(pair: u32) -> u32 {
    return pair / params.half * 2u * params.half + pair % params.half;
}

fn line_of_pairs(line: u32) -> u32 {
    let pair = min(line / 4u * 2u + line % 2u, params.pairs - 1u);
    return first_of(pair) + line / 2u % 2u * params.half;
}

// The row of A, and the column of B, that a line of the tile is. Past the last line it is read again: what comes of it is
// not stored.
fn row_of_a(line: u32) -> u32 {
    if PAIRED == 1u && OVER_L == 1u {
        return line_of_pairs(line);
    }
    return min(line, params.m - 1u);
}

fn column_of_b(line: u32) -> u32 {
    if PAIRED == 1u && OVER_L == 0u {
        return line_of_pairs(line);
    }
    return min(line, params.n - 1u);
}

// Four neighbours in a row of the tile, and those two rows further on.
struct Four { batch: u32, row: u32, column: u32, values: vec4<f32>, partners: vec4<f32> }

#each c kept
// Stores the first `count` of two neighbours. Halves come in lines of even length, two of which share a word.
fn store_two_of_each(at: u32, values: vec2<f32>, count: u32) {
    if EACH_ELEMENT != F32 {
        each[at / 2u] = narrowed_pair(values, EACH_ELEMENT);
        return;
    }
    each[at] = bitcast<u32>(values.x);
    if count > 1u {
        each[at + 1u] = bitcast<u32>(values.y);
    }
}

fn store_four_of_each(at: u32, values: vec4<f32>, count: u32) {
    store_two_of_each(at, values.xy, count);
    if count > 2u {
        store_two_of_each(at + 2u, values.zw, count - 2u);
    }
}
#end

#each addend gate_up
// Two neighbours; of one alone, that twice.
fn two_of_each(at: u32, count: u32) -> vec2<f32> {
    if EACH_ELEMENT != F32 {
        return widened_pair(each[at / 2u], EACH_ELEMENT);
    }
    return vec2<f32>(bitcast<f32>(each[at]), bitcast<f32>(each[at + min(count, 2u) - 1u]));
}

fn four_of_each(at: u32, count: u32) -> vec4<f32> {
    let first = two_of_each(at, count);
    if count > 2u {
        return vec4<f32>(first, two_of_each(at + 2u, count - 2u));
    }
    return vec4<f32>(first, first);
}
#end

fn inside(four: Four) -> bool {
    return four.row < params.m && four.column < params.n;
}

fn finish_store(four: Four) {
    if inside(four) {
        let at = four.batch * params.c_batch + four.row * params.c_row + four.column;
        store_four_of_c(at, four.values, params.n - four.column);
    }
}

fn finish_add(four: Four) {
    if inside(four) {
        let count = params.n - four.column;
        let added = four_of_addend(four.batch * params.addend_batch + four.row * params.addend_row + four.column, count);
        store_four_of_c(four.batch * params.c_batch + four.row * params.c_row + four.column, four.values + added, count);
    }
}

fn silu_times(gate: vec4<f32>, up: vec4<f32>) -> vec4<f32> {
    return gate * sigmoids(gate) * up;
}

// Gates and ups that lie in `four`, the first `count` of them: where they belong in silu(g) * u, and how far the ups lie
// behind the gates in (g, u), whose batches are twice as long.
struct Gated { gate: vec4<f32>, up: vec4<f32>, at: u32, both: u32, apart: u32, count: u32 }

fn gated(four: Four) -> Gated {
    if OVER_L == 1u {
        let pair = four.row / 4u * 2u + four.row % 4u;
        let in_batch = pair * params.c_row + four.column;
        // The seconds of a tile's rows come with their firsts.
        let mine = four.row % 4u < 2u && pair < params.pairs && four.column < params.n;
        let count = select(0u, params.n - four.column, mine);
        let at = four.batch * params.c_batch;
        return Gated(four.values, four.partners, at + in_batch, 2u * at + in_batch, params.pairs * params.c_row, count);
    }
    let pair = four.column / 2u;
    let count = select(0u, min(params.pairs - pair, 2u), four.row < params.m && pair < params.pairs);
    let at = four.row * params.c_row + pair;
    return Gated(four.values.xyxy, four.values.zwzw, at, at + four.row * params.c_row, params.pairs, count);
}

fn finish_gate(four: Four) {
    let it = gated(four);
    if it.count > 0u {
        store_four_of_c(it.at, silu_times(it.gate, it.up), it.count);
    }
}

fn finish_gate_kept(four: Four) {
    let it = gated(four);
    if it.count > 0u {
        store_four_of_c(it.at, silu_times(it.gate, it.up), it.count);
        store_four_of_kept(it.both, it.gate, it.count);
        store_four_of_kept(it.both + it.apart, it.up, it.count);
    }
}

// dgate = da up s (1 + g (1 - s)), dup = da g s, s = sigmoid(g). C is (da) of `half` rows or columns, c (dgate, dup).
fn finish_ungate(four: Four) {
    if !inside(four) {
        return;
    }
    let count = params.n - four.column;
    let at = four.batch * params.c_batch + four.row * params.c_row + four.column;
    let apart = select(params.n, params.m * params.n, OVER_L == 1u);
    let gate = four_of_gate_up(at, count);
    let up = four_of_gate_up(at + apart, count);
    let s = sigmoids(gate);
    store_four_of_c(at, four.values * up * s * (1.0 + gate * (1.0 - s)), count);
    store_four_of_c(at + apart, four.values * gate * s, count);
}

// (cos, sin) of a pair; values stay as they are.
fn turn_of(position: u32, pair: u32) -> vec2<f32> {
    if pair < params.rotated {
        return table[position % params.length * params.half + pair % params.half];
    }
    return vec2<f32>(1.0, 0.0);
}

fn finish_turn(four: Four) {
    let pair = four.column / 2u;
    if four.row >= params.m || pair >= params.pairs {
        return;
    }
    let turn = turn_of(four.row, pair);
    let next = turn_of(four.row, pair + 1u);
    let cosine = vec2<f32>(turn.x, next.x);
    let sine = vec2<f32>(turn.y, next.y);
    let u = four.values.xy;
    let v = four.values.zw;
    let firsts = u * cosine - v * sine;
    let seconds = v * cosine + u * sine;
    // Where `half` is odd the second pair may begin another head.
    let neighbours = first_of(pair) + 1u == first_of(pair + 1u);
    let count = select(1u, 2u, neighbours);
    let line = four.row * params.c_row;
    store_two_of_c(line + first_of(pair), firsts, count);
    store_two_of_c(line + first_of(pair) + params.half, seconds, count);
    if !neighbours && pair + 1u < params.pairs {
        store_two_of_c(line + first_of(pair + 1u), firsts.yy, 1u);
        store_two_of_c(line + first_of(pair + 1u) + params.half, seconds.yy, 1u);
    }
}
