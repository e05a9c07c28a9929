// o = softmax(q k^T / sqrt(d)) v for each sample and head on matrix units, and its reverse: attention.wgsl for halves,
// with sums in f32. lse = log of the softmax's denominator. reverse: with p = exp(s - lse), delta = sum(do o):
// dv = p^T do, ds = p (do v^T - delta), dq = ds k, dk = ds^T q.
// qkv, dqkv (B, L, 3, heads, d), o, do (B, L, heads, d) in f16; lse, delta (B, heads, L) and turns (L, d/2, 2): cos, sin,
// in f32. d is 32, 64 or 128. Where TURNED is 1, dq and dk are turned back before they are stored.
// A workgroup owns 4 SIZE rows of one sample and head, queries or, in reverse_keys, keys, and walks over the others, the
// columns, COLUMNS at a time. Each of its four subgroups owns SIZE rows, or several subgroups' shares in turn where there
// are fewer of them. Matrices cannot be rescaled row by row, so forward walks twice: first for each row's maximum and
// denominator in f32, then to add exp(s - maximum) v, and divides what comes out. reverse_keys walks for dv, then for dk.
// Weights, p and ds, are f16, ds before it is scaled, which keeps small ones normal. Scores go from matrices to threads,
// and weights back, in shared memory, where lines lie a vector further apart than long, so that neighbours lie in
// different banks. Positions past L are read as the last one; their weights are zero, and nothing of them is stored.
// Assumes whole subgroups.

enable f16;
enable wgpu_cooperative_matrix;

struct Params { length: u32, heads: u32, scale: f32 }

// SIZE is that of the aliases below, which change with it. SCALARS is 1 where matrices are loaded by pointers to scalars.
const SIZE: u32 = 16u;
const SCALARS: u32 = 0u;
const LANES: u32 = 128u;
const HEAD_DIM: u32 = 64u;
const TURNED: u32 = 0u;
// What is staged of each row: q, or in reverse a second part too.
const SIDES: u32 = 2u;
// The only elements that these can be.
const QKV_ELEMENT: u32 = 2u;
const O_GRAD_ELEMENT: u32 = 2u;
const O_SAVED_ELEMENT: u32 = 2u;
const O_ELEMENT: u32 = 2u;
const QKV_GRAD_ELEMENT: u32 = 2u;
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;

struct Pair { lo: vec4<f16>, hi: vec4<f16> }
#import staged_scalars if SCALARS else staged_vectors

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<Pair>;
@group(0) @binding(2) var<storage, read> o_grad: array<Pair>;
@group(0) @binding(3) var<storage, read> o_saved: array<Pair>;
@group(0) @binding(4) var<storage, read> lse_saved: array<f32>;
@group(0) @binding(5) var<storage, read> delta_saved: array<f32>;
@group(0) @binding(6) var<storage, read_write> o: array<Pair>;
@group(0) @binding(7) var<storage, read_write> lse: array<f32>;
@group(0) @binding(8) var<storage, read_write> delta: array<f32>;
@group(0) @binding(9) var<storage, read_write> qkv_grad: array<Pair>;
@group(0) @binding(10) var<storage, read> turns: array<vec2<f32>>;

const Q: u32 = 0u;
const K: u32 = 1u;
const V: u32 = 2u;
// The gradient of o, beside the three parts of qkv.
const DO: u32 = 3u;

const SHARES: u32 = 4u;
const ROWS: u32 = SHARES * SIZE;
const COLUMNS: u32 = 2u * SIZE;
const LOWEST: f32 = -3.0e38;
// Features are counted in vectors of eight halves; lines of them have one vector of gap.
const VECTORS: u32 = HEAD_DIM / 8u;
const PITCH: u32 = VECTORS + 1u;
const HALF: u32 = HEAD_DIM / 2u;
// Columns of a row: scores in fours, weights in eights, each with a gap.
const STRIP: u32 = COLUMNS / 4u + 1u;
const EIGHTS: u32 = COLUMNS / 8u;
const WEIGHTS: u32 = EIGHTS + 1u;
// Matrices that a subgroup sums at a time, one by one from the first and the second half of the features: what turns
// together. More features take another walk.
const SUMMED: u32 = min(8u, HEAD_DIM / SIZE);
const SPAN: u32 = SUMMED / 2u * SIZE;
// Threads that share a row's softmax.
const PARTS: u32 = clamp(LANES / ROWS, 1u, EIGHTS);
// Eights of columns of a thread.
const ITEMS: u32 = (ROWS * EIGHTS + LANES - 1u) / LANES;

var<workgroup> sh_rows: array<StagedEight, SIDES * ROWS * PITCH>;
var<workgroup> sh_columns: array<StagedEight, COLUMNS * PITCH>;
// Scores, and in the end sums.
var<workgroup> sh_s: array<StagedFour, ROWS * STRIP>;
var<workgroup> sh_p: array<StagedEight, ROWS * WEIGHTS>;
// The softmax of what each part of a row has seen; in a row's first part, in the end, that of the row.
struct Softmax { highest: f32, denominator: f32 }
var<workgroup> sh_softmax: array<Softmax, ROWS * PARTS>;
// Of queries, be they rows or columns.
struct Saved { lse: f32, delta: f32 }
var<workgroup> sh_saved: array<Saved, ROWS>;

var<private> sum0: Sums;
var<private> sum1: Sums;
var<private> sum2: Sums;
var<private> sum3: Sums;
var<private> sum4: Sums;
var<private> sum5: Sums;
var<private> sum6: Sums;
var<private> sum7: Sums;
// do v^T of a thread's eights.
struct Eight { lo: vec4<f32>, hi: vec4<f32> }
var<private> dp: array<Eight, ITEMS>;

struct Thread { group: vec3<u32>, local: u32, subgroup: u32, subgroups: u32 }

fn line_of_qkv(group: vec3<u32>, which: u32, at: u32) -> u32 {
    return ((group.z * params.length + at) * 3u + which) * params.heads + group.y;
}

fn line_of_o(group: vec3<u32>, at: u32) -> u32 {
    return (group.z * params.length + at) * params.heads + group.y;
}

fn in_lines(group: vec3<u32>, at: u32) -> u32 {
    return (group.z * params.heads + group.y) * params.length + at;
}

fn existing(at: u32) -> u32 {
    return min(at, params.length - 1u);
}

fn vector_of_qkv(group: vec3<u32>, which: u32, at: u32, vector: u32) -> Pair {
    return qkv[line_of_qkv(group, which, existing(at)) * VECTORS + vector];
}

fn vector_of_any(group: vec3<u32>, which: u32, at: u32, vector: u32) -> Pair {
    if which == DO {
        return o_grad[line_of_o(group, existing(at)) * VECTORS + vector];
    }
    return vector_of_qkv(group, which, at, vector);
}

fn stage_queries(thread: Thread) {
    for (var at = thread.local; at < ROWS * VECTORS; at += LANES) {
        let row = thread.group.x * ROWS + at / VECTORS;
        sh_rows[at / VECTORS * PITCH + at % VECTORS] = staged(vector_of_qkv(thread.group, Q, row, at % VECTORS));
    }
}

// Columns of k or v.
fn stage(thread: Thread, which: u32, first: u32) {
    for (var at = thread.local; at < COLUMNS * VECTORS; at += LANES) {
        let column = at / VECTORS;
        let vector = vector_of_qkv(thread.group, which, first + column, at % VECTORS);
        sh_columns[column * PITCH + at % VECTORS] = staged(vector);
    }
}

fn stage_rows_of_any(thread: Thread, which: u32, side: u32) {
    for (var at = thread.local; at < ROWS * VECTORS; at += LANES) {
        let row = at / VECTORS;
        let vector = vector_of_any(thread.group, which, thread.group.x * ROWS + row, at % VECTORS);
        sh_rows[(side * ROWS + row) * PITCH + at % VECTORS] = staged(vector);
    }
}

fn stage_any(thread: Thread, which: u32, first: u32) {
    for (var at = thread.local; at < COLUMNS * VECTORS; at += LANES) {
        let column = at / VECTORS;
        let vector = vector_of_any(thread.group, which, first + column, at % VECTORS);
        sh_columns[column * PITCH + at % VECTORS] = staged(vector);
    }
}

// Products of the staged columns and SIZE staged lines from `line` on, those of `row` on.
fn score(line: u32, row: u32) {
    var s0 = Sums();
    var s1 = Sums();
    for (var k = 0u; k < HEAD_DIM; k += SIZE) {
        let rows = coopLoadT<Left>(&sh_rows[line * PITCH + k / 8u].first, OF_EIGHT * PITCH);
        let columns = coopLoad<Right>(&sh_columns[k / 8u].first, OF_EIGHT * PITCH);
        s0 = coopMultiplyAdd(rows, columns, s0);
        let next_columns = coopLoad<Right>(&sh_columns[SIZE * PITCH + k / 8u].first, OF_EIGHT * PITCH);
        s1 = coopMultiplyAdd(rows, next_columns, s1);
    }
    unpack(s0, s1, row * STRIP);
}

// The products of all rows' `side` and what is staged of the columns.
fn score_all(thread: Thread, side: u32) {
    workgroupBarrier();
    for (var share = thread.subgroup; share < SHARES; share += thread.subgroups) {
        score(side * ROWS + share * SIZE, share * SIZE);
    }
    workgroupBarrier();
}

// Four scores of a row, the lowest where there is no key.
fn four_scores(first: u32, row: u32, four: u32) -> vec4<f32> {
    let column = vec4<u32>(first + 4u * four) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(LOWEST), four_of(sh_s[row * STRIP + four]) * params.scale, column < vec4<u32>(params.length));
}

fn largest(four: vec4<f32>) -> f32 {
    return max(max(four.x, four.y), max(four.z, four.w));
}

fn total(four: vec4<f32>) -> f32 {
    return (four.x + four.y) + (four.z + four.w);
}

// Adds the columns from `first` on to the softmax of each part of a row.
fn add_to_softmax(thread: Thread, first: u32) {
    for (var item = thread.local; item < ROWS * PARTS; item += LANES) {
        let row = item / PARTS;
        let old = sh_softmax[item];
        var highest = old.highest;
        for (var eight = item % PARTS; eight < EIGHTS; eight += PARTS) {
            highest = max(highest, largest(four_scores(first, row, 2u * eight)));
            highest = max(highest, largest(four_scores(first, row, 2u * eight + 1u)));
        }
        var denominator = old.denominator * exp(old.highest - highest);
        for (var eight = item % PARTS; eight < EIGHTS; eight += PARTS) {
            denominator += total(exp(four_scores(first, row, 2u * eight) - highest));
            denominator += total(exp(four_scores(first, row, 2u * eight + 1u) - highest));
        }
        sh_softmax[item] = Softmax(highest, denominator);
    }
}

// Joins the parts of each row and stores lse.
fn join_parts(thread: Thread) {
    for (var row = thread.local; row < ROWS; row += LANES) {
        var highest = LOWEST;
        for (var part = 0u; part < PARTS; part++) {
            highest = max(highest, sh_softmax[row * PARTS + part].highest);
        }
        var denominator = 0.0;
        for (var part = 0u; part < PARTS; part++) {
            let own = sh_softmax[row * PARTS + part];
            denominator += own.denominator * exp(own.highest - highest);
        }
        sh_softmax[row * PARTS] = Softmax(highest, denominator);
        let at = thread.group.x * ROWS + row;
        if at < params.length {
            lse[in_lines(thread.group, at)] = highest + log(denominator);
        }
    }
}

// exp(s - maximum) of all rows.
fn weigh(thread: Thread, first: u32) {
    for (var at = thread.local; at < ROWS * EIGHTS; at += LANES) {
        let row = at / EIGHTS;
        let eight = at % EIGHTS;
        let highest = sh_softmax[row * PARTS].highest;
        let lo = exp(four_scores(first, row, 2u * eight) - highest);
        let hi = exp(four_scores(first, row, 2u * eight + 1u) - highest);
        sh_p[row * WEIGHTS + eight] = staged(Pair(vec4<f16>(lo), vec4<f16>(hi)));
    }
}

// lse or delta of four queries: of the row, or of columns.
fn saved_lse(by_row: bool, row: u32, column: u32) -> vec4<f32> {
    if by_row {
        return vec4<f32>(sh_saved[row].lse);
    }
    return vec4<f32>(
        sh_saved[column].lse,
        sh_saved[column + 1u].lse,
        sh_saved[column + 2u].lse,
        sh_saved[column + 3u].lse,
    );
}

fn saved_delta(by_row: bool, row: u32, column: u32) -> vec4<f32> {
    if by_row {
        return vec4<f32>(sh_saved[row].delta);
    }
    return vec4<f32>(
        sh_saved[column].delta,
        sh_saved[column + 1u].delta,
        sh_saved[column + 2u].delta,
        sh_saved[column + 3u].delta,
    );
}

// exp(s - lse) of four columns.
fn four_weights(by_row: bool, first: u32, row: u32, four: u32) -> vec4<f32> {
    return exp(four_scores(first, row, four) - saved_lse(by_row, row, 4u * four));
}

// p of all rows.
fn weigh_values(thread: Thread, by_row: bool, first: u32) {
    for (var at = thread.local; at < ROWS * EIGHTS; at += LANES) {
        let row = at / EIGHTS;
        let four = 2u * (at % EIGHTS);
        let lo = four_weights(by_row, first, row, four);
        let hi = four_weights(by_row, first, row, four + 1u);
        sh_p[row * WEIGHTS + four / 2u] = staged(Pair(vec4<f16>(lo), vec4<f16>(hi)));
    }
}

// Keeps do v^T less delta, whose place the scores take.
fn keep_dp(thread: Thread, by_row: bool) {
    for (var i = 0u; i < ITEMS; i++) {
        let at = min(thread.local + i * LANES, ROWS * EIGHTS - 1u);
        let row = at / EIGHTS;
        let four = 2u * (at % EIGHTS);
        let lo = four_of(sh_s[row * STRIP + four]) - saved_delta(by_row, row, 4u * four);
        let hi = four_of(sh_s[row * STRIP + four + 1u]) - saved_delta(by_row, row, 4u * four + 4u);
        dp[i] = Eight(lo, hi);
    }
}

// ds of all rows, not scaled.
fn weigh_gradients(thread: Thread, by_row: bool, first: u32) {
    for (var i = 0u; i < ITEMS; i++) {
        let at = thread.local + i * LANES;
        if at < ROWS * EIGHTS {
            let row = at / EIGHTS;
            let four = 2u * (at % EIGHTS);
            let lo = four_weights(by_row, first, row, four) * dp[i].lo;
            let hi = four_weights(by_row, first, row, four + 1u) * dp[i].hi;
            sh_p[row * WEIGHTS + four / 2u] = staged(Pair(vec4<f16>(lo), vec4<f16>(hi)));
        }
    }
}

fn clear() {
    sum0 = Sums();
    sum1 = Sums();
    sum2 = Sums();
    sum3 = Sums();
    sum4 = Sums();
    sum5 = Sums();
    sum6 = Sums();
    sum7 = Sums();
}

fn values(column: u32, feature: u32) -> Right {
    return coopLoadT<Right>(&sh_columns[column * PITCH + feature / 8u].first, OF_EIGHT * PITCH);
}

// Adds the staged columns, weighted, for the rows of a share, and the features from `feature` on in both halves.
fn add_weighted(share: u32, feature: u32) {
    for (var column = 0u; column < COLUMNS && share < SHARES; column += SIZE) {
        let p = coopLoadT<Left>(&sh_p[share * SIZE * WEIGHTS + column / 8u].first, OF_EIGHT * WEIGHTS);
        sum0 = coopMultiplyAdd(p, values(column, feature), sum0);
        sum1 = coopMultiplyAdd(p, values(column, HALF + feature), sum1);
        if SUMMED > 2u {
            sum2 = coopMultiplyAdd(p, values(column, feature + SIZE), sum2);
            sum3 = coopMultiplyAdd(p, values(column, HALF + feature + SIZE), sum3);
        }
        if SUMMED > 4u {
            sum4 = coopMultiplyAdd(p, values(column, feature + 2u * SIZE), sum4);
            sum5 = coopMultiplyAdd(p, values(column, HALF + feature + 2u * SIZE), sum5);
            sum6 = coopMultiplyAdd(p, values(column, feature + 3u * SIZE), sum6);
            sum7 = coopMultiplyAdd(p, values(column, HALF + feature + 3u * SIZE), sum7);
        }
    }
}

// Two matrices, put where all threads can read them.
fn unpack(first: Sums, second: Sums, slot: u32) {
    coopStoreT(first, &sh_s[slot].first, OF_FOUR * STRIP);
    coopStoreT(second, &sh_s[slot + SIZE / 4u].first, OF_FOUR * STRIP);
}

fn unpack_strip(strip: u32, slot: u32) {
    switch strip {
        case 0u: { unpack(sum0, sum1, slot); }
        case 1u: { unpack(sum2, sum3, slot); }
        case 2u: { unpack(sum4, sum5, slot); }
        default: { unpack(sum6, sum7, slot); }
    }
}

// Two matrices of each subgroup's share. All threads must call it: it has barriers.
fn lay_strip(strip: u32, share: u32) {
    workgroupBarrier();
    if share < SHARES {
        unpack_strip(strip, share * SIZE * STRIP);
    }
    workgroupBarrier();
}

// Whether what lies in a row of the strips is its sum, and the row is there. Of earlier shares the difference wraps round.
fn stores(thread: Thread, share: u32, row: u32) -> bool {
    return row / SIZE - share < thread.subgroups && thread.group.x * ROWS + row < params.length;
}

const ACROSS: u32 = SIZE / 8u;

fn store_o(thread: Thread, share: u32, feature: u32) {
    for (var at = thread.local; at < ROWS * ACROSS; at += LANES) {
        let row = at / ACROSS;
        if stores(thread, share, row) {
            let inverse = 1.0 / sh_softmax[row * PARTS].denominator;
            let four = row * STRIP + 2u * (at % ACROSS);
            let vector = line_of_o(thread.group, thread.group.x * ROWS + row) * VECTORS + feature / 8u + at % ACROSS;
            o[vector] = Pair(vec4<f16>(four_of(sh_s[four]) * inverse), vec4<f16>(four_of(sh_s[four + 1u]) * inverse));
            let lo = four_of(sh_s[four + SIZE / 4u]) * inverse;
            let hi = four_of(sh_s[four + SIZE / 4u + 1u]) * inverse;
            o[vector + VECTORS / 2u] = Pair(vec4<f16>(lo), vec4<f16>(hi));
        }
    }
}

struct Halves { first: vec4<f32>, second: vec4<f32> }

// Four sums of either half of the features, scaled, and but for v turned back by the angles of position `at`.
fn finished(which: u32, at: u32, feature: u32, four: u32) -> Halves {
    let first = four_of(sh_s[four]);
    let second = four_of(sh_s[four + SIZE / 4u]);
    if which == V {
        return Halves(first, second);
    }
    if TURNED == 0u {
        return Halves(first * params.scale, second * params.scale);
    }
    let start = at * HALF + feature;
    let turn = transpose(mat4x2<f32>(turns[start], turns[start + 1u], turns[start + 2u], turns[start + 3u]));
    let cos = turn[0] * params.scale;
    let sin = turn[1] * params.scale;
    return Halves(first * cos + second * sin, second * cos - first * sin);
}

fn store_gradient(thread: Thread, which: u32, share: u32, feature: u32) {
    for (var item = thread.local; item < ROWS * ACROSS; item += LANES) {
        let row = item / ACROSS;
        if stores(thread, share, row) {
            let at = thread.group.x * ROWS + row;
            let eight = item % ACROSS;
            let four = row * STRIP + 2u * eight;
            let lo = finished(which, at, feature + 8u * eight, four);
            let hi = finished(which, at, feature + 8u * eight + 4u, four + 1u);
            let vector = line_of_qkv(thread.group, which, at) * VECTORS + feature / 8u + eight;
            qkv_grad[vector] = Pair(vec4<f16>(lo.first), vec4<f16>(hi.first));
            qkv_grad[vector + VECTORS / 2u] = Pair(vec4<f16>(lo.second), vec4<f16>(hi.second));
        }
    }
}

fn store_gradients(thread: Thread, which: u32, share: u32, feature: u32) {
    for (var strip = 0u; strip < SUMMED / 2u; strip++) {
        lay_strip(strip, share + thread.subgroup);
        store_gradient(thread, which, share, feature + SIZE * strip);
    }
}

// delta and lse of the rows; delta is stored.
fn take_inner_products(thread: Thread) {
    for (var row = thread.local; row < ROWS; row += LANES) {
        let at = thread.group.x * ROWS + row;
        let line = line_of_o(thread.group, existing(at)) * VECTORS;
        var inner = 0.0;
        for (var i = 0u; i < VECTORS; i++) {
            let upstream = eight_of(sh_rows[(ROWS + row) * PITCH + i]);
            let result = o_saved[line + i];
            inner += total(vec4<f32>(upstream.lo) * vec4<f32>(result.lo));
            inner += total(vec4<f32>(upstream.hi) * vec4<f32>(result.hi));
        }
        sh_saved[row] = Saved(lse_saved[in_lines(thread.group, existing(at))], inner);
        if at < params.length {
            delta[in_lines(thread.group, at)] = inner;
        }
    }
}

fn stage_saved(thread: Thread, first: u32) {
    for (var column = thread.local; column < COLUMNS; column += LANES) {
        let line = in_lines(thread.group, existing(first + column));
        sh_saved[column] = Saved(lse_saved[line], delta_saved[line]);
    }
}

// Adds ds times the columns from `first` on: k, where these stand against v, or q against do.
fn add_gradients(thread: Thread, by_row: bool, first: u32, columns: vec2<u32>, share: u32, feature: u32) {
    stage_any(thread, columns.y, first);
    score_all(thread, 1u);
    keep_dp(thread, by_row);
    stage_any(thread, columns.x, first);
    score_all(thread, 0u);
    weigh_gradients(thread, by_row, first);
    workgroupBarrier();
    add_weighted(share + thread.subgroup, feature);
}

@compute @workgroup_size(LANES)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let thread = Thread(group, local, subgroup, subgroups);
    stage_queries(thread);
    for (var item = local; item < ROWS * PARTS; item += LANES) {
        sh_softmax[item] = Softmax(LOWEST, 0.0);
    }
    for (var first = 0u; first < params.length; first += COLUMNS) {
        stage(thread, K, first);
        score_all(thread, 0u);
        add_to_softmax(thread, first);
    }
    workgroupBarrier();
    join_parts(thread);
    for (var share = 0u; share < SHARES; share += subgroups) {
        for (var feature = 0u; feature < HALF; feature += SPAN) {
            clear();
            for (var first = 0u; first < params.length; first += COLUMNS) {
                workgroupBarrier();
                stage(thread, K, first);
                score_all(thread, 0u);
                weigh(thread, first);
                stage(thread, V, first);
                workgroupBarrier();
                add_weighted(share + subgroup, feature);
            }
            for (var strip = 0u; strip < SUMMED / 2u; strip++) {
                lay_strip(strip, share + subgroup);
                store_o(thread, share, feature + SIZE * strip);
            }
        }
    }
}

@compute @workgroup_size(LANES)
fn reverse_queries(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let thread = Thread(group, local, subgroup, subgroups);
    stage_rows_of_any(thread, Q, 0u);
    stage_rows_of_any(thread, DO, 1u);
    workgroupBarrier();
    take_inner_products(thread);
    for (var share = 0u; share < SHARES; share += subgroups) {
        for (var feature = 0u; feature < HALF; feature += SPAN) {
            clear();
            for (var first = 0u; first < params.length; first += COLUMNS) {
                workgroupBarrier();
                add_gradients(thread, true, first, vec2<u32>(K, V), share, feature);
            }
            store_gradients(thread, Q, share, feature);
        }
    }
}

@compute @workgroup_size(LANES)
fn reverse_keys(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let thread = Thread(group, local, subgroup, subgroups);
    stage_rows_of_any(thread, K, 0u);
    stage_rows_of_any(thread, V, 1u);
    for (var share = 0u; share < SHARES; share += subgroups) {
        for (var feature = 0u; feature < HALF; feature += SPAN) {
            clear();
            for (var first = 0u; first < params.length; first += COLUMNS) {
                workgroupBarrier();
                stage_saved(thread, first);
                stage_any(thread, Q, first);
                score_all(thread, 0u);
                weigh_values(thread, false, first);
                stage_any(thread, DO, first);
                workgroupBarrier();
                add_weighted(share + subgroup, feature);
            }
            store_gradients(thread, V, share, feature);
            clear();
            for (var first = 0u; first < params.length; first += COLUMNS) {
                workgroupBarrier();
                stage_saved(thread, first);
                add_gradients(thread, false, first, vec2<u32>(Q, DO), share, feature);
            }
            store_gradients(thread, K, share, feature);
        }
    }
}
