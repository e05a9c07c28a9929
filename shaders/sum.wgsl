// out = a + b + c + d, of as many as `terms` says: the sum of a net's inputs, and of gradient contributions.
// All of one size, any shape; terms in 1..=4, the unused bindings repeat `a`. Added from left to right, f32.
// A thread owns four neighbours; `count` is in fours, the last of which may reach into padding. Of f32, four
// elements are two vectors of two words, of halves one.

struct Params { count: u32, terms: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> b: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> c: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read> d: array<vec2<u32>>;
@group(0) @binding(5) var<storage, read_write> total: array<vec2<u32>>;

const A_ELEMENT: u32 = 0u;
const B_ELEMENT: u32 = 0u;
const C_ELEMENT: u32 = 0u;
const D_ELEMENT: u32 = 0u;
const TOTAL_ELEMENT: u32 = 0u;
#import element
#import index

// Where four elements start, and where the second half of four f32 lies.
fn first(index: u32, element: u32) -> u32 {
    return select(index, 2u * index, element == F32);
}

fn second(index: u32, element: u32) -> u32 {
    return select(index, 2u * index + 1u, element == F32);
}

fn four(words: vec2<u32>, more: vec2<u32>, element: u32) -> vec4<f32> {
    if element == F32 {
        return bitcast<vec4<f32>>(vec4<u32>(words, more));
    }
    return vec4<f32>(widened_pair(words.x, element), widened_pair(words.y, element));
}

@compute @workgroup_size(64)
fn sum(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index >= params.count {
        return;
    }
    var value = four(a[first(index, A_ELEMENT)], a[second(index, A_ELEMENT)], A_ELEMENT);
    if params.terms > 1u {
        value += four(b[first(index, B_ELEMENT)], b[second(index, B_ELEMENT)], B_ELEMENT);
    }
    if params.terms > 2u {
        value += four(c[first(index, C_ELEMENT)], c[second(index, C_ELEMENT)], C_ELEMENT);
    }
    if params.terms > 3u {
        value += four(d[first(index, D_ELEMENT)], d[second(index, D_ELEMENT)], D_ELEMENT);
    }
    if TOTAL_ELEMENT == F32 {
        let words = bitcast<vec4<u32>>(value);
        total[2u * index] = words.xy;
        total[2u * index + 1u] = words.zw;
    } else {
        total[index] = vec2<u32>(narrowed_pair(value.xy, TOTAL_ELEMENT), narrowed_pair(value.zw, TOTAL_ELEMENT));
    }
}
