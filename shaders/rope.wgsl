// Rotates q and k in place: (u, v) -> (u cos - v sin, v cos + u sin) for the pairs (i, i + d/2) of each head, by
// angle position * theta^(-2i/d). sign = -1 turns back, which is also the reverse rule.
// qkv (rows, 3 heads d): all q heads, all k heads, all v heads. table (length, d/2, 2): cos, sin, made by the
// host in f64 because WGSL's own may be off by 2^-11. A thread owns one pair; row r has position r % length.

struct Params { pairs: u32, length: u32, heads: u32, half: u32, sign: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> qkv: array<f32>;

#import index

@compute @workgroup_size(64)
fn rotate(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index >= params.pairs {
        return;
    }
    let i = index % params.half;
    let head = index / params.half % (2u * params.heads);
    let row = index / params.half / (2u * params.heads);
    let turn = table[row % params.length * params.half + i];
    let at = (row * 3u * params.heads + head) * 2u * params.half + i;
    let u = qkv[at];
    let v = qkv[at + params.half];
    let sine = params.sign * turn.y;
    qkv[at] = u * turn.x - v * sine;
    qkv[at + params.half] = v * turn.x + u * sine;
}
