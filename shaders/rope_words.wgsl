// Rotates q and k in place, (u, v) -> (u cos - v sin, v cos + u sin): rope.wgsl in f32, for drivers that load word by
// word, with a check for each. qkv (rows, 3 heads d), table (length, d/2, 2), d/2 a multiple of four. A thread owns
// four neighbouring pairs, and reads them and their cos, sin as pairs of 64-bit words. `pairs`, `half` are in fours.

struct Params { pairs: u32, length: u32, heads: u32, half: u32, sign: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read_write> qkv: array<vec2<u64>>;

#import index
#import words

@compute @workgroup_size(64)
fn rotate(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index >= params.pairs {
        return;
    }
    let i = index % params.half;
    let head = index / params.half % (2u * params.heads);
    let row = index / params.half / (2u * params.heads);
    let at_turn = 2u * (row % params.length * params.half + i);
    let first = as_floats(table[at_turn]);
    let last = as_floats(table[at_turn + 1u]);
    let cosine = vec4<f32>(first.xz, last.xz);
    let sine = params.sign * vec4<f32>(first.yw, last.yw);
    let at = (row * 3u * params.heads + head) * 2u * params.half + i;
    let u = as_floats(qkv[at]);
    let v = as_floats(qkv[at + params.half]);
    qkv[at] = as_words(u * cosine - v * sine);
    qkv[at + params.half] = as_words(v * cosine + u * sine);
}
