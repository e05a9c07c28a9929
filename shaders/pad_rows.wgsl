// y[row] = x[row], then zeros: copies of weights whose rows products read by vectors, made once per supervision step.
// x (rows, from), y (rows, to), to >= from; `count` is that of y's elements. A thread owns one of them. f32, exact.

struct Params { count: u32, from_columns: u32, to_columns: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

#import index

@compute @workgroup_size(64)
fn pad(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index >= params.count {
        return;
    }
    let row = index / params.to_columns;
    let column = index % params.to_columns;
    var value = 0.0;
    if column < params.from_columns {
        value = x[row * params.from_columns + column];
    }
    y[index] = value;
}
