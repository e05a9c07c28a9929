// out = a + b + c + d, of as many as `terms` says: the sum of a net's inputs, and of gradient contributions.
// All of one size, any shape; terms in 1..=4, the unused bindings repeat `a`. Added from left to right, f32.
// A thread owns four neighbours; `count` is in vectors of four, the last of which may reach into padding.

struct Params { count: u32, terms: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> c: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> d: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> total: array<vec4<f32>>;

#import index

@compute @workgroup_size(64)
fn sum(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index >= params.count {
        return;
    }
    var value = a[index];
    if params.terms > 1u {
        value += b[index];
    }
    if params.terms > 2u {
        value += c[index];
    }
    if params.terms > 3u {
        value += d[index];
    }
    total[index] = value;
}
