// Rotates q and k in place: (u, v) -> (u cos - v sin, v cos + u sin) for the pairs (i, i + d/2) of each head, by
// angle position * theta^(-2i/d). sign = -1 turns back, which is also the reverse rule.
// qkv (rows, 3 heads d): all q heads, all k heads, all v heads. table (length, d/2, 2): cos, sin, made by the
// host in f64 because WGSL's own may be off by 2^-11. A thread owns a pair, of halves two neighbouring ones, which
// needs d to be a multiple of 4; row r has position r % length. Arithmetic in f32.

struct Params { pairs: u32, length: u32, heads: u32, half: u32, sign: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> qkv: array<u32>;

const QKV_ELEMENT: u32 = 0u;
#import element
#import index

@compute @workgroup_size(64)
fn rotate(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u) * select(2u, 1u, QKV_ELEMENT == F32);
    if index >= params.pairs {
        return;
    }
    let i = index % params.half;
    let head = index / params.half % (2u * params.heads);
    let row = index / params.half / (2u * params.heads);
    let at_turn = row % params.length * params.half + i;
    let turn = table[at_turn];
    let at = (row * 3u * params.heads + head) * 2u * params.half + i;
    if QKV_ELEMENT == F32 {
        let u = bitcast<f32>(qkv[at]);
        let v = bitcast<f32>(qkv[at + params.half]);
        let sine = params.sign * turn.y;
        qkv[at] = bitcast<u32>(u * turn.x - v * sine);
        qkv[at + params.half] = bitcast<u32>(v * turn.x + u * sine);
    } else {
        let next = table[at_turn + 1u];
        let u = widened_pair(qkv[at / 2u], QKV_ELEMENT);
        let v = widened_pair(qkv[(at + params.half) / 2u], QKV_ELEMENT);
        let cosine = vec2<f32>(turn.x, next.x);
        let sine = params.sign * vec2<f32>(turn.y, next.y);
        qkv[at / 2u] = narrowed_pair(u * cosine - v * sine, QKV_ELEMENT);
        qkv[(at + params.half) / 2u] = narrowed_pair(v * cosine + u * sine, QKV_ELEMENT);
    }
}
