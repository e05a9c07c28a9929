// attention.wgsl without shared memory or barriers, for adapters whose shared memory is no faster than a buffer.
// o = softmax(q k^T / sqrt(d)) v for each sample and head, not causal; lse = log of the softmax's denominator.
// reverse: with p = exp(s - lse), delta = sum(do o): dv = p^T do, ds = p (do v^T - delta), dq = ds k, dk = ds^T q.
// qkv, dqkv (B, L, 3, heads, d); o, do (B, L, heads, d); lse, delta (B, heads, L). d = 4 QUADS.
// A workgroup owns 32 queries (reverse_keys: keys) of one sample and head, a thread four of them, with all their
// features in registers: a matrix for each four features, a column for each feature, a row for each query. The other
// positions come eight at a time: each thread reads one of them and hands it round by subgroupBroadcast; needs
// subgroups of 8 or more. Past the end the last position is read again, with weight zero. P is never stored.
// Operands are read as pairs of 64-bit words, as in gemm_broadcast.wgsl.
// Scores and sums in f32; the softmax is online: a running maximum, everything rescaled when it grows.

struct Params { length: u32, heads: u32, scale: f32 }

const HEAD_DIM: u32 = 32u;
const QUADS: u32 = HEAD_DIM / 4u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read> o_grad: array<vec2<u64>>;
@group(0) @binding(3) var<storage, read> o_saved: array<vec2<u64>>;
@group(0) @binding(4) var<storage, read> lse_saved: array<f32>;
@group(0) @binding(5) var<storage, read> delta_saved: array<f32>;
@group(0) @binding(6) var<storage, read_write> o: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> lse: array<f32>;
@group(0) @binding(8) var<storage, read_write> delta: array<f32>;
@group(0) @binding(9) var<storage, read_write> qkv_grad: array<vec4<f32>>;

const Q: u32 = 0u;
const K: u32 = 1u;
const V: u32 = 2u;
const LOWEST: f32 = -3.0e38;

// Eight columns: features or scores of eight positions, the first four and the rest.
struct Eight { left: mat4x4<f32>, right: mat4x4<f32> }

#import words

// First four features of q, k or v of position `at`, head group.y, sample group.z.
fn in_qkv(group: vec3<u32>, which: u32, at: u32) -> u32 {
    return (((group.z * params.length + at) * 3u + which) * params.heads + group.y) * QUADS;
}

fn in_o(group: vec3<u32>, at: u32) -> u32 {
    return ((group.z * params.length + at) * params.heads + group.y) * QUADS;
}

fn in_rows(group: vec3<u32>, at: u32) -> u32 {
    return (group.z * params.heads + group.y) * params.length + at;
}

// The positions that a thread owns; some may lie past the end.
fn own(group: vec3<u32>, lane: u32) -> vec4<u32> {
    return vec4<u32>(group.x * 32u + lane) + vec4<u32>(0u, 8u, 16u, 24u);
}

fn present(positions: vec4<u32>) -> vec4<u32> {
    return min(positions, vec4<u32>(params.length - 1u));
}

// Four features of a thread's positions, a column for each feature.
fn own_qkv(group: vec3<u32>, which: u32, positions: vec4<u32>, i: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(
        as_floats(qkv[in_qkv(group, which, positions.x) + i]), as_floats(qkv[in_qkv(group, which, positions.y) + i]),
        as_floats(qkv[in_qkv(group, which, positions.z) + i]), as_floats(qkv[in_qkv(group, which, positions.w) + i]),
    ));
}

fn own_o_grad(group: vec3<u32>, positions: vec4<u32>, i: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(
        as_floats(o_grad[in_o(group, positions.x) + i]), as_floats(o_grad[in_o(group, positions.y) + i]),
        as_floats(o_grad[in_o(group, positions.z) + i]), as_floats(o_grad[in_o(group, positions.w) + i]),
    ));
}

fn own_o_saved(group: vec3<u32>, positions: vec4<u32>, i: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(
        as_floats(o_saved[in_o(group, positions.x) + i]), as_floats(o_saved[in_o(group, positions.y) + i]),
        as_floats(o_saved[in_o(group, positions.z) + i]), as_floats(o_saved[in_o(group, positions.w) + i]),
    ));
}

fn store_o(group: vec3<u32>, positions: vec4<u32>, i: u32, features: mat4x4<f32>) {
    let rows = transpose(features);
    if positions.x < params.length { o[in_o(group, positions.x) + i] = rows[0]; }
    if positions.y < params.length { o[in_o(group, positions.y) + i] = rows[1]; }
    if positions.z < params.length { o[in_o(group, positions.z) + i] = rows[2]; }
    if positions.w < params.length { o[in_o(group, positions.w) + i] = rows[3]; }
}

fn store_qkv_grad(group: vec3<u32>, which: u32, positions: vec4<u32>, i: u32, features: mat4x4<f32>) {
    let rows = transpose(features);
    if positions.x < params.length { qkv_grad[in_qkv(group, which, positions.x) + i] = rows[0]; }
    if positions.y < params.length { qkv_grad[in_qkv(group, which, positions.y) + i] = rows[1]; }
    if positions.z < params.length { qkv_grad[in_qkv(group, which, positions.z) + i] = rows[2]; }
    if positions.w < params.length { qkv_grad[in_qkv(group, which, positions.w) + i] = rows[3]; }
}

// Four features of eight positions, of which each thread has one.
fn spread(features: vec4<f32>) -> Eight {
    return Eight(
        mat4x4<f32>(
            subgroupBroadcast(features, 0u), subgroupBroadcast(features, 1u),
            subgroupBroadcast(features, 2u), subgroupBroadcast(features, 3u),
        ),
        mat4x4<f32>(
            subgroupBroadcast(features, 4u), subgroupBroadcast(features, 5u),
            subgroupBroadcast(features, 6u), subgroupBroadcast(features, 7u),
        ),
    );
}

// Scores with eight positions, four features further.
fn scored(scores: Eight, own: mat4x4<f32>, features: vec4<f32>) -> Eight {
    let others = spread(features);
    return Eight(scores.left + own * others.left, scores.right + own * others.right);
}

// Four features of eight positions, weighed and summed.
fn weighed(weights: Eight, features: vec4<f32>) -> mat4x4<f32> {
    let others = spread(features);
    return weights.left * transpose(others.left) + weights.right * transpose(others.right);
}

fn scaled(columns: mat4x4<f32>, factors: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(columns[0] * factors, columns[1] * factors, columns[2] * factors, columns[3] * factors);
}

// Columns of positions past the end replaced.
fn kept(columns: mat4x4<f32>, first: u32, otherwise: f32) -> mat4x4<f32> {
    let other = vec4<f32>(otherwise);
    return mat4x4<f32>(
        select(other, columns[0], first < params.length), select(other, columns[1], first + 1u < params.length),
        select(other, columns[2], first + 2u < params.length), select(other, columns[3], first + 3u < params.length),
    );
}

fn kept_eight(columns: Eight, first: u32, otherwise: f32) -> Eight {
    return Eight(kept(columns.left, first, otherwise), kept(columns.right, first + 4u, otherwise));
}

fn exp_below(columns: mat4x4<f32>, highest: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        exp(columns[0] - highest), exp(columns[1] - highest), exp(columns[2] - highest), exp(columns[3] - highest),
    );
}

fn highest_of(columns: mat4x4<f32>) -> vec4<f32> {
    return max(max(columns[0], columns[1]), max(columns[2], columns[3]));
}

fn total_of(columns: mat4x4<f32>) -> vec4<f32> {
    return columns[0] + columns[1] + columns[2] + columns[3];
}

// p (dp - delta) scale, delta the same for all columns.
fn with_delta(p: mat4x4<f32>, dp: mat4x4<f32>, less: vec4<f32>) -> mat4x4<f32> {
    return params.scale * mat4x4<f32>(
        p[0] * (dp[0] - less), p[1] * (dp[1] - less), p[2] * (dp[2] - less), p[3] * (dp[3] - less),
    );
}

@compute @workgroup_size(8)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let positions = own(group, lane);
    let queries = present(positions);
    var q: array<mat4x4<f32>, QUADS>;
    var sum: array<mat4x4<f32>, QUADS>;
    for (var i = 0u; i < QUADS; i++) {
        q[i] = own_qkv(group, Q, queries, i) * params.scale;
    }
    var highest = vec4<f32>(LOWEST);
    var denominator = vec4<f32>(0.0);
    for (var first = 0u; first < params.length; first += 8u) {
        let key = min(first + lane, params.length - 1u);
        let at_k = in_qkv(group, K, key);
        let at_v = in_qkv(group, V, key);
        var scores: Eight;
        for (var i = 0u; i < QUADS; i++) {
            scores = scored(scores, q[i], as_floats(qkv[at_k + i]));
        }
        scores = kept_eight(scores, first, LOWEST);
        let raised = max(highest, max(highest_of(scores.left), highest_of(scores.right)));
        let shrink = exp(highest - raised);
        let p = Eight(exp_below(scores.left, raised), exp_below(scores.right, raised));
        highest = raised;
        denominator = denominator * shrink + total_of(p.left) + total_of(p.right);
        for (var i = 0u; i < QUADS; i++) {
            sum[i] = scaled(sum[i], shrink) + weighed(p, as_floats(qkv[at_v + i]));
        }
    }
    for (var i = 0u; i < QUADS; i++) {
        store_o(group, positions, i, scaled(sum[i], 1.0 / denominator));
    }
    let logs = highest + log(denominator);
    for (var j = 0u; j < 4u; j++) {
        if positions[j] < params.length {
            lse[in_rows(group, positions[j])] = logs[j];
        }
    }
}

@compute @workgroup_size(8)
fn reverse_queries(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let positions = own(group, lane);
    let queries = present(positions);
    var q: array<mat4x4<f32>, QUADS>;
    var above: array<mat4x4<f32>, QUADS>;
    var dq: array<mat4x4<f32>, QUADS>;
    var inner = vec4<f32>(0.0);
    for (var i = 0u; i < QUADS; i++) {
        q[i] = own_qkv(group, Q, queries, i) * params.scale;
        above[i] = own_o_grad(group, queries, i);
        let saved = own_o_saved(group, queries, i);
        inner += above[i][0] * saved[0] + above[i][1] * saved[1] + above[i][2] * saved[2] + above[i][3] * saved[3];
    }
    var logs: vec4<f32>;
    for (var j = 0u; j < 4u; j++) {
        logs[j] = lse_saved[in_rows(group, queries[j])];
        if positions[j] < params.length {
            delta[in_rows(group, positions[j])] = inner[j];
        }
    }
    for (var first = 0u; first < params.length; first += 8u) {
        let key = min(first + lane, params.length - 1u);
        let at_k = in_qkv(group, K, key);
        let at_v = in_qkv(group, V, key);
        var scores: Eight;
        var dp: Eight;
        for (var i = 0u; i < QUADS; i++) {
            scores = scored(scores, q[i], as_floats(qkv[at_k + i]));
            dp = scored(dp, above[i], as_floats(qkv[at_v + i]));
        }
        let p = kept_eight(Eight(exp_below(scores.left, logs), exp_below(scores.right, logs)), first, 0.0);
        let ds = Eight(with_delta(p.left, dp.left, inner), with_delta(p.right, dp.right, inner));
        for (var i = 0u; i < QUADS; i++) {
            dq[i] += weighed(ds, as_floats(qkv[at_k + i]));
        }
    }
    for (var i = 0u; i < QUADS; i++) {
        store_qkv_grad(group, Q, positions, i, dq[i]);
    }
}

// exp(s - lse), lse that of the column's query.
fn exp_below_each(columns: mat4x4<f32>, logs: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        exp(columns[0] - logs.x), exp(columns[1] - logs.y), exp(columns[2] - logs.z), exp(columns[3] - logs.w),
    );
}

// p (dp - delta) scale, delta that of the column's query.
fn with_delta_each(p: mat4x4<f32>, dp: mat4x4<f32>, less: vec4<f32>) -> mat4x4<f32> {
    return params.scale * mat4x4<f32>(
        p[0] * (dp[0] - less.x), p[1] * (dp[1] - less.y), p[2] * (dp[2] - less.z), p[3] * (dp[3] - less.w),
    );
}

fn first_four(value: f32) -> vec4<f32> {
    return vec4<f32>(
        subgroupBroadcast(value, 0u), subgroupBroadcast(value, 1u),
        subgroupBroadcast(value, 2u), subgroupBroadcast(value, 3u),
    );
}

fn next_four(value: f32) -> vec4<f32> {
    return vec4<f32>(
        subgroupBroadcast(value, 4u), subgroupBroadcast(value, 5u),
        subgroupBroadcast(value, 6u), subgroupBroadcast(value, 7u),
    );
}

@compute @workgroup_size(8)
fn reverse_keys(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let positions = own(group, lane);
    let keys = present(positions);
    var k: array<mat4x4<f32>, QUADS>;
    var v: array<mat4x4<f32>, QUADS>;
    var dk: array<mat4x4<f32>, QUADS>;
    var dv: array<mat4x4<f32>, QUADS>;
    for (var i = 0u; i < QUADS; i++) {
        k[i] = own_qkv(group, K, keys, i) * params.scale;
        v[i] = own_qkv(group, V, keys, i);
    }
    for (var first = 0u; first < params.length; first += 8u) {
        let query = min(first + lane, params.length - 1u);
        let at_q = in_qkv(group, Q, query);
        let at_o = in_o(group, query);
        let log = lse_saved[in_rows(group, query)];
        let less = delta_saved[in_rows(group, query)];
        var scores: Eight;
        var dp: Eight;
        for (var i = 0u; i < QUADS; i++) {
            scores = scored(scores, k[i], as_floats(qkv[at_q + i]));
            dp = scored(dp, v[i], as_floats(o_grad[at_o + i]));
        }
        let below = Eight(exp_below_each(scores.left, first_four(log)), exp_below_each(scores.right, next_four(log)));
        let p = kept_eight(below, first, 0.0);
        let ds = Eight(
            with_delta_each(p.left, dp.left, first_four(less)), with_delta_each(p.right, dp.right, next_four(less)),
        );
        for (var i = 0u; i < QUADS; i++) {
            dk[i] += weighed(ds, as_floats(qkv[at_q + i]));
            dv[i] += weighed(p, as_floats(o_grad[at_o + i]));
        }
    }
    for (var i = 0u; i < QUADS; i++) {
        store_qkv_grad(group, K, positions, i, dk[i]);
        store_qkv_grad(group, V, positions, i, dv[i]);
    }
}
