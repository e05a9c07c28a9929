// y = x as halves: the copies of weights that products read, made once per supervision step.
// x, y of `count` elements, an even number, any shape. A thread owns two neighbours. From f32 to the nearest half.

struct Params { count: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

const Y_ELEMENT: u32 = 0u;
#import element
#import index

@compute @workgroup_size(64)
fn narrow(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = 2u * linear_index(group, local, 64u);
    if index >= params.count {
        return;
    }
    y[index / 2u] = narrowed_pair(vec2<f32>(x[index], x[index + 1u]), Y_ELEMENT);
}
