// o = softmax(q k^T / sqrt(d)) v for each sample and head, not causal; lse = log of the softmax's denominator.
// reverse: with p = exp(s - lse), delta = sum(do o): dv = p^T do, ds = p (do v^T - delta), dq = ds k, dk = ds^T q.
// qkv, dqkv (B, L, 3, heads, d); o, do (B, L, heads, d); lse, delta (B, heads, L). d = 2 PAIRS.
// A workgroup owns 64 queries (reverse_keys: 64 keys) of one sample and head, a thread one of them, its rows in
// registers; all threads read the same key (query) at the same time. P is never stored.
// Scores and sums in f32; the softmax is online: a running maximum, everything rescaled when it grows.

struct Params { length: u32, heads: u32, scale: f32 }

const HEAD_DIM: u32 = 32u;
const PAIRS: u32 = HEAD_DIM / 2u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> o_grad: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> o_saved: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> lse_saved: array<f32>;
@group(0) @binding(5) var<storage, read> delta_saved: array<f32>;
@group(0) @binding(6) var<storage, read_write> o: array<vec2<f32>>;
@group(0) @binding(7) var<storage, read_write> lse: array<f32>;
@group(0) @binding(8) var<storage, read_write> delta: array<f32>;
@group(0) @binding(9) var<storage, read_write> qkv_grad: array<vec2<f32>>;

const Q: u32 = 0u;
const K: u32 = 1u;
const V: u32 = 2u;

// First pair of q, k or v of position `at`, head group.y, sample group.z.
fn in_qkv(group: vec3<u32>, which: u32, at: u32) -> u32 {
    return (((group.z * params.length + at) * 3u + which) * params.heads + group.y) * PAIRS;
}

fn in_o(group: vec3<u32>, at: u32) -> u32 {
    return ((group.z * params.length + at) * params.heads + group.y) * PAIRS;
}

fn in_rows(group: vec3<u32>, at: u32) -> u32 {
    return (group.z * params.heads + group.y) * params.length + at;
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let query = group.x * 64u + local;
    if query >= params.length {
        return;
    }
    var q: array<vec2<f32>, PAIRS>;
    var sum: array<vec2<f32>, PAIRS>;
    for (var i = 0u; i < PAIRS; i++) {
        q[i] = qkv[in_qkv(group, Q, query) + i] * params.scale;
    }
    var highest = -3.0e38;
    var denominator = 0.0;
    for (var key = 0u; key < params.length; key++) {
        let at_k = in_qkv(group, K, key);
        let at_v = in_qkv(group, V, key);
        var products = vec2<f32>(0.0);
        for (var i = 0u; i < PAIRS; i++) {
            products += q[i] * qkv[at_k + i];
        }
        let score = products.x + products.y;
        let raised = max(highest, score);
        let shrink = exp(highest - raised);
        let p = exp(score - raised);
        highest = raised;
        denominator = denominator * shrink + p;
        for (var i = 0u; i < PAIRS; i++) {
            sum[i] = sum[i] * shrink + p * qkv[at_v + i];
        }
    }
    for (var i = 0u; i < PAIRS; i++) {
        o[in_o(group, query) + i] = sum[i] / denominator;
    }
    lse[in_rows(group, query)] = highest + log(denominator);
}

@compute @workgroup_size(64)
fn reverse_queries(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let query = group.x * 64u + local;
    if query >= params.length {
        return;
    }
    var q: array<vec2<f32>, PAIRS>;
    var above: array<vec2<f32>, PAIRS>;
    var dq: array<vec2<f32>, PAIRS>;
    let at = in_o(group, query);
    var inner = vec2<f32>(0.0);
    for (var i = 0u; i < PAIRS; i++) {
        q[i] = qkv[in_qkv(group, Q, query) + i] * params.scale;
        above[i] = o_grad[at + i];
        inner += above[i] * o_saved[at + i];
    }
    let row = in_rows(group, query);
    let shared_term = inner.x + inner.y;
    delta[row] = shared_term;
    for (var key = 0u; key < params.length; key++) {
        let at_k = in_qkv(group, K, key);
        let at_v = in_qkv(group, V, key);
        var scores = vec2<f32>(0.0);
        var dps = vec2<f32>(0.0);
        for (var i = 0u; i < PAIRS; i++) {
            scores += q[i] * qkv[at_k + i];
            dps += above[i] * qkv[at_v + i];
        }
        let p = exp(scores.x + scores.y - lse_saved[row]);
        let ds = p * (dps.x + dps.y - shared_term) * params.scale;
        for (var i = 0u; i < PAIRS; i++) {
            dq[i] += ds * qkv[at_k + i];
        }
    }
    for (var i = 0u; i < PAIRS; i++) {
        qkv_grad[in_qkv(group, Q, query) + i] = dq[i];
    }
}

@compute @workgroup_size(64)
fn reverse_keys(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let key = group.x * 64u + local;
    if key >= params.length {
        return;
    }
    var k: array<vec2<f32>, PAIRS>;
    var v: array<vec2<f32>, PAIRS>;
    var dk: array<vec2<f32>, PAIRS>;
    var dv: array<vec2<f32>, PAIRS>;
    for (var i = 0u; i < PAIRS; i++) {
        k[i] = qkv[in_qkv(group, K, key) + i] * params.scale;
        v[i] = qkv[in_qkv(group, V, key) + i];
    }
    for (var query = 0u; query < params.length; query++) {
        let at_q = in_qkv(group, Q, query);
        let at_o = in_o(group, query);
        let row = in_rows(group, query);
        var scores = vec2<f32>(0.0);
        var dps = vec2<f32>(0.0);
        for (var i = 0u; i < PAIRS; i++) {
            scores += k[i] * qkv[at_q + i];
            dps += v[i] * o_grad[at_o + i];
        }
        let p = exp(scores.x + scores.y - lse_saved[row]);
        let ds = p * (dps.x + dps.y - delta_saved[row]) * params.scale;
        for (var i = 0u; i < PAIRS; i++) {
            dk[i] += ds * qkv[at_q + i];
            dv[i] += p * o_grad[at_o + i];
        }
    }
    for (var i = 0u; i < PAIRS; i++) {
        qkv_grad[in_qkv(group, K, key) + i] = dk[i];
        qkv_grad[in_qkv(group, V, key) + i] = dv[i];
    }
}
