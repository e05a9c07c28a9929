// o = softmax(q k^T / sqrt(d)) v for each sample and head on matrix units: attention.wgsl for halves, with sums in f32;
// lse = log of the softmax's denominator.
// qkv (B, L, 3, heads, d), o (B, L, heads, d) in f16; lse (B, heads, L) in f32. d is 32, 64 or 128.
// A workgroup owns 4 SIZE queries of one sample and head, each of its four subgroups SIZE of them, or several
// subgroups' shares in turn where there are fewer. It walks over the keys, COLUMNS at a time, twice: matrices cannot be
// rescaled row by row, so the first walk finds each row's maximum and denominator in f32, and the second adds
// exp(s - maximum) v, the weights in f16, and divides what comes out. Scores go from matrices to threads, and weights
// back, in shared memory, where lines lie a vector further apart than long, so that neighbours lie in different banks.
// Positions past L are read as the last one; their weights are zero, and nothing of them is stored.
// Assumes whole subgroups.

enable f16;
enable wgpu_cooperative_matrix;

struct Params { length: u32, heads: u32, scale: f32 }

// SIZE is that of the aliases below, which change with it.
const SIZE: u32 = 16u;
const LANES: u32 = 128u;
const HEAD_DIM: u32 = 64u;
// The only elements that these can be.
const QKV_ELEMENT: u32 = 2u;
const O_ELEMENT: u32 = 2u;
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;

struct Pair { lo: vec4<f16>, hi: vec4<f16> }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<Pair>;
@group(0) @binding(6) var<storage, read_write> o: array<Pair>;
@group(0) @binding(7) var<storage, read_write> lse: array<f32>;

const Q: u32 = 0u;
const K: u32 = 1u;
const V: u32 = 2u;

const SHARES: u32 = 4u;
const ROWS: u32 = SHARES * SIZE;
const COLUMNS: u32 = 32u;
const LOWEST: f32 = -3.0e38;
// Features are counted in vectors of eight halves; lines of them have one vector of gap.
const VECTORS: u32 = HEAD_DIM / 8u;
const PITCH: u32 = VECTORS + 1u;
// Columns of a row: scores in fours, weights in eights, each with a gap.
const STRIP: u32 = COLUMNS / 4u + 1u;
const EIGHTS: u32 = COLUMNS / 8u;
const WEIGHTS: u32 = EIGHTS + 1u;
// Matrices of o that a subgroup sums at a time. More features take another walk.
const SUMMED: u32 = min(8u, HEAD_DIM / SIZE);
// Threads that share a row's softmax.
const PARTS: u32 = clamp(LANES / ROWS, 1u, EIGHTS);

var<workgroup> sh_q: array<Pair, ROWS * PITCH>;
var<workgroup> sh_kv: array<Pair, COLUMNS * PITCH>;
// Scores, and in the end o.
var<workgroup> sh_s: array<vec4<f32>, ROWS * STRIP>;
var<workgroup> sh_p: array<Pair, ROWS * WEIGHTS>;
// The softmax of what each part of a row has seen; in a row's first part, in the end, that of the row.
struct Softmax { highest: f32, denominator: f32 }
var<workgroup> sh_softmax: array<Softmax, ROWS * PARTS>;

var<private> o0: Sums;
var<private> o1: Sums;
var<private> o2: Sums;
var<private> o3: Sums;
var<private> o4: Sums;
var<private> o5: Sums;
var<private> o6: Sums;
var<private> o7: Sums;

fn vector_of_qkv(group: vec3<u32>, which: u32, at: u32, vector: u32) -> Pair {
    let row = (group.z * params.length + min(at, params.length - 1u)) * 3u + which;
    return qkv[(row * params.heads + group.y) * VECTORS + vector];
}

fn stage_queries(group: vec3<u32>, local: u32) {
    for (var at = local; at < ROWS * VECTORS; at += LANES) {
        let row = at / VECTORS;
        sh_q[row * PITCH + at % VECTORS] = vector_of_qkv(group, Q, group.x * ROWS + row, at % VECTORS);
    }
}

// Columns of k or v.
fn stage(group: vec3<u32>, which: u32, first: u32, local: u32) {
    for (var at = local; at < COLUMNS * VECTORS; at += LANES) {
        let column = at / VECTORS;
        sh_kv[column * PITCH + at % VECTORS] = vector_of_qkv(group, which, first + column, at % VECTORS);
    }
}

// q k^T of the staged columns and the rows from `row` on: two matrices at a time.
fn score(row: u32) {
    for (var column = 0u; column < COLUMNS; column += 2u * SIZE) {
        var s0 = Sums();
        var s1 = Sums();
        for (var k = 0u; k < HEAD_DIM; k += SIZE) {
            let queries = coopLoadT<Left>(&sh_q[row * PITCH + k / 8u].lo, 2u * PITCH);
            let keys = coopLoad<Right>(&sh_kv[column * PITCH + k / 8u].lo, 2u * PITCH);
            s0 = coopMultiplyAdd(queries, keys, s0);
            let next_keys = coopLoad<Right>(&sh_kv[(column + SIZE) * PITCH + k / 8u].lo, 2u * PITCH);
            s1 = coopMultiplyAdd(queries, next_keys, s1);
        }
        coopStoreT(s0, &sh_s[row * STRIP + column / 4u], STRIP);
        coopStoreT(s1, &sh_s[row * STRIP + (column + SIZE) / 4u], STRIP);
    }
}

// The scores of all rows for the columns from `first` on.
fn score_all(group: vec3<u32>, first: u32, local: u32, subgroup: u32, subgroups: u32) {
    stage(group, K, first, local);
    workgroupBarrier();
    for (var share = subgroup; share < SHARES; share += subgroups) {
        score(share * SIZE);
    }
    workgroupBarrier();
}

// Four scores of a row, the lowest where there is no key.
fn four_scores(first: u32, row: u32, four: u32) -> vec4<f32> {
    let column = vec4<u32>(first + 4u * four) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(LOWEST), sh_s[row * STRIP + four] * params.scale, column < vec4<u32>(params.length));
}

fn largest(four: vec4<f32>) -> f32 {
    return max(max(four.x, four.y), max(four.z, four.w));
}

fn total(four: vec4<f32>) -> f32 {
    return (four.x + four.y) + (four.z + four.w);
}

// Adds the columns from `first` on to the softmax of each part of a row.
fn add_to_softmax(first: u32, local: u32) {
    for (var item = local; item < ROWS * PARTS; item += LANES) {
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
fn join_parts(group: vec3<u32>, local: u32) {
    for (var row = local; row < ROWS; row += LANES) {
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
        let at = group.x * ROWS + row;
        if at < params.length {
            lse[(group.z * params.heads + group.y) * params.length + at] = highest + log(denominator);
        }
    }
}

// exp(s - maximum) of all rows.
fn weigh(first: u32, local: u32) {
    for (var at = local; at < ROWS * EIGHTS; at += LANES) {
        let row = at / EIGHTS;
        let eight = at % EIGHTS;
        let highest = sh_softmax[row * PARTS].highest;
        let lo = exp(four_scores(first, row, 2u * eight) - highest);
        let hi = exp(four_scores(first, row, 2u * eight + 1u) - highest);
        sh_p[row * WEIGHTS + eight] = Pair(vec4<f16>(lo), vec4<f16>(hi));
    }
}

fn values(column: u32, feature: u32) -> Right {
    return coopLoadT<Right>(&sh_kv[column * PITCH + feature / 8u].lo, 2u * PITCH);
}

// Adds p v of the staged columns, for the rows from `row` and the features from `feature` on.
fn add_weighted(row: u32, feature: u32) {
    for (var column = 0u; column < COLUMNS; column += SIZE) {
        let p = coopLoadT<Left>(&sh_p[row * WEIGHTS + column / 8u].lo, 2u * WEIGHTS);
        o0 = coopMultiplyAdd(p, values(column, feature), o0);
        o1 = coopMultiplyAdd(p, values(column, feature + SIZE), o1);
        if SUMMED > 2u {
            o2 = coopMultiplyAdd(p, values(column, feature + 2u * SIZE), o2);
            o3 = coopMultiplyAdd(p, values(column, feature + 3u * SIZE), o3);
        }
        if SUMMED > 4u {
            o4 = coopMultiplyAdd(p, values(column, feature + 4u * SIZE), o4);
            o5 = coopMultiplyAdd(p, values(column, feature + 5u * SIZE), o5);
            o6 = coopMultiplyAdd(p, values(column, feature + 6u * SIZE), o6);
            o7 = coopMultiplyAdd(p, values(column, feature + 7u * SIZE), o7);
        }
    }
}

// Two neighbouring matrices of o, put where all threads can read them.
fn unpack(first: Sums, second: Sums, slot: u32) {
    coopStoreT(first, &sh_s[slot], STRIP);
    coopStoreT(second, &sh_s[slot + SIZE / 4u], STRIP);
}

fn unpack_strip(strip: u32, slot: u32) {
    switch strip {
        case 0u: { unpack(o0, o1, slot); }
        case 1u: { unpack(o2, o3, slot); }
        case 2u: { unpack(o4, o5, slot); }
        default: { unpack(o6, o7, slot); }
    }
}

// Stores two matrices of o, which begin at `feature`, of each share from `first` to before `end`.
fn store_strip(group: vec3<u32>, first: u32, end: u32, feature: u32, local: u32) {
    const ACROSS: u32 = SIZE / 4u;
    for (var at = local; at < ROWS * ACROSS; at += LANES) {
        let row = at / ACROSS;
        let eight = at % ACROSS;
        let place = group.x * ROWS + row;
        if place < params.length && row / SIZE >= first && row / SIZE < end {
            let inverse = 1.0 / sh_softmax[row * PARTS].denominator;
            let lo = sh_s[row * STRIP + 2u * eight] * inverse;
            let hi = sh_s[row * STRIP + 2u * eight + 1u] * inverse;
            let line = (group.z * params.length + place) * params.heads + group.y;
            o[line * VECTORS + feature / 8u + eight] = Pair(vec4<f16>(lo), vec4<f16>(hi));
        }
    }
}

@compute @workgroup_size(LANES)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    stage_queries(group, local);
    for (var item = local; item < ROWS * PARTS; item += LANES) {
        sh_softmax[item] = Softmax(LOWEST, 0.0);
    }
    for (var first = 0u; first < params.length; first += COLUMNS) {
        score_all(group, first, local, subgroup, subgroups);
        add_to_softmax(first, local);
    }
    workgroupBarrier();
    join_parts(group, local);
    for (var share = 0u; share < SHARES; share += subgroups) {
        for (var feature = 0u; feature < HEAD_DIM; feature += SUMMED * SIZE) {
            let own = share + subgroup;
            o0 = Sums();
            o1 = Sums();
            o2 = Sums();
            o3 = Sums();
            o4 = Sums();
            o5 = Sums();
            o6 = Sums();
            o7 = Sums();
            for (var first = 0u; first < params.length; first += COLUMNS) {
                workgroupBarrier();
                score_all(group, first, local, subgroup, subgroups);
                weigh(first, local);
                stage(group, V, first, local);
                workgroupBarrier();
                if own < SHARES {
                    add_weighted(own * SIZE, feature);
                }
            }
            for (var strip = 0u; strip < SUMMED / 2u; strip++) {
                workgroupBarrier();
                if own < SHARES {
                    unpack_strip(strip, own * SIZE * STRIP);
                }
                workgroupBarrier();
                store_strip(group, share, share + subgroups, feature + 2u * SIZE * strip, local);
            }
        }
    }
}
