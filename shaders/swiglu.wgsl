// a = silu(gate) * up; reverse: dgate = da up sigma(g) (1 + g (1 - sigma(g))), dup = da silu(g).
// gate_up (outer, 2, inner): gate first, then up; a, da (outer, inner). Over D: outer = B L, inner = the inner
// width. Over L (mixer): outer = B, inner = inner width * D.
// A thread owns two neighbours of a. The reverse pass overwrites gate_up with its own gradient, halves with BF16, whose
// range gradients need. Arithmetic in f32.

struct Params { count: u32, inner: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gate_up: array<u32>;
@group(0) @binding(2) var<storage, read> da: array<f32>;
@group(0) @binding(3) var<storage, read_write> a: array<u32>;
@group(0) @binding(4) var<storage, read_write> gate_up_grad: array<u32>;

const GATE_UP_ELEMENT: u32 = 0u;
const A_ELEMENT: u32 = 0u;
const GATE_UP_GRAD_ELEMENT: u32 = 0u;
#import element
#import index
#import sigmoid

// The gate's place of an element of a; up lies params.inner further on.
fn gate_of(index: u32) -> u32 {
    return index + index / params.inner * params.inner;
}

fn gate_up_at(at: u32) -> f32 {
    return widened(gate_up[word_of_element(at, GATE_UP_ELEMENT)], at, GATE_UP_ELEMENT);
}

fn value(index: u32) -> f32 {
    let at = gate_of(index);
    let gate = gate_up_at(at);
    return gate * sigmoid(gate) * gate_up_at(at + params.inner);
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = 2u * linear_index(group, local, 64u);
    if index >= params.count {
        return;
    }
    let values = vec2<f32>(value(index), value(min(index + 1u, params.count - 1u)));
    if A_ELEMENT != F32 {
        a[index / 2u] = narrowed_pair(values, A_ELEMENT);
        return;
    }
    a[index] = bitcast<u32>(values.x);
    if index + 1u < params.count {
        a[index + 1u] = bitcast<u32>(values.y);
    }
}

fn saved_at(at: u32) -> f32 {
    return widened(gate_up_grad[word_of_element(at, GATE_UP_GRAD_ELEMENT)], at, GATE_UP_GRAD_ELEMENT);
}

// (dgate, dup) of an element of a.
fn gradients(index: u32) -> vec2<f32> {
    let gate = saved_at(gate_of(index));
    let up = saved_at(gate_of(index) + params.inner);
    let s = sigmoid(gate);
    return vec2<f32>(da[index] * up * s * (1.0 + gate * (1.0 - s)), da[index] * gate * s);
}

fn store_gradients(index: u32, both: vec2<f32>) {
    gate_up_grad[gate_of(index)] = bitcast<u32>(both.x);
    gate_up_grad[gate_of(index) + params.inner] = bitcast<u32>(both.y);
}

@compute @workgroup_size(64)
fn reverse(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = 2u * linear_index(group, local, 64u);
    if index >= params.count {
        return;
    }
    let first = gradients(index);
    let next = gradients(min(index + 1u, params.count - 1u));
    if GATE_UP_GRAD_ELEMENT != F32 {
        let at = gate_of(index) / 2u;
        gate_up_grad[at] = narrowed_pair(vec2<f32>(first.x, next.x), BF16);
        gate_up_grad[at + params.inner / 2u] = narrowed_pair(vec2<f32>(first.y, next.y), BF16);
        return;
    }
    store_gradients(index, first);
    if index + 1u < params.count {
        store_gradients(index + 1u, next);
    }
}
