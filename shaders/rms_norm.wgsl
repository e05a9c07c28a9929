// y = x * rstd, rstd = 1 / sqrt(mean(x^2) + eps), without a learned scale; reverse: dx = rstd (dy - y mean(dy y)).
// x, y (groups, length) for `rows`: the norm over D of (B, L, D). x, y (batch, length, width) for `columns`: the
// norm over L, one group per (batch, column). rstd holds one value per group.
// rows: a workgroup owns a row. columns: a thread owns two columns, neighbours read neighbouring words.
// The sums run in f32 in a fixed order. `rows` needs whole workgroups (barriers), guarded by the grid.

struct Params { groups: u32, length: u32, width: u32, eps: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read> y_saved: array<u32>;
@group(0) @binding(4) var<storage, read> rstd_saved: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<u32>;
@group(0) @binding(6) var<storage, read_write> rstd: array<f32>;
@group(0) @binding(7) var<storage, read_write> dx: array<f32>;

const Y_ELEMENT: u32 = 0u;
const Y_SAVED_ELEMENT: u32 = 0u;
#import element
#import index
#import reduce

// Stores two neighbours, or the first of them alone; halves come in lines of even length.
fn store(at: u32, values: vec2<f32>, both: bool) {
    if Y_ELEMENT != F32 {
        y[at / 2u] = narrowed_pair(values, Y_ELEMENT);
        return;
    }
    y[at] = bitcast<u32>(values.x);
    if both {
        y[at + 1u] = bitcast<u32>(values.y);
    }
}

fn y_at(at: u32) -> f32 {
    return widened(y_saved[word_of_element(at, Y_SAVED_ELEMENT)], at, Y_SAVED_ELEMENT);
}

@compute @workgroup_size(64)
fn rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = linear_index(group, 0u, 1u);
    let live = row < params.groups;
    let base = row * params.length;
    var squares = 0.0;
    for (var i = local; live && i < params.length; i += 64u) {
        squares += x[base + i] * x[base + i];
    }
    let scale = inverseSqrt(workgroup_sum(squares, local) / f32(params.length) + params.eps);
    for (var i = 2u * local; live && i < params.length; i += 128u) {
        let next = min(i + 1u, params.length - 1u);
        store(base + i, vec2<f32>(x[base + i], x[base + next]) * scale, next > i);
    }
    if live && local == 0u {
        rstd[row] = scale;
    }
}

@compute @workgroup_size(64)
fn rows_reverse(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = linear_index(group, 0u, 1u);
    let live = row < params.groups;
    let base = row * params.length;
    var dot = 0.0;
    for (var i = local; live && i < params.length; i += 64u) {
        dot += dy[base + i] * y_at(base + i);
    }
    let mean = workgroup_sum(dot, local) / f32(params.length);
    for (var i = local; live && i < params.length; i += 64u) {
        dx[base + i] = rstd_saved[row] * (dy[base + i] - y_at(base + i) * mean);
    }
}

@compute @workgroup_size(64)
fn columns(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let pairs = (params.width + 1u) / 2u;
    let index = linear_index(group, local, 64u);
    let sample = index / pairs;
    let column = index % pairs * 2u;
    if sample * params.width >= params.groups {
        return;
    }
    let next = min(column + 1u, params.width - 1u);
    let base = sample * params.length * params.width;
    var squares = vec2<f32>(0.0);
    for (var i = 0u; i < params.length; i++) {
        let line = base + i * params.width;
        let values = vec2<f32>(x[line + column], x[line + next]);
        squares += values * values;
    }
    let scales = inverseSqrt(squares / f32(params.length) + params.eps);
    for (var i = 0u; i < params.length; i++) {
        let line = base + i * params.width;
        store(line + column, vec2<f32>(x[line + column], x[line + next]) * scales, next > column);
    }
    rstd[sample * params.width + column] = scales.x;
    if next > column {
        rstd[sample * params.width + next] = scales.y;
    }
}

@compute @workgroup_size(64)
fn columns_reverse(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index >= params.groups {
        return;
    }
    let base = index / params.width * params.length * params.width + index % params.width;
    var dot = 0.0;
    for (var i = 0u; i < params.length; i++) {
        dot += dy[base + i * params.width] * y_at(base + i * params.width);
    }
    let mean = dot / f32(params.length);
    for (var i = 0u; i < params.length; i++) {
        let at = base + i * params.width;
        dx[at] = rstd_saved[index] * (dy[at] - y_at(at) * mean);
    }
}
