// y[row] = x[row] as halves, then zeros: the copies of weights that products read by vectors, made once a supervision
// step. x (rows, from), y (rows, to), to >= from and even; `count` is that of y's elements. A thread owns two neighbours
// of y. From f32 to the nearest half.

struct Params { count: u32, from_columns: u32, to_columns: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

const Y_ELEMENT: u32 = 0u;
#import element
#import index

fn at(row: u32, column: u32) -> f32 {
    let inside = column < params.from_columns;
    let value = x[row * params.from_columns + min(column, params.from_columns - 1u)];
    return select(0.0, value, inside);
}

@compute @workgroup_size(64)
fn store(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = 2u * linear_index(group, local, 64u);
    if index >= params.count {
        return;
    }
    let row = index / params.to_columns;
    let column = index % params.to_columns;
    y[index / 2u] = narrowed_pair(vec2<f32>(at(row, column), at(row, column + 1u)), Y_ELEMENT);
}
