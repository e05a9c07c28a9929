// sums[chunk, c] = scale * sum of x[r, c] over the rows r of a chunk, plus what it was where `add` is not 0: gradients
// of a bias and of positions, and the second half of every two-stage sum. x (rows, width), sums (ceil(rows / chunk),
// width); of no rows, one line of zeros.
// A thread owns one sum and adds its rows in order; neighbours read neighbouring words. f32.

struct Params { count: u32, rows: u32, width: u32, chunk: u32, add: u32, scale: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

#import index

@compute @workgroup_size(64)
fn sum_rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index >= params.count {
        return;
    }
    let column = index % params.width;
    let first = index / params.width * params.chunk;
    let last = min(first + params.chunk, params.rows);
    var total = 0.0;
    for (var row = first; row < last; row++) {
        total += x[row * params.width + column];
    }
    var known = 0.0;
    if params.add != 0u {
        known = sums[index];
    }
    sums[index] = known + total * params.scale;
}
