// a = silu(gate) * up; reverse: dgate = da up sigma(g) (1 + g (1 - sigma(g))), dup = da silu(g): swiglu.wgsl in f32,
// for drivers that load word by word, with a check for each. A thread owns four neighbours of a, as pairs of 64-bit
// words.
// gate_up (outer, 2, inner), a, da (outer, inner), inner a multiple of four. `count` and `inner` are in fours.

struct Params { count: u32, inner: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gate_up: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read> da: array<vec2<u64>>;
@group(0) @binding(3) var<storage, read_write> a: array<vec2<u64>>;
@group(0) @binding(4) var<storage, read_write> gate_up_grad: array<vec2<u64>>;

#import index
#import sigmoid
#import words

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index >= params.count {
        return;
    }
    let at = index + index / params.inner * params.inner;
    let gate = as_floats(gate_up[at]);
    a[index] = as_words(gate * sigmoids(gate) * as_floats(gate_up[at + params.inner]));
}

@compute @workgroup_size(64)
fn reverse(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index >= params.count {
        return;
    }
    let at = index + index / params.inner * params.inner;
    let gate = as_floats(gate_up_grad[at]);
    let up = as_floats(gate_up_grad[at + params.inner]);
    let above = as_floats(da[index]);
    let s = sigmoids(gate);
    gate_up_grad[at] = as_words(above * up * s * (1.0 + gate * (1.0 - s)));
    gate_up_grad[at + params.inner] = as_words(above * gate * s);
}
