// y = x * rstd and its reverse over D: `rows` and `rows_reverse` of rms_norm.wgsl in f32, for drivers that load word by
// word, with a check for each, and that wait at barriers. A thread owns a row, four elements at a time as pairs of
// 64-bit words. x, y (groups, length), length a multiple of four; `length` is in fours.
// Workgroups are small, so that a few hundred rows keep several cores busy. The sums run in f32 in a fixed order.

struct Params { groups: u32, length: u32, eps: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read> dy: array<vec2<u64>>;
@group(0) @binding(3) var<storage, read> y_saved: array<vec2<u64>>;
@group(0) @binding(4) var<storage, read> rstd_saved: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<vec2<u64>>;
@group(0) @binding(6) var<storage, read_write> rstd: array<f32>;
@group(0) @binding(7) var<storage, read_write> dx: array<vec2<u64>>;

#import index
#import words

// Mean over a row of what four partial sums have gathered.
fn mean_of(sums: vec4<f32>) -> f32 {
    return (sums.x + sums.y + sums.z + sums.w) / f32(4u * params.length);
}

@compute @workgroup_size(8)
fn rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = linear_index(group, local, 8u);
    if row >= params.groups {
        return;
    }
    let base = row * params.length;
    var squares = vec4<f32>(0.0);
    for (var i = 0u; i < params.length; i++) {
        let values = as_floats(x[base + i]);
        squares += values * values;
    }
    let scale = inverseSqrt(mean_of(squares) + params.eps);
    for (var i = 0u; i < params.length; i++) {
        y[base + i] = as_words(as_floats(x[base + i]) * scale);
    }
    rstd[row] = scale;
}

@compute @workgroup_size(8)
fn rows_reverse(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = linear_index(group, local, 8u);
    if row >= params.groups {
        return;
    }
    let base = row * params.length;
    var dot = vec4<f32>(0.0);
    for (var i = 0u; i < params.length; i++) {
        dot += as_floats(dy[base + i]) * as_floats(y_saved[base + i]);
    }
    let mean = mean_of(dot);
    let scale = rstd_saved[row];
    for (var i = 0u; i < params.length; i++) {
        dx[base + i] = as_words(scale * (as_floats(dy[base + i]) - as_floats(y_saved[base + i]) * mean));
    }
}
