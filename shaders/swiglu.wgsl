// a = silu(gate) * up; reverse: dgate = da up sigma(g) (1 + g (1 - sigma(g))), dup = da silu(g).
// gate_up (outer, 2, inner): gate first, then up; a, da (outer, inner). Over D: outer = B L, inner = the inner
// width. Over L (mixer): outer = B, inner = inner width * D.
// A thread owns one element of a. The reverse pass overwrites gate_up with its own gradient. f32.

struct Params { count: u32, inner: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gate_up: array<f32>;
@group(0) @binding(2) var<storage, read> da: array<f32>;
@group(0) @binding(3) var<storage, read_write> a: array<f32>;
@group(0) @binding(4) var<storage, read_write> gate_up_grad: array<f32>;

#import index
#import sigmoid

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index >= params.count {
        return;
    }
    let at = index + index / params.inner * params.inner;
    let gate = gate_up[at];
    a[index] = gate * sigmoid(gate) * gate_up[at + params.inner];
}

@compute @workgroup_size(64)
fn reverse(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index >= params.count {
        return;
    }
    let at = index + index / params.inner * params.inner;
    let gate = gate_up_grad[at];
    let up = gate_up_grad[at + params.inner];
    let s = sigmoid(gate);
    gate_up_grad[at] = da[index] * up * s * (1.0 + gate * (1.0 - s));
    gate_up_grad[at + params.inner] = da[index] * gate * s;
}
